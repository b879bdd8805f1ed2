//! LayerNorm of 16-bit rows, to 16 bits or to bytes, and what it is added to. Some lanes share a row, sixteen bytes of it at a time.

use super::{
    copies::wait_for_launches,
    epilogue::Four,
    fixed::{requantize_half, rounded},
    fragment::{LANES, Words, halves},
    packs::{pair, word},
};
use crate::kernels::integer::{chunk_start, normalised, row_norm};
use cubecl::prelude::*;
use swint_compiler::plan::{self, Rows};

/// Everything about a LayerNorm that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Norms {
    /// How it is made.
    pub blueprint: plan::Norm,
    /// Its rows.
    pub rows: Rows,
    /// Whether a residual stream is added.
    pub residual: bool,
    /// The range of results.
    pub range: (i32, i32),
    /// Bytes of a result.
    pub bytes: usize,
}

impl Norms {
    /// Words of eight results.
    pub(crate) fn words(&self) -> usize {
        2 * self.bytes
    }
}

/// Most vectors of a lane whose γ and β are loaded before its rows are there: twelve registers each.
const EARLY: usize = 4;

/// γ and β of the `i`th vector of a lane.
#[cube]
fn constants_of(
    gamma: &[Words],
    beta: &[Four],
    gammas: &mut Array<Words>,
    betas: &mut Array<Four>,
    v: usize,
    #[comptime] i: usize,
) {
    gammas[i] = gamma[v];
    betas[comptime!(2 * i)] = beta[2 * v];
    betas[comptime!(2 * i + 1)] = beta[2 * v + 1];
}

/// `qlayer_norm(x)`, or `add(requantize(r), qlayer_norm(x))` in 16 bits. What is absent may be any buffer.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn norm<S: Size>(
    x: &[Words],
    gamma: &[Words],
    beta: &[Four],
    mantissa: &[i32],
    shift: &[i32],
    r: &[Words],
    r_mantissa: &[i32],
    r_shift: &[i32],
    map: &[i32],
    y: &mut [Vector<u32, S>],
    epsilon: i64,
    rows: u32,
    #[comptime] p: Norms,
) {
    let (lanes, each, narrow) = comptime!((p.blueprint.lanes, p.blueprint.each, p.blueprint.narrow));
    let (channels, vectors) = comptime!((p.rows.chunk, p.rows.chunk / 8));
    let rows = rows as usize;
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let sub = lane % lanes;
    let row = CUBE_POS * comptime!(p.blueprint.rows()) + warp * comptime!(32 / lanes) + lane / lanes;
    let known = min(row, rows - 1);
    let start = chunk_start(known, map, vectors, comptime!(p.rows));
    let early = comptime!(each <= EARLY);
    let kept = comptime!(if early { each } else { 1 });
    let mut gammas = Array::<Words>::new(kept);
    let mut betas = Array::<Four>::new(comptime!(2 * kept));
    if early {
        #[unroll]
        for i in 0..each {
            let v = min(sub + i * lanes, comptime!(vectors - 1));
            constants_of(gamma, beta, &mut gammas, &mut betas, v, i);
        }
    }
    let (mantissa, shift) = (mantissa[0], shift[0]);
    let (r_mantissa, r_shift) = (r_mantissa[0], r_shift[0]);
    wait_for_launches();
    let mut held = Array::<Words>::new(each);
    let mut added = Array::<Words>::new(comptime!(if p.residual { each } else { 1 }));
    #[unroll]
    for i in 0..each {
        let v = sub + i * lanes;
        let mut words = Words::new(0u32);
        if v < vectors {
            words = x[start + v];
        }
        held[i] = words;
        if comptime!(p.residual) {
            added[i] = r[known * vectors + min(v, comptime!(vectors - 1))];
        }
    }
    let mut sum = 0i32;
    let mut squares = 0i64;
    #[unroll]
    for i in 0..each {
        #[unroll]
        for w in 0..4usize {
            let (a, b) = halves(held[i].extract(w));
            sum += a + b;
            squares += i64::cast_from(a) * i64::cast_from(a) + i64::cast_from(b) * i64::cast_from(b);
        }
    }
    #[unroll]
    for bit in 0..comptime!(lanes.ilog2()) {
        sum += plane_shuffle_xor(sum, comptime!(1u32 << bit));
        squares += plane_shuffle_xor(squares, comptime!(1u32 << bit));
    }
    let norm = row_norm(sum, squares, epsilon, channels);
    #[unroll]
    for i in 0..each {
        let v = sub + i * lanes;
        let at = comptime!(if early { i } else { 0 });
        if comptime!(!early) {
            constants_of(gamma, beta, &mut gammas, &mut betas, min(v, comptime!(vectors - 1)), 0usize);
        }
        if v < vectors && row < rows {
            let mut q = Array::<i32>::new(8usize);
            #[unroll]
            for w in 0..4usize {
                let (x0, x1) = halves(held[i].extract(w));
                let (g0, g1) = halves(gammas[at].extract(w));
                let four = betas[comptime!(2 * at + w / 2)];
                let (b0, b1) = (four.extract(comptime!(w % 2 * 2)), four.extract(comptime!(w % 2 * 2 + 1)));
                let y0 = normalised(&norm, x0, i16::cast_from(g0), b0, channels);
                let y1 = normalised(&norm, x1, i16::cast_from(g1), b1, channels);
                let (low, high) = comptime!(p.range);
                let mut q0 = rounded(y0, mantissa, shift, narrow, low, high);
                let mut q1 = rounded(y1, mantissa, shift, narrow, low, high);
                if comptime!(p.residual) {
                    let (r0, r1) = halves(added[i].extract(w));
                    // What is added to must be saturated by then.
                    q0 = min(max(q0, low), high) + requantize_half(r0, r_mantissa, r_shift, narrow);
                    q1 = min(max(q1, low), high) + requantize_half(r1, r_mantissa, r_shift, narrow);
                }
                q[comptime!(2 * w)] = q0;
                q[comptime!(2 * w + 1)] = q1;
            }
            let mut words = Vector::<u32, S>::empty();
            if comptime!(p.bytes == 1) {
                #[unroll]
                for h in 0..2usize {
                    let (at, signed) = comptime!((4 * h, Some(p.range.0 < 0)));
                    words.insert(
                        h,
                        word(q[at], q[comptime!(at + 1)], q[comptime!(at + 2)], q[comptime!(at + 3)], signed),
                    );
                }
            } else {
                #[unroll]
                for w in 0..4usize {
                    words.insert(w, pair(q[comptime!(2 * w)], q[comptime!(2 * w + 1)]));
                }
            }
            y[row * vectors + v] = words;
        }
    }
}
