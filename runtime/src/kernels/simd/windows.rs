//! Window attention of a head on bytes: four queries at a time, keys and values packed once as the weights of two matrix products.

use super::{
    attention::Window,
    cosine::{Multipliers, scaled, to_bytes},
    fixed::{requantize, upper},
    ops::{Bytes, dot, look_up},
    sums::{Own, ROWS, sums},
};
use crate::kernels::{integer::share, unit_items};
use cubecl::prelude::*;
use swint_compiler::plan::{Dots, Windows};
use swint_ir::arith::softmax::EXPONENT_BITS;

/// Lanes of a vector of sums.
pub(super) const LANES: usize = Windows::LANES;

/// A vector of sums.
type Sums = Vector<i32, Const<LANES>>;

/// The same, of what is not negative.
type Unsigned = Vector<u32, Const<LANES>>;

/// Channels of a head, or probabilities.
type Sixteen = Vector<u8, Const<LANES>>;

impl Window {
    /// Vectors of keys whose sums are in registers at the same time, and how often a query has them.
    fn panels(&self) -> (usize, usize) {
        let (most, slots) = (4, Windows::slots(self.tokens));
        let vectors = most.min(slots / LANES);
        (vectors, slots / (vectors * LANES))
    }

    /// Vectors of keys.
    fn slots(&self) -> usize {
        Windows::slots(self.tokens) / LANES
    }

    /// Vectors of a head's channels.
    fn sixteens(&self) -> usize {
        self.channels / LANES
    }

    /// Vectors of a token's channels: of all heads.
    fn all_sixteens(&self) -> usize {
        self.heads * self.sixteens()
    }

    /// Vectors of q, k or v of a token among the bytes that attention reads.
    fn third_sixteens(&self) -> usize {
        if self.cosine { self.sixteens() } else { self.all_sixteens() }
    }

    /// The product with keys or values of so many vectors.
    fn product(&self, vectors: usize) -> Dots {
        Dots { products: 4, lanes: LANES, vectors, groups: 1, tables: false, narrow: self.narrow }
    }
}

