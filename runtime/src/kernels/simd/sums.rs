//! Sums of products of rows that are near with panels of weights.

use super::{ops, pairs};
use cubecl::prelude::*;
use swint_compiler::plan::Dots;

/// A unit's own rows. cubecl sets every element of an array to 0, which takes LLVM long where they are many: so these are vectors.
pub(super) type Own<O, N> = Array<Vector<O, N>>;

/// Rows whose sums are in registers at the same time: each weight that is loaded serves as many.
pub(super) const ROWS: usize = 4;

/// Sums of [`ROWS`] rows, which begin every `pitch` words from `base` on, for the columns of the panel of weights that begins at
/// `start`; all columns of a row follow each other. A word is what meets a column at once: two 16-bit integers, or four bytes.
#[cube]
pub(super) fn sums<O: Int, W: Size, L: Size, B: Size>(
    x: &[Vector<O, W>],
    base: usize,
    w: &[Vector<i8, B>],
    start: usize,
    words: usize,
    #[comptime] pitch: usize,
    #[comptime] tiles: Dots,
) -> Array<Vector<i32, L>> {
    let vectors = comptime!(tiles.vectors);
    let mut sums = Array::<Vector<i32, L>>::new(comptime!(ROWS * vectors));
    #[unroll]
    for i in 0..comptime!(ROWS * vectors) {
        if comptime!(tiles.products == 4) {
            sums[i] = Vector::reinterpret(w[start + comptime!(i % vectors)]);
        } else {
            sums[i] = Vector::new(0i32);
        }
    }
    let first = start + comptime!(if tiles.products == 4 { vectors } else { 0 });
    for i in 0..words {
        let mut weights = Array::<Vector<i8, B>>::new(vectors);
        #[unroll]
        for v in 0..vectors {
            weights[v] = w[first + i * vectors + v];
        }
        #[unroll]
        for r in 0..ROWS {
            let word = Vector::<u32, L>::new(u32::reinterpret(x[base + comptime!(r * pitch) + i]));
            #[unroll]
            for v in 0..vectors {
                let at = comptime!(r * vectors + v);
                sums[at] = multiply::<L, B>(word, weights[v], sums[at], tiles);
            }
        }
    }
    sums
}

/// `sums` and the products of a word with each column's.
#[cube]
fn multiply<L: Size, B: Size>(
    word: Vector<u32, L>,
    w: Vector<i8, B>,
    sums: Vector<i32, L>,
    #[comptime] tiles: Dots,
) -> Vector<i32, L> {
    if comptime!(tiles.products == 4) {
        ops::dot::<L, B>(sums, Vector::reinterpret(word), w)
    } else {
        pairs::multiply::<L, B>(Vector::reinterpret(word), Vector::cast_from(w), sums)
    }
}
