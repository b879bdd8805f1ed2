//! Constants in the order in which kernels read them that are made for a machine.
//!
//! On tensor cores, a fragment is what the 32 lanes of a warp hold of one operand of `mma.m16n8k32` (PTX ISA, *Matrix Fragments for
//! mma.m16n8k32*): lane `4g + t` holds of B, for its column g, four bytes from row 4t on and four from row 16 + 4t on, and of
//! the sums two columns from 2t on, in rows g and g + 8. Which k is called which row is free as long as A and B agree, and
//! so is which column is called which. Both are chosen such that what a lane holds is contiguous in memory: it takes the
//! eight bytes of k from 8t on, and of a block of `8·frags` columns the `2·frags` from `2·frags·t` on.

use std::iter::repeat_n;
use swint_ir::arith::{Multiplier, softmax::EXPONENT_BITS};

/// Columns of a fragment.
pub const COLUMNS: usize = 8;

/// Bytes of k that a fragment spans.
pub const STEP: usize = 32;

/// Lanes of a warp.
const LANES: usize = 32;

/// Weights `[n,k]` as fragments: for each block of `8·frags` columns, for each step of k, for each pair of fragments, 16
/// bytes a lane, of the even fragment first. What is beyond n and k is 0. `frags` is even.
pub fn weights(w: &[i8], n: usize, k: usize, frags: usize) -> Vec<i8> {
    let (blocks, steps) = (n.div_ceil(COLUMNS * frags), k.div_ceil(STEP));
    let mut packed = Vec::with_capacity(blocks * steps * frags * LANES * 8);
    for (block, step) in (0..blocks).flat_map(|block| (0..steps).map(move |step| (block, step))) {
        for (pair, lane) in (0..frags / 2).flat_map(|pair| (0..LANES).map(move |lane| (pair, lane))) {
            for frag in [2 * pair, 2 * pair + 1] {
                let column = block * COLUMNS * frags + column(lane / 4, frag, frags);
                let first = step * STEP + lane % 4 * 8;
                packed.extend((first..first + 8).map(|i| if column < n && i < k { w[column * k + i] } else { 0 }));
            }
        }
    }
    packed
}

/// Weights `[n,k]` for rows of which a lane holds a quarter: each quarter is filled up with zeros to whole eight bytes, and what the four lanes hold
/// of a step follows each other. The new k is a multiple of [`STEP`].
pub fn quarters(w: &[i8], n: usize, k: usize) -> (Vec<i8>, usize) {
    let quarter = k / 4;
    let wide = quarter.div_ceil(8) * STEP;
    let at = |column: usize, i: usize| {
        let (step, lane, byte) = (i / STEP, i % STEP / 8, i % 8);
        let own = step * 8 + byte;
        if own < quarter { w[column * k + lane * quarter + own] } else { 0 }
    };
    ((0..n).flat_map(|column| (0..wide).map(move |i| at(column, i))).collect(), wide)
}

/// Pairs that a processor multiplies at once.
pub const PAIRS: usize = 8;

/// Weights `[n,k]` for sums of so many products at once, of consecutive k: for each panel of so many columns, for each such word of k,
/// its bytes column by column. Columns divide n, and products k.
///
/// Of words of four, a panel begins with what its sums begin with, a 32-bit integer a column, lowest byte first: the bias, if there is
/// one, and since rows whose values are `raise` more than they should be have sums that are `raise` times a column's sum too large,
/// that much less (modulo 2^32, as sums are; in the end they are within it).
pub fn dots(
    w: &[i8],
    n: usize,
    k: usize,
    bias: Option<&[i32]>,
    columns: usize,
    products: usize,
    raise: i32,
) -> Vec<i8> {
    let mut packed = Vec::with_capacity(n * (k + 4));
    for (first, panel) in w.chunks_exact(columns * k).enumerate().map(|(i, panel)| (i * columns, panel)) {
        if products == 4 {
            for (i, column) in panel.chunks_exact(k).enumerate() {
                let sum: i32 = column.iter().map(|&v| i32::from(v)).sum();
                let begin = bias.map_or(0, |bias| bias[first + i]).wrapping_sub(raise * sum);
                packed.extend(begin.to_le_bytes().map(|byte| byte as i8));
            }
        }
        for word in 0..k / products {
            packed.extend(panel.chunks_exact(k).flat_map(|column| &column[word * products..][..products]));
        }
    }
    packed
}

