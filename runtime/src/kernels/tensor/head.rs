//! The head on tensor cores: LayerNorm of every token, their mean, a matrix product.
//!
//! A cube takes one image and a part of the classes. Its warps take tokens in turn, each lane the same channels of all of its warp's;
//! the mean lies on the chip as one row of 16, of which the others are 0. Then they take classes, or, where there are few images and many
//! cubes should have part in one, classes and parts of the channels.

use super::{
    copies::wait_for_launches,
    epilogue::store,
    fixed,
    fragment::{LANES, Words, halves, in_turn, multiply, zeros},
    packs::word,
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

    /// Tokens of a warp that are loaded at a time: 24 registers hold them.
    fn at_a_time(&self) -> usize {
        (6 / self.loads()).clamp(1, 4)
    }

    fn steps(&self) -> usize {
        self.k.div_ceil(32)
    }

    /// Steps of weights that are loaded at a time.
    fn ahead(&self) -> usize {
        let steps = self.steps() / self.blueprint.parts;
        (1..=6).rev().find(|ahead| steps.is_multiple_of(*ahead)).expect("1 divides all")
    }

    /// Whether all weights of a warp are loaded before the image is there: a few registers.
    fn is_early(&self) -> bool {
        self.ahead() * self.blueprint.parts == self.steps() && self.ahead() <= 3
    }

    /// Warps that have other classes.
    fn column_warps(&self) -> usize {
        self.blueprint.warps / self.blueprint.parts
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

/// `count` vectors of weights that follow each other, of which a lane has each 32nd from `at` on.
#[cube]
fn load_weights(w: &[Words], held: &mut Array<Words>, at: usize, #[comptime] count: usize) {
    #[unroll]
    for i in 0..count {
        held[i] = w[at + comptime!(i * 32)];
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
    let column_warps = comptime!(p.column_warps());
    let block = CUBE_POS % splits * column_warps + warp % column_warps;
    let frags = comptime!(Blueprint::FRAGS);
    let pairs = comptime!(frags / 2);
    let known = min(block, comptime!(p.blocks() - 1));
    // Weights of several steps are on their way at a time.
    let (ahead, parts) = comptime!((p.ahead(), p.blueprint.parts));
    let part = warp / column_warps;
    let own_steps = steps as usize / parts;
    let weights = (known * steps as usize + part * own_steps) * comptime!(pairs * 32) + lane;
    let mut held_weights = Array::<Words>::new(comptime!(ahead * pairs));
    if comptime!(p.is_early()) {
        load_weights(w, &mut held_weights, weights, comptime!(ahead * pairs));
    }

    wait_for_launches();
    let group = comptime!(p.at_a_time());
    let rounds = (tokens as usize + comptime!(group * warps - 1)) / comptime!(group * warps);
    for round in 0..rounds {
        let first = round * comptime!(group * warps) + warp;
        let mut held = Array::<Words>::new(comptime!(group * loads));
        #[unroll]
        for g in 0..group {
            let token = min(first + comptime!(g * warps), tokens as usize - 1);
            let row = (image * tokens as usize + token) * vectors;
            #[unroll]
            for i in 0..loads {
                let v = lane + comptime!(32 * i);
                let mut words = Words::new(0u32);
                if v < vectors {
                    words = x[row + v];
                }
                held[comptime!(g * loads + i)] = words;
            }
        }
        #[unroll]
        for g in 0..group {
            let mut sum = 0i32;
            let mut squares = 0i64;
            #[unroll]
            for i in 0..comptime!(4 * loads) {
                let (a, b) = halves(held[comptime!(g * loads + i / 4)].extract(comptime!(i % 4)));
                sum += a + b;
                squares += i64::cast_from(a) * i64::cast_from(a) + i64::cast_from(b) * i64::cast_from(b);
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
                if v < vectors && first + comptime!(g * warps) < tokens as usize {
                    let gammas = gamma[v];
                    #[unroll]
                    for c in 0..8usize {
                        let (x0, x1) = halves(held[comptime!(g * loads + i)].extract(comptime!(c / 2)));
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
                    q[c] = fixed::rounded(total.extract(c), mean_mantissa[0], mean_shift[0], narrow, -128i32, 127i32);
                }
                packed = word(q[0], q[1], q[2], q[3], comptime!(Some(true)));
            }
            mean[at] = packed;
        }
    }
    sync_cube();

    let mut results = zeros(frags);
    for group in 0..own_steps / ahead {
        if comptime!(!p.is_early()) {
            load_weights(
                w,
                &mut held_weights,
                weights + group * comptime!(ahead * pairs * 32),
                comptime!(ahead * pairs),
            );
        }
        #[unroll]
        for own in 0..ahead {
            let step = part * own_steps + group * ahead + own;
            let mut upper = Vector::<u32, Const<2>>::new(0u32);
            if lane < 4 {
                upper.insert(0usize, mean[step * 8 + lane * 2]);
                upper.insert(1usize, mean[step * 8 + lane * 2 + 1]);
            }
            let a = in_turn(upper, Vector::new(0u32));
            #[unroll]
            for pair in 0..pairs {
                let words = held_weights[comptime!(own * pairs + pair)];
                multiply::<i8>(a, words.extract(0usize), words.extract(1usize), results.index_mut(comptime!(2 * pair)));
                let odd = results.index_mut(comptime!(2 * pair + 1));
                multiply::<i8>(a, words.extract(2usize), words.extract(3usize), odd);
            }
        }
    }
    // Those that have the mean, and so results, are the first four lanes.
    if comptime!(parts > 1) {
        let mut others = Shared::<[Vector<i32, Const<2>>]>::new_aligned_slice(
            comptime!((parts - 1) * column_warps * 4 * frags),
            16usize,
        );
        let at = (warp % column_warps) * comptime!(4 * frags) + lane;
        if lane < 4 && part > 0 {
            #[unroll]
            for f in 0..frags {
                others[(part - 1) * comptime!(column_warps * 4 * frags) + at + comptime!(4 * f)] = results.index(f)[0];
            }
        }
        sync_cube();
        if lane < 4 && part == 0 {
            #[unroll]
            for f in 0..frags {
                let tile = results.index_mut(f);
                #[unroll]
                for other in 0..comptime!(parts - 1) {
                    tile[0] += others[comptime!(other * column_warps * 4 * frags + 4 * f) + at];
                }
            }
        }
    }
    if lane < 4 && part == 0 && block < comptime!(p.blocks()) {
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
                store::<Y, S>(&q, y, at, together, comptime!(p.bytes), words, comptime!(Some(p.range.0 < 0)));
            }
        }
    }
}
