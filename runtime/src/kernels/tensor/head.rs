//! The head on tensor cores: LayerNorm of every token, their mean, a matrix product.
//!
//! A cube takes one image and a part of the classes. Its warps take tokens in turn, each lane the same channels of all of its warp's;
//! the mean lies on the chip as one row of 16, of which the others are 0.

use super::{
    epilogue::store,
    fixed,
    fragment::{LANES, Words, halves, multiply, word, zeros},
};
use crate::kernels::integer::{normalised, row_norm};
use cubecl::prelude::*;
use swint_compiler::plan::Head as Blueprint;

/// Everything about a head that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Classes {
    /// How it is made.
    pub blueprint: Blueprint,
    /// Channels of a token.
    pub k: usize,
    /// Classes.
    pub n: usize,
    /// The range of results.
    pub range: (i32, i32),
    /// Bytes of a result.
    pub bytes: usize,
}

impl Classes {
    /// 16-byte loads of a lane that take its part of a token.
    fn loads(&self) -> usize {
        (self.k / 8).div_ceil(32)
    }

    fn steps(&self) -> usize {
        self.k.div_ceil(32)
    }

    /// Steps of weights that are loaded at a time.
    fn ahead(&self) -> usize {
        (1..=6).rev().find(|ahead| self.steps().is_multiple_of(*ahead)).expect("1 divides all")
    }

    /// Classes of a store: at most all that a lane has, so many that an image's begin where a store may.
    pub(crate) fn together(&self) -> usize {
        let whole = |count: &usize| self.n.is_multiple_of(*count) && (count * self.bytes).is_multiple_of(4);
        [8, 4, 2].into_iter().find(whole).unwrap_or(1)
    }

    /// Words of a store; 0 where it is one class of less than a word.
    pub(crate) fn words(&self) -> usize {
        self.together() * self.bytes / 4
    }

    /// Blocks of columns, a warp each.
    fn blocks(&self) -> usize {
        self.n.div_ceil(8 * Blueprint::FRAGS)
    }
}

