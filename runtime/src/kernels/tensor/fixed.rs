//! Requantization where all products that matter are 32 bits wide.

use super::super::integer;
use cubecl::prelude::*;

/// `swint_ir::arith::Multiplier::requantize` of a sum. `narrow`: the shift is at least 33, so that the lower half of the
/// product cannot change the result.
#[cube]
pub(super) fn requantize(
    sum: i32,
    mantissa: i32,
    shift: i32,
    #[comptime] narrow: bool,
    #[comptime] low: i32,
    #[comptime] high: i32,
) -> i32 {
    let q = rounded(sum, mantissa, shift, narrow, low, high);
    if comptime!(narrow) { min(max(q, low), high) } else { q }
}

/// [`requantize`] for what saturates by itself at `low` and `high`: the result may be beyond.
#[cube]
pub(super) fn rounded(
    sum: i32,
    mantissa: i32,
    shift: i32,
    #[comptime] narrow: bool,
    #[comptime] low: i32,
    #[comptime] high: i32,
) -> i32 {
    if comptime!(narrow) {
        (sum.mul_hi(mantissa) + (1i32 << (shift - 33i32))) >> (shift - 32i32)
    } else {
        integer::requantize(sum, mantissa, shift, low, high)
    }
}

/// A value of 16 bits, requantized to 16 bits. `narrow`: the shift is between 17 and 47.
#[cube]
pub(super) fn requantize_half(x: i32, mantissa: i32, shift: i32, #[comptime] narrow: bool) -> i32 {
    if comptime!(narrow) {
        let q = ((x << 16i32).mul_hi(mantissa) + (1i32 << (shift - 17i32))) >> (shift - 16i32);
        min(max(q, -32768i32), 32767i32)
    } else {
        integer::requantize(x, mantissa, shift, -32768i32, 32767i32)
    }
}

/// The upper half of `x·m + c`, shifted, of constants as `swint_compiler::plan::pack::of_sums` has them.
#[cube]
fn upper(x: i32, column: Vector<i32, Const<4>>) -> i32 {
    let c = (i64::cast_from(column.extract(2usize)) << 32i64) | i64::cast_from(u32::cast_from(column.extract(0usize)));
    let wide = i64::cast_from(x) * i64::cast_from(column.extract(1usize)) + c;
    i32::cast_from(wide >> 32i64) >> column.extract(3usize)
}

/// A sum, with the bias of its column, requantized; `narrow` as [`requantize`] has it, and then the result may be beyond `low` and `high`.
#[cube]
pub(super) fn scaled(
    sum: i32,
    column: Vector<i32, Const<4>>,
    #[comptime] narrow: bool,
    #[comptime] low: i32,
    #[comptime] high: i32,
) -> i32 {
    if comptime!(narrow) {
        upper(sum, column)
    } else {
        let sum = sum + column.extract(0usize);
        integer::requantize(sum, column.extract(1usize), column.extract(3usize), low, high)
    }
}

/// A value of 16 bits, requantized to 16 bits. `narrow`: the shift is between 17 and 47.
#[cube]
pub(super) fn scaled_half(x: i32, column: Vector<i32, Const<4>>, #[comptime] narrow: bool) -> i32 {
    if comptime!(narrow) {
        min(max(upper(x << 16i32, column), -32768i32), 32767i32)
    } else {
        integer::requantize(x, column.extract(1usize), column.extract(3usize), -32768i32, 32767i32)
    }
}