/// Attention of a head of a window, which is an item. `wide` is `qkv` of cosine attention; `mask` may be any buffer where there is none, as what
/// only cosine attention has; rows of both biases have as many vectors as there are of keys; `table` has the lower bytes of the powers, then the upper ones.
/// `channel_words`, `token_words` and `tokens` are those of `p` (for why, see [`crate::kernels::linear::sums`]).
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn attention<Y: Int>(
    qkv: &[Sixteen],
    wide: &[Vector<i16, Const<LANES>>],
    q_mantissa: &[i32],
    q_shift: &[i32],
    k_mantissa: &[i32],
    k_shift: &[i32],
    v_mantissa: &[i32],
    v_shift: &[i32],
    scales: &[i16],
    bias: &[Sums],
    mask: &[Sums],
    table: &[Bytes],
    exponent: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [Vector<Y, Const<LANES>>],
    tokens: u32,
    channel_words: u32,
    token_words: u32,
    items: u32,
    #[comptime] p: Window,
    #[comptime] per_unit: u32,
) {
    let (tokens, channel_words, token_words) = (tokens as usize, channel_words as usize, token_words as usize);
    let (third, channels, slots) = comptime!((p.third_sixteens(), p.sixteens(), p.slots()));
    let (vectors, panels) = comptime!(p.panels());
    let panel = comptime!(vectors * (1 + p.channels / 4));
    let mut own = Own::<u8, Const<LANES>>::new(comptime!(if p.cosine { 3 * p.tokens * p.sixteens() } else { 1 }));
    let mut keys = Array::<Vector<i8, Const<64>>>::new(comptime!(panels * panel));
    let mut values = Array::<Vector<i8, Const<64>>>::new(comptime!(channels * (1 + p.tokens.div_ceil(4))));
    let mut queries = Array::<Sixteen>::new(comptime!(ROWS * channels));
    let mut scores = Array::<Sums>::new(comptime!(ROWS * slots));
    let mut shares = Array::<Sixteen>::new(comptime!(ROWS * slots));
    let mut totals = Array::<u32>::new(ROWS);
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let (window, head) = (item as usize / comptime!(p.heads), item as usize % comptime!(p.heads));
        let mut start = window * tokens * comptime!(3 * p.all_sixteens()) + head * channels;
        let mut scale = 0i32;
        if comptime!(p.cosine) {
            let multipliers = Multipliers {
                q: (q_mantissa[0], q_shift[0]),
                k: (k_mantissa[0], k_shift[0]),
                v: (v_mantissa[0], v_shift[0]),
            };
            let (all, narrow) = comptime!((p.all_sixteens(), p.narrow));
            to_bytes::<u8, Const<LANES>>(wide, start, all, &multipliers, &mut own, tokens, channels, narrow);
            start = 0usize.runtime();
            scale = i32::cast_from(scales[head]);
        }
        let qkv = if comptime!(p.cosine) { own.as_slice() } else { qkv };
        turn_keys(qkv, start + third, &mut keys, channel_words, p);
        turn_values(qkv, start + comptime!(2 * third), &mut values, token_words, p);
        let masked = (window % comptime!(if p.masks > 0 { p.masks } else { 1 })) * tokens;
        for group in 0..(tokens + comptime!(ROWS - 1)) / ROWS {
            let token = group * ROWS;
            for i in 0..ROWS {
                // Queries past the last are the last one.
                let query = min(token + i, tokens - 1);
                #[unroll]
                for v in 0..channels {
                    // Signed bytes, raised to what is not negative.
                    queries[i * channels + v] = qkv[start + query * comptime!(3 * third) + v] ^ Sixteen::new(128u8);
                }
            }
            #[unroll]
            for part in 0..panels {
                let queries = queries.as_slice().with_vector_size::<Const<4>>();
                let pitch = comptime!(p.channels / 4);
                let products = sums::<u8, Const<4>, Const<LANES>, Const<64>>(
                    queries,
                    0usize,
                    keys.as_slice(),
                    comptime!(part * panel),
                    channel_words,
                    pitch,
                    comptime!(p.product(vectors)),
                );
                #[unroll]
                for i in 0..comptime!(ROWS * vectors) {
                    scores[comptime!((i / vectors * panels + part) * vectors + i % vectors)] = products[i];
                }
            }
            for i in 0..ROWS {
                let query = min(token + i, tokens - 1);
                let biases = (head * tokens + query) * slots;
                #[unroll]
                for v in 0..slots {
                    let mut score = scaled(scores[i * slots + v], scale, p) + bias[biases + v];
                    if comptime!(p.masks > 0) {
                        score += mask[(masked + query) * slots + v];
                    }
                    scores[i * slots + v] = score;
                }
                totals[i] = terms(&mut scores, i * slots, table, exponent, p);
            }
            // A reciprocal takes long, but those of several rows at a time hardly longer.
            let mut reciprocals = Array::<i32>::new(ROWS);
            #[unroll]
            for i in 0..ROWS {
                reciprocals[i] = share(totals[i]);
            }
            for i in 0..ROWS {
                let reciprocal = Sums::new(reciprocals[i]);
                #[unroll]
                for v in 0..slots {
                    // ⌊term·reciprocal / 2^30 + 1/2⌋ by the upper half of eight times the product.
                    let product = upper(scores[i * slots + v] << Sums::new(3i32), reciprocal);
                    let share = (Unsigned::cast_from(product) + Unsigned::new(1u32)) >> Unsigned::new(1u32);
                    shares[i * slots + v] = Vector::cast_from(share);
                }
            }
            let shares = shares.as_slice().with_vector_size::<Const<4>>();
            let mixed = sums::<u8, Const<4>, Const<LANES>, Const<64>>(
                shares,
                0usize,
                values.as_slice(),
                0usize,
                token_words,
                comptime!(slots * LANES / 4),
                comptime!(p.product(channels)),
            );
            let (mantissa, shift) = (Sums::new(mantissa[0]), Sums::new(shift[0]));
            #[unroll]
            for i in 0..ROWS {
                let at = (window * tokens + min(token + i, tokens - 1)) * comptime!(p.all_sixteens()) + head * channels;
                #[unroll]
                for v in 0..channels {
                    let (low, high) = comptime!(p.range);
                    let sum = mixed[comptime!(i * channels + v)];
                    y[at + v] = Vector::cast_from(requantize(sum, mantissa, shift, comptime!(p.narrow), low, high));
                }
            }
        }
    }
}

