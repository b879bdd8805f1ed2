//! Requantization of vectors, where all products that matter are 32 bits wide.

use super::{
    super::math,
    ops::{shift_signed, upper_half},
};
use cubecl::prelude::*;

/// The upper halves of 64-bit products.
#[cube]
pub(super) fn upper<N: Size>(a: Vector<i32, N>, b: Vector<i32, N>) -> Vector<i32, N> {
    let lanes = N::value();
    if comptime!(lanes == 16) {
        upper_half::<N>(a, b)
    } else {
        let product = Vector::<i64, N>::cast_from(a) * Vector::<i64, N>::cast_from(b);
        Vector::cast_from(Vector::<u64, N>::cast_from(product) >> Vector::new(32u64))
    }
}

/// `⌊v / 2^shift + 1/2⌋` for |v| ≤ 2^30 and shifts between 1 and 30.
#[cube]
pub(super) fn shift_rounded<N: Size>(v: Vector<i32, N>, shift: Vector<i32, N>) -> Vector<i32, N> {
    let one = Vector::<i32, N>::new(1i32);
    shift_signed(v + (one << (shift - one)), shift)
}

/// `swint_ir::arith::Multiplier::requantize`. `narrow`: shifts are between 33 and 62, so that the lower half of the product
/// cannot change the result.
#[cube]
pub(super) fn requantize<N: Size>(
    sum: Vector<i32, N>,
    mantissa: Vector<i32, N>,
    shift: Vector<i32, N>,
    #[comptime] narrow: bool,
    #[comptime] low: i32,
    #[comptime] high: i32,
) -> Vector<i32, N> {
    if comptime!(narrow) {
        let q = shift_rounded(upper(sum, mantissa), shift - Vector::new(32i32));
        min(max(q, Vector::new(low)), Vector::new(high))
    } else {
        math::requantize::<N>(sum, mantissa, shift, low, high)
    }
}

/// The same of 16 bits to 16 bits. `narrow`: shifts are between 17 and 46.
#[cube]
pub(super) fn requantize_half<N: Size>(
    x: Vector<i32, N>,
    mantissa: Vector<i32, N>,
    shift: Vector<i32, N>,
    #[comptime] narrow: bool,
) -> Vector<i32, N> {
    if comptime!(narrow) {
        let q = shift_rounded(upper(x << Vector::new(16i32), mantissa), shift - Vector::new(16i32));
        min(max(q, Vector::new(-32768i32)), Vector::new(32767i32))
    } else {
        math::requantize::<N>(x, mantissa, shift, -32768i32, 32767i32)
    }
}
