//! What cosine attention does beside window attention: q and k of 16 bits at length 1, and scores by their head's scale.

use super::{
    attention::{Window, place_of_values},
    epilogue::Four,
    fixed::rounded,
    fragment::{Eight, Sums, Words, halves},
    packs::word,
};
use crate::kernels::unit::{HeadNorm, head_norm, unit};
use cubecl::prelude::*;
use swint_ir::infer::MAX_SCORE;

impl Window {
    /// Lanes that have part in a token's q, k or v of 16 bits: sixteen bytes each.
    fn sharing(&self) -> usize {
        2 * self.vectors()
    }

    /// How often a warp goes on to other tokens of its sixteen.
    fn passes(&self) -> usize {
        self.sharing() / 2
    }
}

/// The token, among a warp's, of a lane in a pass.
#[cube]
fn token_of(lane: usize, #[comptime] pass: usize, #[comptime] p: Window) -> usize {
    lane / comptime!(p.sharing()) + comptime!(pass * 32 / p.sharing())
}

/// What a lane takes of a warp's 16 rows of queries, keys and values of 16 bits: first of all queries, pass by pass. Rows past the window's end
/// are its last one.
#[cube]
pub(super) fn load_wide(
    qkv: &[Words],
    window: usize,
    head: usize,
    warp: usize,
    lane: usize,
    #[comptime] p: Window,
) -> Array<Words> {
    let (sharing, passes) = comptime!((p.sharing(), p.passes()));
    let third = comptime!(p.heads * sharing);
    let mut held = Array::<Words>::new(comptime!(3 * passes));
    #[unroll]
    for pass in 0..passes {
        let token = min(warp * 16 + token_of(lane, pass, p), comptime!(p.tokens - 1));
        let at = (window * comptime!(p.tokens) + token) * comptime!(3 * third) + head * sharing + lane % sharing;
        #[unroll]
        for part in 0..3usize {
            held[comptime!(part * passes + pass)] = qkv[at + comptime!(part * third)];
        }
    }
    held
}

/// Keeps on the chip what lanes have taken, as bytes: all queries and all keys at length 1, and all values. `multipliers` are mantissa and shift of
/// q, of k and of v.
#[cube]
pub(super) fn keep_bytes(
    held: &Array<Words>,
    chip: &mut Shared<[Words]>,
    multipliers: &Array<i32>,
    warp: usize,
    lane: usize,
    #[comptime] p: Window,
) {
    let (sharing, passes) = comptime!((p.sharing(), p.passes()));
    // Queries and keys of all passes are as many as lanes share each of them: every lane finds the length of one.
    let own = lane % sharing;
    let mut square = 0i64;
    #[unroll]
    for i in 0..sharing {
        let mut squares = 0i64;
        #[unroll]
        for w in 0..4usize {
            let (a, b) = halves(held[i].extract(w));
            squares += i64::cast_from(a) * i64::cast_from(a) + i64::cast_from(b) * i64::cast_from(b);
        }
        #[unroll]
        for bit in 0..comptime!(sharing.ilog2()) {
            squares += plane_shuffle_xor(squares, comptime!(1u32 << bit));
        }
        square = select(own == i, squares, square);
    }
    let norm = head_norm(square);
    let eights = chip.with_vector_size_mut::<Const<2>>();
    #[unroll]
    for i in 0..sharing {
        let (part, pass) = comptime!((i / passes, i % passes));
        let from = (lane - own + comptime!(i)) as u32;
        let of = HeadNorm { reciprocal: plane_shuffle(norm.reciprocal, from), half: plane_shuffle(norm.half, from) };
        let mut values = Array::<i32>::new(8usize);
        #[unroll]
        for w in 0..4usize {
            let (a, b) = halves(held[i].extract(w));
            values[comptime!(2 * w)] = unit(&of, a);
            values[comptime!(2 * w + 1)] = unit(&of, b);
        }
        let row = warp * 16 + token_of(lane, pass, p);
        eights[comptime!(part * p.all() * 2) + row * sharing + own] = bytes_of(&values, multipliers, part, p);
    }
    #[unroll]
    for pass in 0..passes {
        let mut values = Array::<i32>::new(8usize);
        #[unroll]
        for w in 0..4usize {
            let (a, b) = halves(held[comptime!(2 * passes + pass)].extract(w));
            values[comptime!(2 * w)] = a;
            values[comptime!(2 * w + 1)] = b;
        }
        let row = place_of_values(warp * 16 + token_of(lane, pass, p), p);
        eights[comptime!(2 * p.all() * 2) + row * sharing + own] = bytes_of(&values, multipliers, 2usize, p);
    }
}

/// Eight values of q, of k or of v, requantized to bytes.
#[cube]
fn bytes_of(values: &Array<i32>, multipliers: &Array<i32>, #[comptime] part: usize, #[comptime] p: Window) -> Eight {
    let (mantissa, shift) = (multipliers[comptime!(2 * part)], multipliers[comptime!(2 * part + 1)]);
    let mut eight = Eight::empty();
    #[unroll]
    for h in 0..2usize {
        let mut q = Array::<i32>::new(4usize);
        #[unroll]
        for i in 0..4usize {
            let value = values[comptime!(4 * h + i)];
            q[i] = rounded(value, mantissa, shift, comptime!(p.blueprint.narrow), -128i32, 127i32);
        }
        eight.insert(h, word(q[0], q[1], q[2], q[3], comptime!(Some(true))));
    }
    eight
}

/// Scores of eight keys by their head's scale, and what is added to them.
#[cube]
pub(super) fn scale_scores(sums: &mut Sums, scale: i32, added: Four) {
    #[unroll]
    for half in 0..2usize {
        let mut two = Vector::<i32, Const<2>>::empty();
        #[unroll]
        for e in 0..2usize {
            let score = min(max(sums[half].extract(e), comptime!(-MAX_SCORE)), MAX_SCORE);
            two.insert(e, score * scale + added.extract(comptime!(2 * half + e)));
        }
        sums[half] = two;
    }
}
