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
    epilogue::{Four, early_residual, finish, of_columns},
    fragment::{LANES, Sums, Words, to_every_bank, zeros},
    rows::{load_stage, norm_rows, store_stage},
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

    /// Whether its bytes are signed and packing saturates them; `None`: they are a table's, and any.
    pub(super) fn signed(&self) -> Option<bool> {
        if self.table { None } else { self.range.map(|(low, _)| low < 0) }
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
        self.tiles.copied && self.tiles.rounds == 1 && self.tiles.ahead * self.tiles.parts == self.steps()
    }

    /// 16-byte places of the ring of a cube, at least one.
    fn ring(&self) -> usize {
        (self.tiles.ring() / 16).max(1)
    }

    /// Whether constants of columns are copied to the chip.
    fn keeps_constants(&self) -> bool {
        self.tiles.keeps_constants()
    }

    /// Fours of constants of each of a cube's warps on the chip, at least one.
    fn constants(&self, are: bool) -> usize {
        if are && self.keeps_constants() { self.tiles.warps() * self.tiles.column_frags * 2 } else { 1 }
    }
}

/// Sums that begin with the bias, of which a lane holds `2·column_frags` columns, the first four's at `first`.
#[cube]
pub(super) fn biased(bias: &[Four], first: usize, #[comptime] p: Product) -> Sequence<Sums> {
    let frags = comptime!(p.tiles.column_frags);
    let mut sums = zeros(comptime!(p.tiles.row_frags * frags));
    if comptime!(p.bias) {
        let held = of_columns(bias, first, comptime!(frags / 2), p);
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

/// Begins to copy the constants of a warp's columns, `first` the place of the first four of them, to the chip, from `to` on: every lane copies four.
#[cube]
fn copy_constants(
    all: &[Four],
    chip: &mut Shared<[Four]>,
    first: usize,
    to: usize,
    lane: usize,
    #[comptime] p: Product,
) {
    let own = comptime!(p.tiles.column_frags / 2);
    if lane < comptime!(4 * own) {
        copy::<Four>(&all[min(first + lane, comptime!(p.n / 4 - 1))], &mut chip[to + lane % own * 4 + lane / own]);
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
    let (scaled, added) = comptime!((p.range.is_some(), p.residual));
    let mut own_bias = Shared::<[Four]>::new_aligned_slice(comptime!(p.constants(p.bias)), 16usize);
    let mut own_mantissas = Shared::<[Four]>::new_aligned_slice(comptime!(p.constants(scaled)), 16usize);
    let mut own_shifts = Shared::<[Four]>::new_aligned_slice(comptime!(p.constants(scaled)), 16usize);
    let mut own_r_mantissas = Shared::<[Four]>::new_aligned_slice(comptime!(p.constants(added)), 16usize);
    let mut own_r_shifts = Shared::<[Four]>::new_aligned_slice(comptime!(p.constants(added)), 16usize);
    let own_constants = warp * comptime!(2 * frags);
    if comptime!(p.keeps_constants()) {
        let columns = known_block * comptime!(2 * frags);
        if comptime!(p.bias) {
            copy_constants(bias, &mut own_bias, columns, own_constants, lane, p);
        }
        if comptime!(scaled) {
            copy_constants(mantissas, &mut own_mantissas, columns, own_constants, lane, p);
            copy_constants(shifts, &mut own_shifts, columns, own_constants, lane, p);
        }
        if comptime!(added) {
            copy_constants(r_mantissas, &mut own_r_mantissas, columns, own_constants, lane, p);
            copy_constants(r_shifts, &mut own_r_shifts, columns, own_constants, lane, p);
        }
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
    for round in 0..all {
        let block = first_block + round as usize * column_warps;
        let column = block * comptime!(8 * frags) + lane % 4 * comptime!(2 * frags);
        let mut sums = if comptime!(p.keeps_constants()) {
            biased(&own_bias, own_constants + lane % 4, p)
        } else {
            biased(bias, min(column, comptime!(p.n - 2 * frags)) / 4, p)
        };
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
            let base = s % buffers * buffer + (own_rows / 2 + lane / 4) * comptime!(p.pitch()) + lane % 4 + from * 4;
            let (start, end) = (s * stage, min(count, (s + 1) * stage));
            if comptime!(copied) {
                let (mut after, mut later) = (weights + end * per_step, end < count);
                if comptime!(p.tiles.rounds > 1) {
                    after = min(block + column_warps, last_block) * per_block + lane;
                    later = round + 1 < rounds;
                }
                let own = weights + start * per_step;
                accumulate_copied::<A>(&chip, base, w, &mut ring, slot, own, after, later, end - start, &mut sums, p);
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
            if comptime!(!copied) {
                next_weights(w, &mut b, weights, p);
            }
        }
        if block <= last_block && column < comptime!(p.n) && part == 0 {
            let row = first + own_rows + lane / 4;
            if comptime!(p.keeps_constants()) {
                finish::<S>(
                    &sums,
                    &own_mantissas,
                    &own_shifts,
                    &bytes,
                    r,
                    &early,
                    &own_r_mantissas,
                    &own_r_shifts,
                    y,
                    row,
                    rows,
                    column,
                    own_constants + lane % 4,
                    lane,
                    p,
                );
            } else {
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
                    row,
                    rows,
                    column,
                    column / 4,
                    lane,
                    p,
                );
            }
        }
    }
}
