//! How far two tensors are apart.

use serde::Serialize;

/// The difference of a tensor from its golden value.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Difference {
    /// Largest absolute difference; infinite where one is not finite.
    pub max_abs: f64,
    /// Cosine of the angle between them; 1 where both are zero.
    pub cosine: f64,
    /// Signal to quantization noise: `10·log10(Σ golden² / Σ (golden − found)²)` in decibels; infinite where equal.
    pub sqnr_db: f64,
}

/// Sums from which a [`Difference`] follows, over any number of tensors.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sums {
    max_abs: f64,
    dot: f64,
    signal: f64,
    power: f64,
    noise: f64,
}

impl Sums {
    /// Adds two tensors of one length.
    pub fn add(&mut self, golden: &[f32], found: &[f32]) {
        for (&g, &f) in golden.iter().zip(found) {
            let (g, f) = (g as f64, f as f64);
            let d = if (g - f).is_nan() { f64::INFINITY } else { (g - f).abs() };
            self.max_abs = self.max_abs.max(d);
            self.dot += g * f;
            self.signal += g * g;
            self.power += f * f;
            self.noise += d * d;
        }
    }

    /// The difference of all that was added.
    pub fn difference(&self) -> Difference {
        let Sums { max_abs, dot, signal, power, noise } = *self;
        let cosine = if signal == 0.0 && power == 0.0 { 1.0 } else { dot / (signal * power).sqrt() };
        let sqnr_db = if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() };
        Difference { max_abs, cosine, sqnr_db }
    }
}

impl Difference {
    /// Of two tensors of one length.
    pub fn of(golden: &[f32], found: &[f32]) -> Difference {
        let mut sums = Sums::default();
        sums.add(golden, found);
        sums.difference()
    }
}

/// Whether a golden result has the shape of one that was found, `[N,H,W,C]` perhaps with its tokens in one row, `[N,H·W,C]`: the elements are in the
/// same order.
pub fn same_shape(found: &[usize], golden: &[usize]) -> bool {
    match (found, golden) {
        ([n, h, w, c], [n2, tokens, c2]) => (n, h.checked_mul(*w), c) == (n2, Some(*tokens), c2),
        _ => found == golden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_differences() {
        let d = Difference::of(&[3.0, 4.0], &[3.0, 3.5]);
        assert_eq!(d.max_abs, 0.5);
        assert!((d.sqnr_db - 20.0).abs() < 1e-9);
        assert!((d.cosine - 23.0 / (25f64 * 21.25).sqrt()).abs() < 1e-12);
        assert_eq!(Difference::of(&[0.0], &[0.0]), Difference { max_abs: 0.0, cosine: 1.0, sqnr_db: f64::INFINITY });
        assert_eq!(Difference::of(&[1.0], &[f32::NAN]).max_abs, f64::INFINITY);
        let mut parts = Sums::default();
        parts.add(&[3.0], &[3.0]);
        parts.add(&[4.0], &[3.5]);
        assert_eq!(parts.difference(), d);
    }

    #[test]
    fn tokens_may_be_in_one_row() {
        assert!(same_shape(&[2, 3, 4, 5], &[2, 3, 4, 5]) && same_shape(&[2, 3, 4, 5], &[2, 12, 5]));
        assert!(!same_shape(&[2, 3, 4, 5], &[2, 5, 12]) && !same_shape(&[2, 12, 5], &[2, 3, 4, 5]));
    }
}
