//! Rows of integers: LayerNorm, softmax. Operation for operation as `swint_ir::arith::layer_norm` and `softmax`.

use super::unit_items;
use cubecl::prelude::*;
use swint_ir::arith::{layer_norm::NORM_BITS, softmax::EXPONENT_BITS};

/// `⌊v / 2^shift + 1/2⌋` for |v| ≤ 2^62 and a shift of at least 1.
///
/// As in `math::requantize`, v is raised by 2^62: shifts of signed integers are not the same on every backend.
#[cube]
pub(super) fn shift_rounded(v: i64, shift: u64) -> i64 {
    let raise = comptime!(1u64 << 62);
    let raised = u64::cast_from(v) + (1u64 << (shift - 1u64)) + raise;
    i64::cast_from((raised >> shift) - (raise >> shift))
}

/// `swint_ir::arith::Multiplier::requantize` of one value.
#[cube]
pub(super) fn requantize(acc: i32, mantissa: i32, shift: i32, #[comptime] low: i32, #[comptime] high: i32) -> i32 {
    let q = shift_rounded(i64::cast_from(acc) * i64::cast_from(mantissa), u64::cast_from(shift));
    i32::cast_from(min(max(q, comptime!(low as i64)), comptime!(high as i64)))
}

/// `swint_ir::arith::layer_norm::root`.
#[cube]
fn root(v: u64) -> u64 {
    let mut rest = v;
    let mut root = 0u64;
    let mut bit = comptime!(1u64 << 60).runtime();
    for _ in 0..31u32 {
        let trial = root + bit;
        root >>= 1u64;
        if rest >= trial {
            rest -= trial;
            root += bit;
        }
        bit >>= 2u64;
    }
    root
}

/// `⌊n / d⌋` where it has at most `bits` bits and `d·2^bits` fits in 64; a bit at a time. NVIDIA's machine code for `/` goes
/// through a floating-point reciprocal.
#[cube]
pub(super) fn divide(n: u64, d: u64, #[comptime] bits: u32) -> u64 {
    let mut rest = n;
    let mut quotient = 0u64;
    for i in 0..bits {
        let bit = u64::cast_from(bits - 1 - i);
        let part = d << bit;
        if rest >= part {
            rest -= part;
            quotient += 1u64 << bit;
        }
    }
    quotient
}

/// Where the rows of a kernel begin: chunk `c` of a tensor, or the one that an index map of `period` chunks an image takes for
/// it. `map` is any buffer where `period` is 0.
#[cube]
pub(super) fn chunk_start(c: usize, map: &[i32], chunk: usize, #[comptime] period: usize) -> usize {
    let mut source = c;
    if comptime!(period > 0) {
        source = c / period * period + map[c % period] as usize;
    }
    source * chunk
}

/// `swint_ir::arith::layer_norm::RowNorm`.
#[derive(CubeType, Clone, Copy)]
pub(super) struct RowNorm {
    sum: i32,
    reciprocal: i64,
    by: u64,
}

/// `RowNorm::of` for a row from its sum and its sum of squares.
#[cube]
pub(super) fn row_norm(sum: i32, squares: i64, epsilon: i64, #[comptime] channels: usize) -> RowNorm {
    let wide = i64::cast_from(sum);
    let variance = comptime!(channels as i64) * squares - wide * wide;
    let mut v = u64::cast_from(variance) + (u64::cast_from(epsilon) >> 16u64);
    let mut half = 0u64;
    if variance < comptime!(1i64 << 44) {
        v = (u64::cast_from(variance) << 16u64) + u64::cast_from(epsilon);
        half = 8u64;
    }
    while v < comptime!(1u64 << 60) {
        v <<= 2u64;
        half += 1u64;
    }
    // The root is at least 2^30.
    let reciprocal = i64::cast_from(divide(comptime!(1u64 << 61).runtime(), root(v), 32u32));
    RowNorm { sum, reciprocal, by: comptime!(61 - NORM_BITS as u64) - half }
}

/// `RowNorm::apply`, times γ, plus β.
#[cube]
pub(super) fn normalised(norm: &RowNorm, x: i32, gamma: i16, beta: i32, #[comptime] channels: usize) -> i32 {
    let d = i64::cast_from(x * comptime!(channels as i32) - norm.sum);
    let n = shift_rounded(d * norm.reciprocal, norm.by);
    let n = i32::cast_from(min(max(n, -32767i64), 32767i64));
    n * i32::cast_from(gamma) + beta
}

/// An item is a row. The result is requantized to the range `low..=high`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn q_layer_norm<X: Int, Y: Int>(
    x: &[X],
    gamma: &[i16],
    beta: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [Y],
    epsilon: i64,
    items: u32,
    #[comptime] channels: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = item as usize * channels;
        let mut sum = 0i32;
        let mut squares = 0i64;
        for c in 0..channels {
            let value = i32::cast_from(x[start + c]);
            sum += value;
            squares += i64::cast_from(value * value);
        }
        let norm = row_norm(sum, squares, epsilon, channels);
        for c in 0..channels {
            let acc = normalised(&norm, i32::cast_from(x[start + c]), gamma[c], beta[c], channels);
            y[start + c] = Y::cast_from(requantize(acc, mantissa[0], shift[0], low, high));
        }
    }
}

/// An item is a row of `n`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn q_softmax(
    x: &[i32],
    table: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [u8],
    items: u32,
    #[comptime] n: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = item as usize * n;
        let mut largest = x[start];
        for i in 0..n {
            largest = max(largest, x[start + i]);
        }
        let mut sum = 0u64;
        for i in 0..n {
            sum += u64::cast_from(term(x[start + i], largest, table, mantissa[0], shift[0]));
        }
        // The largest term is 2^15.
        let reciprocal = i64::cast_from(divide(comptime!(255u64 << 30).runtime(), sum, 23u32));
        for i in 0..n {
            // The terms are made a second time rather than kept: 8 bits of the result do not hold them.
            let e = i64::cast_from(term(x[start + i], largest, table, mantissa[0], shift[0]));
            y[start + i] = u8::cast_from(shift_rounded(e * reciprocal, 30u64));
        }
    }
}

/// `swint_ir::arith::softmax::exp2` of the requantized distance from the maximum.
#[cube]
pub(super) fn term(x: i32, largest: i32, table: &[i32], mantissa: i32, shift: i32) -> i32 {
    let distance = min(i64::cast_from(largest) - i64::cast_from(x), comptime!(i32::MAX as i64));
    let u = shift_rounded(distance * i64::cast_from(mantissa), u64::cast_from(shift));
    let u = u32::cast_from(min(u, comptime!(16i64 << EXPONENT_BITS)));
    let entry = u32::cast_from(table[(u & 255u32) as usize]);
    i32::cast_from(entry >> (u >> comptime!(EXPONENT_BITS)))
}
