//! A tile of rows onto the chip, normalised, requantized or as they are.
//!
//! On the chip rows g and g + 8 of each 16 lie word by word in turn, so that what a lane holds of both for a step of k is one load, in the
//! order that the hardware wants. Such a pair of rows is an odd number of 64-byte steps long: eight lanes, which read 16 bytes of two
//! pairs, meet in no bank.

use super::{
    copies::wait_for_launches,
    epilogue::Four,
    fixed::rounded,
    fragment::{Eight, LANES, Words, halves},
    gemm::Product,
    packs::word,
};
use crate::kernels::integer::{RowNorm, chunk_start, kept, normalised, row_norm};
use cubecl::prelude::*;
use swint_compiler::plan::NormShare;

/// The row of a number within a tile.
#[cube]
fn row_of(number: usize) -> usize {
    number / 16 * 16 + number % 2 * 8 + number % 16 / 2
}

/// Where the vectors of a lane are among those of all rows: its rows have numbers `stride` apart from `number` on in the tile that begins at
/// `first`, its vectors of each are `lanes` apart from `sub` on.
#[cube]
#[allow(clippy::too_many_arguments)]
fn places(
    map: &[i32],
    starts: &mut Array<usize>,
    first: usize,
    number: usize,
    stride: usize,
    sub: usize,
    rows: usize,
    #[comptime] p: Product,
) {
    let NormShare { each, rows: group, lanes, .. } = comptime!(p.share());
    let chunk = comptime!(p.rows.chunk / 8);
    #[unroll]
    for g in 0..group {
        let row = min(first + row_of(number + g * stride), rows - 1);
        #[unroll]
        for i in 0..each {
            let v = min(sub + i * lanes, comptime!(p.rows.len() / 8 - 1));
            let start = chunk_start(row * comptime!(p.rows.parts) + v / chunk, map, chunk, comptime!(p.rows));
            starts[comptime!(g * each + i)] = start + v % chunk;
        }
    }
}

/// How a lane's rows are normalised: its neighbours have part in the same ones, so each finds that of another one, and they tell each other.
#[cube]
fn norms_of(
    sums: &Array<i32>,
    squares: &Array<i64>,
    epsilon: i64,
    lane: usize,
    #[comptime] p: Product,
) -> Sequence<RowNorm> {
    let NormShare { lanes, rows: group, .. } = comptime!(p.share());
    let own = lane % lanes % group;
    let (mut sum, mut square) = (sums[0], squares[0]);
    #[unroll]
    for g in 1..group {
        sum = select(own == g, sums[g], sum);
        square = select(own == g, squares[g], square);
    }
    let norm = row_norm(sum, square, epsilon, comptime!(p.rows.len()));
    let mut norms = Sequence::<RowNorm>::new();
    if comptime!(group == 1) {
        norms.push(norm);
    } else {
        let first = lane / lanes * lanes;
        #[unroll]
        for g in 0..group {
            let from = (first + g) as u32;
            norms.push(RowNorm {
                sum: sums[g],
                reciprocal: plane_shuffle(norm.reciprocal, from),
                lift: plane_shuffle(norm.lift, from),
                shift: plane_shuffle(norm.shift, from),
            });
        }
    }
    norms
}

/// The vectors of a lane, of each of its rows.
#[cube]
fn take(x: &[Words], starts: &Array<usize>, sub: usize, #[comptime] p: Product) -> Array<Words> {
    let NormShare { lanes, each, rows: group, .. } = comptime!(p.share());
    let mut held = Array::<Words>::new(comptime!(group * each));
    #[unroll]
    for g in 0..group {
        #[unroll]
        for i in 0..each {
            let mut words = Words::new(0u32);
            if sub + i * lanes < comptime!(p.rows.len() / 8) {
                words = x[starts[comptime!(g * each + i)]];
            }
            held[comptime!(g * each + i)] = words;
        }
    }
    held
}

/// Eight bytes of vector `v` of a row onto the chip, if it has room for such: the row with the number `local` in the tile.
#[cube]
fn put(eight: Eight, chip: &mut Shared<[Words]>, local: usize, v: usize, lane: usize, #[comptime] p: Product) {
    let NormShare { lanes, .. } = comptime!(p.share());
    // Half of the lanes write their second words first: those that else would meet others in a bank.
    let second = lane / comptime!(if lanes < 16 { 16usize } else { 8usize }) % 2;
    if v < comptime!(p.steps() * 4) && local < comptime!(p.tiles.rows()) {
        let to = (local / 2 * comptime!(p.pitch()) + v) * 4 + local % 2;
        let (low, high) = (eight.extract(0usize), eight.extract(1usize));
        let words = chip.with_vector_size_mut::<Const<1>>();
        words[to + second * 2] = Vector::new(select(second == 1, high, low));
        words[to + 2 - second * 2] = Vector::new(select(second == 1, low, high));
    }
}

