//! The int8 matrix product on tensor cores, with what comes before and after it.
//!
//! A cube takes a tile of rows on the chip, normalised or as they are, and its warps take blocks of columns each. Weights come
//! straight from memory in the order of fragments, which no other warp of the cube reads, some steps of k ahead. Rows that fit
//! are on the chip with all of their k; others a stage at a time, the next one on its way while the present one is used.
//!
//! A row on the chip is an odd number of 32-byte steps long, so that the lanes of a warp, which read eight bytes of eight rows,
//! meet in no bank.

use super::{
    epilogue::{Four, early_residual, finish, of_columns},
    fixed::requantize,
    fragment::{Eight, LANES, Sums, Words, halves, multiply, to_every_bank, word, zeros},
};
use crate::kernels::integer::{RowNorm, chunk_start, kept, normalised, row_norm};
use cubecl::prelude::*;
use swint_compiler::plan::{Gemm, Rows};

/// Everything about a matrix product that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Product {
    /// How it is tiled.
    pub tiles: Gemm,
    /// Its rows.
    pub rows: Rows,
    /// Results of a row.
    pub n: usize,
    /// Whether rows are 16-bit and are normalised first; otherwise they are bytes.
    pub norm: bool,
    /// Whether there is a bias.
    pub bias: bool,
    /// The range that sums are requantized to; `None`: they are the results.
    pub range: Option<(i32, i32)>,
    /// Whether what they are requantized to goes through a table of bytes.
    pub table: bool,
    /// Whether a residual stream is added.
    pub residual: bool,
    /// Bytes of a result.
    pub bytes: usize,
}

impl Product {
    /// 32-byte steps of a row.
    pub(crate) fn steps(&self) -> usize {
        self.rows.len().div_ceil(32)
    }

    /// Eights between the beginnings of two rows on the chip.
    pub(super) fn pitch(&self) -> usize {
        self.tiles.pitch() / 8
    }

    fn blocks(&self) -> usize {
        self.n.div_ceil(8 * self.tiles.column_frags)
    }

    /// Lanes that share a row that is normalised: a power of two, few enough to leave each of them three loads.
    fn lanes(&self) -> usize {
        (self.steps() * 4).div_ceil(3).next_power_of_two().clamp(4, 32)
    }

    /// The bits of a lane's number that differ among the lanes of a row. Half a warp writes eight bytes a lane at once: to as much
    /// of a row, or to 32 bytes of four rows, so that no two meet in a bank.
    fn lane_bits(&self) -> &'static [u32] {
        match self.lanes() {
            4 => &[0, 1],
            8 => &[0, 1, 4],
            16 => &[0, 1, 2, 3],
            _ => &[0, 1, 2, 3, 4],
        }
    }

    /// 16-byte loads of a unit that take a stage of rows that are not normalised.
    fn loads(&self) -> usize {
        (self.tiles.rows() * self.tiles.stage * 2).div_ceil(self.tiles.warps() * 32)
    }

    /// Words of a store: 16 bytes, or all that a lane holds of a row.
    pub(crate) fn words(&self) -> usize {
        (self.tiles.column_frags * 2 * self.bytes / 4).min(4)
    }

    /// 16-byte loads of a lane that take what is added to its results, where there are registers for them beside its sums.
    pub(super) fn early(&self) -> usize {
        let loads = self.tiles.frags() / 2;
        if self.residual && loads <= 4 { loads } else { 0 }
    }

    /// 16-byte loads of a lane that take its part of a row.
    fn each(&self) -> usize {
        (self.steps() * 4).div_ceil(self.lanes())
    }

    /// How often a warp goes on to other rows when it normalises a tile of them, and how many a lane has part in at a time: what
    /// one waits for the others use, and γ and β are loaded once for all. 48 registers hold them.
    fn turns(&self) -> (usize, usize) {
        let rows = (self.tiles.rows() * self.lanes()).div_ceil(32 * self.tiles.warps());
        let turns = rows.div_ceil((12 / self.each()).clamp(1, 4));
        (turns, rows.div_ceil(turns))
    }

    /// How often a warp goes on to other rows when it normalises a tile of them.
    pub(crate) fn passes(&self) -> usize {
        self.turns().0
    }

    /// Rows that a lane normalises its part of at a time.
    fn at_a_time(&self) -> usize {
        self.turns().1
    }
}

