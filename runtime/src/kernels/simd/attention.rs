//! Window attention of a head: all its queries, one after the other.
//!
//! Keys are turned once, so that a vector holds a pair of channels of eight of them: a pair of a query meets eight keys at once,
//! and the scores of a query are vectors, of which the softmax is made. Values are pairs of tokens for the same reason. Of 49
//! keys there are seven vectors: those that are not there have the probability 0.

use super::{
    Eight,
    cosine::{Multipliers, scaled, to_bytes},
    fixed::requantize,
    pairs::{Sixteen, eightfold, multiply},
    sums::Own,
};
use crate::kernels::{integer::share, unit_items};
use cubecl::prelude::*;
use swint_compiler::plan::PAIRS;
use swint_ir::arith::softmax::EXPONENT_BITS;

/// Eight values that are not negative.
type Unsigned = Vector<u32, Const<8>>;

/// Everything about an attention that shapes its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Window {
    /// Heads.
    pub heads: usize,
    /// Tokens of a window.
    pub tokens: usize,
    /// Channels of a head.
    pub channels: usize,
    /// Masks; 0 where there are none.
    pub masks: usize,
    /// Whether q, k and v have 16 bits, and scores are of q and k at length 1.
    pub cosine: bool,
    /// The range of results.
    pub range: (i32, i32),
    /// Whether every requantization, but that of exponents, needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

impl Window {
    /// Vectors of keys.
    fn keys(&self) -> usize {
        self.tokens.div_ceil(PAIRS)
    }

    /// Vectors of a head's channels.
    fn vectors(&self) -> usize {
        self.channels / PAIRS
    }

    /// Vectors of a token's channels: of all heads.
    fn all(&self) -> usize {
        self.heads * self.vectors()
    }

    /// Vectors of q, k or v of a token among the bytes that attention reads.
    fn third(&self) -> usize {
        if self.cosine { self.vectors() } else { self.all() }
    }
}

