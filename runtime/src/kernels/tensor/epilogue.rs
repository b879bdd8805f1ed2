//! What becomes of sums: requantization, a table or the residual stream, and stores of what a lane holds of a row, to memory or to the
//! chip.

use super::{
    fixed,
    fragment::{Eight, LANES, Sums, Words, halves, in_turn},
    gemm::Product,
    packs::{pair, word},
};
use cubecl::prelude::*;

/// Constants of four columns.
pub(super) type Four = Vector<i32, Const<4>>;

/// The constants of the columns that a lane holds, the first four at `first`. On the chip those of the four lanes of a row alternate, so
/// that they are in different banks.
#[cube]
pub(super) fn of_columns(all: &[Four], first: usize, #[comptime] count: usize, #[comptime] p: Product) -> Array<Four> {
    let mut held = Array::<Four>::new(count);
    let stride = comptime!(if p.tiles.keeps_constants() { 4 } else { 1 });
    #[unroll]
    for i in 0..count {
        held[i] = all[first + i * stride];
    }
    held
}

/// What becomes of the sums that a lane holds of its row `i`, before anything is added to it; not all of them saturated.
#[cube]
fn results(
    sums: &Sequence<Sums>,
    mantissas: &Array<Four>,
    shifts: &Array<Four>,
    table: &Shared<[u32]>,
    lane: usize,
    #[comptime] i: usize,
    #[comptime] p: Product,
) -> Array<i32> {
    let frags = comptime!(p.tiles.column_frags);
    let mut q = Array::<i32>::new(comptime!(2 * frags));
    #[unroll]
    for c in 0..comptime!(2 * frags) {
        let tile = sums.index(comptime!(i / 2 * frags + c / 2));
        let mut sum = tile[comptime!(i % 2)].extract(comptime!(c % 2));
        let (four, at) = comptime!((c / 4, c % 4));
        if comptime!(p.range.is_some()) {
            let (low, high) = comptime!(p.range.unwrap_or((0, 0)));
            let (mantissa, shift) = (mantissas[four].extract(at), shifts[four].extract(at));
            let narrow = comptime!(p.tiles.narrow);
            // Packing saturates; what is looked up or added to must be by then.
            if comptime!(p.table || p.residual) {
                sum = fixed::requantize(sum, mantissa, shift, narrow, low, high);
            } else {
                sum = fixed::rounded(sum, mantissa, shift, narrow, low, high);
            }
        }
        if comptime!(p.table) {
            sum = looked_up(sum - comptime!(p.range.unwrap_or((0, 0)).0), table, lane);
        }
        q[c] = sum;
    }
    q
}

/// Eight results of bytes.
#[cube]
fn eight(q: &Array<i32>, #[comptime] p: Product) -> Eight {
    let mut eight = Eight::empty();
    eight.insert(0usize, word(q[0], q[1], q[2], q[3], comptime!(p.signed())));
    eight.insert(1usize, word(q[4], q[5], q[6], q[7], comptime!(p.signed())));
    eight
}

/// Keeps results of bytes on the chip: a lane's eight columns, the first four constants of which are at `constants`. The
/// lane's first row begins at `base`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn keep(
    sums: &Sequence<Sums>,
    mantissas: &[Four],
    shifts: &[Four],
    table: &Shared<[u32]>,
    chip: &mut Shared<[Words]>,
    base: usize,
    constants: usize,
    lane: usize,
    #[comptime] pitch: usize,
    #[comptime] p: Product,
) {
    let (mantissas, shifts) = (of_columns(mantissas, constants, 2usize, p), of_columns(shifts, constants, 2usize, p));
    #[unroll]
    for i in 0..comptime!(p.tiles.row_frags) {
        let upper = results(sums, &mantissas, &shifts, table, lane, comptime!(2 * i), p);
        let lower = results(sums, &mantissas, &shifts, table, lane, comptime!(2 * i + 1), p);
        chip[base + comptime!(8 * i * pitch)] = in_turn(eight(&upper, p), eight(&lower, p));
    }
}

/// What is added to a lane's results, where [`finish`] takes it early: loaded while products are still added.
#[cube]
pub(super) fn early_residual(
    r: &[Words],
    first: usize,
    rows: usize,
    column: usize,
    #[comptime] p: Product,
) -> Array<Words> {
    let mut early = Array::<Words>::new(comptime!(p.early().max(1)));
    let of_a_row = comptime!(p.tiles.column_frags / 4);
    #[unroll]
    for i in 0..comptime!(p.early()) {
        let row = min(first + comptime!(8 * (i / of_a_row)), rows - 1);
        let column = min(column, comptime!(p.n - 2 * p.tiles.column_frags));
        early[i] = r[(row * comptime!(p.n) + column) / 8 + comptime!(i % of_a_row)];
    }
    early
}

