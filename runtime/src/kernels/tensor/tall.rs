//! Attention of windows of which a warp's registers do not hold the scores of 16 queries.
//!
//! A cube takes one head of one window, and its warps one tile of queries after the other, 32 keys at a time. Nothing of a key is kept: scores are made
//! for the largest of each row, once more for the sum of the softmax's terms, and once more for the probabilities that these are then.

use super::{
    attention::{
        Exponents, One, Window, added, exponents_of, load_multipliers, load_numbers, reciprocal_of, row_of, score,
        share_of, take, term_of, turn_values, write_results,
    },
    copies::wait_for_launches,
    epilogue::Four,
    fragment::{Eight, LANES, Sums, Words, in_turn, multiply, to_every_bank, zeros},
    packs::word,
};
use cubecl::prelude::*;

/// Fragments of a step of 32 keys.
const FRAGS: usize = 4;

/// What a tile's scores are made of: of biases and masks, where what the lane takes of them begins.
#[derive(CubeType, Clone, Copy)]
struct Tile {
    queries: Words,
    biases: usize,
    masks: usize,
    scale: i32,
    lane: usize,
}

/// Scores of a step's keys. Those of keys that are not there are any.
#[cube]
fn scores_of(
    tile: &Tile,
    step: u32,
    chip: &Shared<[Words]>,
    bias: &[Four],
    mask: &[Four],
    #[comptime] p: Window,
) -> Sequence<Sums> {
    let last = comptime!(p.frags() - 1);
    let mut fours = Array::<Four>::new(FRAGS);
    #[unroll]
    for i in 0..FRAGS {
        let f = min(step as usize * FRAGS + i, last);
        fours[i] = added(bias, mask, tile.biases + f * 32, tile.masks + f * 32, p);
    }
    let mut scores = zeros(FRAGS);
    #[unroll]
    for i in 0..FRAGS {
        let f = min(step as usize * FRAGS + i, last);
        score(scores.index_mut(i), tile.queries, chip, f, fours[i], tile.scale, tile.lane, p);
    }
    scores
}

/// Whether key `e` of a lane's two of fragment `i` of a step is one.
#[cube]
fn is_there(tile: &Tile, step: u32, #[comptime] i: usize, #[comptime] e: usize, #[comptime] p: Window) -> bool {
    let mut is = true.runtime();
    if comptime!(!p.tokens.is_multiple_of(32)) {
        is = step as usize * 32 + tile.lane % 4 * 2 + comptime!(8 * i + e) < comptime!(p.tokens);
    }
    is
}

/// The terms of the softmax of a step's keys, in the place of their scores.
#[cube]
fn terms_of(
    scores: &mut Sequence<Sums>,
    tile: &Tile,
    step: u32,
    most: &Array<i32>,
    exponents: &Exponents,
    powers: &Shared<[u32]>,
    #[comptime] p: Window,
) {
    #[unroll]
    for i in 0..FRAGS {
        let sums = scores.index_mut(i);
        #[unroll]
        for half in 0..2usize {
            let mut two = Vector::<i32, Const<2>>::empty();
            #[unroll]
            for e in 0..2usize {
                let is = is_there(tile, step, i, e, p);
                let term = term_of(sums[half].extract(e), most[half], is, exponents, powers, tile.lane);
                two.insert(e, i32::cast_from(term));
            }
            sums[half] = two;
        }
    }
}

/// The probabilities of a row in the order of A, from a step's terms.
#[cube]
fn probabilities(terms: &Sequence<Sums>, reciprocal: i64, #[comptime] half: usize) -> Eight {
    let mut eight = Eight::empty();
    #[unroll]
    for w in 0..2usize {
        let mut q = Array::<i32>::new(4usize);
        #[unroll]
        for i in 0..4usize {
            let term = terms.index(comptime!(2 * w + i / 2))[half].extract(comptime!(i % 2));
            q[i] = share_of(term, reciprocal);
        }
        eight.insert(w, word(q[0], q[1], q[2], q[3], comptime!(Some(false))));
    }
    eight
}

