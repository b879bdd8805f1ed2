//! The int8 matrix product on tensor cores, with what comes before and after it.
//!
//! A cube takes a tile of rows on the chip, normalised or as they are, and its warps take blocks of columns each. Weights come
//! from memory in the order of fragments, some steps of k ahead. Rows that fit are on the chip with all of their k; others a
//! stage at a time, the next one on its way while the present one is used.
//!
//! Where weights are copied to the chip, so are the constants of columns, and all that has room is on its way before the kernel
//! waits for the launches before it: what then is left to wait for is rows.

use super::{
    copies::{copy, wait, wait_for_launches},
    epilogue::{Four, early_residual, finish},
    fragment::{LANES, Sums, Words, to_every_bank, zeros},
    rows::{cast_rows, load_stage, norm_rows, store_stage},
    weights::{accumulate, accumulate_copied, first_copies, first_weights, next_weights},
};
use cubecl::prelude::*;
use swint_compiler::plan::{Gemm, NormShare, Rows};

/// Everything about a matrix product that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Product {
    /// How it is tiled.
    pub tiles: Gemm,
    /// Its rows.
    pub rows: Rows,
    /// Results of a row.
    pub n: usize,
    /// Whether rows are 16-bit and are normalised first.
    pub norm: bool,
    /// Whether rows are 16-bit and are requantized to bytes first; otherwise they are bytes.
    pub cast: bool,
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

    /// 16-byte words between the beginnings of two pairs of rows on the chip.
    pub(super) fn pitch(&self) -> usize {
        self.tiles.pitch() / 8
    }

    /// 16-byte words of a stage of a cube's rows on the chip.
    pub(super) fn on_chip(&self) -> usize {
        self.tiles.rows() / 2 * self.pitch()
    }

    fn blocks(&self) -> usize {
        self.n.div_ceil(8 * self.tiles.column_frags)
    }

    /// How its rows are normalised.
    pub(super) fn share(&self) -> NormShare {
        self.tiles.norm_share(self.rows.len())
    }

    /// 16-byte loads of a unit that take a stage of rows that are not normalised.
    pub(super) fn loads(&self) -> usize {
        self.tiles.loads()
    }

    /// Whether bytes that sums are requantized to are signed; `None`: they are not requantized.
    pub(super) fn signed(&self) -> Option<bool> {
        self.range.map(|(low, _)| low < 0)
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

    /// How often a warp goes on to other rows when it normalises a tile of them.
    pub(crate) fn passes(&self) -> usize {
        self.share().passes
    }

    /// Whether the ring has all weights of a warp, and nothing comes in their place.
    pub(super) fn is_whole(&self) -> bool {
        self.tiles.copied && self.tiles.ahead * self.tiles.parts == self.steps()
    }

    /// 16-byte places of the ring of a cube, at least one.
    fn ring(&self) -> usize {
        (self.tiles.ring() / 16).max(1)
    }

    /// Columns of all of a cube's warps whose constants are on the chip, at least one.
    fn constants(&self, are: bool) -> usize {
        if are && self.tiles.copied { self.tiles.warps() * self.tiles.column_frags * 8 } else { 1 }
    }

    /// Whether something becomes of sums.
    fn has_columns(&self) -> bool {
        self.range.is_some() || self.bias
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

/// Begins to copy the constants of a warp's columns, which are from `first` on, to the chip, from `to` on.
#[cube]
fn copy_columns(all: &[Four], chip: &mut Shared<[Four]>, first: usize, to: usize, lane: usize, #[comptime] p: Product) {
    #[unroll]
    for i in 0..comptime!(p.tiles.column_frags / 4) {
        let at = lane + comptime!(32 * i);
        copy::<Four>(&all[first + at], &mut chip[to + at]);
    }
}

/// `y = requantize(rows · weights + bias)`, where rows may be normalised first or requantized, and a table or a residual stream may follow. What
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
    columns: &[Four],
    table: &[u32],
    r: &[Words],
    r_columns: &[Four],
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
    let buffer = comptime!(p.on_chip());
    let mut chip = Shared::<[Words]>::new_aligned_slice(comptime!(buffers * buffer), 16usize);
    let mut partial = Shared::<[Four]>::new_aligned_slice(comptime!(p.tiles.partial().max(1)), 16usize);
    let mut bytes = Shared::<[u32]>::new_aligned_slice(comptime!(if p.table { 64usize * 32 } else { 1 }), 16usize);
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
    let known_block = min(first_block, last_block);
    let mut weights = known_block * per_block + from * per_step + lane;

    let copied = comptime!(p.tiles.copied);
    let mut ring = Shared::<[Words]>::new_aligned_slice(comptime!(p.ring()), 16usize);
    let of_a_block = comptime!(8 * frags);
    let mut kept = Shared::<[Four]>::new_aligned_slice(comptime!(p.constants(p.has_columns())), 16usize);
    let mut kept_r = Shared::<[Four]>::new_aligned_slice(comptime!(p.constants(p.residual)), 16usize);
    let own = warp * of_a_block;
    if comptime!(copied && p.has_columns()) {
        copy_columns(columns, &mut kept, known_block * of_a_block, own, lane, p);
    }
    if comptime!(copied && p.residual) {
        copy_columns(r_columns, &mut kept_r, known_block * of_a_block, own, lane, p);
    }
    let slot = warp * comptime!(p.tiles.ahead * per_step) + lane;
    if comptime!(copied) {
        first_copies(w, &mut ring, weights, slot, p);
    }
    let mut b = if comptime!(copied) { Sequence::<Array<Words>>::new() } else { first_weights(w, weights, p) };
    if comptime!(p.table) {
        to_every_bank(table, &mut bytes, 64usize, comptime!(p.tiles.warps()));
    }

    let mut held = Array::<Words>::new(comptime!(p.loads()));
    if comptime!(p.norm) {
        norm_rows(x, map, gamma, beta, norm_mantissa[0], norm_shift[0], epsilon, &mut chip, first, rows, passes, p);
    } else if comptime!(p.cast) {
        cast_rows(x, map, norm_mantissa[0], norm_shift[0], &mut chip, first, rows, passes, p);
    } else {
        wait_for_launches();
        load_stage(x, map, &mut held, 0usize, first, rows, p);
        store_stage(&held, &mut chip, 0usize, p);
    }
    if comptime!(copied) {
        // Constants came with the first group; a ring that has all weights needs no other wait.
        wait(comptime!(if p.is_whole() { 0 } else { p.tiles.ahead - 1 }));
    }
    sync_cube();

    let mut all = 1u32.runtime();
    if comptime!(p.tiles.rounds > 1) {
        all = rounds;
    }
    let mut all_stages = 1u32.runtime();
    if comptime!(p.tiles.stages > 1) {
        all_stages = stages;
    }
    for round in 0..all {
        let block = first_block + round as usize * column_warps;
        let column = block * comptime!(8 * frags) + lane % 4 * comptime!(2 * frags);
        let mut sums = zeros(comptime!(p.tiles.frags()));
        let early = early_residual(r, first + own_rows + lane / 4, rows, column, p);
        let stage = comptime!(p.tiles.stage);
        for s in 0..all_stages {
            let s = s as usize;
            if comptime!(p.tiles.stages > 1) {
                load_stage(x, map, &mut held, s + 1, first, rows, p);
            }
            let base = s % buffers * buffer + (own_rows / 2 + lane / 4) * comptime!(p.pitch()) + lane % 4 + from * 4;
            let (start, end) = (s * stage, min(count, (s + 1) * stage));
            if comptime!(copied) {
                let own = weights + start * per_step;
                accumulate_copied::<A>(&chip, base, w, &mut ring, slot, own, end < count, end - start, &mut sums, p);
            } else {
                let next = weights + (start + comptime!(p.tiles.ahead)) * per_step;
                let last = weights + (count - 1) * per_step;
                accumulate::<A>(&chip, base, w, &mut b, next, last, end - start, &mut sums, p);
            }
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
            let row = first + own_rows + lane / 4;
            if comptime!(copied) {
                let at = own + lane % 4;
                finish::<S>(&sums, &kept, &bytes, r, &early, &kept_r, y, row, rows, column, at, lane, p);
            } else {
                let at = block * of_a_block + lane % 4;
                finish::<S>(&sums, columns, &bytes, r, &early, r_columns, y, row, rows, column, at, lane, p);
            }
        }
    }
}