/// Keys as weights: for each panel what its sums begin with, since queries are raised by 128, then for each four channels those of each
/// key. What is beyond the last key repeats it.
#[cube]
fn turn_keys(
    qkv: &[Sixteen],
    start: usize,
    keys: &mut Array<Vector<i8, Const<64>>>,
    channel_words: usize,
    #[comptime] p: Window,
) {
    let (vectors, panels) = comptime!(p.panels());
    let panel = comptime!(vectors * (1 + p.channels / 4));
    let words = qkv.with_vector_size::<Const<4>>();
    #[unroll]
    for part in 0..panels {
        #[unroll]
        for v in 0..vectors {
            let mut all = Sums::new(0i32);
            for c in 0..channel_words {
                let mut four = Unsigned::empty();
                #[unroll]
                for lane in 0..LANES {
                    let key = comptime!(((part * vectors + v) * LANES + lane).min(p.tokens - 1));
                    let word = words[(start + comptime!(key * 3 * p.third_sixteens())) * comptime!(LANES / 4) + c];
                    four.insert(lane, u32::reinterpret(word));
                }
                let four = Vector::<i8, Const<64>>::reinterpret(four);
                all = dot::<Const<LANES>, Const<64>>(all, Bytes::new(1u8), four);
                keys[comptime!(part * panel + vectors + v) + c * vectors] = four;
            }
            keys[comptime!(part * panel + v)] = Vector::reinterpret(Sums::new(0i32) - (all << Sums::new(7i32)));
        }
    }
}

/// Values as weights: for each four tokens those of each channel. What is beyond the last token repeats it.
#[cube]
fn turn_values(
    qkv: &[Sixteen],
    start: usize,
    values: &mut Array<Vector<i8, Const<64>>>,
    token_words: usize,
    #[comptime] p: Window,
) {
    let (channels, stride) = comptime!((p.sixteens(), 3 * p.third_sixteens()));
    #[unroll]
    for v in 0..channels {
        values[v] = Vector::new(0i8);
    }
    for j in 0..token_words {
        #[unroll]
        for v in 0..channels {
            let (last, first) = (comptime!(p.tokens - 1), 4 * j);
            let even =
                pairs(qkv[start + min(first, last) * stride + v], qkv[start + min(first + 1, last) * stride + v]);
            let odd =
                pairs(qkv[start + min(first + 2, last) * stride + v], qkv[start + min(first + 3, last) * stride + v]);
            let mut four = Vector::<u16, Const<32>>::empty();
            #[unroll]
            for lane in 0..LANES {
                four.insert(comptime!(2 * lane), even.extract(lane));
                four.insert(comptime!(2 * lane + 1), odd.extract(lane));
            }
            values[comptime!(channels + v) + j * channels] = Vector::reinterpret(four);
        }
    }
}

/// Pairs of bytes, those of `a` first.
#[cube]
fn pairs(a: Sixteen, b: Sixteen) -> Vector<u16, Const<LANES>> {
    Vector::<u16, Const<LANES>>::cast_from(a) | (Vector::<u16, Const<LANES>>::cast_from(b) << Vector::new(8u16))
}

