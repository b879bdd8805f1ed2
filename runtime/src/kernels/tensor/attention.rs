//! Window attention on tensor cores.
//!
//! A cube takes one head of some windows, one after the other, and each of its warps 16 queries. Scores, their softmax and the
//! probabilities stay in the registers of the warp: what a lane holds of the sums of scores are two keys of each eight, and if
//! these are what the lane holds of A in the next product, and the values lie on the chip in the same order of keys, nothing has to
//! be exchanged. Of 49 keys the product of values sees 64: those that are not there have the probability 0, and values 0.
//!
//! Of tall windows ([`super::tall`]) warps take more than 16 queries, one sixteen after the other, and scores are made three times.

use super::{
    copies::wait_for_launches,
    cosine::{keep_bytes, load_wide, scale_scores},
    epilogue::{Four, store},
    fixed,
    fragment::{Eight, LANES, Sums, Words, in_turn, multiply, to_every_bank, zeros},
    packs::{part, word},
};
use crate::kernels::integer::share;
use cubecl::prelude::*;
use swint_compiler::plan::Attention;

/// Four bytes, of which neighbours may be read together.
pub(super) type One = Vector<u32, Const<1>>;

/// Warps of a cube that takes a tall window, at most.
const MOST_WARPS: usize = 12;

/// Everything about an attention that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Window {
    /// How it is made.
    pub blueprint: Attention,
    /// Heads.
    pub heads: usize,
    /// Tokens of a window.
    pub tokens: usize,
    /// Channels of a head: at most 32.
    pub channels: usize,
    /// Masks; 0 where there are none.
    pub masks: usize,
    /// Whether q, k and v have 16 bits, and scores are of q and k at length 1.
    pub cosine: bool,
    /// The range of results.
    pub range: (i32, i32),
}

impl Window {
    /// Tiles of queries.
    pub(super) fn tiles(&self) -> usize {
        self.tokens.div_ceil(16)
    }

    /// Tiles that a warp takes, one after the other.
    pub(super) fn rounds(&self) -> usize {
        if self.is_tall() { self.tiles().div_ceil(MOST_WARPS) } else { 1 }
    }

    /// Warps of a cube.
    pub(crate) fn warps(&self) -> usize {
        self.tiles().div_ceil(self.rounds())
    }

    /// Whether a warp's scores of 16 queries have no room in its registers.
    pub(super) fn is_tall(&self) -> bool {
        self.tokens > Attention::AT_ONCE
    }

    pub(super) fn frags(&self) -> usize {
        self.tokens.div_ceil(8)
    }

    pub(super) fn steps(&self) -> usize {
        self.tokens.div_ceil(32)
    }

    /// Words between two channels on the chip.
    pub(super) fn pitch(&self) -> usize {
        Attention::pitch(self.tokens)
    }

    /// 16-byte vectors of a row of a head; words of what a lane holds of a row of results.
    pub(crate) fn vectors(&self) -> usize {
        self.channels / 16
    }

    /// Vectors on the chip of all rows of queries, of keys or of values: the rows of whole tiles.
    pub(super) fn all(&self) -> usize {
        16 * self.tiles() * self.vectors()
    }
}

/// Where on the chip a row of values begins, in rows. What lanes of a warp read of them at a time are four words of four keys with others between
/// them, which would lie in two banks: two neighbours change places where bit 2 is set; of half as long rows, bit 4.
#[cube]
pub(super) fn place_of_values(key: usize, #[comptime] p: Window) -> usize {
    let bit = comptime!(if p.vectors() == 2 { 2u32 } else { 4u32 });
    key ^ ((key >> bit as usize) & 1)
}

/// By how much the words of channel `g` of a fragment are moved on the chip. Two steps are 16 words, so that channels would meet every other one: of
/// half of them the steps have changed places, and this is what is beside the first.
#[cube]
fn moved(g: usize, #[comptime] p: Window) -> usize {
    let mut words = 0usize.runtime();
    if comptime!(p.steps() == 2) {
        words = (g >> 1) % 2 * 8;
    }
    words
}