/// The column of a block that is column `g` of fragment `frag`: lane `t = g / 2` of the sums holds `2·frags` in a row.
fn column(g: usize, frag: usize, frags: usize) -> usize {
    g / 2 * 2 * frags + 2 * frag + g % 2
}

/// What `of` says of each of n columns: for each block of `8·frags`, of each of the `2·frags` columns that a lane has in a row, that of all four
/// lanes. What is beyond n is 0.
pub fn columns(n: usize, frags: usize, of: impl Fn(usize) -> [i32; 4]) -> Vec<i32> {
    let wide = COLUMNS * frags;
    let at = |i: usize| i / wide * wide + i % 4 * 2 * frags + i % wide / 4;
    let all = (0..n.next_multiple_of(wide)).map(at);
    all.flat_map(|column| if column < n { of(column) } else { [0; 4] }).collect()
}

/// How a sum s is requantized: by `(s·m + c) >> 32 >> shift`, as `[c's lower half, m, its upper half, shift]`, where c is the bias times m plus
/// what rounds, and nothing of a shift of 33 or more is lost. Where that is not `narrow`: `[bias, m, 0, shift]`. Halves that followed each other
/// LLVM would load as one, and the rest by another load.
pub fn of_sums(bias: i32, multiplier: Multiplier, narrow: bool) -> [i32; 4] {
    let Multiplier { mult, shift } = multiplier;
    if !narrow {
        return [bias, mult, 0, shift as i32];
    }
    let c = i64::from(bias) * i64::from(mult) + (1 << (shift - 1));
    [c as i32, mult, (c >> 32) as i32, shift as i32 - 32]
}

/// The largest bias that a sum of so many products of bytes may have, for [`of_sums`] to be what a sum modulo 2^32 would be.
pub fn most_bias(k: usize) -> i32 {
    i32::MAX - (k as i32) * 255 * 128
}

/// How a value x of 16 bits is requantized: by `(x·2^16·m + c) >> 32 >> shift`, as [`of_sums`] has it.
pub fn of_halves(multiplier: Multiplier, narrow: bool) -> [i32; 4] {
    let Multiplier { mult, shift } = multiplier;
    if narrow { [0, mult, 1 << (shift - 17), shift as i32 - 16] } else { [0, mult, 0, shift as i32] }
}

/// A table of 256 bytes whose index is the bits of a byte, signed or not: words of the entries i, i + 64, i + 128 and i + 192, those of i and
/// i + 32 in turn. So the lower five bits of an index, the sixth and the upper two are in bytes of their own of the place of its byte, if
/// words are 128 bytes apart.
pub fn table(entries: &[u8], signed: bool) -> Vec<u8> {
    let first = if signed { 128 } else { 0 };
    let word = |w: usize| [0, 64, 128, 192].map(|upper| entries[(w / 2 + w % 2 * 32 + upper) ^ first]);
    (0..64).flat_map(word).collect()
}

/// Biases of scores `[count,tokens,tokens]` as fragments of sums: for each tile of 16 queries, for each 8 keys, four values a
/// lane: of its two keys for query g, then for g + 8. What is beyond the tokens is 0.
pub fn scores(biases: &[i32], tokens: usize) -> Vec<i32> {
    let (tiles, frags, area) = (tokens.div_ceil(16), tokens.div_ceil(COLUMNS), tokens * tokens);
    let mut packed = Vec::new();
    for plane in biases.chunks_exact(area) {
        for (tile, frag) in (0..tiles).flat_map(|tile| (0..frags).map(move |frag| (tile, frag))) {
            for (lane, i) in (0..LANES).flat_map(|lane| (0..4).map(move |i| (lane, i))) {
                let query = tile * 16 + lane / 4 + i / 2 * 8;
                let key = frag * COLUMNS + lane % 4 * 2 + i % 2;
                packed.push(if query < tokens && key < tokens { plane[query * tokens + key] } else { 0 });
            }
        }
    }
    packed
}

/// Rows of `tokens`, each filled up with zeros to a multiple of so many.
pub fn rows(biases: &[i32], tokens: usize, multiple: usize) -> Vec<i32> {
    let padding = tokens.next_multiple_of(multiple) - tokens;
    biases.chunks_exact(tokens).flat_map(|row| row.iter().copied().chain(repeat_n(0, padding))).collect()
}

