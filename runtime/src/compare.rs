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

impl Difference {
    /// Of two tensors of one length.
    pub fn of(golden: &[f32], found: &[f32]) -> Difference {
        let (mut max_abs, mut dot, mut signal, mut power, mut noise) = (0f64, 0f64, 0f64, 0f64, 0f64);
        for (&g, &f) in golden.iter().zip(found) {
            let (g, f) = (g as f64, f as f64);
            let d = if (g - f).is_nan() { f64::INFINITY } else { (g - f).abs() };
            max_abs = max_abs.max(d);
            dot += g * f;
            signal += g * g;
            power += f * f;
            noise += d * d;
        }
        let cosine = if signal == 0.0 && power == 0.0 { 1.0 } else { dot / (signal * power).sqrt() };
        let sqnr_db = if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() };
        Difference { max_abs, cosine, sqnr_db }
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
    }
}