/// Normalises a tile of rows onto the chip.
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
    chip: &mut Shared<[Eight]>,
    first: usize,
    rows: usize,
    passes: u32,
    #[comptime] p: Product,
) {
    let lanes = comptime!(p.lanes());
    let vectors = comptime!(p.rows.len() / 8);
    let padded = comptime!(p.steps() * 4);
    let (each, group) = comptime!((p.each(), p.at_a_time()));
    let chunk = comptime!(p.rows.chunk / 8);
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let (mut sub, mut own) = (lane % lanes, lane / lanes);
    if comptime!(lanes == 8) {
        sub = lane % 4 + lane / 16 * 4;
        own = lane / 4 % 4;
    }
    for pass in 0..passes {
        // Of the lane's rows, those that differ by this are a warp's next ones.
        let stride = comptime!(p.tiles.warps() * (32 / lanes));
        let local = pass as usize * comptime!(group * stride) + warp * comptime!(32 / lanes) + own;
        let mut held = Array::<Words>::new(comptime!(group * each));
        #[unroll]
        for g in 0..group {
            let row = min(first + local + g * stride, rows - 1);
            #[unroll]
            for i in 0..each {
                let v = sub + i * lanes;
                let mut words = Words::new(0u32);
                if v < vectors {
                    let start = chunk_start(row * comptime!(p.rows.parts) + v / chunk, map, chunk, comptime!(p.rows));
                    words = x[start + v % chunk];
                }
                held[comptime!(g * each + i)] = words;
            }
        }
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
        for bit in 0..comptime!(p.lane_bits().len()) {
            #[unroll]
            for g in 0..group {
                sums[g] += plane_shuffle_xor(sums[g], comptime!(1u32 << p.lane_bits()[bit]));
                squares[g] += plane_shuffle_xor(squares[g], comptime!(1u32 << p.lane_bits()[bit]));
            }
        }
        let mut norms = Sequence::<RowNorm>::new();
        #[unroll]
        for g in 0..group {
            norms.push(row_norm(sums[g], squares[g], epsilon, comptime!(p.rows.len())));
        }
        #[unroll]
        for i in 0..each {
            let v = sub + i * lanes;
            let known = min(v, comptime!(vectors - 1));
            let gammas = gamma[known];
            let (low, high) = (beta[2 * known], beta[2 * known + 1]);
            #[unroll]
            for g in 0..group {
                let local = local + g * stride;
                let row = min(first + local, rows - 1);
                let norm = norms.index(g);
                let mut eight = Eight::new(0u32);
                if v < vectors {
                    #[unroll]
                    for h in 0..2usize {
                        let mut q = Array::<i32>::new(4usize);
                        #[unroll]
                        for w in 0..2usize {
                            let (x0, x1) = halves(held[comptime!(g * each + i)].extract(comptime!(2 * h + w)));
                            let (g0, g1) = halves(gammas.extract(comptime!(2 * h + w)));
                            let (mut b0, mut b1) = (low.extract(comptime!(2 * w)), low.extract(comptime!(2 * w + 1)));
                            if comptime!(h == 1) {
                                b0 = high.extract(comptime!(2 * w));
                                b1 = high.extract(comptime!(2 * w + 1));
                            }
                            let y0 = normalised(norm, x0, i16::cast_from(g0), b0, comptime!(p.rows.len()));
                            let y1 = normalised(norm, x1, i16::cast_from(g1), b1, comptime!(p.rows.len()));
                            q[comptime!(2 * w)] = to_byte(y0, mantissa, shift, comptime!(p.tiles.narrow));
                            q[comptime!(2 * w + 1)] = to_byte(y1, mantissa, shift, comptime!(p.tiles.narrow));
                        }
                        let mut bytes = word(q[0], q[1], q[2], q[3]);
                        if comptime!(p.rows.padded) {
                            bytes *= u32::cast_from(kept(row, map, comptime!(p.rows)));
                        }
                        eight.insert(h, bytes);
                    }
                }
                if v < padded && local < comptime!(p.tiles.rows()) {
                    chip[local * comptime!(p.pitch()) + v] = eight;
                }
            }
        }
    }
}

