//! The float functions of `swint_ir::math` and the integer arithmetic of `swint_ir::arith`, operation for operation.

use cubecl::prelude::*;
use swint_ir::math::{ERF_LARGE, ERF_LIMIT, ERF_SMALL, EXP, EXP_LIMIT, LN2_HIGH, LN2_LOW, LOG2_E};

/// `a · b`, rounded on its own: a compiler cannot fuse it into a following addition.
///
/// Adding −0 in a fused multiply-add changes no value, and compilers fold it into a plain product.
#[cube]
pub(crate) fn mul(a: f32, b: f32) -> f32 {
    fma(a, b, -0.0f32)
}

/// `swint_ir::math::polynomial`.
#[cube]
fn polynomial(x: f32, #[comptime] c: [u32; 7]) -> f32 {
    let mut y = f32::from_bits(comptime!(c[6]));
    #[unroll]
    for i in 0..6usize {
        y = mul(y, x) + f32::from_bits(comptime!(c[5 - i]));
    }
    y
}

/// Bits of coefficients: comptime values must be `Eq`.
const fn bits(c: [f32; 7]) -> [u32; 7] {
    let mut all = [0; 7];
    let mut i = 0;
    while i < 7 {
        all[i] = c[i].to_bits();
        i += 1;
    }
    all
}

const EXP_BITS: [u32; 7] = bits(EXP);
const ERF_SMALL_BITS: [u32; 7] = bits(ERF_SMALL);
const ERF_LARGE_BITS: [u32; 7] = bits(ERF_LARGE);

/// `swint_ir::math::exp`.
#[cube]
pub(crate) fn exp(x: f32) -> f32 {
    let x = max(x, -EXP_LIMIT);
    let x = min(x, EXP_LIMIT);
    let n = (mul(x, LOG2_E) + 0.5f32).floor();
    let r = x - mul(n, LN2_HIGH) - mul(n, LN2_LOW);
    let scale = f32::reinterpret((i32::cast_from(n) + 127i32) << 23i32);
    mul(polynomial(r, EXP_BITS), scale)
}

/// `swint_ir::math::erf`.
#[cube]
fn erf(x: f32) -> f32 {
    let t = x.abs();
    let mut y = mul(x, polynomial(mul(x, x), ERF_SMALL_BITS));
    if t >= 1.0f32 {
        let t = min(t, ERF_LIMIT);
        y = 1.0f32 - exp(0.0f32 - mul(t, polynomial(t, ERF_LARGE_BITS)));
        if x < 0.0f32 {
            y = 0.0f32 - y;
        }
    }
    y
}

/// `swint_ir::math::gelu`.
#[cube]
pub(crate) fn gelu(x: f32) -> f32 {
    mul(mul(0.5f32, x), 1.0f32 + erf(mul(x, std::f32::consts::FRAC_1_SQRT_2)))
}

/// `swint_ir::arith::quantize` to the range `low..=high`.
#[cube]
pub(crate) fn quantize(x: f32, scale: f32, #[comptime] low: i32, #[comptime] high: i32) -> i32 {
    let q = (x / scale + 0.5f32).floor();
    let q = max(q, comptime!(low as f32));
    i32::cast_from(min(q, comptime!(high as f32)))
}

/// `swint_ir::arith::Multiplier::requantize` to the range `low..=high`, elementwise.
///
/// cubecl shifts vectors of signed integers as if they were unsigned. So the product is raised by 2^62, which makes it
/// positive, and what the raise becomes is taken off again: `⌊(v + 2^62) / 2^s⌋ − 2^(62−s) = ⌊v / 2^s⌋`.
#[cube]
pub(crate) fn requantize<N: Size>(
    acc: Vector<i32, N>,
    mantissa: Vector<i32, N>,
    shift: Vector<i32, N>,
    #[comptime] low: i32,
    #[comptime] high: i32,
) -> Vector<i32, N> {
    let one = Vector::<u64, N>::new(1u64);
    let raise = Vector::<u64, N>::new(comptime!(1u64 << 62));
    let shift = Vector::<u64, N>::cast_from(shift);
    let product = Vector::<i64, N>::cast_from(acc) * Vector::<i64, N>::cast_from(mantissa);
    let raised = Vector::<u64, N>::cast_from(product) + (one << (shift - one)) + raise;
    let q = Vector::<i64, N>::cast_from((raised >> shift) - (raise >> shift));
    let q = max(q, Vector::new(comptime!(low as i64)));
    Vector::<i32, N>::cast_from(min(q, Vector::new(comptime!(high as i64))))
}