/// What a lane takes of a tile's 16 rows of queries, keys and values: 16 bytes of each. Rows past the window's end are its last one: scores
/// of such keys are not looked at, their probabilities are 0, and results of such queries are not stored.
#[cube]
fn load(qkv: &[Words], window: usize, start: usize, tile: usize, lane: usize, #[comptime] p: Window) -> Array<Words> {
    let vectors = comptime!(p.vectors());
    let third = comptime!(p.heads * vectors);
    let token = min(tile * 16 + lane / vectors % 16, comptime!(p.tokens - 1));
    let at = (window * comptime!(p.tokens) + token) * comptime!(3 * third) + start + lane % vectors;
    let mut held = Array::<Words>::new(3usize);
    #[unroll]
    for part in 0..3usize {
        held[part] = qkv[at + comptime!(part * third)];
    }
    held
}

/// Keeps on the chip what lanes have taken: all queries, all keys, all values.
#[cube]
fn keep(held: &Array<Words>, chip: &mut Shared<[Words]>, tile: usize, lane: usize, #[comptime] p: Window) {
    let (vectors, all) = comptime!((p.vectors(), p.all()));
    if lane < comptime!(16 * vectors) {
        let row = tile * 16 + lane / vectors;
        let at = row * vectors + lane % vectors;
        chip[at] = held[0];
        chip[all + at] = held[1];
        chip[comptime!(2 * all) + place_of_values(row, p) * vectors + lane % vectors] = held[2];
    }
}

/// Turns the values on the chip: of each channel all keys, in the order in which lanes hold probabilities. A unit takes four channels of four keys.
#[cube]
pub(super) fn turn_values(chip: &Shared<[Words]>, values: &mut Shared<[One]>, #[comptime] p: Window) {
    let vectors = comptime!(p.vectors());
    let (quads, units, pitch) = comptime!((4 * vectors, 32 * p.warps(), p.pitch()));
    let tasks = comptime!(8 * p.steps() * quads);
    let words = chip.with_vector_size::<Const<1>>();
    #[unroll]
    for i in 0..comptime!(tasks.div_ceil(units)) {
        let task = UNIT_POS as usize + comptime!(i * units);
        if task < tasks {
            let (quad, set) = (task % quads, task / quads);
            let (step, b, t) = (set / 8, set % 8 / 4, set % 4);
            let mut first = step * 32 + b * 16 + t * 2;
            // There may be no rows for the second half of the last step: any do, as their probabilities are 0.
            if comptime!(p.tiles() % 2 == 1) {
                first = select(first < comptime!(16 * p.tiles()), first, first - 16);
            }
            // Of what follows each other, addresses differ by what is known, and need no registers of their own.
            let row = place_of_values(first, p);
            let (even, odd) = (row * quads + quad, (row ^ 1) * quads + quad);
            let mut held = Array::<u32>::new(4usize);
            #[unroll]
            for k in 0..4usize {
                let at = if comptime!(k % 2 == 0) { even } else { odd };
                held[k] = words[at + comptime!(8 * p.all() + k / 2 * 8 * quads)].extract(0usize);
            }
            // The channel is column g of fragment f, as weights are packed: f = quad % vectors * 2 + c / 2, g = quad / vectors * 2 + c % 2.
            let g = quad / vectors * 2;
            let to = (quad % vectors * 16 + g) * pitch + ((step * 8) ^ moved(g, p)) + t * 2 + b;
            #[unroll]
            for c in 0..4usize {
                let bits = comptime!(c as u32 * 8);
                let mut keys = Array::<i32>::new(4usize);
                #[unroll]
                for k in 0..4usize {
                    keys[k] = i32::cast_from(held[k] >> bits);
                }
                values[to + comptime!((c / 2 * 8 + c % 2) * pitch)] =
                    One::new(word(keys[0], keys[1], keys[2], keys[3], None));
            }
        }
    }
}

