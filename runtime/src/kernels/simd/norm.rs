//! LayerNorm of rows, a vector of channels at a time.

use super::{
    fixed::{requantize, shift_rounded, upper},
    sums::Own,
};
use crate::kernels::integer::{RowNorm, chunk_start, kept, row_norm};
use cubecl::prelude::*;
use swint_compiler::plan::Rows;

/// Row `row` of a tensor, normalised, in `range` and raised, into `out` from vector `base` on. A chunk has `chunk` vectors.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn norm_row<X: Int, O: Int, N: Size>(
    x: &[Vector<X, N>],
    row: usize,
    map: &[i32],
    gamma: &[Vector<i16, N>],
    beta: &[Vector<i32, N>],
    mantissa: Vector<i32, N>,
    shift: Vector<i32, N>,
    epsilon: i64,
    out: &mut Own<O, N>,
    base: usize,
    chunk: usize,
    parts: usize,
    #[comptime] rows: Rows,
    #[comptime] range: (i32, i32),
    #[comptime] raise: i32,
    #[comptime] narrow: bool,
) {
    let channels = comptime!(rows.len());
    let keep = Vector::<i32, N>::new(kept(row, map, rows));
    let mut sums = Vector::<i32, N>::new(0i32);
    let mut squares = Vector::<u64, N>::new(0u64);
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            let value = Vector::<i32, N>::cast_from(x[start + c]);
            sums += value;
            squares += Vector::<u64, N>::cast_from(Vector::<u32, N>::cast_from(value * value));
        }
    }
    let mut sum = 0i32;
    let mut all_squares = 0u64;
    #[unroll]
    for lane in 0..N::value() {
        sum += sums.extract(lane);
        all_squares += squares.extract(lane);
    }
    let norm = row_norm(sum, i64::cast_from(all_squares), epsilon, channels);
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            let i = p * chunk + c;
            let acc = normalised(&norm, Vector::<i32, N>::cast_from(x[start + c]), gamma[i], beta[i], channels);
            let mut q = requantize(acc, mantissa, shift, narrow, comptime!(range.0), comptime!(range.1));
            if comptime!(rows.padded) {
                q *= keep;
            }
            out[base + i] = Vector::cast_from(q + Vector::<i32, N>::new(raise));
        }
    }
}

/// `swint_ir::arith::layer_norm::RowNorm::apply`, times γ, plus β.
#[cube]
fn normalised<N: Size>(
    norm: &RowNorm,
    x: Vector<i32, N>,
    gamma: Vector<i16, N>,
    beta: Vector<i32, N>,
    #[comptime] channels: usize,
) -> Vector<i32, N> {
    let d = (x * Vector::<i32, N>::new(comptime!(channels as i32)) - Vector::<i32, N>::new(norm.sum))
        << Vector::<i32, N>::new(norm.lift);
    let n = shift_rounded(upper(d, Vector::<i32, N>::new(norm.reciprocal)), Vector::<i32, N>::new(norm.shift));
    let n = min(max(n, Vector::<i32, N>::new(-32767i32)), Vector::<i32, N>::new(32767i32));
    n * Vector::<i32, N>::cast_from(gamma) + beta
}