/// Requantizes a tile of 16-bit rows to bytes on the chip, when the launches before have completed.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn cast_rows(
    x: &[Words],
    map: &[i32],
    mantissa: i32,
    shift: i32,
    chip: &mut Shared<[Words]>,
    first: usize,
    rows: usize,
    passes: u32,
    #[comptime] p: Product,
) {
    let NormShare { lanes, each, rows: group, .. } = comptime!(p.share());
    let vectors = comptime!(p.rows.len() / 8);
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let sub = lane % lanes;
    let stride = comptime!(p.tiles.warps() * (32 / lanes));
    let local = warp * comptime!(32 / lanes) + lane / lanes;
    let mut starts = Array::<usize>::new(comptime!(group * each));
    if comptime!(p.share().passes == 1) {
        places(map, &mut starts, first, local, stride, sub, rows, p);
    }
    wait_for_launches();
    for pass in 0..passes {
        let local = pass as usize * comptime!(group * stride) + local;
        if comptime!(p.share().passes > 1) {
            places(map, &mut starts, first, local, stride, sub, rows, p);
        }
        let held = take(x, &starts, sub, p);
        #[unroll]
        for g in 0..group {
            let local = local + g * stride;
            let row = min(first + row_of(local), rows - 1);
            #[unroll]
            for i in 0..each {
                let v = sub + i * lanes;
                let mut eight = Eight::new(0u32);
                if v < vectors {
                    let mut values = Array::<i32>::new(8usize);
                    #[unroll]
                    for w in 0..4usize {
                        let (x0, x1) = halves(held[comptime!(g * each + i)].extract(w));
                        values[comptime!(2 * w)] = x0;
                        values[comptime!(2 * w + 1)] = x1;
                    }
                    eight = bytes_of(&values, mantissa, shift, row, map, p);
                }
                put(eight, chip, local, v, lane, p);
            }
        }
    }
}

/// Normalises a tile of rows onto the chip, when the launches before have completed.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn norm_rows(
    x: &[Words],
    map: &[i32],
    gamma: &[Words],
    beta: &[Four],
    mantissa: i32,
    shift: i32,
    epsilon: i64,
    chip: &mut Shared<[Words]>,
    first: usize,
    rows: usize,
    passes: u32,
    #[comptime] p: Product,
) {
    let NormShare { lanes, each, rows: group, early, .. } = comptime!(p.share());
    let vectors = comptime!(p.rows.len() / 8);
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let sub = lane % lanes;
    // Rows by number: two that follow each other are a pair. Of the lane's rows, those that differ by `stride` are a warp's next ones.
    let stride = comptime!(p.tiles.warps() * (32 / lanes));
    let local = warp * comptime!(32 / lanes) + lane / lanes;
    // What is constant is loaded before, where it is for all of the lane's rows.
    let constants = comptime!(if early { each } else { 1 });
    let mut gammas = Array::<Words>::new(constants);
    let mut betas = Array::<Four>::new(comptime!(2 * constants));
    let mut starts = Array::<usize>::new(comptime!(group * each));
    if comptime!(early) {
        places(map, &mut starts, first, local, stride, sub, rows, p);
        #[unroll]
        for i in 0..each {
            let v = min(sub + i * lanes, comptime!(vectors - 1));
            gammas[i] = gamma[v];
            betas[comptime!(2 * i)] = beta[2 * v];
            betas[comptime!(2 * i + 1)] = beta[2 * v + 1];
        }
    }
    wait_for_launches();
    for pass in 0..passes {
        let local = pass as usize * comptime!(group * stride) + local;
        if comptime!(!early) {
            places(map, &mut starts, first, local, stride, sub, rows, p);
        }
        let held = take(x, &starts, sub, p);
        let mut sums = Array::<i32>::new(group);
        let mut squares = Array::<i64>::new(group);
        #[unroll]
        for g in 0..group {
            let mut sum = 0i32;
            let mut square = 0i64;
            #[unroll]
            for i in 0..each {
                #[unroll]
                for w in 0..4usize {
                    let (a, b) = halves(held[comptime!(g * each + i)].extract(w));
                    sum += a + b;
                    square += i64::cast_from(a) * i64::cast_from(a) + i64::cast_from(b) * i64::cast_from(b);
                }
            }
            sums[g] = sum;
            squares[g] = square;
        }
        #[unroll]
        for bit in 0..comptime!(lanes.ilog2()) {
            #[unroll]
            for g in 0..group {
                sums[g] += plane_shuffle_xor(sums[g], comptime!(1u32 << bit));
                squares[g] += plane_shuffle_xor(squares[g], comptime!(1u32 << bit));
            }
        }
        let norms = norms_of(&sums, &squares, epsilon, lane, p);
        #[unroll]
        for i in 0..each {
            let v = sub + i * lanes;
            let at = comptime!(if early { i } else { 0 });
            if comptime!(!early) {
                let known = min(v, comptime!(vectors - 1));
                gammas[at] = gamma[known];
                betas[comptime!(2 * at)] = beta[2 * known];
                betas[comptime!(2 * at + 1)] = beta[2 * known + 1];
            }
            #[unroll]
            for g in 0..group {
                let local = local + g * stride;
                let row = min(first + row_of(local), rows - 1);
                let norm = norms.index(g);
                let mut eight = Eight::new(0u32);
                if v < vectors {
                    let mut values = Array::<i32>::new(8usize);
                    #[unroll]
                    for w in 0..4usize {
                        let (x0, x1) = halves(held[comptime!(g * each + i)].extract(w));
                        let (g0, g1) = halves(gammas[at].extract(w));
                        let four = betas[comptime!(2 * at + w / 2)];
                        let (b0, b1) = (four.extract(comptime!(w % 2 * 2)), four.extract(comptime!(w % 2 * 2 + 1)));
                        let channels = comptime!(p.rows.len());
                        values[comptime!(2 * w)] = normalised(norm, x0, i16::cast_from(g0), b0, channels);
                        values[comptime!(2 * w + 1)] = normalised(norm, x1, i16::cast_from(g1), b1, channels);
                    }
                    eight = bytes_of(&values, mantissa, shift, row, map, p);
                }
                put(eight, chip, local, v, lane, p);
            }
        }
    }
}