/// What lane `t` holds of a row of the chip: eight bytes, 0 past its end.
#[cube]
pub(super) fn row_of(chip: &Shared<[Words]>, row: usize, t: usize, #[comptime] p: Window) -> Eight {
    let eights = comptime!(2 * p.vectors());
    let mut eight = Eight::new(0u32);
    if comptime!(eights == 4) || t < eights {
        eight = chip.with_vector_size::<Const<2>>()[row * eights + t];
    }
    eight
}

/// The numbers of the softmax's exponents, as [`term_of`] takes them.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Exponents {
    limit: u32,
    c: i64,
    mantissa: i64,
    row: i64,
    pair: i64,
    whole: i64,
}

#[cube]
pub(super) fn exponents_of(numbers: &Array<i32>) -> Exponents {
    Exponents {
        limit: u32::cast_from(numbers[0usize]),
        c: (i64::cast_from(numbers[2usize]) << 32i64) | i64::cast_from(u32::cast_from(numbers[1usize])),
        mantissa: i64::cast_from(numbers[3usize]),
        row: i64::cast_from(numbers[4usize]),
        pair: i64::cast_from(numbers[5usize]),
        whole: i64::cast_from(numbers[6usize]),
    }
}

/// What a softmax sums up of a score, 0 if its key `is` none.
#[cube]
pub(super) fn term_of(
    score: i32,
    largest: i32,
    is: bool,
    exponents: &Exponents,
    powers: &Shared<[u32]>,
    lane: usize,
) -> u32 {
    // Up to 2^32: as unsigned it does not overflow.
    let distance = u32::cast_from(largest) - u32::cast_from(score);
    let exponent = i64::cast_from(min(distance, exponents.limit)) * exponents.mantissa + exponents.c;
    let at =
        (u32::cast_from(exponent >> exponents.row) & 0x3f80u32) | (u32::cast_from(exponent >> exponents.pair) & 2u32);
    let entry = select(is, part(&powers[lane], at, 2usize), 0u32);
    entry >> u32::cast_from(exponent >> exponents.whole)
}

/// What a softmax of such a sum multiplies its terms by: `⌊term·reciprocal / 2^30 + 1/2⌋` is the upper half of a product of four times as much.
#[cube]
pub(super) fn reciprocal_of(sum: u32) -> i64 {
    i64::cast_from(share(sum) << 2i32)
}

#[cube]
pub(super) fn share_of(term: i32, reciprocal: i64) -> i32 {
    i32::cast_from((i64::cast_from(term) * reciprocal + comptime!(1i64 << 31)) >> 32i64)
}

/// Whether a key that a lane holds is one: two of fragment `f`, in all but the last all are.
#[cube]
pub(super) fn is_key(t: usize, #[comptime] f: usize, #[comptime] e: usize, #[comptime] tokens: usize) -> bool {
    let mut is = true.runtime();
    if comptime!(8 * f + 8 > tokens) {
        is = comptime!(8 * f + e) + 2 * t < tokens;
    }
    is
}