/// Makes the scores from vector `from` on the terms of a softmax, and gives their sum.
#[cube]
fn terms(scores: &mut Array<Sums>, from: usize, table: &[Bytes], exponent: &[i32], #[comptime] p: Window) -> u32 {
    let (vectors, panels) = comptime!(p.panels());
    let slots = comptime!(vectors * panels);
    let mut most = there(scores[from], i32::MIN, 0usize, p);
    #[unroll]
    for v in 1..slots {
        most = max(most, there(scores[from + v], i32::MIN, v, p));
    }
    let mut largest = most.extract(0usize);
    #[unroll]
    for lane in 1..LANES {
        largest = max(largest, most.extract(lane));
    }
    let largest = Unsigned::new(u32::cast_from(largest));
    let limit = Unsigned::new(u32::cast_from(exponent[0]));
    let lift = Unsigned::new(u32::cast_from(exponent[1]));
    let mantissa = Sums::new(exponent[2]);
    let shift = Unsigned::new(u32::cast_from(exponent[3]));
    let one = Unsigned::new(1u32);
    let mut sums = Sums::new(0i32);
    #[unroll]
    for part in 0..panels {
        let mut exponents = Array::<Unsigned>::new(vectors);
        let mut indices = Vector::<u64, Const<8>>::new(0u64);
        #[unroll]
        for v in 0..vectors {
            // Up to 2^32: as unsigned it does not overflow.
            let distance = largest - Unsigned::cast_from(scores[from + comptime!(part * vectors + v)]);
            // What is lifted is less than 2^31, or beyond the limit.
            let lifted = Sums::cast_from(min(distance, limit) << lift);
            let product = Unsigned::cast_from(upper(lifted, mantissa));
            let u = (product + (one << (shift - one))) >> shift;
            let far = Unsigned::new(comptime!(16u32 << EXPONENT_BITS));
            let u = select_many(distance.greater_equal(&limit), far, u);
            exponents[v] = u >> Unsigned::new(EXPONENT_BITS);
            let two = Vector::<u64, Const<2>>::reinterpret(Sixteen::cast_from(u));
            indices.insert(comptime!(2 * v), two.extract(0usize));
            indices.insert(comptime!(2 * v + 1), two.extract(1usize));
        }
        let indices = Bytes::reinterpret(indices);
        let lower = Vector::<u64, Const<8>>::reinterpret(look_up(table, 0usize, indices));
        let upper = Vector::<u64, Const<8>>::reinterpret(look_up(table, 4usize, indices));
        #[unroll]
        for v in 0..vectors {
            let power = sixteen(lower, v) | (sixteen(upper, v) << Unsigned::new(8u32));
            let at = comptime!(part * vectors + v);
            let term = there(Sums::cast_from(power >> exponents[v]), 0i32, at, p);
            scores[from + at] = term;
            sums += term;
        }
    }
    u32::cast_from(sums.vector_sum())
}

/// The `v`th sixteen of 64 bytes, widened.
#[cube]
fn sixteen(bytes: Vector<u64, Const<8>>, #[comptime] v: usize) -> Unsigned {
    let mut two = Vector::<u64, Const<2>>::empty();
    two.insert(0usize, bytes.extract(comptime!(2 * v)));
    two.insert(1usize, bytes.extract(comptime!(2 * v + 1)));
    Unsigned::cast_from(Sixteen::reinterpret(two))
}

/// The keys of vector `v`, and `other` in the place of those that are not there.
#[cube]
fn there(keys: Sums, #[comptime] other: i32, #[comptime] v: usize, #[comptime] p: Window) -> Sums {
    let mut keys = keys;
    #[unroll]
    for lane in 0..LANES {
        if comptime!(LANES * v + lane >= p.tokens) {
            keys.insert(lane, other);
        }
    }
    keys
}