/// Writes results: of a lane those of `2·column_frags` columns from `column` on, in row `first`, those 8 rows further, and so on. The first four
/// constants of each kind are at `constants`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn finish<S: Size>(
    sums: &Sequence<Sums>,
    mantissas: &[Four],
    shifts: &[Four],
    table: &Shared<[u32]>,
    r: &[Words],
    early: &Array<Words>,
    r_mantissas: &[Four],
    r_shifts: &[Four],
    y: &mut [Vector<u32, S>],
    first: usize,
    rows: usize,
    column: usize,
    constants: usize,
    lane: usize,
    #[comptime] p: Product,
) {
    let frags = comptime!(p.tiles.column_frags);
    let fours = comptime!(frags / 2);
    let scaled = comptime!(if p.range.is_some() { fours } else { 0 });
    let (mantissas, shifts) = (of_columns(mantissas, constants, scaled, p), of_columns(shifts, constants, scaled, p));
    let added = comptime!(if p.residual { fours } else { 0 });
    let (r_mantissas, r_shifts) =
        (of_columns(r_mantissas, constants, added, p), of_columns(r_shifts, constants, added, p));
    #[unroll]
    for i in 0..comptime!(2 * p.tiles.row_frags) {
        let row = first + comptime!(8 * i);
        if row < rows {
            let mut q = results(sums, &mantissas, &shifts, table, lane, i, p);
            if comptime!(p.residual) {
                let from = (row * comptime!(p.n) + column) / 8;
                #[unroll]
                for v in 0..comptime!(frags / 4) {
                    let words =
                        if comptime!(p.early() > 0) { early[comptime!(i * (frags / 4) + v)] } else { r[from + v] };
                    #[unroll]
                    for w in 0..4usize {
                        let (r0, r1) = halves(words.extract(w));
                        let c = comptime!(8 * v + 2 * w);
                        q[c] = added_to(r0, q[c], &r_mantissas, &r_shifts, c, comptime!(p.tiles.narrow));
                        let d = comptime!(c + 1);
                        q[d] = added_to(r1, q[d], &r_mantissas, &r_shifts, d, comptime!(p.tiles.narrow));
                    }
                }
            }
            store::<u32, S>(
                &q,
                y,
                row * comptime!(p.n) + column,
                comptime!(2 * frags),
                comptime!(p.bytes),
                comptime!(p.words()),
                comptime!(p.signed()),
            );
        }
    }
}

/// The byte of a table that has a copy in every bank, in the lowest bits.
#[cube]
fn looked_up(index: i32, table: &Shared<[u32]>, lane: usize) -> i32 {
    let index = u32::cast_from(index);
    let word = table[(index >> 2u32) as usize * LANES as usize + lane];
    i32::cast_from(word >> ((index & 3u32) << 3u32))
}

/// `requantize(r) + y`, which packing saturates.
#[cube]
fn added_to(
    r: i32,
    y: i32,
    mantissas: &Array<Four>,
    shifts: &Array<Four>,
    #[comptime] c: usize,
    #[comptime] narrow: bool,
) -> i32 {
    let (four, at) = comptime!((c / 4, c % 4));
    fixed::requantize_half(r, mantissas[four].extract(at), shifts[four].extract(at), narrow) + y
}

/// Stores `count` results of `bytes` bytes each, `words` words at a time, or one by one where that is 0; `at` is the place of the first among
/// all. Bytes are packed as [`word`] does, and halves of a word saturate.
#[cube]
pub(super) fn store<W: Int, S: Size>(
    q: &Array<i32>,
    y: &mut [Vector<W, S>],
    at: usize,
    #[comptime] count: usize,
    #[comptime] bytes: usize,
    #[comptime] words: usize,
    #[comptime] signed: Option<bool>,
) {
    // Results of an element of what is stored, and elements of a store.
    let (packed, width) = comptime!(if words > 0 { (4 / bytes, words) } else { (1, 1) });
    let to = at / comptime!(packed * width);
    #[unroll]
    for v in 0..comptime!(count / (packed * width)) {
        let mut stored = Vector::<W, S>::empty();
        #[unroll]
        for w in 0..width {
            let c = comptime!((v * width + w) * packed);
            let a = q[c];
            let mut element = W::cast_from(a);
            if comptime!(packed == 4) {
                let (b, c, d) = (q[comptime!(c + 1)], q[comptime!(c + 2)], q[comptime!(c + 3)]);
                element = W::cast_from(word(a, b, c, d, signed));
            } else if comptime!(packed == 2) {
                element = W::cast_from(pair(q[c], q[comptime!(c + 1)]));
            }
            stored.insert(w, element);
        }
        y[to + v] = stored;
    }
}