/// Probabilities of a row from its scores, in their place: `half` 0 is row g, 1 is row g + 8.
#[cube]
fn softmax(
    scores: &mut Sequence<Sums>,
    powers: &Shared<[u32]>,
    numbers: &Array<i32>,
    lane: usize,
    #[comptime] half: usize,
    #[comptime] p: Window,
) {
    let t = lane % 4;
    let mut largest = i32::MIN.runtime();
    #[unroll]
    for f in 0..comptime!(p.frags()) {
        #[unroll]
        for e in 0..2usize {
            let score = scores.index(f)[half].extract(e);
            largest = max(largest, select(is_key(t, f, e, comptime!(p.tokens)), score, i32::MIN));
        }
    }
    largest = max(largest, plane_shuffle_xor(largest, 1u32));
    largest = max(largest, plane_shuffle_xor(largest, 2u32));
    let exponents = exponents_of(numbers);
    let mut sum = 0u32;
    #[unroll]
    for f in 0..comptime!(p.frags()) {
        let mut terms = Vector::<i32, Const<2>>::empty();
        #[unroll]
        for e in 0..2usize {
            let score = scores.index(f)[half].extract(e);
            let is = is_key(t, f, e, comptime!(p.tokens));
            let term = term_of(score, largest, is, &exponents, powers, lane);
            sum += term;
            terms.insert(e, i32::cast_from(term));
        }
        let sums = scores.index_mut(f);
        sums[half] = terms;
    }
    sum += plane_shuffle_xor(sum, 1u32);
    sum += plane_shuffle_xor(sum, 2u32);
    let reciprocal = reciprocal_of(sum);
    #[unroll]
    for f in 0..comptime!(p.frags()) {
        let mut shares = Vector::<i32, Const<2>>::empty();
        #[unroll]
        for e in 0..2usize {
            shares.insert(e, share_of(scores.index(f)[half].extract(e), reciprocal));
        }
        let sums = scores.index_mut(f);
        sums[half] = shares;
    }
}

/// The probabilities of a row in the order of A, for a step of 32 keys.
#[cube]
fn probabilities(
    shares: &Sequence<Sums>,
    #[comptime] half: usize,
    #[comptime] step: usize,
    #[comptime] frags: usize,
) -> Eight {
    let mut eight = Eight::new(0u32);
    #[unroll]
    for w in 0..2usize {
        let mut q = Array::<i32>::new(4usize);
        #[unroll]
        for i in 0..4usize {
            let f = comptime!(4 * step + 2 * w + i / 2);
            q[i] = 0i32;
            if comptime!(f < frags) {
                q[i] = shares.index(f)[half].extract(comptime!(i % 2));
            }
        }
        eight.insert(w, word(q[0], q[1], q[2], q[3], comptime!(Some(false))));
    }
    eight
}

/// What is added to the scores that a lane holds of a fragment: biases, and the mask if there is one.
#[cube]
pub(super) fn added(bias: &[Four], mask: &[Four], biases: usize, masks: usize, #[comptime] p: Window) -> Four {
    let mut four = bias[biases];
    if comptime!(p.masks > 0) {
        four += mask[masks];
    }
    four
}

/// The seven numbers of the softmax's exponents, and the two of the requantization of results.
#[cube]
pub(super) fn load_numbers(exponent: &[i32], mantissa: &[i32], shift: &[i32], numbers: &mut Array<i32>) {
    #[unroll]
    for i in 0..7usize {
        numbers[i] = exponent[i];
    }
    numbers[7usize] = mantissa[0];
    numbers[8usize] = shift[0];
}

/// Writes a tile's results: over the chip, in place of its queries, so that a lane has 16 bytes of a row.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn write_results<S: Size>(
    results: &Sequence<Sums>,
    numbers: &Array<i32>,
    chip: &mut Shared<[Words]>,
    y: &mut [Words],
    window: usize,
    head: usize,
    tile: usize,
    lane: usize,
    #[comptime] p: Window,
) {
    let (columns, vectors, tokens) = comptime!((p.channels / 8, p.vectors(), p.tokens));
    #[unroll]
    for half in 0..2usize {
        let mut q = Array::<i32>::new(comptime!(2 * columns));
        #[unroll]
        for c in 0..comptime!(2 * columns) {
            let sum = results.index(comptime!(c / 2))[half].extract(comptime!(c % 2));
            let (low, high) = comptime!(p.range);
            q[c] = fixed::rounded(sum, numbers[7usize], numbers[8usize], comptime!(p.blueprint.narrow), low, high);
        }
        let row = tile * 16 + lane / 4 + comptime!(8 * half);
        let at = row * comptime!(p.channels) + lane % 4 * comptime!(2 * columns);
        store::<u32, S>(
            &q,
            chip.with_vector_size_mut::<S>(),
            at,
            comptime!(2 * columns),
            1usize,
            vectors,
            comptime!(Some(p.range.0 < 0)),
        );
    }
    sync_plane();
    let row = tile * 16 + lane / vectors;
    if lane < comptime!(16 * vectors) && row < tokens {
        let to = (window * tokens + row) * comptime!(p.heads * vectors) + head * vectors + lane % vectors;
        y[to] = chip[tile * comptime!(16 * vectors) + lane];
    }
}

