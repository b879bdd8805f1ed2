//! Vectors of integers at length 1: an exact sum of squares, one reciprocal square root, shifts.
//!
//! For a vector x of D integers of any scale, `x / ‖x‖ = x / √V` with `V = Σx²`, exactly: the scale cancels. Only the root is
//! rounded, by [`root`].
//!
//! Ranges, for 16-bit x and D ≤ 2^14: `V ≤ 2^44`.

use super::layer_norm::root;

/// Fraction bits of an element.
pub const UNIT_BITS: u32 = 15;

/// What an element is worth: `2^-15`.
pub const SCALE: f32 = 1.0 / (1u32 << UNIT_BITS) as f32;

/// Longest vector.
pub const MAX_CHANNELS: usize = 1 << 14;

/// A vector's reciprocal length: what normalises its elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadNorm {
    /// `2^(61 − half)/√V`, in `(2^30, 2^31)`: of a root of 2^30, one less, so that it fits in 32 bits; 0 for a vector of zeros.
    reciprocal: i64,
    half: u32,
}

impl HeadNorm {
    /// Of a vector of 8- or 16-bit integers, at most [`MAX_CHANNELS`] of them.
    pub fn of(head: &[i32]) -> HeadNorm {
        let mut v: u64 = head.iter().map(|&x| (x as i64 * x as i64) as u64).sum();
        if v == 0 {
            return HeadNorm { reciprocal: 0, half: 0 };
        }
        let mut half = 0;
        while v < 1 << 60 {
            v <<= 2;
            half += 1;
        }
        HeadNorm { reciprocal: ((1u64 << 61) / root(v)).min(i32::MAX as u64) as i64, half }
    }

    /// `⌊2^15·x/‖x‖ + 1/2⌋`, within ±2^15.
    pub fn apply(self, x: i32) -> i32 {
        let shift = 61 - UNIT_BITS - self.half;
        ((x as i64 * self.reciprocal + (1i64 << (shift - 1))) >> shift) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    /// Within half a unit and a little of the float result, whatever the length.
    #[test]
    fn vectors_are_within_half_a_unit_of_the_float_result() {
        let mut rng = random::Rng::with_seed(4);
        let mut worst = 0f64;
        for channels in [1, 2, 3, 16, 32, 96, MAX_CHANNELS] {
            for bits in [1, 4, 8, 15] {
                for _ in 0..8 {
                    let most = 1 << bits;
                    let head: Vec<i32> = (0..channels).map(|_| rng.i32(-most..most)).collect();
                    let norm = HeadNorm::of(&head);
                    let length = head.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
                    for &x in &head {
                        let wanted = if length > 0.0 { f64::from(x) / length * 32768.0 } else { 0.0 };
                        let error = (f64::from(norm.apply(x)) - wanted).abs();
                        worst = worst.max(error);
                        assert!(error <= 0.501, "{channels} {bits}: {x} gives {}, not {wanted}", norm.apply(x));
                    }
                }
            }
        }
        assert!(worst > 0.4, "{worst}");
    }

    #[test]
    fn zeros_stay_and_the_extremes_fit() {
        assert_eq!(HeadNorm::of(&[0, 0, 0]).apply(0), 0);
        for x in [1, -1, 127, -128, 32767, -32768] {
            assert_eq!(HeadNorm::of(&[x, 0]).apply(x), x.signum() << 15, "{x}");
        }
        let longest = vec![-32768; MAX_CHANNELS];
        assert_eq!(HeadNorm::of(&longest).apply(-32768), -256, "2^15 / √2^14");
    }
}
