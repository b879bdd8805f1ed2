//! The patch embedding on tensor cores: pixels, a matrix product, LayerNorm.
//!
//! A warp takes 16 patches and all channels of them, so that nothing has to be on the chip but pixels, which a warp has for itself: those of
//! neighbouring patches, 16 bytes of a line at a time. Where lines do not allow that, pixels go from memory into fragments. A LayerNorm's
//! sums are those of four lanes.

use super::{
    epilogue::Four,
    fixed,
    fragment::{Eight, LANES, Words, halves, in_turn, multiply, zeros},
    packs::pair,
};
use crate::kernels::integer::{RowNorm, chunk_start, normalised, row_norm};
use cubecl::prelude::*;
use swint_compiler::plan::{Embed, Rows};

/// Everything about a patch embedding that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Patches {
    /// How it is made.
    pub blueprint: Embed,
    /// Its rows: patches.
    pub rows: Rows,
    /// Channels.
    pub n: usize,
}

impl Patches {
    fn frags(&self) -> usize {
        self.n / 8
    }

    fn steps(&self) -> usize {
        if self.blueprint.across > 0 { (4 * self.rows.chunk).div_ceil(8) } else { self.rows.len().div_ceil(32) }
    }

    /// Elements of a load.
    pub(crate) fn width(&self) -> usize {
        if self.blueprint.across > 0 { 4 } else { 1 }
    }

    /// Words on the chip between two lines of a warp's patches. A lane reads a word of line t of patch g: with c channels, `c·(8t + g)` and what is
    /// the same for all, banks that differ as c is odd.
    fn pitch(&self) -> usize {
        16 * self.rows.chunk + (32 - 8 * self.rows.chunk % 32) % 32
    }
}

/// Eight bytes of patch `row` from byte `from` on, 0 past its end. `E` is as wide as what is contiguous allows.
#[cube]
fn pixels<E: Int, X: Size>(x: &[Vector<E, X>], map: &[i32], row: usize, from: usize, #[comptime] p: Patches) -> Eight {
    let width = comptime!(p.blueprint.granule);
    // A row of pixels of a patch is contiguous.
    let line = comptime!(p.blueprint.block * p.rows.chunk);
    let mut eight = Eight::new(0u32);
    #[unroll]
    for w in 0..2usize {
        let mut word = 0u32;
        #[unroll]
        for part in 0..comptime!(4 / width) {
            let at = from + comptime!(w * 4 + part * width);
            if at < comptime!(p.rows.len()) {
                let chunk = row * comptime!(p.rows.parts) + at / line * comptime!(p.blueprint.block);
                let start = chunk_start(chunk, map, comptime!(p.rows.chunk), comptime!(p.rows)) + at % line;
                word |= u32::cast_from(x[start / width].extract(0usize)) << comptime!((part * width * 8) as u32);
            }
        }
        eight.insert(w, word);
    }
    eight
}

/// Line `t` of patches `g` and `g + 8` of a warp's 16, the first of which is `first`, over the chip: of every step eight bytes of either, what is past
/// the line's end 0. Patches past the last are some others. In `held` are the two of a step one after the other.
#[cube]
fn lines<E: Int, X: Size>(
    x: &[Vector<E, X>],
    first: usize,
    rows: usize,
    warp: usize,
    lane: usize,
    held: &mut Array<Eight>,
    #[comptime] p: Patches,
) {
    let (chunk, pitch) = comptime!((p.rows.chunk, p.pitch()));
    // Groups of four patches side by side in a picture, whose lines are `chunk` loads each.
    let across = comptime!(p.blueprint.across / 4);
    let mut chip = Shared::<[Vector<E, X>]>::new_aligned_slice(comptime!(p.blueprint.warps * pitch), 16usize);
    let base = warp * comptime!(4 * pitch);
    #[unroll]
    for i in 0..comptime!((16 * chunk).div_ceil(32)) {
        let load = lane + comptime!(i * 32);
        if load < comptime!(16 * chunk) {
            let (line, at) = (load / comptime!(4 * chunk), load % comptime!(4 * chunk));
            let group = min(first / 4 + at / chunk, rows / 4 - 1);
            let place = ((group / across * 4 + line) * across + group % across) * chunk + at % chunk;
            chip[(base + line * pitch) / 4 + at] = x[place];
        }
    }
    sync_plane();
    let words = chip.with_vector_size::<Const<1>>();
    let own = base + lane % 4 * pitch + lane / 4 * chunk;
    #[unroll]
    for i in 0..comptime!(2 * p.steps()) {
        let mut eight = Eight::new(0u32);
        #[unroll]
        for w in 0..2usize {
            let word = comptime!(i / 2 * 2 + w);
            if comptime!(word < chunk) {
                eight.insert(w, u32::cast_from(words[own + comptime!(i % 2 * 8 * chunk + word)].extract(0usize)));
            }
        }
        held[i] = eight;
    }
}

