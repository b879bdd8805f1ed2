//! Requantization of vectors, where all products that matter are 32 bits wide.

use super::{super::math, Eight};
use cubecl::prelude::*;

/// The upper halves of 64-bit products.
#[cube]
pub(super) fn upper(a: Eight, b: Eight) -> Eight {
    let product = Vector::<i64, Const<8>>::cast_from(a) * Vector::<i64, Const<8>>::cast_from(b);
    Eight::cast_from(Vector::<u64, Const<8>>::cast_from(product) >> Vector::new(32u64))
}

/// `⌊v / 2^shift + 1/2⌋` for |v| ≤ 2^30 and shifts between 1 and 30.
///
/// As in [`math::requantize`], v is raised, by 2^30, since cubecl shifts vectors of signed integers as if they were unsigned.
#[cube]
pub(super) fn shift_rounded(v: Eight, shift: Eight) -> Eight {
    let one = Vector::<u32, Const<8>>::new(1u32);
    let raise = Vector::<u32, Const<8>>::new(comptime!(1u32 << 30));
    let shift = Vector::<u32, Const<8>>::cast_from(shift);
    let raised = Vector::<u32, Const<8>>::cast_from(v) + (one << (shift - one)) + raise;
    Eight::cast_from((raised >> shift) - (raise >> shift))
}

/// `swint_ir::arith::Multiplier::requantize`. `narrow`: shifts are between 33 and 62, so that the lower half of the product
/// cannot change the result.
#[cube]
pub(super) fn requantize(
    sum: Eight,
    mantissa: Eight,
    shift: Eight,
    #[comptime] narrow: bool,
    #[comptime] low: i32,
    #[comptime] high: i32,
) -> Eight {
    if comptime!(narrow) {
        let q = shift_rounded(upper(sum, mantissa), shift - Eight::new(32i32));
        min(max(q, Eight::new(low)), Eight::new(high))
    } else {
        math::requantize::<Const<8>>(sum, mantissa, shift, low, high)
    }
}

/// The same of 16 bits to 16 bits. `narrow`: shifts are between 17 and 46.
#[cube]
pub(super) fn requantize_half(x: Eight, mantissa: Eight, shift: Eight, #[comptime] narrow: bool) -> Eight {
    if comptime!(narrow) {
        let q = shift_rounded(upper(x << Eight::new(16i32), mantissa), shift - Eight::new(16i32));
        min(max(q, Eight::new(-32768i32)), Eight::new(32767i32))
    } else {
        math::requantize::<Const<8>>(x, mantissa, shift, -32768i32, 32767i32)
    }
}
