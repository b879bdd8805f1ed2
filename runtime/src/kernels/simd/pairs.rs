//! Sums of products, two at a time.
//!
//! Two 16-bit products that are added at once are one instruction on most processors (`vpmaddwd`, with AVX-512 VNNI
//! `vpdpwssd`, which adds to the sum, too), and LLVM finds it in 32-bit products of widened vectors whose even lanes are added
//! to the odd ones. So both operands come as pairs of consecutive k: weights are packed so, and a pair of a row serves all
//! columns.

use super::Eight;
use cubecl::prelude::*;
use swint_compiler::plan::{PAIRS, Pairs};

/// Eight pairs.
pub(super) type Sixteen = Vector<i16, Const<16>>;

/// A unit's own rows. cubecl sets every element of an array to 0, which takes LLVM long where they are many: so these are vectors.
pub(super) type Own = Array<Vector<i16, Const<8>>>;

/// The pair of a row.
pub(super) type Pair = Vector<i16, Const<2>>;

/// Rows whose sums are in registers at the same time: each weight that is loaded serves as many.
pub(super) const ROWS: usize = 4;

/// `sums` and the products of eight pairs.
#[cube]
pub(super) fn multiply(x: Sixteen, w: Sixteen, sums: Eight) -> Eight {
    let products = Vector::<i32, Const<16>>::cast_from(x) * Vector::<i32, Const<16>>::cast_from(w);
    let mut even = Eight::empty();
    let mut odd = Eight::empty();
    #[unroll]
    for lane in 0..PAIRS {
        even.insert(lane, products.extract(comptime!(2 * lane)));
        odd.insert(lane, products.extract(comptime!(2 * lane + 1)));
    }
    sums + (even + odd)
}

/// Eight times a pair.
#[cube]
pub(super) fn eightfold(pair: Pair) -> Sixteen {
    Sixteen::reinterpret(Vector::<u32, Const<8>>::new(u32::reinterpret(pair)))
}

/// Sums of [`ROWS`] rows, which begin every `pitch` pairs from `base` on, for the columns of the panel of weights that begins at
/// `start`; all columns of a row follow each other.
#[cube]
pub(super) fn sums(
    x: &[Pair],
    base: usize,
    w: &[Vector<i8, Const<16>>],
    start: usize,
    pairs: usize,
    #[comptime] pitch: usize,
    #[comptime] tiles: Pairs,
) -> Array<Eight> {
    let vectors = comptime!(tiles.vectors);
    let mut sums = Array::<Eight>::new(comptime!(ROWS * vectors));
    #[unroll]
    for i in 0..comptime!(ROWS * vectors) {
        sums[i] = Eight::new(0i32);
    }
    for i in 0..pairs {
        let mut weights = Array::<Sixteen>::new(vectors);
        #[unroll]
        for v in 0..vectors {
            weights[v] = Sixteen::cast_from(w[start + i * vectors + v]);
        }
        #[unroll]
        for r in 0..ROWS {
            let values = eightfold(x[base + comptime!(r * pitch) + i]);
            #[unroll]
            for v in 0..vectors {
                let at = comptime!(r * vectors + v);
                sums[at] = multiply(values, weights[v], sums[at]);
            }
        }
    }
    sums
}
