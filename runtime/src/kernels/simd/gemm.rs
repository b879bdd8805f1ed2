//! The int8 matrix product, with what comes before and after it.
//!
//! A unit takes a tile of rows into its own memory, normalised or as they are, as 16-bit integers or as bytes that
//! are not negative, and makes all their results, one panel of columns after the other: what it has read of a panel serves all rows of the tile.

use super::{
    fixed::{requantize, requantize_half},
    norm::norm_row,
    ops::{Bytes, look_up},
    sums::{Own, ROWS, sums},
};
use crate::kernels::{
    integer::{chunk_start, kept},
    unit_items,
};
use cubecl::prelude::*;
use swint_compiler::plan::{Dots, Rows};

/// Everything about a matrix product that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Product {
    /// How it is tiled.
    pub tiles: Dots,
    /// Its rows.
    pub rows: Rows,
    /// Elements of them that are taken at once.
    pub width: usize,
    /// What is added to their values, so that bytes are not negative.
    pub raise: i32,
    /// Results of a row.
    pub n: usize,
    /// Whether rows are normalised first.
    pub norm: bool,
    /// Whether rows are requantized to bytes first.
    pub cast: bool,
    /// Whether there is a bias that sums do not begin with.
    pub bias: bool,
    /// The range that sums are requantized to; `None`: they are the results.
    pub range: Option<(i32, i32)>,
    /// Whether what they are requantized to goes through a table.
    pub table: bool,
    /// Whether a residual stream is added.
    pub residual: bool,
}

/// A matrix product; an item is a tile of rows, which are made of O near the core. What is absent may be any buffer; `registers` are the table. A chunk has
/// `chunk` vectors of N, a row `words` of S elements, a vector of results L lanes, one of weights B bytes.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gemm<X: Int, Y: Int, O: Int, N: Size, S: Size, L: Size, B: Size>(
    x: &[Vector<X, N>],
    gamma: &[Vector<i16, N>],
    beta: &[Vector<i32, N>],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    w: &[Vector<i8, B>],
    bias: &[Vector<i32, L>],
    mantissas: &[Vector<i32, L>],
    shifts: &[Vector<i32, L>],
    table: &[Y],
    registers: &[Bytes],
    r: &[Vector<i16, L>],
    r_mantissas: &[Vector<i32, L>],
    r_shifts: &[Vector<i32, L>],
    map: &[i32],
    y: &mut [Vector<Y, L>],
    epsilon: i64,
    rows: u32,
    chunk: u32,
    parts: u32,
    words: u32,
    panels: u32,
    items: u32,
    #[comptime] p: Product,
    #[comptime] per_unit: u32,
) {
    let (rows, chunk, parts) = (rows as usize, chunk as usize, parts as usize);
    let (words, panels) = (words as usize, panels as usize);
    let (k, tile) = comptime!((p.rows.len(), ROWS * p.tiles.groups));
    let mut own = Own::<O, N>::new(comptime!(tile * k / p.width));
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let row = item as usize * tile;
        let groups = (min(tile, rows - row) + comptime!(ROWS - 1)) / ROWS;
        for i in 0..groups * ROWS {
            let from = min(row + i, rows - 1);
            let (mantissa, shift) = (Vector::new(norm_mantissa[0]), Vector::new(norm_shift[0]));
            if comptime!(p.norm) {
                norm_row::<X, O, N>(
                    x,
                    from,
                    map,
                    gamma,
                    beta,
                    mantissa,
                    shift,
                    epsilon,
                    &mut own,
                    i * comptime!(k / p.width),
                    chunk,
                    parts,
                    comptime!(p.rows),
                    (-128i32, 127i32),
                    comptime!(p.raise),
                    comptime!(p.tiles.narrow),
                );
            } else if comptime!(p.cast) {
                cast_row::<X, O, N>(
                    x,
                    from,
                    map,
                    mantissa,
                    shift,
                    &mut own,
                    i * comptime!(k / p.width),
                    chunk,
                    parts,
                    comptime!(p.rows),
                    comptime!(p.raise),
                    comptime!(p.tiles.narrow),
                );
            } else {
                take_row::<X, O, N>(
                    x,
                    from,
                    map,
                    &mut own,
                    i * comptime!(k / p.width),
                    chunk,
                    parts,
                    comptime!(p.rows),
                    comptime!(p.raise),
                );
            }
        }
        let own = own.as_slice().with_vector_size::<S>();
        for panel in 0..panels {
            let column = panel * comptime!(p.tiles.vectors);
            for group in 0..groups {
                let pitch = comptime!(k / p.tiles.products);
                let start = column * (words + comptime!(usize::from(p.tiles.products == 4)));
                let base = group * comptime!(ROWS * pitch);
                let sums = sums::<O, S, L, B>(own, base, w, start, words, pitch, comptime!(p.tiles));
                finish::<Y, L>(
                    &sums,
                    bias,
                    mantissas,
                    shifts,
                    table,
                    registers,
                    r,
                    r_mantissas,
                    r_shifts,
                    y,
                    row + group * ROWS,
                    rows,
                    column,
                    p,
                );
            }
        }
    }
}

