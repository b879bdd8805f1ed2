//! Ranges of the 8-bit tensors on either side of a GELU.
//!
//! A symmetric range wastes codes on both: what the GELU makes of values below about −3 is nearly zero, and its results are
//! above −0.17. A shift that the linear before adds with its bias, and one that the linear after takes back with its bias,
//! cost nothing where the GELU between them is a table.

use super::{Histogram, observer::squared_error};
use swint_ir::{infer::is_scale, math};

/// Whether the ranges around a GELU may be shifted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GeluRange {
    /// Where that gives less noise.
    #[default]
    Auto,
    /// Never: plain symmetric `i8`.
    Symmetric,
}

/// A range that does not lie around zero: `real = q·scale − shift`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shifted {
    /// What is added before quantization.
    pub shift: f32,
    /// The step.
    pub scale: f32,
}

/// What is best for one tensor.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Window {
    /// The shifted range; `None` where the symmetric one is as good.
    pub shifted: Option<Shifted>,
    /// Signal to quantization noise of the GELU's result in decibels, with the symmetric range and with the best.
    pub sqnr_db: (f64, f64),
}

/// What was chosen around one GELU: signal to noise in decibels, with symmetric ranges and with those chosen.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct GeluWindows {
    /// For the table's index, if a linear before it can add a shift: the name of its bias, and the noise.
    pub index: Option<(String, (f64, f64))>,
    /// For its result, if linears after it can take a shift back.
    pub result_db: Option<(f64, f64)>,
}

/// Lower ends of the index that are tried beside the smallest value: what lies below has results near zero.
const LOWEST: [f64; 6] = [-2.0, -2.5, -3.0, -3.5, -4.0, -5.0];

/// The range of what enters a GELU, for `i8`; `symmetric` is the largest magnitude of the symmetric one.
pub fn index(histogram: &Histogram, symmetric: f32) -> Window {
    let symmetric = f64::from(symmetric);
    let points = histogram.points();
    let gelu = |x: f64| f64::from(math::gelu(x as f32));
    let error = |low: f64, high: f64, steps: f64| {
        let step = (high - low) / steps;
        let q = |x: f64| ((x.clamp(low, high) - low) / step).round() * step + low;
        points.iter().map(|&(x, n)| n as f64 * (gelu(x) - gelu(q(x))).powi(2)).sum::<f64>()
    };
    let (low, high) = histogram.range();
    let (low, high) = (f64::from(low).max(-symmetric), f64::from(high).min(symmetric));
    let ends = LOWEST.iter().copied().filter(|&end| end > low).chain([low]);
    // At least a step of the symmetric range, so that a constant has a range, too.
    let found = ends.map(|end| (end, high.max(end + symmetric / 127.0)));
    let found = found.map(|(low, high)| (error(low, high, 255.0), low, high)).min_by(|a, b| a.0.total_cmp(&b.0));
    let (noise, low, high) = found.expect("an end was tried");
    let scale = (high - low) / 255.0;
    let signal: f64 = points.iter().map(|&(x, n)| n as f64 * gelu(x).powi(2)).sum();
    // The lowest code is −128.
    window(signal, error(-symmetric, symmetric, 254.0), noise, -128.0 * scale - low, scale)
}

/// The range of what leaves a GELU, for `u8`; `symmetric` is the largest magnitude of the symmetric one, for `i8`.
pub fn result(histogram: &Histogram, symmetric: f32) -> Window {
    let symmetric = f64::from(symmetric);
    let points = histogram.points();
    let error = |low: f64, high: f64, steps: f64| {
        let step = (high - low) / steps;
        squared_error(&points, |x| ((x - low) / step).round() * step + low, (low, high))
    };
    let (low, high) = histogram.range();
    let low = f64::from(low).max(-symmetric).min(0.0);
    let high = f64::from(high).min(symmetric).max(low + symmetric / 127.0);
    let signal = points.iter().map(|&(x, n)| n as f64 * x.powi(2)).sum();
    let noise = error(low, high, 255.0);
    window(signal, error(-symmetric, symmetric, 254.0), noise, -low, (high - low) / 255.0)
}

