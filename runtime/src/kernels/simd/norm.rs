//! LayerNorm of rows, eight channels at a time.

use super::{
    Eight,
    fixed::{requantize, shift_rounded, upper},
    sums::Own,
};
use crate::kernels::integer::{RowNorm, chunk_start, kept, row_norm};
use cubecl::prelude::*;
use swint_compiler::plan::Rows;

/// Row `row` of a tensor, normalised, in `range` and raised, into `out` from vector `base` on. A chunk has `chunk` vectors.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn norm_row<X: Int, O: Int>(
    x: &[Vector<X, Const<8>>],
    row: usize,
    map: &[i32],
    gamma: &[Vector<i16, Const<8>>],
    beta: &[Eight],
    mantissa: Eight,
    shift: Eight,
    epsilon: i64,
    out: &mut Own<O>,
    base: usize,
    chunk: usize,
    parts: usize,
    #[comptime] rows: Rows,
    #[comptime] range: (i32, i32),
    #[comptime] raise: i32,
    #[comptime] narrow: bool,
) {
    let channels = comptime!(rows.len());
    let keep = Eight::new(kept(row, map, rows));
    let mut sums = Eight::new(0i32);
    let mut squares = Vector::<u64, Const<8>>::new(0u64);
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            let value = Eight::cast_from(x[start + c]);
            sums += value;
            squares += Vector::<u64, Const<8>>::cast_from(Vector::<u32, Const<8>>::cast_from(value * value));
        }
    }
    let mut sum = 0i32;
    let mut all_squares = 0u64;
    #[unroll]
    for lane in 0..8usize {
        sum += sums.extract(lane);
        all_squares += squares.extract(lane);
    }
    let norm = row_norm(sum, i64::cast_from(all_squares), epsilon, channels);
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            let i = p * chunk + c;
            let acc = normalised(&norm, Eight::cast_from(x[start + c]), gamma[i], beta[i], channels);
            let mut q = requantize(acc, mantissa, shift, narrow, comptime!(range.0), comptime!(range.1));
            if comptime!(rows.padded) {
                q *= keep;
            }
            out[base + i] = Vector::cast_from(q + Eight::new(raise));
        }
    }
}

/// `swint_ir::arith::layer_norm::RowNorm::apply`, times γ, plus β.
#[cube]
fn normalised(
    norm: &RowNorm,
    x: Eight,
    gamma: Vector<i16, Const<8>>,
    beta: Eight,
    #[comptime] channels: usize,
) -> Eight {
    let d = (x * Eight::new(comptime!(channels as i32)) - Eight::new(norm.sum)) << Eight::new(norm.lift);
    let n = shift_rounded(upper(d, Eight::new(norm.reciprocal)), Eight::new(norm.shift));
    let n = min(max(n, Eight::new(-32767i32)), Eight::new(32767i32));
    n * Eight::cast_from(gamma) + beta
}