/// Row `row` of a tensor, requantized to bytes and raised, into `out` from vector `base` on.
#[cube]
#[allow(clippy::too_many_arguments)]
fn cast_row<X: Int, O: Int, N: Size>(
    x: &[Vector<X, N>],
    row: usize,
    map: &[i32],
    mantissa: Vector<i32, N>,
    shift: Vector<i32, N>,
    out: &mut Own<O, N>,
    base: usize,
    chunk: usize,
    parts: usize,
    #[comptime] rows: Rows,
    #[comptime] raise: i32,
    #[comptime] narrow: bool,
) {
    let keep = Vector::<i32, N>::new(kept(row, map, rows));
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            let mut q = requantize(Vector::<i32, N>::cast_from(x[start + c]), mantissa, shift, narrow, -128i32, 127i32);
            if comptime!(rows.padded) {
                q *= keep;
            }
            out[base + p * chunk + c] = Vector::cast_from(q + Vector::<i32, N>::new(raise));
        }
    }
}

/// Row `row` of a tensor, raised, into `out` from vector `base` on.
#[cube]
#[allow(clippy::too_many_arguments)]
fn take_row<X: Int, O: Int, N: Size>(
    x: &[Vector<X, N>],
    row: usize,
    map: &[i32],
    out: &mut Own<O, N>,
    base: usize,
    chunk: usize,
    parts: usize,
    #[comptime] rows: Rows,
    #[comptime] raise: i32,
) {
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            out[base + p * chunk + c] =
                Vector::cast_from(Vector::<i32, N>::cast_from(x[start + c]) + Vector::new(raise));
        }
    }
}

/// What becomes of the sums of [`ROWS`] rows from `first` on, for a panel whose first vector of columns is `column`: bias,
/// requantization, a table or the residual stream.
#[cube]
#[allow(clippy::too_many_arguments)]
fn finish<Y: Int, L: Size>(
    sums: &Array<Vector<i32, L>>,
    bias: &[Vector<i32, L>],
    mantissas: &[Vector<i32, L>],
    shifts: &[Vector<i32, L>],
    table: &[Y],
    registers: &[Bytes],
    r: &[Vector<i16, L>],
    r_mantissas: &[Vector<i32, L>],
    r_shifts: &[Vector<i32, L>],
    y: &mut [Vector<Y, L>],
    first: usize,
    rows: usize,
    column: usize,
    #[comptime] p: Product,
) {
    let (narrow, vectors) = comptime!((p.tiles.narrow, p.tiles.vectors));
    let (low, high) = comptime!(p.range.unwrap_or((0, 0)));
    // A loop's code is there once, not for every row; but only memory has numbers that are not known to the compiler.
    let mut all = Array::<Vector<i32, L>>::new(comptime!(ROWS * vectors));
    #[unroll]
    for i in 0..comptime!(ROWS * vectors) {
        all[i] = sums[i];
    }
    let mut mantissa = Array::<Vector<i32, L>>::new(vectors);
    let mut shift = Array::<Vector<i32, L>>::new(vectors);
    if comptime!(p.range.is_some()) {
        #[unroll]
        for v in 0..vectors {
            mantissa[v] = mantissas[column + v];
            shift[v] = shifts[column + v];
        }
    }
    for i in 0..ROWS {
        // Rows past the last are the last one's.
        let start = min(first + i, rows - 1) * comptime!(p.n / p.tiles.lanes) + column;
        let mut indices = Vector::<u64, Const<8>>::empty();
        #[unroll]
        for v in 0..vectors {
            let at = start + v;
            let mut q = all[i * vectors + v];
            if comptime!(p.bias) {
                q += bias[column + v];
            }
            if comptime!(p.range.is_some()) {
                q = requantize(q, mantissa[v], shift[v], narrow, low, high);
            }
            if comptime!(p.residual) {
                let stream = Vector::<i32, L>::cast_from(r[at]);
                let add = requantize_half(stream, r_mantissas[column + v], r_shifts[column + v], narrow);
                q = min(max(q + add, Vector::new(-32768i32)), Vector::new(32767i32));
            }
            if comptime!(!p.table) {
                y[at] = Vector::cast_from(q);
            } else if comptime!(p.tiles.tables) {
                let bytes = Vector::<u8, L>::cast_from(q - Vector::new(low));
                let two = Vector::<u64, Const<2>>::reinterpret(bytes);
                indices.insert(comptime!(2 * v), two.extract(0usize));
                indices.insert(comptime!(2 * v + 1), two.extract(1usize));
            } else {
                let mut results = Vector::<Y, L>::empty();
                #[unroll]
                for lane in 0..comptime!(p.tiles.lanes) {
                    results.insert(lane, table[(q.extract(lane) - low) as usize]);
                }
                y[at] = results;
            }
        }
        if comptime!(p.table && p.tiles.tables) {
            let results = Vector::<u64, Const<8>>::reinterpret(look_up(registers, 0usize, Bytes::reinterpret(indices)));
            #[unroll]
            for v in 0..vectors {
                let mut two = Vector::<u64, Const<2>>::empty();
                two.insert(0usize, results.extract(comptime!(2 * v)));
                two.insert(1usize, results.extract(comptime!(2 * v + 1)));
                y[start + v] = Vector::reinterpret(two);
            }
        }
    }
}
