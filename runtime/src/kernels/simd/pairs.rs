//! Sums of products, two at a time.
//!
//! Two 16-bit products that are added at once are one instruction on most processors (`vpmaddwd`, with AVX-512 VNNI
//! `vpdpwssd`, which adds to the sum, too), and LLVM finds it in 32-bit products of widened vectors whose even lanes are added
//! to the odd ones. So both operands come as pairs of consecutive k: weights are packed so, and a pair of a row serves all
//! columns.

use cubecl::prelude::*;

/// Eight pairs.
pub(super) type Sixteen = Vector<i16, Const<16>>;

/// `sums` and the products of as many pairs.
#[cube]
pub(super) fn multiply<L: Size, B: Size>(x: Vector<i16, B>, w: Vector<i16, B>, sums: Vector<i32, L>) -> Vector<i32, L> {
    let products = Vector::<i32, B>::cast_from(x) * Vector::<i32, B>::cast_from(w);
    let mut even = Vector::<i32, L>::empty();
    let mut odd = Vector::<i32, L>::empty();
    #[unroll]
    for lane in 0..L::value() {
        even.insert(lane, products.extract(comptime!(2 * lane)));
        odd.insert(lane, products.extract(comptime!(2 * lane + 1)));
    }
    sums + (even + odd)
}

/// Eight times a pair.
#[cube]
pub(super) fn eightfold(pair: Vector<i16, Const<2>>) -> Sixteen {
    Sixteen::reinterpret(Vector::<u32, Const<8>>::new(u32::reinterpret(pair)))
}