fn window(signal: f64, symmetric: f64, noise: f64, shift: f64, scale: f64) -> Window {
    let db = |noise: f64| 10.0 * (signal / noise).log10();
    let shifted = Shifted { shift: shift as f32, scale: scale as f32 };
    if noise < symmetric && is_scale(shifted.scale) && shifted.shift.is_finite() {
        Window { shifted: Some(shifted), sqnr_db: (db(symmetric), db(noise)) }
    } else {
        Window { shifted: None, sqnr_db: (db(symmetric), db(symmetric)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::random;

    /// A GELU's input: a normal distribution around −1 of deviation 1.5, as trained Swins have it.
    fn inputs() -> Vec<f32> {
        let mut rng = random::Rng::with_seed(2);
        (0..50_000).map(|_| random::normal(&mut rng) * 1.5 - 1.0).collect()
    }

    /// Signal to noise in decibels, counted on the values themselves.
    fn db(values: &[f32], f: impl Fn(f32) -> f32, q: impl Fn(f32) -> f32) -> f64 {
        let (signal, noise) = values
            .iter()
            .fold((0.0, 0.0), |(s, n), &x| (s + f64::from(f(x)).powi(2), n + f64::from(f(x) - f(q(x))).powi(2)));
        10.0 * f64::log10(signal / noise)
    }

    fn rounded(x: f32, Shifted { shift, scale }: Shifted, low: f32, high: f32) -> f32 {
        ((x + shift) / scale + 0.5).floor().clamp(low, high) * scale - shift
    }

    #[test]
    fn shifted_ranges_have_less_noise_and_as_much_as_they_say() {
        let x = inputs();
        let y: Vec<f32> = x.iter().map(|&x| math::gelu(x)).collect();
        let (hx, hy) = (Histogram::of(&x).unwrap(), Histogram::of(&y).unwrap());
        let found = index(&hx, hx.max_abs());
        let shifted = found.shifted.unwrap();
        let measured = db(&x, math::gelu, |x| rounded(x, shifted, -128.0, 127.0));
        assert!((found.sqnr_db.1 - measured).abs() < 0.5, "{found:?} {measured}");
        assert!(found.sqnr_db.1 > found.sqnr_db.0 + 3.0, "{found:?}");
        // The highest code is the largest value.
        assert!((127.0 * shifted.scale - shifted.shift - hx.range().1).abs() < 1e-3 * shifted.scale, "{found:?}");
        let found = result(&hy, hy.max_abs());
        let measured = db(&y, |y| y, |y| rounded(y, found.shifted.unwrap(), 0.0, 255.0));
        assert!((found.sqnr_db.1 - measured).abs() < 0.5, "{found:?} {measured}");
        assert!(found.sqnr_db.1 > found.sqnr_db.0 + 5.0, "{found:?}");
    }

    #[test]
    fn what_is_symmetric_stays() {
        // Every value of the symmetric range's own codes.
        let h = Histogram::of(&(-127..=127).map(|q| q as f32).collect::<Vec<_>>()).unwrap();
        let found = result(&h, 127.0);
        assert!(found.sqnr_db.1 >= found.sqnr_db.0);
        // A step that no scale can be.
        let tiny = Histogram::of(&[1.99e-20, 2e-20]).unwrap();
        assert_eq!(index(&tiny, 2e-20).shifted, None);
        let constant = Histogram::of(&[2.0; 5]).unwrap();
        for found in [index(&constant, 2.0), result(&constant, 2.0)] {
            assert!(found.shifted.is_none_or(|s| s.scale > 0.0 && s.scale.is_finite()), "{found:?}");
        }
    }
}