/// Eight values of a row, requantized to bytes, which packing saturates; zeros where an index map takes nothing for it.
#[cube]
fn bytes_of(values: &Array<i32>, mantissa: i32, shift: i32, row: usize, map: &[i32], #[comptime] p: Product) -> Eight {
    let mut eight = Eight::empty();
    #[unroll]
    for h in 0..2usize {
        let mut q = Array::<i32>::new(4usize);
        #[unroll]
        for i in 0..4usize {
            q[i] = rounded(values[comptime!(4 * h + i)], mantissa, shift, comptime!(p.tiles.narrow), -128i32, 127i32);
        }
        let mut bytes = word(q[0], q[1], q[2], q[3], comptime!(Some(true)));
        if comptime!(p.rows.padded) {
            bytes *= u32::cast_from(kept(row, map, comptime!(p.rows)));
        }
        eight.insert(h, bytes);
    }
    eight
}

/// A unit's part of a stage of rows of bytes, on its way to the chip: 16 bytes each of both rows of a pair.
#[cube]
pub(super) fn load_stage(
    x: &[Words],
    map: &[i32],
    held: &mut Array<Words>,
    stage: usize,
    first: usize,
    rows: usize,
    #[comptime] p: Product,
) {
    let vectors = comptime!(p.rows.chunk / 16);
    let wide = comptime!(p.tiles.stage * 2);
    #[unroll]
    for i in 0..comptime!(p.loads()) {
        let at = UNIT_POS as usize + comptime!(i / 2 * p.tiles.warps() * 32);
        let row = min(first + row_of(at / wide * 2 + comptime!(i % 2)), rows - 1);
        let v = stage * wide + at % wide;
        let mut words = Words::new(0u32);
        if v < vectors {
            words = x[chunk_start(row, map, vectors, comptime!(p.rows)) + v];
        }
        held[i] = words;
    }
}

/// What [`load_stage`] has loaded to the chip, from `base` on.
#[cube]
pub(super) fn store_stage(held: &Array<Words>, chip: &mut Shared<[Words]>, base: usize, #[comptime] p: Product) {
    let wide = comptime!(p.tiles.stage * 2);
    // Eight lanes write 128 bytes at once: the second four of them begin with their second half.
    let second = (UNIT_POS as usize / 4) % 2;
    #[unroll]
    for i in 0..comptime!(p.loads() / 2) {
        let at = UNIT_POS as usize + comptime!(i * p.tiles.warps() * 32);
        if at < comptime!(p.tiles.rows() * p.tiles.stage) {
            let to = base + at / wide * comptime!(p.pitch()) + at % wide * 2;
            let (upper, lower) = (held[comptime!(2 * i)], held[comptime!(2 * i + 1)]);
            let (mut a, mut b) = (Words::empty(), Words::empty());
            #[unroll]
            for w in 0..4usize {
                let from = if comptime!(w % 2 == 0) { upper } else { lower };
                let (low, high) = (from.extract(comptime!(w / 2)), from.extract(comptime!(w / 2 + 2)));
                a.insert(w, select(second == 1, high, low));
                b.insert(w, select(second == 1, low, high));
            }
            chip[to + second] = a;
            chip[to + 1 - second] = b;
        }
    }
}