/// Attention of a head of a window, which is an item. `wide` is `qkv` of cosine attention; `mask` may be any buffer where there is none, as what
/// only cosine attention has;
/// rows of both biases have as many vectors as there are of keys. `channel_pairs`, `token_pairs` and `tokens` are those of `p`
/// (for why, see [`crate::kernels::linear::sums`]).
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn attention<Y: Int>(
    qkv: &[Vector<i8, Const<8>>],
    wide: &[Vector<i16, Const<8>>],
    q_mantissa: &[i32],
    q_shift: &[i32],
    k_mantissa: &[i32],
    k_shift: &[i32],
    v_mantissa: &[i32],
    v_shift: &[i32],
    scales: &[i16],
    bias: &[Eight],
    mask: &[Eight],
    table: &[i32],
    exponent: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [Vector<Y, Const<8>>],
    tokens: u32,
    channel_pairs: u32,
    token_pairs: u32,
    items: u32,
    #[comptime] p: Window,
    #[comptime] per_unit: u32,
) {
    let (tokens, channel_pairs, token_pairs) = (tokens as usize, channel_pairs as usize, token_pairs as usize);
    let (third, vectors) = comptime!((p.third(), p.vectors()));
    let mut own = Own::<i8, Const<8>>::new(comptime!(if p.cosine { 3 * p.tokens * p.vectors() } else { 1 }));
    let mut keys = Array::<Sixteen>::new(comptime!(p.channels / 2 * p.keys()));
    let mut values = Array::<Sixteen>::new(comptime!(p.tokens.div_ceil(2) * p.vectors()));
    let mut query = Own::<i16, Const<8>>::new(vectors);
    let mut shares = Own::<i16, Const<8>>::new(comptime!(p.keys()));
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let (window, head) = (item as usize / comptime!(p.heads), item as usize % comptime!(p.heads));
        let mut start = window * tokens * comptime!(3 * p.all()) + head * vectors;
        let mut scale = 0i32;
        if comptime!(p.cosine) {
            let multipliers = Multipliers {
                q: (q_mantissa[0], q_shift[0]),
                k: (k_mantissa[0], k_shift[0]),
                v: (v_mantissa[0], v_shift[0]),
            };
            to_bytes::<i8, Const<8>>(
                wide,
                start,
                comptime!(p.all()),
                &multipliers,
                &mut own,
                tokens,
                vectors,
                comptime!(p.narrow),
            );
            start = 0usize.runtime();
            scale = i32::cast_from(scales[head]);
        }
        let qkv = if comptime!(p.cosine) { own.as_slice() } else { qkv };
        turn_keys(qkv, start + third, &mut keys, channel_pairs, p);
        pair_values(qkv, start + comptime!(2 * third), &mut values, token_pairs, p);
        for i in 0..tokens {
            #[unroll]
            for v in 0..vectors {
                query[v] = Vector::cast_from(qkv[start + i * comptime!(3 * third) + v]);
            }
            let query = query.as_slice().with_vector_size::<Const<2>>();
            let mut scores = Array::<Eight>::new(comptime!(p.keys()));
            let biases = (head * tokens + i) * comptime!(p.keys());
            let masked = window % comptime!(if p.masks > 0 { p.masks } else { 1 });
            let masked = (masked * tokens + i) * comptime!(p.keys());
            // What is added to scores by their scale is not what they begin with.
            #[unroll]
            for v in 0..comptime!(p.keys()) {
                scores[v] =
                    if comptime!(p.cosine) { Eight::new(0i32) } else { added(bias, mask, biases + v, masked + v, p) };
            }
            for c in 0..channel_pairs {
                let channels = eightfold(query[c]);
                #[unroll]
                for v in 0..comptime!(p.keys()) {
                    scores[v] = multiply::<Const<8>, Const<16>>(channels, keys[c * comptime!(p.keys()) + v], scores[v]);
                }
            }
            if comptime!(p.cosine) {
                #[unroll]
                for v in 0..comptime!(p.keys()) {
                    scores[v] = scaled(scores[v], scale, p) + added(bias, mask, biases + v, masked + v, p);
                }
            }
            softmax(&scores, table, exponent, &mut shares, p);
            let shares = shares.as_slice().with_vector_size::<Const<2>>();
            let mut sums = Array::<Eight>::new(vectors);
            #[unroll]
            for v in 0..vectors {
                sums[v] = Eight::new(0i32);
            }
            for j in 0..token_pairs {
                let share = eightfold(shares[j]);
                #[unroll]
                for v in 0..vectors {
                    sums[v] = multiply::<Const<8>, Const<16>>(share, values[j * vectors + v], sums[v]);
                }
            }
            let (mantissa, shift) = (Eight::new(mantissa[0]), Eight::new(shift[0]));
            let at = (window * tokens + i) * comptime!(p.all()) + head * vectors;
            #[unroll]
            for v in 0..vectors {
                let (low, high) = comptime!(p.range);
                y[at + v] = Vector::cast_from(requantize(sums[v], mantissa, shift, comptime!(p.narrow), low, high));
            }
        }
    }
}

/// Bias and mask of eight scores.
#[cube]
fn added(bias: &[Eight], mask: &[Eight], biases: usize, masks: usize, #[comptime] p: Window) -> Eight {
    let mut eight = bias[biases];
    if comptime!(p.masks > 0) {
        eight += mask[masks];
    }
    eight
}

/// For each pair of channels, for each eight keys, the pair of each; what is beyond the last key repeats it.
#[cube]
fn turn_keys(
    qkv: &[Vector<i8, Const<8>>],
    start: usize,
    keys: &mut Array<Sixteen>,
    channel_pairs: usize,
    #[comptime] p: Window,
) {
    let halves = qkv.with_vector_size::<Const<2>>();
    for c in 0..channel_pairs {
        #[unroll]
        for v in 0..comptime!(p.keys()) {
            let mut pairs = Vector::<u16, Const<8>>::empty();
            #[unroll]
            for lane in 0..PAIRS {
                let key = comptime!((PAIRS * v + lane).min(p.tokens - 1));
                let half = halves[(start + comptime!(key * 3 * p.third())) * 4 + c];
                pairs.insert(lane, u16::reinterpret(half));
            }
            keys[c * comptime!(p.keys()) + v] = Sixteen::cast_from(Vector::<i8, Const<16>>::reinterpret(pairs));
        }
    }
}

