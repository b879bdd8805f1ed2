//! What becomes of sums: requantization, a table or the residual stream, and stores of what a lane holds of a row, to memory or to the
//! chip.

use super::{
    fixed,
    fragment::{Eight, Sums, Words, halves, in_turn},
    gemm::Product,
    packs::{pair, part, permute, word},
};
use cubecl::prelude::*;

/// Constants of a column, or of four.
pub(super) type Four = Vector<i32, Const<4>>;

/// What becomes of the sum of a column, as `swint_compiler::plan::pack` has it; not all of it saturated, as packing does that.
#[cube]
fn result(sum: i32, column: Four, #[comptime] p: Product) -> i32 {
    let mut q = sum;
    if comptime!(p.range.is_some()) {
        let (low, high) = comptime!(p.range.unwrap_or((0, 0)));
        q = fixed::scaled(sum, column, comptime!(p.tiles.narrow), low, high);
        // What is added to must be saturated by then.
        if comptime!(p.residual && p.tiles.narrow) {
            q = min(max(q, low), high);
        }
    } else if comptime!(p.bias) {
        q += column.extract(0usize);
    }
    q
}

/// The sums that a lane holds of its row `i` and of column `c`.
#[cube]
fn sum_of(sums: &Sequence<Sums>, #[comptime] i: usize, #[comptime] c: usize, #[comptime] p: Product) -> i32 {
    let tile = sums.index(comptime!(i / 2 * p.tiles.column_frags + c / 2));
    tile[comptime!(i % 2)].extract(comptime!(c % 2))
}

/// Four results of bytes as a word, by way of the table if there is one.
#[cube]
fn word_of(q: &Array<i32>, table: &Shared<[u32]>, lane: usize, #[comptime] p: Product) -> u32 {
    let mut packed = word(q[0], q[1], q[2], q[3], comptime!(p.signed()));
    if comptime!(p.table) {
        packed = looked_up(packed, table, lane);
    }
    packed
}

/// What becomes of four columns of a lane, the first of them the `four`th four, constants of which are from `at` on: each four values of them are what
/// follows each other for the lanes of a row.
#[cube]
fn columns_of(columns: &[Four], at: usize, #[comptime] four: usize, #[comptime] are: bool) -> Array<Four> {
    let mut held = Array::<Four>::new(4usize);
    #[unroll]
    for c in 0..4usize {
        if comptime!(are) {
            held[c] = columns[at + comptime!((4 * four + c) * 4)];
        }
    }
    held
}