/// A normalised value in 8 bits.
#[cube]
fn to_byte(sum: i32, mantissa: i32, shift: i32, #[comptime] narrow: bool) -> i32 {
    requantize(sum, mantissa, shift, narrow, -128i32, 127i32)
}

/// A unit's part of a stage of rows of bytes, on its way to the chip.
#[cube]
fn load_stage(
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
        let at = UNIT_POS as usize + comptime!(i * p.tiles.warps() * 32);
        let row = min(first + at / wide, rows - 1);
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
fn store_stage(held: &Array<Words>, chip: &mut Shared<[Eight]>, base: usize, #[comptime] p: Product) {
    let wide = comptime!(p.tiles.stage * 2);
    // 16 lanes write 128 bytes at once: the second eight of them begin with their second half.
    let second = (UNIT_POS / 8) % 2;
    #[unroll]
    for i in 0..comptime!(p.loads()) {
        let at = UNIT_POS as usize + comptime!(i * p.tiles.warps() * 32);
        if at < comptime!(p.tiles.rows() * p.tiles.stage * 2) {
            let to = base + at / wide * comptime!(p.pitch()) + at % wide * 2;
            let (mut a, mut b) = (Eight::empty(), Eight::empty());
            #[unroll]
            for w in 0..2usize {
                let (low, high) = (held[i].extract(w), held[i].extract(comptime!(w + 2)));
                a.insert(w, select(second == 1, high, low));
                b.insert(w, select(second == 1, low, high));
            }
            chip[to + second as usize] = a;
            chip[to + 1 - second as usize] = b;
        }
    }
}

/// Sums that begin with the bias, of which a lane holds `2·column_frags` columns from `column` on.
#[cube]
pub(super) fn biased(bias: &[Four], column: usize, #[comptime] p: Product) -> Sequence<Sums> {
    let frags = comptime!(p.tiles.column_frags);
    let mut sums = zeros(comptime!(p.tiles.row_frags * frags));
    if comptime!(p.bias) {
        let held = of_columns(bias, column, comptime!(frags / 2));
        #[unroll]
        for i in 0..comptime!(p.tiles.row_frags * frags) {
            let mut two = Vector::<i32, Const<2>>::empty();
            two.insert(0usize, held[comptime!(i % frags / 2)].extract(comptime!(i % 2 * 2)));
            two.insert(1usize, held[comptime!(i % frags / 2)].extract(comptime!(i % 2 * 2 + 1)));
            let tile = sums.index_mut(i);
            tile[0] = two;
            tile[1] = two;
        }
    }
    sums
}

/// The weights of a warp for a step of k.
#[cube]
fn load_weights(w: &[Words], held: &mut Array<Words>, at: usize, #[comptime] pairs: usize) {
    #[unroll]
    for i in 0..pairs {
        held[i] = w[at + i * LANES as usize];
    }
}

/// The weights of a warp for the first steps of k that [`accumulate`] takes, as many as are on their way at a time.
#[cube]
pub(super) fn first_weights(w: &[Words], at: usize, #[comptime] p: Product) -> Sequence<Array<Words>> {
    let mut all = Sequence::<Array<Words>>::new();
    #[unroll]
    for _ in 0..comptime!(p.tiles.ahead) {
        all.push(Array::<Words>::new(comptime!(p.tiles.column_frags / 2)));
    }
    next_weights(w, &mut all, at, p);
    all
}

/// [`first_weights`] of other columns, in place of those that were used.
#[cube]
pub(super) fn next_weights(w: &[Words], all: &mut Sequence<Array<Words>>, at: usize, #[comptime] p: Product) {
    let pairs = comptime!(p.tiles.column_frags / 2);
    #[unroll]
    for step in 0..comptime!(p.tiles.ahead) {
        load_weights(w, all.index_mut(step), at + comptime!(step * pairs * 32), pairs);
    }
}

/// Adds the products of `count` steps of k, a multiple of those that are on their way at a time: of rows on the chip, the lane's first
/// from `base` on, and of weights. `b` holds those of the first steps and then of each next ones, which are from `next` on, but not
/// beyond `last`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn accumulate<A: Int>(
    chip: &Shared<[Eight]>,
    base: usize,
    w: &[Words],
    b: &mut Sequence<Array<Words>>,
    next: usize,
    last: usize,
    count: usize,
    sums: &mut Sequence<Sums>,
    #[comptime] p: Product,
) {
    let frags = comptime!(p.tiles.column_frags);
    let pairs = comptime!(frags / 2);
    let ahead = comptime!(p.tiles.ahead);
    for group in 0..count / ahead {
        #[unroll]
        for own in 0..ahead {
            let step = group * ahead + own;
            let mut held = Array::<Words>::new(pairs);
            load_weights(w, &mut held, min(next + step * comptime!(pairs * 32), last), pairs);
            let b = b.index_mut(own);
            #[unroll]
            for i in 0..comptime!(p.tiles.row_frags) {
                let at = base + step * 4 + comptime!(i * 16 * p.pitch());
                let (upper, lower) = (chip[at], chip[at + comptime!(8 * p.pitch())]);
                #[unroll]
                for j in 0..frags {
                    let words = b[comptime!(j / 2)];
                    let (b0, b1) = (words.extract(comptime!(j % 2 * 2)), words.extract(comptime!(j % 2 * 2 + 1)));
                    multiply::<A>(upper, lower, b0, b1, sums.index_mut(comptime!(i * frags + j)));
                }
            }
            #[unroll]
            for i in 0..pairs {
                b[i] = held[i];
            }
        }
    }
}

