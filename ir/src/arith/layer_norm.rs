//! LayerNorm of integers, with sums, one reciprocal square root and shifts.
//!
//! For a row x of C integers with scale s, let `d[c] = C·x[c] − Σx` and `V = C·Σx² − (Σx)²`. Then `d = C·(x − μ)` and
//! `V = C²·σ²`, exactly, and `(x − μ) / √(σ² + ε/s²) = d / √(V + C²·ε/s²)`: s cancels but for ε. Only the root is rounded.
//! (The integer LayerNorm of I-BERT, arXiv 2101.01321, finds the root by Newton's iteration as well; its mean is rounded
//! to an integer, here no mean is.)
//!
//! Ranges, for 16-bit x and C ≤ 2^14: `|Σx| ≤ 2^29`, `|d| ≤ 2^30`, `V ≤ C·Σx² ≤ 2^58`.

/// Fraction bits of a normalised value.
pub const NORM_BITS: u32 = 10;

/// Longest row.
pub const MAX_CHANNELS: usize = 1 << 14;

/// ε in units of V, with 16 bits of fraction: `⌊2^16·C²·eps / s² + 1/2⌋`, at least 1, so that V + ε is positive; `None` beyond
/// 2^61, which tiny scales would need.
pub fn epsilon(eps: f32, scale: f32, channels: usize) -> Option<i64> {
    let (eps, scale, channels) = (eps as f64, scale as f64, channels as f64);
    let epsilon = (65536.0 * channels * channels * eps / (scale * scale)).round().max(1.0);
    (epsilon <= (1u64 << 61) as f64).then_some(epsilon as i64)
}

/// A row's sum and reciprocal deviation: what normalises its elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowNorm {
    channels: i32,
    sum: i32,
    /// `2^(61 − half)/√(V + ε)`, in `(2^30, 2^31)`: of a root of 2^30, one less, so that it fits in 32 bits.
    reciprocal: i64,
    half: u32,
}

impl RowNorm {
    /// Of a row of 8- or 16-bit integers, at most [`MAX_CHANNELS`] of them; `epsilon` as [`epsilon`] gives it.
    pub fn of(row: &[i32], epsilon: i64) -> RowNorm {
        let channels = row.len() as i64;
        let sum: i64 = row.iter().map(|&x| x as i64).sum();
        let squares: i64 = row.iter().map(|&x| x as i64 * x as i64).sum();
        let v = channels * squares - sum * sum;
        // Small variances, where ε matters most, take its fraction; large ones have no room for it.
        let (v, mut half) = if v < 1 << 44 { ((v << 16) + epsilon, 8) } else { (v + (epsilon >> 16), 0) };
        let mut v = v as u64;
        while v < 1 << 60 {
            v <<= 2;
            half += 1;
        }
        let reciprocal = ((1u64 << 61) / root(v)).min(i32::MAX as u64) as i64;
        RowNorm { channels: channels as i32, sum: sum as i32, reciprocal, half }
    }

    /// `⌊2^10·(x − μ)/√(σ² + ε) + 1/2⌋`, within ±32767.
    pub fn apply(self, x: i32) -> i32 {
        let shift = 61 - NORM_BITS - self.half;
        let d = (x * self.channels - self.sum) as i64;
        ((d * self.reciprocal + (1i64 << (shift - 1))) >> shift).clamp(-32767, 32767) as i32
    }
}

/// `⌊√v⌋` for v in `[2^60, 2^62)`, a bit at a time: what every backend does alike.
pub fn root(v: u64) -> u64 {
    let (mut rest, mut root, mut bit) = (v, 0u64, 1u64 << 60);
    for _ in 0..31 {
        let trial = root + bit;
        root >>= 1;
        if rest >= trial {
            rest -= trial;
            root += bit;
        }
        bit >>= 2;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        random,
        types::{Elem, Scale, Type},
    };

    #[test]
    fn root_is_the_integer_square_root() {
        let mut rng = random::Rng::with_seed(0);
        let extremes = [1 << 60, (1 << 62) - 1, (1 << 61) + 12345, ((1u64 << 31) - 1).pow(2)];
        for v in (0..10_000).map(|_| rng.u64(1 << 60..1 << 62)).chain(extremes) {
            assert_eq!(root(v), v.isqrt());
        }
    }

    /// Within half a unit of the float result, 2^-11, and a little, whatever the scale: half a unit of rounding and the root's 2^-29.
    #[test]
    fn normalised_rows_are_within_half_a_unit_of_the_float_result() {
        let mut rng = random::Rng::with_seed(1);
        let mut worst = 0f64;
        for channels in [1, 2, 3, 7, 96, 768, 1536, 16384] {
            for (elem, scale) in [(Elem::I16, 1e-3f32), (Elem::I16, 3e-5), (Elem::I8, 0.05)] {
                for spread in [1, 8, 15] {
                    let ty = Type::int(elem, Scale::tensor(scale), [channels]);
                    let row = random::tensor(&ty, &mut rng).data.to_i32().unwrap();
                    let row: Vec<i32> = row.iter().map(|x| x >> (15 - spread)).collect();
                    let norm = RowNorm::of(&row, epsilon(1e-5, scale, channels).unwrap());
                    let x: Vec<f64> = row.iter().map(|&q| q as f64 * scale as f64).collect();
                    let mean = x.iter().sum::<f64>() / channels as f64;
                    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / channels as f64;
                    for (q, x) in row.iter().zip(&x) {
                        let wanted = (x - mean) / (variance + 1e-5f32 as f64).sqrt() * 1024.0;
                        // Beyond ±32 it saturates.
                        let error = (norm.apply(*q) as f64 - wanted.clamp(-32767.0, 32767.0)).abs();
                        worst = worst.max(error);
                        assert!(
                            error <= 0.501,
                            "{channels} {elem} {scale}: {q} gives {}, not {wanted}",
                            norm.apply(*q)
                        );
                    }
                }
            }
        }
        assert!(worst > 0.4, "{worst}");
    }

    #[test]
    fn extreme_rows_do_not_overflow() {
        for x in [i16::MIN as i32, i16::MAX as i32] {
            let mut row = vec![x; MAX_CHANNELS];
            assert_eq!(RowNorm::of(&row, 1 << 61).apply(x), 0);
            assert_eq!(RowNorm::of(&row, 1).apply(x), 0);
            row[0] = -x - 1;
            // One outlier is √C deviations away: 128, beyond what 16 bits with 10 of fraction hold.
            assert_eq!(RowNorm::of(&row, 1).apply(row[0]).abs(), 32767);
            for (i, value) in row.iter_mut().enumerate() {
                *value = if i % 2 == 0 { i16::MIN.into() } else { i16::MAX.into() };
            }
            assert_eq!(RowNorm::of(&row, 1).apply(i16::MIN.into()), -1024);
        }
    }
}