/// Takes a window's queries, keys and values of a tile onto the chip, as bytes.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn take(
    qkv: &[Words],
    chip: &mut Shared<[Words]>,
    multipliers: &Array<i32>,
    window: usize,
    head: usize,
    tile: usize,
    lane: usize,
    #[comptime] p: Window,
) {
    if comptime!(p.cosine) {
        let held = load_wide(qkv, window, head, tile, lane, p);
        // Results of the window before, in place of the tile's queries, were read by other lanes than those that write there now.
        if comptime!(p.blueprint.windows > 1) {
            sync_plane();
        }
        keep_bytes(&held, chip, multipliers, tile, lane, p);
    } else {
        let held = load(qkv, window, head * comptime!(p.vectors()), tile, lane, p);
        keep(&held, chip, tile, lane, p);
    }
}

/// Scores of eight keys from fragment `f` on of a tile's queries; `added` is what biases and mask add to them, `scale` that of the head.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn score(
    sums: &mut Sums,
    queries: Words,
    chip: &Shared<[Words]>,
    f: usize,
    added: Four,
    scale: i32,
    lane: usize,
    #[comptime] p: Window,
) {
    let k = row_of(chip, comptime!(16 * p.tiles()) + 8 * f + lane / 4, lane % 4, p);
    if comptime!(!p.cosine) {
        #[unroll]
        for half in 0..2usize {
            let mut two = Vector::<i32, Const<2>>::empty();
            two.insert(0usize, added.extract(comptime!(2 * half)));
            two.insert(1usize, added.extract(comptime!(2 * half + 1)));
            sums[half] = two;
        }
    }
    multiply::<i8>(queries, k.extract(0usize), k.extract(1usize), sums);
    if comptime!(p.cosine) {
        scale_scores(sums, scale, added);
    }
}

/// Mantissa and shift of q, of k and of v, if these have 16 bits.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn load_multipliers(
    q_mantissa: &[i32],
    q_shift: &[i32],
    k_mantissa: &[i32],
    k_shift: &[i32],
    v_mantissa: &[i32],
    v_shift: &[i32],
    #[comptime] p: Window,
) -> Array<i32> {
    let mut multipliers = Array::<i32>::new(6usize);
    if comptime!(p.cosine) {
        multipliers[0usize] = q_mantissa[0];
        multipliers[1usize] = q_shift[0];
        multipliers[2usize] = k_mantissa[0];
        multipliers[3usize] = k_shift[0];
        multipliers[4usize] = v_mantissa[0];
        multipliers[5usize] = v_shift[0];
    }
    multipliers
}

