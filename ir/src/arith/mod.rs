//! Integer arithmetic: the contract of every backend. The same input gives the same bits everywhere.
//!
//! Rows have modules of their own: [`layer_norm`], [`l2_norm`] and [`softmax`].

pub mod l2_norm;
pub mod layer_norm;
pub mod softmax;

use crate::types::Elem;

/// A positive factor as fixed point: `mult · 2^-shift`, with one rounding rule for every requantization.
///
/// `mult` lies in `[2^30, 2^31)` and `shift` in `1..=62`, so that `acc · mult + 2^(shift−1)` fits in 64 bits for every
/// `acc: i32`. A factor below 2^-32 has `mult = 0`. (The form of gemmlowp's `MultiplyByQuantizedMultiplier`, with one
/// rounding where gemmlowp has two.)
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Multiplier {
    /// The mantissa.
    pub mult: i32,
    /// How far the product is shifted right.
    pub shift: u32,
}

impl Multiplier {
    /// The nearest fixed-point number to `factor`: relative error at most 2^-31.
    ///
    /// A factor of 2^30 or more is taken as just below 2^30: any non-zero accumulator then saturates 8 and 16 bits.
    pub fn new(factor: f64) -> Multiplier {
        debug_assert!(factor >= 0.0 && factor.is_finite());
        let largest = Multiplier { mult: i32::MAX, shift: 1 };
        if factor >= (1u64 << 30) as f64 {
            return largest;
        }
        // factor = mantissa · 2^exponent with mantissa in [1/2, 1), by its bits.
        let mut exponent = (factor.to_bits() >> 52) as i32 - 1022;
        if exponent < -31 {
            return Multiplier { mult: 0, shift: 62 };
        }
        let mut mult = (factor * 2f64.powi(31 - exponent)).round();
        if mult >= (1u64 << 31) as f64 {
            mult /= 2.0;
            exponent += 1;
        }
        if exponent > 30 {
            return largest;
        }
        Multiplier { mult: mult as i32, shift: (31 - exponent) as u32 }
    }

    /// `⌊acc · mult / 2^shift + 1/2⌋`, not yet clamped.
    pub fn apply(self, acc: i32) -> i64 {
        (acc as i64 * self.mult as i64 + (1i64 << (self.shift - 1))) >> self.shift
    }

    /// Requantizes: applies the factor and saturates to the range of `elem`.
    pub fn requantize(self, acc: i32, elem: Elem) -> i32 {
        let (low, high) = elem.range().unwrap_or((i32::MIN, i32::MAX));
        self.apply(acc).clamp(low as i64, high as i64) as i32
    }
}

/// `clamp(⌊x / scale + 1/2⌋)` to the range of `elem`, 8 or 16 bits, each step one IEEE-754 `f32` operation. NaN becomes
/// the low end.
pub fn quantize(x: f32, scale: f32, elem: Elem) -> i32 {
    let (low, high) = elem.range().unwrap_or((i32::MIN, i32::MAX));
    (x / scale + 0.5).floor().max(low as f32).min(high as f32) as i32
}

/// `q · scale`, both steps IEEE-754 `f32` operations.
pub fn dequantize(q: i32, scale: f32) -> f32 {
    q as f32 * scale
}

/// The index in a 256-entry table of an 8-bit value held in an `i32`.
pub fn table_index(q: i32, elem: Elem) -> usize {
    (q - elem.range().map_or(0, |(low, _)| low)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplier_is_the_nearest_fixed_point_number() {
        for factor in [1.0, 0.5, 0.75, 1e-3, 3.7e-5, 0.999_999_999_9, 123.456, 2f64.powi(-31), 1e9] {
            let m = Multiplier::new(factor);
            assert!(m.mult >= 1 << 30 && (1..=62).contains(&m.shift), "{factor}: {m:?}");
            let value = m.mult as f64 * 2f64.powi(-(m.shift as i32));
            assert!((value / factor - 1.0).abs() <= 2f64.powi(-31), "{factor}: {value}");
        }
        assert_eq!(Multiplier::new(0.0).apply(i32::MAX), 0);
        assert_eq!(Multiplier::new(1e-12).apply(i32::MIN), 0);
    }

    #[test]
    fn requantize_rounds_half_up_once_and_saturates() {
        let half = Multiplier::new(0.5);
        let rounded: Vec<i64> = [-3, -2, -1, 0, 1, 2, 3].into_iter().map(|q| half.apply(q)).collect();
        assert_eq!(rounded, [-1, -1, 0, 0, 1, 1, 2]);
        assert_eq!(half.requantize(1000, Elem::I8), 127);
        assert_eq!(half.requantize(-1000, Elem::I8), -128);
        assert_eq!(half.requantize(-1000, Elem::U8), 0);
    }

    #[test]
    fn requantize_agrees_with_real_arithmetic_at_the_extremes() {
        for factor in [1e9, 1.0, 0.7, 1e-4, 1e-9] {
            let m = Multiplier::new(factor);
            for acc in [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX] {
                let exact = acc as f64 * factor;
                let error = (m.apply(acc) as f64 - exact).abs();
                assert!(error <= 0.5 + exact.abs() * 2f64.powi(-31) + 1e-9, "{factor} {acc}: off by {error}");
            }
        }
    }

    #[test]
    fn quantize_clamps_and_rounds_half_up() {
        assert_eq!(quantize(0.25, 0.5, Elem::I8), 1);
        assert_eq!(quantize(-0.25, 0.5, Elem::I8), 0);
        assert_eq!(quantize(1e30, 0.5, Elem::I8), 127);
        assert_eq!(quantize(-1e30, 0.5, Elem::U8), 0);
        assert_eq!(quantize(f32::NAN, 0.5, Elem::I8), -128);
        assert_eq!(quantize(f32::INFINITY, 1.0, Elem::I16), 32767);
    }
}