/// Sums of another part of k than the first begin with nothing.
#[cube]
fn clear(sums: &mut Sequence<Sums>, #[comptime] p: Product) {
    #[unroll]
    for i in 0..comptime!(p.tiles.frags()) {
        let tile = sums.index_mut(i);
        tile[0] = Vector::new(0i32);
        tile[1] = Vector::new(0i32);
    }
}

/// Adds the sums of the other parts of k to those of the first, by way of the chip: `at` is the place of the lane's first four among those
/// of a part.
#[cube]
fn gather(sums: &mut Sequence<Sums>, partial: &mut Shared<[Four]>, part: usize, at: usize, #[comptime] p: Product) {
    let frags = comptime!(p.tiles.frags());
    let of_a_part = comptime!(p.tiles.partial() / (p.tiles.parts - 1));
    if part > 0 {
        #[unroll]
        for i in 0..frags {
            let tile = sums.index(i);
            let mut four = Four::empty();
            #[unroll]
            for c in 0..4usize {
                four.insert(c, tile[comptime!(c / 2)].extract(comptime!(c % 2)));
            }
            partial[(part - 1) * of_a_part + at + comptime!(i * 32)] = four;
        }
    }
    sync_cube();
    if part == 0 {
        #[unroll]
        for i in 0..frags {
            let tile = sums.index_mut(i);
            #[unroll]
            for other in 0..comptime!(p.tiles.parts - 1) {
                let four = partial[comptime!(other * of_a_part + i * 32) + at];
                #[unroll]
                for half in 0..2usize {
                    let mut two = Vector::<i32, Const<2>>::empty();
                    two.insert(0usize, four.extract(comptime!(2 * half)));
                    two.insert(1usize, four.extract(comptime!(2 * half + 1)));
                    tile[half] += two;
                }
            }
        }
    }
}