/// Attention of a head of some windows. `table` has the powers of two of the softmax, two to a word; `mask` may be any buffer where there is none,
/// as may what only cosine attention has.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn attention<S: Size>(
    qkv: &[Words],
    q_mantissa: &[i32],
    q_shift: &[i32],
    k_mantissa: &[i32],
    k_shift: &[i32],
    v_mantissa: &[i32],
    v_shift: &[i32],
    scales: &[i16],
    bias: &[Four],
    mask: &[Four],
    table: &[u32],
    exponent: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [Words],
    windows: u32,
    #[comptime] p: Window,
) {
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let (g, t) = (lane / 4, lane % 4);
    let frags = comptime!(p.frags());
    let head = CUBE_POS % comptime!(p.heads);
    let first = CUBE_POS / comptime!(p.heads) * comptime!(p.blueprint.windows);
    let end = min(first + comptime!(p.blueprint.windows), windows as usize);
    let all = comptime!(p.all());

    let mut powers = Shared::<[u32]>::new_aligned_slice(comptime!(128usize * 32), 16usize);
    to_every_bank(table, &mut powers, 128usize, comptime!(p.warps()));
    sync_cube();
    let mut chip = Shared::<[Words]>::new_aligned_slice(comptime!(3 * all), 16usize);
    let mut values = Shared::<[One]>::new_aligned_slice(comptime!(p.channels * p.pitch()), 16usize);

    let biases = (head * comptime!(p.warps()) + warp) * comptime!(frags * 32) + lane;
    let upper = warp * 16 + g;
    // Where a lane's values are, eight bytes each, in the first step, and in the second if there are two.
    let own = g * comptime!(p.pitch() / 2) + t;
    let (first_step, second) = (own + moved(g, p) / 2, own + (4 - moved(g, p) / 2));
    // Constants are loaded before the window is there, if there is one: of several, what all have in common would take the registers of others.
    let early = comptime!(p.blueprint.windows == 1);
    let masks_of = comptime!(if p.masks > 0 { p.masks } else { 1 });
    let mut fours = Array::<Four>::new(comptime!(if early { frags } else { 1 }));
    let mut numbers = Array::<i32>::new(9usize);
    if comptime!(early) {
        let masks = (first % masks_of * comptime!(p.warps()) + warp) * comptime!(frags * 32) + lane;
        #[unroll]
        for f in 0..frags {
            fours[f] = added(bias, mask, biases + comptime!(f * 32), masks + comptime!(f * 32), p);
        }
        load_numbers(exponent, mantissa, shift, &mut numbers);
    }
    let multipliers = load_multipliers(q_mantissa, q_shift, k_mantissa, k_shift, v_mantissa, v_shift, p);
    let mut scale = 0i32;
    if comptime!(p.cosine) {
        scale = i32::cast_from(scales[head]);
    }
    wait_for_launches();
    for window in first..end {
        if comptime!(!early) {
            load_numbers(exponent, mantissa, shift, &mut numbers);
        }
        take(qkv, &mut chip, &multipliers, window, head, warp, lane, p);
        sync_cube();
        turn_values(&chip, &mut values, p);

        let queries = in_turn(row_of(&chip, upper, t, p), row_of(&chip, upper + 8, t, p));
        let mut scores = zeros(frags);
        let masks = (window % masks_of * comptime!(p.warps()) + warp) * comptime!(frags * 32) + lane;
        #[unroll]
        for f in 0..frags {
            let four = if comptime!(early) {
                fours[f]
            } else {
                added(bias, mask, biases + comptime!(f * 32), masks + comptime!(f * 32), p)
            };
            score(scores.index_mut(f), queries, &chip, f.runtime(), four, scale, lane, p);
        }
        softmax(&mut scores, &powers, &numbers, lane, 0usize, p);
        softmax(&mut scores, &powers, &numbers, lane, 1usize, p);
        sync_cube();

        let columns = comptime!(p.channels / 8);
        let mut results = zeros(columns);
        #[unroll]
        for step in 0..comptime!(p.steps()) {
            let upper = probabilities(&scores, 0usize, step, frags);
            let a = in_turn(upper, probabilities(&scores, 1usize, step, frags));
            #[unroll]
            for c in 0..columns {
                let at = if comptime!(step == 1 && p.steps() == 2) { second } else { first_step };
                let beyond = comptime!(c * 4 * p.pitch() + if p.steps() == 2 { 0 } else { step * 4 });
                let b = values.with_vector_size::<Const<2>>()[at + beyond];
                multiply::<u8>(a, b.extract(0usize), b.extract(1usize), results.index_mut(c));
            }
        }
        write_results::<S>(&results, &numbers, &mut chip, y, window, head, warp, lane, p);
    }
}
