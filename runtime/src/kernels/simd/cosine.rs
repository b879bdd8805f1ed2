//! What cosine attention does beside window attention: q and k at length 1, and scores by their head's scale.

use super::{
    attention::Window,
    fixed::{requantize, shift_rounded, upper},
    sums::Own,
};
use crate::kernels::unit::head_norm;
use cubecl::prelude::*;
use swint_ir::{arith::l2_norm::UNIT_BITS, infer::MAX_SCORE};

/// Multipliers of q, of k and of v: mantissa and shift of each in turn.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Multipliers {
    pub(super) q: (i32, i32),
    pub(super) k: (i32, i32),
    pub(super) v: (i32, i32),
}

/// A head of a window's tokens as bytes: of each token q, k and v, `vectors` of each. Those of the first begin at `start` of a tensor that has
/// `third` vectors of each.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn to_bytes<B: Int, N: Size>(
    wide: &[Vector<i16, N>],
    start: usize,
    third: usize,
    multipliers: &Multipliers,
    out: &mut Own<B, N>,
    tokens: usize,
    #[comptime] vectors: usize,
    #[comptime] narrow: bool,
) {
    for i in 0..tokens {
        let from = start + i * 3usize * third;
        let to = i * comptime!(3 * vectors);
        unit_head::<B, N>(wide, from, multipliers.q, out, to, vectors, narrow);
        unit_head::<B, N>(wide, from + third, multipliers.k, out, to + vectors, vectors, narrow);
        let (mantissa, shift) = multipliers.v;
        #[unroll]
        for v in 0..vectors {
            let x = Vector::<i32, N>::cast_from(wide[from + 2usize * third + v]);
            let q = requantize(x, Vector::new(mantissa), Vector::new(shift), narrow, -128i32, 127i32);
            out[to + comptime!(2 * vectors + v)] = Vector::cast_from(q);
        }
    }
}

/// A head of a token at length 1, requantized to bytes: `swint_ir::arith::l2_norm`.
#[cube]
fn unit_head<B: Int, N: Size>(
    x: &[Vector<i16, N>],
    from: usize,
    multiplier: (i32, i32),
    out: &mut Own<B, N>,
    to: usize,
    #[comptime] vectors: usize,
    #[comptime] narrow: bool,
) {
    let mut all = Vector::<u64, N>::new(0u64);
    #[unroll]
    for v in 0..vectors {
        let x = Vector::<i32, N>::cast_from(x[from + v]);
        all += Vector::<u64, N>::cast_from(Vector::<u32, N>::cast_from(x * x));
    }
    let mut squares = 0u64;
    #[unroll]
    for lane in 0..N::value() {
        squares += all.extract(lane);
    }
    let norm = head_norm(i64::cast_from(squares));
    let (half, reciprocal) = (Vector::<i32, N>::new(norm.half), Vector::<i32, N>::new(norm.reciprocal));
    let (mantissa, shift) = multiplier;
    #[unroll]
    for v in 0..vectors {
        // As `crate::kernels::unit::unit`.
        let product = upper(Vector::<i32, N>::cast_from(x[from + v]) << half, reciprocal);
        let unit = shift_rounded(product, Vector::new(comptime!(61 - UNIT_BITS as i32 - 32)));
        let q = requantize(unit, Vector::new(mantissa), Vector::new(shift), narrow, -128i32, 127i32);
        out[to + v] = Vector::cast_from(q);
    }
}

/// Scores by their head's scale, if there is one.
#[cube]
pub(super) fn scaled<N: Size>(scores: Vector<i32, N>, scale: i32, #[comptime] p: Window) -> Vector<i32, N> {
    let mut scores = scores;
    if comptime!(p.cosine) {
        let most = Vector::<i32, N>::new(MAX_SCORE);
        scores = min(max(scores, Vector::new(comptime!(-MAX_SCORE))), most) * Vector::new(scale);
    }
    scores
}