/// For each pair of tokens, for each eight channels, the values of both; what is beyond the last token repeats it.
#[cube]
fn pair_values(
    qkv: &[Vector<i8, Const<8>>],
    start: usize,
    values: &mut Array<Sixteen>,
    token_pairs: usize,
    #[comptime] p: Window,
) {
    let (vectors, stride) = comptime!((p.vectors(), 3 * p.third()));
    for j in 0..token_pairs {
        let (even, odd) = (start + 2 * j * stride, start + min(2 * j + 1, comptime!(p.tokens - 1)) * stride);
        #[unroll]
        for v in 0..vectors {
            let (first, second) = (qkv[even + v], qkv[odd + v]);
            let mut both = Vector::<i8, Const<16>>::empty();
            #[unroll]
            for lane in 0..PAIRS {
                both.insert(comptime!(2 * lane), first.extract(lane));
                both.insert(comptime!(2 * lane + 1), second.extract(lane));
            }
            values[j * vectors + v] = Sixteen::cast_from(both);
        }
    }
}

/// The probabilities of a query's scores.
#[cube]
fn softmax(
    scores: &Array<Eight>,
    table: &[i32],
    exponent: &[i32],
    shares: &mut Own<i16, Const<8>>,
    #[comptime] p: Window,
) {
    let keys = comptime!(p.keys());
    let mut most = there(scores[0], i32::MIN, 0usize, p);
    #[unroll]
    for v in 1..keys {
        most = max(most, there(scores[v], i32::MIN, v, p));
    }
    let mut largest = most.extract(0usize);
    #[unroll]
    for lane in 1..PAIRS {
        largest = max(largest, most.extract(lane));
    }
    let largest = Unsigned::new(u32::cast_from(largest));
    let limit = Unsigned::new(u32::cast_from(exponent[0]));
    let lift = Unsigned::new(u32::cast_from(exponent[1]));
    let mantissa = Vector::<u64, Const<8>>::new(u64::cast_from(exponent[2]));
    let shift = Unsigned::new(u32::cast_from(exponent[3]));
    let one = Unsigned::new(1u32);
    let mut terms = Array::<Eight>::new(keys);
    let mut sums = Eight::new(0i32);
    #[unroll]
    for v in 0..keys {
        // Up to 2^32: as unsigned it does not overflow.
        let distance = largest - Unsigned::cast_from(scores[v]);
        let lifted = Vector::<u64, Const<8>>::cast_from(min(distance, limit) << lift);
        let product = Unsigned::cast_from((lifted * mantissa) >> Vector::new(32u64));
        let u = (product + (one << (shift - one))) >> shift;
        let far = Unsigned::new(comptime!(16u32 << EXPONENT_BITS));
        let u = select_many(distance.greater_equal(&limit), far, u);
        let mut entries = Unsigned::empty();
        #[unroll]
        for lane in 0..PAIRS {
            entries.insert(lane, u32::cast_from(table[(u.extract(lane) & 255u32) as usize]));
        }
        let term = Eight::cast_from(entries >> (u >> Unsigned::new(comptime!(EXPONENT_BITS))));
        terms[v] = there(term, 0i32, v, p);
        sums += terms[v];
    }
    let mut sum = 0i32;
    #[unroll]
    for lane in 0..PAIRS {
        sum += sums.extract(lane);
    }
    let reciprocal = Vector::<u64, Const<8>>::new(u64::cast_from(share(u32::cast_from(sum))));
    #[unroll]
    for v in 0..keys {
        // ⌊term·reciprocal / 2^30 + 1/2⌋ by the upper half of eight times the product.
        let eightfold = Vector::<u64, Const<8>>::cast_from(Unsigned::cast_from(terms[v]) << Unsigned::new(3u32));
        let product = Unsigned::cast_from((eightfold * reciprocal) >> Vector::new(32u64));
        shares[v] = Vector::cast_from((product + one) >> one);
    }
}

/// The keys of vector `v`, and `other` in the place of those that are not there.
#[cube]
fn there(keys: Eight, #[comptime] other: i32, #[comptime] v: usize, #[comptime] p: Window) -> Eight {
    let mut keys = keys;
    #[unroll]
    for lane in 0..PAIRS {
        if comptime!(PAIRS * v + lane >= p.tokens) {
            keys.insert(lane, other);
        }
    }
    keys
}