/// Attention of a head of a window; what it takes is what [`super::attention::attention`] takes. A row has `steps` of 32 keys, a warp at most `rounds`
/// tiles.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn tall_attention<S: Size>(
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
    steps: u32,
    rounds: u32,
    #[comptime] p: Window,
) {
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let (frags, tiles, warps) = comptime!((p.frags(), p.tiles(), p.warps()));
    let (head, window) = (CUBE_POS % comptime!(p.heads), CUBE_POS / comptime!(p.heads));

    let mut powers = Shared::<[u32]>::new_aligned_slice(comptime!(128usize * 32), 16usize);
    to_every_bank(table, &mut powers, 128usize, warps);
    let mut chip = Shared::<[Words]>::new_aligned_slice(comptime!(3 * p.all()), 16usize);
    let mut values = Shared::<[One]>::new_aligned_slice(comptime!(p.channels * p.pitch()), 16usize);
    let mut numbers = Array::<i32>::new(9usize);
    load_numbers(exponent, mantissa, shift, &mut numbers);
    let multipliers = load_multipliers(q_mantissa, q_shift, k_mantissa, k_shift, v_mantissa, v_shift, p);
    let mut scale = 0i32;
    if comptime!(p.cosine) {
        scale = i32::cast_from(scales[head]);
    }
    wait_for_launches();
    for round in 0..rounds {
        let tile = warp + round as usize * warps;
        if tile < tiles {
            take(qkv, &mut chip, &multipliers, window, head, tile, lane, p);
        }
    }
    sync_cube();
    turn_values(&chip, &mut values, p);
    sync_cube();

    let exponents = exponents_of(&numbers);
    let own = lane / 4 * comptime!(p.pitch() / 2) + lane % 4;
    let masks_of = comptime!(if p.masks > 0 { p.masks } else { 1 });
    let columns = comptime!(p.channels / 8);
    for round in 0..rounds {
        let number = warp + round as usize * warps;
        if number < tiles {
            let upper = number * 16 + lane / 4;
            let tile = Tile {
                queries: in_turn(row_of(&chip, upper, lane % 4, p), row_of(&chip, upper + 8, lane % 4, p)),
                biases: (head * tiles + number) * comptime!(frags * 32) + lane,
                masks: (window % masks_of * tiles + number) * comptime!(frags * 32) + lane,
                scale,
                lane,
            };
            // Of row g and of row g + 8.
            let mut most = Array::<i32>::new(2usize);
            most[0] = i32::MIN.runtime();
            most[1] = i32::MIN.runtime();
            for step in 0..steps {
                let scores = scores_of(&tile, step, &chip, bias, mask, p);
                #[unroll]
                for i in 0..comptime!(FRAGS * 4) {
                    let (half, e) = comptime!((i % 4 / 2, i % 2));
                    let score = scores.index(comptime!(i / 4))[half].extract(e);
                    let is = is_there(&tile, step, comptime!(i / 4), e, p);
                    most[half] = max(most[half], select(is, score, i32::MIN));
                }
            }
            #[unroll]
            for half in 0..2usize {
                most[half] = max(most[half], plane_shuffle_xor(most[half], 1u32));
                most[half] = max(most[half], plane_shuffle_xor(most[half], 2u32));
            }
            let mut totals = Array::<i32>::new(2usize);
            totals[0] = 0i32.runtime();
            totals[1] = 0i32.runtime();
            for step in 0..steps {
                let mut terms = scores_of(&tile, step, &chip, bias, mask, p);
                terms_of(&mut terms, &tile, step, &most, &exponents, &powers, p);
                #[unroll]
                for i in 0..comptime!(FRAGS * 4) {
                    let half = comptime!(i % 4 / 2);
                    totals[half] += terms.index(comptime!(i / 4))[half].extract(comptime!(i % 2));
                }
            }
            let mut reciprocals = Array::<i64>::new(2usize);
            #[unroll]
            for half in 0..2usize {
                let total = totals[half] + plane_shuffle_xor(totals[half], 1u32);
                reciprocals[half] = reciprocal_of(u32::cast_from(total + plane_shuffle_xor(total, 2u32)));
            }
            let mut results = zeros(columns);
            for step in 0..steps {
                let mut terms = scores_of(&tile, step, &chip, bias, mask, p);
                terms_of(&mut terms, &tile, step, &most, &exponents, &powers, p);
                let above = probabilities(&terms, reciprocals[0], 0usize);
                let a = in_turn(above, probabilities(&terms, reciprocals[1], 1usize));
                #[unroll]
                for c in 0..columns {
                    let at = own + comptime!(c * 4 * p.pitch()) + step as usize * 4;
                    let b = values.with_vector_size::<Const<2>>()[at];
                    multiply::<u8>(a, b.extract(0usize), b.extract(1usize), results.index_mut(c));
                }
            }
            // Queries were read by other lanes than those that write results in their place.
            sync_plane();
            write_results::<S>(&results, &numbers, &mut chip, y, window, head, number, lane, p);
        }
    }
}
