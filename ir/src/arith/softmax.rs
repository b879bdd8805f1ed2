//! Softmax of integers: powers of two from a table and shifts, and one reciprocal a row.
//!
//! For a row x with scale s and maximum m, `exp(s·(x − m)) = 2^(−u)` with `u = s·log2(e)·(m − x)`. u is taken with 8 bits of
//! fraction; its fraction is looked up in [`EXP2`], its integer part shifts. (Base 2 and shifts as I-ViT's Shiftmax, arXiv
//! 2207.01405, which has a line where this has a table.)
//!
//! Error: u is off by at most 2^-9, so a term by 0.14 %, which is 0.35 of the 255 steps; the table, truncation and the
//! final rounding bring it to less than one step ([`Row::apply`] is tested against floats).

/// Fraction bits of the exponent.
pub const EXPONENT_BITS: u32 = 8;

/// Longest row: the sum stays below 2^31.
pub const MAX_ROW: usize = 1 << 15;

/// `⌊2^15·2^(−i/256) + 1/2⌋`.
pub const EXP2: [i32; 256] = {
    // ⌊2^63·2^(−1/256)⌉; 255 roundings of 2^-63 do not reach the table's 2^-16.
    const STEP: u128 = 9_198_432_556_164_277_331;
    let mut table = [0; 256];
    let mut power = 1u128 << 63;
    let mut i = 0;
    while i < 256 {
        table[i] = ((power + (1 << 47)) >> 48) as i32;
        power = (power * STEP) >> 63;
        i += 1;
    }
    table
};

/// The scale to which a distance from the maximum is requantized: one unit is 2^-8 of an exponent of two.
pub const EXPONENT_SCALE: f32 = std::f32::consts::LN_2 / 256.0;

/// `2^(−u/256)·2^15` for an exponent u ≥ 0, truncated.
pub fn exp2(u: i64) -> i32 {
    // 16 bits to the right nothing is left.
    let u = u.min(16 << EXPONENT_BITS);
    EXP2[(u & 255) as usize] >> (u >> EXPONENT_BITS)
}

/// What turns the terms of a row into probabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// `⌊255·2^30 / Σ⌋`.
    reciprocal: i64,
}

impl Row {
    /// Of a row's terms as [`exp2`] gives them; the largest is 2^15, at most [`MAX_ROW`] of them.
    pub fn of(terms: &[i32]) -> Row {
        let sum: i64 = terms.iter().map(|&t| t as i64).sum();
        Row { reciprocal: (255i64 << 30) / sum }
    }

    /// `⌊255·term / Σ + 1/2⌋`.
    pub fn apply(self, term: i32) -> i32 {
        ((term as i64 * self.reciprocal + (1 << 29)) >> 30) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{arith::Multiplier, random};

    #[test]
    fn the_table_is_the_rounded_power() {
        for (i, &entry) in EXP2.iter().enumerate() {
            assert_eq!(entry, (2f64.powi(15) * 2f64.powf(-(i as f64) / 256.0)).round() as i32, "{i}");
        }
        assert_eq!(exp2(0), 1 << 15);
        assert_eq!(exp2(256), 1 << 14);
        assert_eq!(exp2(15 << 8), 1);
        assert_eq!(exp2(i64::MAX), 0);
    }

    /// Less than one step of 1/255 from the float result, whatever the row's spread.
    #[test]
    fn probabilities_are_within_a_step_of_the_float_result() {
        let mut rng = random::Rng::with_seed(3);
        let mut worst = 0f64;
        for n in [1, 2, 16, 49, 144, 1000] {
            for scale in [1e-7f32, 3e-5, 1e-3, 0.5] {
                for _ in 0..20 {
                    let row: Vec<i32> = (0..n).map(|_| (rng.f64() * 12.0 / scale as f64) as i32).collect();
                    let multiplier = Multiplier::new(scale as f64 / EXPONENT_SCALE as f64);
                    let max = *row.iter().max().unwrap();
                    let terms: Vec<i32> = row.iter().map(|x| exp2(multiplier.apply(max - x))).collect();
                    let probabilities = Row::of(&terms);
                    let exps: Vec<f64> = row.iter().map(|x| (scale as f64 * (x - max) as f64).exp()).collect();
                    let sum: f64 = exps.iter().sum();
                    for (term, e) in terms.iter().zip(&exps) {
                        let error = (probabilities.apply(*term) as f64 - 255.0 * e / sum).abs();
                        worst = worst.max(error);
                        assert!(error < 1.0, "{n} {scale}: {error}");
                    }
                }
            }
        }
        assert!(worst > 0.5, "{worst}");
    }

    #[test]
    fn a_row_of_equals_and_the_longest_row() {
        assert_eq!(Row::of(&[1 << 15]).apply(1 << 15), 255);
        let row = vec![1 << 15; MAX_ROW];
        assert_eq!(Row::of(&row).apply(1 << 15), 0);
        assert_eq!(Row::of(&[1 << 15; 49]).apply(1 << 15), 5, "255/49 = 5.2");
    }
}