/// `y = requantize(rows · weights + bias)`, where rows may be normalised first, and a table or a residual stream may follow. What
/// is absent may be any buffer. A cube takes `16·row_frags·row_warps` rows and one of `splits` parts of the columns, which it goes through in
/// `rounds`: rows that are normalised are so once for all of them.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gemm<A: Int, S: Size>(
    x: &[Words],
    gamma: &[Words],
    beta: &[Four],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    w: &[Words],
    bias: &[Four],
    mantissas: &[Four],
    shifts: &[Four],
    table: &[u32],
    r: &[Words],
    r_mantissas: &[Four],
    r_shifts: &[Four],
    map: &[i32],
    y: &mut [Vector<u32, S>],
    epsilon: i64,
    rows: u32,
    passes: u32,
    steps: u32,
    stages: u32,
    rounds: u32,
    #[comptime] p: Product,
) {
    let rows = rows as usize;
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let (row_warps, column_warps) = comptime!((p.tiles.row_warps, p.tiles.column_warps));
    let part = warp / comptime!(row_warps * column_warps);
    let splits = comptime!(p.tiles.splits);
    let first = CUBE_POS / splits * comptime!(p.tiles.rows());
    let own_rows = warp % row_warps * comptime!(16 * p.tiles.row_frags);
    let own_columns = warp / row_warps % column_warps;
    let first_block = CUBE_POS % splits * comptime!(p.tiles.rounds * column_warps) + own_columns;

    let buffers = comptime!(if p.tiles.stages > 1 { 2 } else { 1 });
    let buffer = comptime!(p.tiles.rows() * p.pitch());
    let mut chip = Shared::<[Eight]>::new_aligned_slice(comptime!(buffers * buffer), 16usize);
    let mut partial = Shared::<[Four]>::new_aligned_slice(comptime!(p.tiles.partial().max(1)), 16usize);
    let mut bytes = Shared::<[u32]>::new_aligned_slice(comptime!(if p.table { 64usize * 32 } else { 1 }), 16usize);
    if comptime!(p.table) {
        to_every_bank(table, &mut bytes, 64usize, comptime!(p.tiles.warps()));
    }

    let frags = comptime!(p.tiles.column_frags);
    let per_step = comptime!(frags / 2 * 32);
    let per_block = steps as usize * per_step;
    // Of its steps of k.
    let count = steps as usize / comptime!(p.tiles.parts);
    let mut from = 0usize.runtime();
    if comptime!(p.tiles.parts > 1) {
        from = part * count;
    }
    // A warp without columns does what the last one does, but writes nothing.
    let last_block = comptime!(p.blocks() - 1);
    let mut weights = min(first_block, last_block) * per_block + from * per_step + lane;
    let mut b = first_weights(w, weights, p);

    let mut held = Array::<Words>::new(comptime!(p.loads()));
    if comptime!(p.norm) {
        norm_rows(x, map, gamma, beta, norm_mantissa[0], norm_shift[0], epsilon, &mut chip, first, rows, passes, p);
    } else {
        load_stage(x, map, &mut held, 0usize, first, rows, p);
        store_stage(&held, &mut chip, 0usize, p);
    }
    sync_cube();

    let mut all = 1u32.runtime();
    if comptime!(p.tiles.rounds > 1) {
        all = rounds;
    }
    for round in 0..all {
        let block = first_block + round as usize * column_warps;
        let column = block * comptime!(8 * frags) + lane % 4 * comptime!(2 * frags);
        let mut sums = biased(bias, min(column, comptime!(p.n - 2 * frags)), p);
        if comptime!(p.tiles.parts > 1 && p.bias) && part > 0 {
            clear(&mut sums, p);
        }
        let early = early_residual(r, first + own_rows + lane / 4, rows, column, p);
        let stage = comptime!(p.tiles.stage);
        for s in 0..stages {
            let s = s as usize;
            if comptime!(p.tiles.stages > 1) {
                load_stage(x, map, &mut held, s + 1, first, rows, p);
            }
            let base = s % buffers * buffer + (own_rows + lane / 4) * comptime!(p.pitch()) + lane % 4 + from * 4;
            let (start, end) = (s * stage, min(count, (s + 1) * stage));
            let next = weights + (start + comptime!(p.tiles.ahead)) * per_step;
            let last = weights + (count - 1) * per_step;
            accumulate::<A>(&chip, base, w, &mut b, next, last, end - start, &mut sums, p);
            if comptime!(p.tiles.stages > 1) {
                // The other buffer was last read before the barrier.
                store_stage(&held, &mut chip, (s + 1) % buffers * buffer, p);
                sync_cube();
            }
        }
        if comptime!(p.tiles.parts > 1) {
            let at = (own_columns * row_warps + warp % row_warps) * comptime!(p.tiles.frags() * 32) + lane;
            gather(&mut sums, &mut partial, part, at, p);
        }
        if comptime!(p.tiles.rounds > 1) {
            // The first weights of the next columns are on their way while results are made of these.
            weights = min(block + column_warps, last_block) * per_block + lane;
            next_weights(w, &mut b, weights, p);
        }
        if block <= last_block && column < comptime!(p.n) && part == 0 {
            finish::<S>(
                &sums,
                mantissas,
                shifts,
                &bytes,
                r,
                &early,
                r_mantissas,
                r_shifts,
                y,
                first + own_rows + lane / 4,
                rows,
                column,
                lane,
                p,
            );
        }
    }
}
