//! Vectors at length 1: q and k of cosine attention. Operation for operation as the interpreter's `l2_norm` and
//! `swint_ir::arith::l2_norm`.

use super::{
    integer::{lifted, requantize, root_and_reciprocal},
    math::mul,
    unit_items,
};
use cubecl::prelude::*;
use swint_ir::arith::l2_norm::UNIT_BITS;

/// An item is a head of a row.
#[cube(launch_unchecked)]
pub(crate) fn l2_norm(
    x: &[f32],
    y: &mut [f32],
    eps: f32,
    items: u32,
    #[comptime] channels: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = item as usize * channels;
        let mut squares = 0.0f32;
        for c in 0..channels {
            squares += mul(x[start + c], x[start + c]);
        }
        let length = max(squares.sqrt(), eps);
        for c in 0..channels {
            y[start + c] = x[start + c] / length;
        }
    }
}

/// `swint_ir::arith::l2_norm::HeadNorm`.
#[derive(CubeType, Clone, Copy)]
pub(super) struct HeadNorm {
    pub(super) reciprocal: i32,
    pub(super) half: i32,
}

/// `HeadNorm::of`, from a sum of squares.
#[cube]
pub(super) fn head_norm(squares: i64) -> HeadNorm {
    // Of zeros any length will do.
    let (v, half) = lifted(max(u64::cast_from(squares), 1u64));
    let (_, reciprocal) = root_and_reciprocal(v);
    HeadNorm { reciprocal, half: i32::cast_from(half) }
}

/// `HeadNorm::apply`: `⌊x·reciprocal·2^half / 2^46 + 1/2⌋`, by the upper half of a product of 32 bits, as `x² ≤ Σx² < 2^(62 − 2·half)`.
#[cube]
pub(super) fn unit(norm: &HeadNorm, x: i32) -> i32 {
    let down = comptime!(61 - UNIT_BITS as i32 - 32);
    ((x << norm.half).mul_hi(norm.reciprocal) + comptime!(1i32 << (down - 1))) >> down
}

/// An item is a head of a row. The result is requantized to the range `low..=high`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn q_l2_norm<X: Int, Y: Int>(
    x: &[X],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [Y],
    items: u32,
    #[comptime] channels: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = item as usize * channels;
        let mut squares = 0i64;
        for c in 0..channels {
            let value = i32::cast_from(x[start + c]);
            squares += i64::cast_from(value * value);
        }
        let norm = head_norm(squares);
        for c in 0..channels {
            let value = unit(&norm, i32::cast_from(x[start + c]));
            y[start + c] = Y::cast_from(requantize(value, mantissa[0], shift[0], low, high));
        }
    }
}