/// Keeps results of bytes on the chip: a lane's eight columns, constants of which are from `at` on. The lane's first pair of rows begins
/// at `base`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn keep(
    sums: &Sequence<Sums>,
    columns: &[Four],
    table: &Shared<[u32]>,
    chip: &mut Shared<[Words]>,
    base: usize,
    at: usize,
    lane: usize,
    #[comptime] pitch: usize,
    #[comptime] p: Product,
) {
    let rows = comptime!(2 * p.tiles.row_frags);
    let mut words = Array::<u32>::new(comptime!(2 * rows));
    #[unroll]
    for four in 0..2usize {
        let constants = columns_of(columns, at, four, true);
        #[unroll]
        for i in 0..rows {
            let mut q = Array::<i32>::new(4usize);
            #[unroll]
            for c in 0..4usize {
                q[c] = result(sum_of(sums, i, comptime!(4 * four + c), p), constants[c], p);
            }
            words[comptime!(2 * i + four)] = word_of(&q, table, lane, p);
        }
    }
    #[unroll]
    for i in 0..comptime!(p.tiles.row_frags) {
        let (mut upper, mut lower) = (Eight::empty(), Eight::empty());
        #[unroll]
        for four in 0..2usize {
            upper.insert(four, words[comptime!(4 * i + four)]);
            lower.insert(four, words[comptime!(4 * i + 2 + four)]);
        }
        chip[base + comptime!(8 * i * pitch)] = in_turn(upper, lower);
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

/// Writes results: of a lane those of `2·column_frags` columns from `column` on, in row `first`, those 8 rows further, and so on. Constants of
/// columns are from `at` on, four columns at a time in registers.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn finish<S: Size>(
    sums: &Sequence<Sums>,
    columns: &[Four],
    table: &Shared<[u32]>,
    r: &[Words],
    early: &Array<Words>,
    r_columns: &[Four],
    y: &mut [Vector<u32, S>],
    first: usize,
    rows: usize,
    column: usize,
    at: usize,
    lane: usize,
    #[comptime] p: Product,
) {
    let frags = comptime!(p.tiles.column_frags);
    let all = comptime!(2 * p.tiles.row_frags);
    // Words of four results, and of a row.
    let (packed, wide) = comptime!((p.bytes, frags / 2 * p.bytes));
    let mut words = Array::<u32>::new(comptime!(all * wide));
    #[unroll]
    for eight in 0..comptime!(frags / 4) {
        let mut added = Array::<Words>::new(comptime!(if p.residual { all } else { 1 }));
        if comptime!(p.residual) {
            #[unroll]
            for i in 0..all {
                if comptime!(p.early() > 0) {
                    added[i] = early[comptime!(i * (frags / 4) + eight)];
                } else {
                    let row = min(first + comptime!(8 * i), rows - 1);
                    added[i] = r[(row * comptime!(p.n) + column) / 8 + eight];
                }
            }
        }
        #[unroll]
        for half in 0..2usize {
            let four = comptime!(2 * eight + half);
            let constants = columns_of(columns, at, four, comptime!(p.range.is_some() || p.bias));
            let r_constants = columns_of(r_columns, at, four, comptime!(p.residual));
            #[unroll]
            for i in 0..all {
                let mut q = Array::<i32>::new(4usize);
                #[unroll]
                for c in 0..4usize {
                    q[c] = result(sum_of(sums, i, comptime!(4 * four + c), p), constants[c], p);
                    if comptime!(p.residual) {
                        let (low, high) = halves(added[i].extract(comptime!(2 * half + c / 2)));
                        let x = if comptime!(c % 2 == 0) { low } else { high };
                        q[c] += fixed::scaled_half(x, r_constants[c], comptime!(p.tiles.narrow));
                    }
                }
                let to = comptime!(i * wide + four * packed);
                if comptime!(packed == 1) {
                    words[to] = word_of(&q, table, lane, p);
                } else if comptime!(packed == 2) {
                    words[to] = pair(q[0], q[1]);
                    words[comptime!(to + 1)] = pair(q[2], q[3]);
                } else {
                    #[unroll]
                    for c in 0..4usize {
                        words[comptime!(to + c)] = u32::cast_from(q[c]);
                    }
                }
            }
        }
    }
    let stored = comptime!(p.words());
    #[unroll]
    for i in 0..all {
        let row = first + comptime!(8 * i);
        if row < rows {
            let to = (row * comptime!(p.n) + column) / comptime!(4 * stored / p.bytes);
            #[unroll]
            for v in 0..comptime!(wide / stored) {
                let mut vector = Vector::<u32, S>::empty();
                #[unroll]
                for w in 0..stored {
                    vector.insert(w, words[comptime!(i * wide + v * stored + w)]);
                }
                y[to + v] = vector;
            }
        }
    }
}

/// The bytes of a table that has a copy in every bank for the four bytes of a word. The lower five bits of an index, the sixth and the upper two are where
/// its byte's place has them (`swint_compiler::plan::pack::table`): for all four at once, so that of each only two bytes are to be taken.
#[cube]
fn looked_up(indices: u32, table: &Shared<[u32]>, lane: usize) -> u32 {
    let rows = indices & 0x1f1f_1f1fu32;
    let within = ((indices << 2u32) & 0x8080_8080u32) | ((indices >> 6u32) & 0x0303_0303u32);
    let mut bytes = Array::<u32>::new(4usize);
    #[unroll]
    for j in 0..4usize {
        // The lower byte is within 256, the upper one counts these; the sign of either is none.
        let at = permute(within, rows, comptime!(j + (4 + j) * 0x10 + (12 + j) * 0x1100));
        bytes[j] = part(&table[lane], at, 1usize);
    }
    permute(permute(bytes[0], bytes[1], 0x40usize), permute(bytes[2], bytes[3], 0x40usize), 0x5410usize)
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