/// `y = requantize(requantize(mean of qlayer_norm(x)) · weights + bias)`. Inputs as the specification has them.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn head<Y: Int, C: Size, S: Size>(
    x: &[Words],
    gamma: &[Words],
    beta: &[Vector<i32, Const<4>>],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    mean_mantissa: &[i32],
    mean_shift: &[i32],
    w: &[Words],
    bias: &[Vector<i32, C>],
    mantissas: &[Vector<i32, C>],
    shifts: &[Vector<i32, C>],
    y: &mut [Vector<Y, S>],
    epsilon: i64,
    tokens: u32,
    steps: u32,
    #[comptime] p: Classes,
) {
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let (warps, splits) = comptime!((p.blueprint.warps, p.blueprint.splits));
    let (vectors, loads) = comptime!((p.k / 8, p.loads()));
    let image = CUBE_POS / splits;
    let narrow = comptime!(p.blueprint.narrow);

    // Sums of a warp's tokens, eight channels a load.
    let mut sums = Array::<i32>::new(comptime!(8 * loads));
    #[unroll]
    for c in 0..comptime!(8 * loads) {
        sums[c] = 0i32;
    }
    let rounds = (tokens as usize + comptime!(warps - 1)) / warps;
    for round in 0..rounds {
        let token = round * warps + warp;
        let row = (image * tokens as usize + min(token, tokens as usize - 1)) * vectors;
        let mut held = Array::<Words>::new(loads);
        let mut sum = 0i32;
        let mut squares = 0i64;
        #[unroll]
        for i in 0..loads {
            let v = lane + comptime!(32 * i);
            let mut words = Words::new(0u32);
            if v < vectors {
                words = x[row + v];
            }
            held[i] = words;
            #[unroll]
            for h in 0..4usize {
                let (a, b) = halves(words.extract(h));
                sum += a + b;
                squares += i64::cast_from(a) * i64::cast_from(a) + i64::cast_from(b) * i64::cast_from(b);
            }
        }
        #[unroll]
        for bit in 0..5u32 {
            sum += plane_shuffle_xor(sum, comptime!(1u32 << bit));
            squares += plane_shuffle_xor(squares, comptime!(1u32 << bit));
        }
        let norm = row_norm(sum, squares, epsilon, comptime!(p.k));
        #[unroll]
        for i in 0..loads {
            let v = lane + comptime!(32 * i);
            if v < vectors && token < tokens as usize {
                let gammas = gamma[v];
                #[unroll]
                for c in 0..8usize {
                    let (x0, x1) = halves(held[i].extract(comptime!(c / 2)));
                    let (g0, g1) = halves(gammas.extract(comptime!(c / 2)));
                    let value = if comptime!(c % 2 == 0) { x0 } else { x1 };
                    let scale = if comptime!(c % 2 == 0) { g0 } else { g1 };
                    let shift = beta[2 * v + comptime!(c / 4)].extract(comptime!(c % 4));
                    let acc = normalised(&norm, value, i16::cast_from(scale), shift, comptime!(p.k));
                    sums[comptime!(8 * i + c)] +=
                        fixed::requantize(acc, norm_mantissa[0], norm_shift[0], narrow, -32768i32, 32767i32);
                }
            }
        }
    }

    let mut partial = Shared::<[Vector<i32, Const<4>>]>::new_aligned_slice(comptime!(warps * p.k / 4), 16usize);
    #[unroll]
    for i in 0..loads {
        let v = lane + comptime!(32 * i);
        if v < vectors {
            #[unroll]
            for h in 0..2usize {
                let mut four = Vector::<i32, Const<4>>::empty();
                #[unroll]
                for c in 0..4usize {
                    four.insert(c, sums[comptime!(8 * i + 4 * h + c)]);
                }
                partial[warp * comptime!(p.k / 4) + 2 * v + h] = four;
            }
        }
    }
    sync_cube();
    let mut mean = Shared::<[u32]>::new_aligned_slice(comptime!(8 * p.steps()), 16usize);
    #[unroll]
    for i in 0..comptime!((8 * p.steps()).div_ceil(32 * warps)) {
        let at = UNIT_POS as usize + comptime!(i * 32 * warps);
        if at < comptime!(8 * p.steps()) {
            let mut packed = 0u32;
            if at < comptime!(p.k / 4) {
                let mut total = Vector::<i32, Const<4>>::new(0i32);
                #[unroll]
                for other in 0..warps {
                    total += partial[comptime!(other * p.k / 4) + at];
                }
                let mut q = Array::<i32>::new(4usize);
                #[unroll]
                for c in 0..4usize {
                    q[c] =
                        fixed::requantize(total.extract(c), mean_mantissa[0], mean_shift[0], narrow, -128i32, 127i32);
                }
                packed = word(q[0], q[1], q[2], q[3]);
            }
            mean[at] = packed;
        }
    }
    sync_cube();

    let block = CUBE_POS % splits * warps + warp;
    let frags = comptime!(Blueprint::FRAGS);
    let pairs = comptime!(frags / 2);
    let known = min(block, comptime!(p.blocks() - 1));
    let mut results = zeros(frags);
    let zero = Vector::<u32, Const<2>>::new(0u32);
    // Weights of several steps are on their way at a time.
    let ahead = comptime!(p.ahead());
    for group in 0..steps as usize / ahead {
        let mut held = Array::<Words>::new(comptime!(ahead * pairs));
        #[unroll]
        for i in 0..comptime!(ahead * pairs) {
            held[i] = w[(known * steps as usize + group * ahead) * comptime!(pairs * 32) + comptime!(i * 32) + lane];
        }
        #[unroll]
        for own in 0..ahead {
            let step = group * ahead + own;
            let mut upper = Vector::<u32, Const<2>>::new(0u32);
            if lane < 4 {
                upper.insert(0usize, mean[step * 8 + lane * 2]);
                upper.insert(1usize, mean[step * 8 + lane * 2 + 1]);
            }
            #[unroll]
            for pair in 0..pairs {
                let words = held[comptime!(own * pairs + pair)];
                multiply::<i8>(
                    upper,
                    zero,
                    words.extract(0usize),
                    words.extract(1usize),
                    results.index_mut(comptime!(2 * pair)),
                );
                let odd = results.index_mut(comptime!(2 * pair + 1));
                multiply::<i8>(upper, zero, words.extract(2usize), words.extract(3usize), odd);
            }
        }
    }
    if lane < 4 && block < comptime!(p.blocks()) {
        let (together, words) = comptime!((p.together(), p.words()));
        let vector = comptime!(together.min(4));
        let (low, high) = comptime!(p.range);
        #[unroll]
        for part in 0..comptime!(2 * frags / together) {
            let column = block * comptime!(8 * frags) + lane * comptime!(2 * frags) + comptime!(part * together);
            if column < comptime!(p.n) {
                let mut q = Array::<i32>::new(together);
                #[unroll]
                for v in 0..comptime!(together / vector) {
                    let at = column / vector + v;
                    let (biases, mantissas, shifts) = (bias[at], mantissas[at], shifts[at]);
                    #[unroll]
                    for i in 0..vector {
                        let c = comptime!(part * together + v * vector + i);
                        let sum = results.index(comptime!(c / 2))[0].extract(comptime!(c % 2)) + biases.extract(i);
                        q[comptime!(v * vector + i)] =
                            fixed::requantize(sum, mantissas.extract(i), shifts.extract(i), narrow, low, high);
                    }
                }
                let at = image * comptime!(p.n) + column;
                store::<Y, S>(&q, y, at, together, comptime!(p.bytes), words);
            }
        }
    }
}