/// How the distance of a score from the largest of its row becomes an exponent, by the upper half of one product:
/// `[limit, lift, mantissa, shift, last]`. For a distance d below the limit the exponent is
/// `(⌊d·2^lift·mantissa / 2^32⌋ + 2^(shift−1)) >> shift`, as `multiplier` gives it; from there on it is `last`: of that power of two
/// nothing is left, or distances do not grow further.
pub fn exponent(multiplier: Multiplier) -> Vec<i32> {
    let Multiplier { mult, shift } = multiplier;
    let end = 16i64 << EXPONENT_BITS;
    // The exponent grows with the distance: the first that reaches the end.
    let (mut low, mut high) = (0i64, i32::MAX as i64);
    while low < high {
        let middle = (low + high) / 2;
        if multiplier.apply(middle as i32) >= end { high = middle } else { low = middle + 1 }
    }
    // Of the largest multiplier, 32 bits; but then the first distance is beyond the limit.
    let lift = 33u32.saturating_sub(shift).min(31);
    let last = multiplier.apply(low as i32).min(end);
    vec![low as i32, lift as i32, mult, (shift + lift).saturating_sub(32).max(1) as i32, last as i32]
}

/// How the distance d of a score from the largest of its row becomes a place in the table of powers, as
/// `[limit, c's lower half, its upper half, m, row, half, whole]`. The exponent is `(d·m + c) >> shift`, as `multiplier` gives it, of the limit for all
/// beyond: nothing is left of that power of two. Shifted by `row`, `half` and `whole` instead, the product has the lowest seven bits of the exponent's
/// fraction from bit 7 on, the eighth in bit 1, and is the whole part. `None` where shifts are no such, or powers of the limit are beyond what a
/// shift of 32 bits knows.
pub fn distances(multiplier: Multiplier) -> Option<Vec<i32>> {
    let Multiplier { mult, shift } = multiplier;
    let limit = exponent(multiplier)[0];
    let whole = multiplier.apply(limit) >> EXPONENT_BITS;
    if !(7..=55).contains(&shift) || !(16..32).contains(&whole) {
        return None;
    }
    let c = 1i64 << (shift - 1);
    let by = |more: i32| shift as i32 + more;
    Some(vec![limit, c as i32, (c >> 32) as i32, mult, by(-7), by(6), by(EXPONENT_BITS as i32)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplies as a warp would, from the ISA's definition of who holds what, and finds the product.
    #[test]
    fn fragments_multiply_to_the_product() {
        for (n, k, frags) in [(64, 32, 8), (32, 64, 4), (40, 48, 4), (72, 96, 8), (8, 32, 2)] {
            let (w, x): (Vec<i8>, Vec<i8>) = (
                (0..n * k).map(|i| (i * 37 % 251) as u8 as i8).collect(),
                (0..16 * k).map(|i| (i * 91 % 241) as u8 as i8).collect(),
            );
            let packed = weights(&w, n, k, frags);
            let (blocks, steps) = (n.div_ceil(8 * frags), k.div_ceil(32));
            assert_eq!(packed.len(), blocks * 8 * frags * steps * 32);
            let mut y = vec![0i32; 16 * n];
            for (block, frag, step) in
                (0..blocks).flat_map(|b| (0..frags).flat_map(move |f| (0..steps).map(move |s| (b, f, s))))
            {
                // b[row][column], from the lanes that hold it.
                let mut b = [[0i8; 8]; 32];
                let mut a = [[0i8; 32]; 16];
                for lane in 0..32 {
                    let (g, t) = (lane / 4, lane % 4);
                    let start = (((block * steps + step) * (frags / 2) + frag / 2) * 32 + lane) * 16 + frag % 2 * 8;
                    for i in 0..8 {
                        let row = i / 4 * 16 + t * 4 + i % 4;
                        b[row][g] = packed[start + i];
                        for tile in 0..2 {
                            let at = step * 32 + t * 8 + i;
                            a[g + 8 * tile][row] = if at < k { x[(g + 8 * tile) * k + at] } else { 0 };
                        }
                    }
                }
                for (row, column) in (0..16).flat_map(|row| (0..8).map(move |column| (row, column))) {
                    let t = column / 2;
                    let actual = block * 8 * frags + t * 2 * frags + 2 * frag + column % 2;
                    if actual < n {
                        let sum: i32 = (0..32).map(|i| a[row][i] as i32 * b[i][column] as i32).sum();
                        y[row * n + actual] += sum;
                    }
                }
            }
            for (row, column) in (0..16).flat_map(|row| (0..n).map(move |column| (row, column))) {
                let sum: i32 = (0..k).map(|i| x[row * k + i] as i32 * w[column * k + i] as i32).sum();
                assert_eq!(y[row * n + column], sum, "{n} {k} {frags}: {row} {column}");
            }
        }
    }

    /// Of each block, what four lanes have in turn; what is beyond the columns is 0.
    #[test]
    fn columns_are_in_turn() {
        let all = columns(40, 4, |i| [i as i32 + 1; 4]);
        assert_eq!(all.len(), 64 * 4);
        let first: Vec<i32> = all.chunks(4).map(|four| four[0]).collect();
        assert_eq!(first[..6], [1, 9, 17, 25, 2, 10]);
        assert_eq!(first[32..38], [33, 0, 0, 0, 34, 0]);
    }

    #[test]
    fn sums_are_requantized_by_upper_halves() {
        let mut rng = swint_ir::random::Rng::with_seed(3);
        for _ in 0..20_000 {
            let shift = rng.u64(33..63) as u32;
            let multiplier = Multiplier { mult: (1 << 30 | rng.u64(0..1 << 30)) as i32, shift };
            let bias = (rng.u64(0..1 << 32) as i32) >> rng.u64(1..31);
            let sum = (rng.u64(0..1 << 32) as i32) >> rng.u64(1..31);
            let [low, mult, high, by] = of_sums(bias, multiplier, true);
            let c = i64::from(high) << 32 | i64::from(low as u32);
            let q = ((i64::from(sum) * i64::from(mult) + c) >> 32) as i32 >> by;
            assert_eq!(i64::from(q), multiplier.apply(sum + bias), "{sum} + {bias} by {multiplier:?}");

            let shift = rng.u64(17..48) as u32;
            let (multiplier, x) = (Multiplier { shift, ..multiplier }, rng.u64(0..1 << 16) as u16 as i16);
            let [low, mult, high, by] = of_halves(multiplier, true);
            let c = i64::from(high) << 32 | i64::from(low as u32);
            let q = ((i64::from(i32::from(x) << 16) * i64::from(mult) + c) >> 32) as i32 >> by;
            assert_eq!(i64::from(q), multiplier.apply(x.into()), "{x} by {multiplier:?}");
        }
    }

    /// The byte of an index, found as a lane finds it.
    #[test]
    fn tables_are_found_by_bits() {
        let entries: Vec<u8> = (0..=255).map(|i: u8| i.wrapping_mul(37)).collect();
        for (signed, first) in [(true, -128i32), (false, 0)] {
            let packed = table(&entries, signed);
            for (i, entry) in entries.iter().enumerate() {
                let bits = (first + i as i32) as u8 as usize;
                let place = (bits & 31) << 8 | (bits & 32) << 2 | bits >> 6;
                assert_eq!(packed[place / 128 * 4 + place % 128], *entry, "{signed} {i}");
            }
        }
    }

    #[test]
    fn quarters_are_filled_up() {
        let w: Vec<i8> = (1..=2 * 48).collect();
        let (filled, k) = quarters(&w, 2, 48);
        assert_eq!((filled.len(), k), (2 * 64, 64));
        // Of the second column, the third lane's: the first eight bytes of its quarter, then the last four.
        assert_eq!(filled[64 + 16..64 + 24], w[48 + 24..48 + 32]);
        assert_eq!(filled[64 + 48..64 + 56], [w[48 + 32], w[48 + 33], w[48 + 34], w[48 + 35], 0, 0, 0, 0]);
    }

    #[test]
    fn pairs_follow_each_other() {
        let w: Vec<i8> = (0..16 * 6).collect();
        let packed = dots(&w, 16, 6, None, 8, 2, 0);
        assert_eq!(packed[..6], [0, 1, 6, 7, 12, 13]);
        // Column 9 is the second one of the second panel, whose second pair begins at k = 2.
        assert_eq!(packed[8 * 6 + 16 + 2..][..2], [9 * 6 + 2, 9 * 6 + 3]);
    }

    #[test]
    fn raised_rows_have_the_same_sums() {
        let (n, k, columns) = (32, 8, 16);
        let w: Vec<i8> = (0..n * k).map(|i| (i * 37 % 251) as u8 as i8).collect();
        let x: Vec<i8> = (0..k).map(|i| (i * 91 % 241) as u8 as i8).collect();
        let bias: Vec<i32> = (0..n as i32).map(|i| i * 1000 - i32::MAX + 40_000).collect();
        let packed = dots(&w, n, k, Some(&bias), columns, 4, 128);
        assert_eq!(packed.len(), n * (k + 4));
        for (column, weights) in w.chunks_exact(k).enumerate() {
            let panel = &packed[column / columns * columns * (k + 4)..];
            let four = |word: usize| &panel[(word * columns + column % columns) * 4..][..4];
            let begin = i32::from_le_bytes(std::array::from_fn(|i| four(0)[i] as u8));
            let raised = |word: usize, i: usize| (i32::from(x[word * 4 + i]) + 128) * i32::from(four(1 + word)[i]);
            let sum: i32 = (0..k / 4).flat_map(|word| (0..4).map(move |i| raised(word, i))).sum();
            let right: i32 = weights.iter().zip(&x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
            assert_eq!(begin.wrapping_add(sum), bias[column] + right);
        }
    }

    #[test]
    fn rows_are_filled_up() {
        assert_eq!(rows(&[1, 2, 3, 4, 5, 6], 3, 4), [1, 2, 3, 0, 4, 5, 6, 0]);
        assert_eq!(rows(&[1, 2, 3, 4], 4, 4), [1, 2, 3, 4]);
    }

    #[test]
    fn exponents_are_the_multipliers() {
        use swint_ir::arith::softmax::exp2;
        let mut rng = swint_ir::random::Rng::with_seed(7);
        for factor in [1e9, 300.0, 1.0, 0.3, 0.17, 1e-3, 1e-6, 3e-10, 1e-12] {
            let multiplier = Multiplier::new(factor);
            let p = exponent(multiplier);
            let (limit, lift, mantissa, shift) = (p[0] as i64, p[1], p[2] as i64, p[3]);
            let near = (0..2000).map(|i| limit - 1000 + i).filter(|d| (0..=i32::MAX as i64).contains(d));
            let far = (0..2000).map(|_| (rng.u64(0..1 << 31) >> rng.u64(0..31)) as i64);
            for d in near.chain(far).chain([0, 1, i32::MAX as i64]) {
                let lifted = d.min(limit) << lift;
                assert!(d >= limit || lifted < 1 << 31, "{factor}: {d}");
                let u =
                    if d >= limit { p[4] as i64 } else { (((lifted * mantissa) >> 32) + (1 << (shift - 1))) >> shift };
                assert_eq!(exp2(u), exp2(multiplier.apply(d as i32)), "{factor}: {d}");
                assert!(d >= limit || u == multiplier.apply(d as i32), "{factor}: {d}");
            }
        }
    }

    #[test]
    fn distances_are_exponents() {
        use swint_ir::arith::softmax::{EXP2, exp2};
        let mut rng = swint_ir::random::Rng::with_seed(9);
        let mut packed = 0;
        for factor in [1e9, 300.0, 1.0, 0.3, 0.17, 1e-3, 1e-6, 3e-10, 1e-12] {
            let multiplier = Multiplier::new(factor);
            let Some(p) = distances(multiplier) else { continue };
            packed += 1;
            let limit = i64::from(p[0]);
            let near = (0..2000).map(|i| limit - 1000 + i).filter(|d| (0..=i32::MAX as i64).contains(d));
            let far = (0..2000).map(|_| (rng.u64(0..1 << 31) >> rng.u64(0..31)) as i64);
            for d in near.chain(far).chain([0, 1, i32::MAX as i64]) {
                let product = d.min(limit) * i64::from(p[3]) + (i64::from(p[2]) << 32 | i64::from(p[1] as u32));
                let at = |i: usize| (product >> p[i]) as u32;
                let entry = EXP2[(at(4) >> 7 & 127 | (at(5) >> 1 & 1) << 7) as usize];
                assert_eq!(entry >> at(6), exp2(multiplier.apply(d as i32)), "{factor}: {d}");
            }
        }
        assert!(packed > 4, "{packed}");
    }

    #[test]
    fn every_score_has_its_bias() {
        let tokens = 49;
        let biases: Vec<i32> = (1..=2 * tokens * tokens).map(|i| i as i32).collect();
        let packed = scores(&biases, tokens);
        assert_eq!(packed.len(), 2 * 4 * 7 * 32 * 4);
        // Query 8·1 + 3 of the second tile's second half, key 6·8 of the second head: lane 4·3, register 2.
        let at = (((4 + 1) * 7 + 6) * 32 + 12) * 4 + 2;
        assert_eq!(packed[at], (49 + 16 + 8 + 3) * 49 + 48 + 1);
        assert_eq!(packed[at + 1], 0);
        let mut values: Vec<i32> = packed.into_iter().filter(|&v| v != 0).collect();
        values.sort();
        assert_eq!(values, biases);
    }
}