/// `y = qlayer_norm(requantize(patches · weights + bias))` in 16 bits; a warp takes 16 patches. Inputs as the specification has them.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn embed<A: Int, E: Int, S: Size>(
    x: &[Vector<E, S>],
    w: &[Words],
    bias: &[Four],
    mantissas: &[Four],
    shifts: &[Four],
    gamma: &[Words],
    beta: &[Four],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    map: &[i32],
    y: &mut [Words],
    epsilon: i64,
    rows: u32,
    #[comptime] p: Patches,
) {
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let (g, t) = (lane / 4, lane % 4);
    let rows = rows as usize;
    let first = (CUBE_POS * comptime!(p.blueprint.warps) + warp) * 16 + g;
    let (frags, each) = comptime!((p.frags(), p.n / 4));

    let mut held = Array::<Eight>::new(comptime!(2 * p.steps()));
    if comptime!(p.blueprint.across > 0) {
        lines::<E, S>(x, first - g, rows, warp, lane, &mut held, p);
    } else {
        #[unroll]
        for i in 0..comptime!(2 * p.steps()) {
            let row = min(first + comptime!(i % 2 * 8), rows - 1);
            held[i] = pixels::<E, S>(x, map, row, comptime!(i / 2 * 32) + t * 8, p);
        }
    }
    let mut sums = zeros(frags);
    #[unroll]
    for step in 0..comptime!(p.steps()) {
        let a = in_turn(held[comptime!(2 * step)], held[comptime!(2 * step + 1)]);
        // All at once: of one that is used by halves, LLVM makes two loads.
        let mut weights = Array::<Words>::new(comptime!(frags / 2));
        #[unroll]
        for pair in 0..comptime!(frags / 2) {
            weights[pair] = w[comptime!((step * (frags / 2) + pair) * 32) + lane];
        }
        #[unroll]
        for pair in 0..comptime!(frags / 2) {
            let words = weights[pair];
            multiply::<A>(a, words.extract(0usize), words.extract(1usize), sums.index_mut(comptime!(2 * pair)));
            let odd = sums.index_mut(comptime!(2 * pair + 1));
            multiply::<A>(a, words.extract(2usize), words.extract(3usize), odd);
        }
    }

    // Constants of four columns at a time, for both of a lane's rows: those of all columns would be three registers each, beside two sums.
    let column = t * each;
    let (mantissa, shift) = (norm_mantissa[0], norm_shift[0]);
    let mut totals = Array::<i32>::new(2usize);
    let mut squares = Array::<i64>::new(2usize);
    #[unroll]
    for half in 0..2usize {
        totals[half] = 0i32;
        squares[half] = 0i64;
    }
    #[unroll]
    for c in 0..comptime!(each / 2) {
        let four = column / 4 + comptime!(c / 2);
        let (biases, mantissas, shifts) = (bias[four], mantissas[four], shifts[four]);
        let tile = sums.index_mut(c);
        #[unroll]
        for half in 0..2usize {
            let mut values = Vector::<i32, Const<2>>::empty();
            #[unroll]
            for e in 0..2usize {
                let at = comptime!(c % 2 * 2 + e);
                let acc = tile[half].extract(e) + biases.extract(at);
                let (mantissa, shift) = (mantissas.extract(at), shifts.extract(at));
                let value = fixed::requantize(acc, mantissa, shift, comptime!(p.blueprint.narrow), -32768i32, 32767i32);
                totals[half] += value;
                squares[half] += i64::cast_from(value) * i64::cast_from(value);
                values.insert(e, value);
            }
            tile[half] = values;
        }
    }
    #[unroll]
    for bit in 0..2u32 {
        #[unroll]
        for half in 0..2usize {
            totals[half] += plane_shuffle_xor(totals[half], comptime!(1u32 << bit));
            squares[half] += plane_shuffle_xor(squares[half], comptime!(1u32 << bit));
        }
    }
    let mut norms = Sequence::<RowNorm>::new();
    #[unroll]
    for half in 0..2usize {
        norms.push(row_norm(totals[half], squares[half], epsilon, comptime!(p.n)));
    }
    #[unroll]
    for v in 0..comptime!(each / 8) {
        let gammas = gamma[column / 8 + v];
        let mut betas = Array::<Four>::new(2usize);
        #[unroll]
        for four in 0..2usize {
            betas[four] = beta[column / 4 + comptime!(2 * v + four)];
        }
        #[unroll]
        for half in 0..2usize {
            let norm = norms.index(half);
            let mut words = Words::empty();
            #[unroll]
            for i in 0..4usize {
                let (g0, g1) = halves(gammas.extract(i));
                let four = betas[comptime!(i / 2)];
                let (b0, b1) = (four.extract(comptime!(i % 2 * 2)), four.extract(comptime!(i % 2 * 2 + 1)));
                let values = sums.index(comptime!(4 * v + i))[half];
                let y0 = normalised(norm, values.extract(0usize), i16::cast_from(g0), b0, comptime!(p.n));
                let y1 = normalised(norm, values.extract(1usize), i16::cast_from(g1), b1, comptime!(p.n));
                let y0 = fixed::rounded(y0, mantissa, shift, comptime!(p.blueprint.narrow), -32768i32, 32767i32);
                let y1 = fixed::rounded(y1, mantissa, shift, comptime!(p.blueprint.narrow), -32768i32, 32767i32);
                words.insert(i, pair(y0, y1));
            }
            let row = first + comptime!(8 * half);
            if row < rows {
                y[(row * comptime!(p.n) + column) / 8 + v] = words;
            }
        }
    }
}
