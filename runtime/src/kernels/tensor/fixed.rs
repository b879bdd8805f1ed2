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

/// The same of 16 bits to 16 bits. `narrow`: the shift is between 17 and 47.
#[cube]
pub(super) fn requantize_half(x: i32, mantissa: i32, shift: i32, #[comptime] narrow: bool) -> i32 {
    if comptime!(narrow) {
        let q = ((x << 16i32).mul_hi(mantissa) + (1i32 << (shift - 17i32))) >> (shift - 16i32);
        min(max(q, -32768i32), 32767i32)
    } else {
        integer::requantize(x, mantissa, shift, -32768i32, 32767i32)
    }
}
