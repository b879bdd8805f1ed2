//! The patch embedding on bytes: a matrix product of few rows at a time, and the LayerNorm of its results.

use super::{
    fixed::requantize,
    norm::norm_row,
    sums::{Own, ROWS, sums},
};
use crate::kernels::{integer::chunk_start, unit_items};
use cubecl::prelude::*;
use swint_compiler::plan::{Dots, Rows};

/// Everything about a patch embedding that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Patches {
    /// How it is tiled.
    pub tiles: Dots,
    /// Its rows: patches.
    pub rows: Rows,
    /// What is added to their values, so that bytes are not negative.
    pub raise: i32,
    /// Channels.
    pub n: usize,
}

/// `y = qlayer_norm(requantize(patches · weights + bias))` in 16 bits; an item is [`ROWS`] patches. A patch is `words` words of four
/// bytes; weights begin with the bias. `map` is any buffer where nothing is moved.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn embed<X: Int, L: Size, B: Size>(
    x: &[X],
    w: &[Vector<i8, B>],
    mantissas: &[Vector<i32, L>],
    shifts: &[Vector<i32, L>],
    gamma: &[Vector<i16, L>],
    beta: &[Vector<i32, L>],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    map: &[i32],
    y: &mut [Vector<i16, L>],
    epsilon: i64,
    rows: u32,
    parts: u32,
    words: u32,
    panels: u32,
    items: u32,
    #[comptime] p: Patches,
    #[comptime] per_unit: u32,
) {
    let (rows, parts) = (rows as usize, parts as usize);
    let (words, panels) = (words as usize, panels as usize);
    let (k, vectors, narrow) = comptime!((p.rows.len(), p.tiles.vectors, p.tiles.narrow));
    let mut own = Array::<Vector<u8, Const<4>>>::new(comptime!(ROWS * k / 4));
    let mut results = Own::<i16, L>::new(comptime!(ROWS * p.n / p.tiles.lanes));
    let mut normed = Own::<i16, L>::new(comptime!(p.n / p.tiles.lanes));
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let row = item as usize * ROWS;
        for i in 0..ROWS {
            // Rows past the last are the last one's.
            let from = min(row + i, rows - 1);
            for word in 0..words {
                let mut four = Vector::<u8, Const<4>>::empty();
                #[unroll]
                for lane in 0..4usize {
                    let at = word * 4 + lane;
                    let chunk = comptime!(p.rows.chunk);
                    let start = chunk_start(from * parts + at / chunk, map, chunk, comptime!(p.rows));
                    four.insert(lane, u8::cast_from(i32::cast_from(x[start + at % chunk]) + p.raise));
                }
                own[i * comptime!(k / 4) + word] = four;
            }
        }
        for panel in 0..panels {
            let column = panel * vectors;
            let products = sums::<u8, Const<4>, L, B>(
                own.as_slice(),
                0usize,
                w,
                column * (words + 1),
                words,
                comptime!(k / 4),
                comptime!(p.tiles),
            );
            #[unroll]
            for v in 0..vectors {
                let (mantissa, shift) = (mantissas[column + v], shifts[column + v]);
                #[unroll]
                for i in 0..ROWS {
                    let sum = products[comptime!(i * vectors + v)];
                    let q = requantize(sum, mantissa, shift, narrow, -32768i32, 32767i32);
                    results[comptime!(i * p.n / p.tiles.lanes + v) + column] = Vector::cast_from(q);
                }
            }
        }
        for i in 0..ROWS {
            norm_row::<i16, i16, L>(
                results.as_slice(),
                i,
                map,
                gamma,
                beta,
                Vector::new(norm_mantissa[0]),
                Vector::new(norm_shift[0]),
                epsilon,
                &mut normed,
                0usize,
                comptime!(p.n / p.tiles.lanes),
                1usize,
                comptime!(Rows::plain(p.n)),
                (-32768i32, 32767i32),
                0i32,
                narrow,
            );
            let at = min(row + i, rows - 1) * comptime!(p.n / p.tiles.lanes);
            for c in 0..comptime!(p.n / p.tiles.lanes) {
                y[at + c] = normed[c];
            }
        }
    }
}
