//! Observers: how much of a histogram's range an 8-bit activation represents.

use super::{Histogram, histogram::BINS};
use std::{fmt, str::FromStr};
use swint_ir::{Elem, F32};

/// How the largest magnitude that an 8-bit activation can represent is chosen; what lies beyond saturates.
///
/// 16-bit tensors go by the largest magnitude observed: their steps are small, and the residual stream must not saturate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Observer {
    /// The largest magnitude observed.
    #[default]
    MinMax,
    /// The smallest magnitude that so many percent of the values do not exceed.
    Percentile(F32),
    /// The one with the least mean squared error of quantization.
    Mse,
    /// The one whose quantized distribution is nearest to the observed one in relative entropy. (Migacz, *8-bit inference
    /// with TensorRT*, GTC 2017)
    Entropy,
}

/// What [`Observer::Percentile`] is without a number.
pub const DEFAULT_PERCENTILE: f32 = 99.99;

impl FromStr for Observer {
    type Err = String;

    fn from_str(text: &str) -> Result<Observer, String> {
        match text {
            "min-max" => Ok(Observer::MinMax),
            "percentile" => Ok(Observer::Percentile(F32::new(DEFAULT_PERCENTILE))),
            "mse" => Ok(Observer::Mse),
            "entropy" => Ok(Observer::Entropy),
            _ => {
                let number = text.strip_prefix("percentile=").and_then(|n| n.parse().ok());
                let percent = number.filter(|p| (50.0..=100.0).contains(p));
                percent
                    .map(|p| Observer::Percentile(F32::new(p)))
                    .ok_or_else(|| "there are: min-max, percentile, percentile=50 to 100, mse, entropy".to_owned())
            }
        }
    }
}

impl fmt::Display for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observer::MinMax => f.write_str("min-max"),
            Observer::Percentile(percent) => write!(f, "percentile={percent}"),
            Observer::Mse => f.write_str("mse"),
            Observer::Entropy => f.write_str("entropy"),
        }
    }
}

/// Thresholds that [`Observer::Mse`] tries.
const MSE_STEPS: u32 = 128;

impl Observer {
    /// The largest magnitude that a tensor of `elem` is to represent.
    pub fn max_abs(self, histogram: &Histogram, elem: Elem) -> f32 {
        let max = histogram.max_abs();
        if !elem.is_byte() {
            return max;
        }
        let chosen = match self {
            Observer::MinMax => max,
            Observer::Percentile(percent) => percentile(histogram, f64::from(percent.get())),
            Observer::Mse => least_error(histogram, elem),
            Observer::Entropy => entropy(histogram, elem),
        };
        // A bin's edge lies beyond the values in it.
        chosen.min(max)
    }
}

/// The steps of a symmetric range on one side of zero: of u8 its only side.
fn steps(elem: Elem) -> u32 {
    if elem == Elem::U8 { 255 } else { 127 }
}

/// The upper edge of the bin that holds the percentile of the magnitudes.
fn percentile(histogram: &Histogram, percent: f64) -> f32 {
    let wanted = histogram.total() as f64 * percent / 100.0;
    let mut below = 0;
    let bin = histogram.magnitudes().iter().position(|&n| {
        below += n;
        below as f64 >= wanted
    });
    // Rounding may put what is wanted above every count.
    (bin.map_or(BINS, |bin| bin + 1) as f64 * histogram.bin_width()) as f32
}

fn least_error(histogram: &Histogram, elem: Elem) -> f32 {
    let points = histogram.points();
    let max = f64::from(histogram.max_abs());
    let threshold = |i: u32| max * f64::from(i) / f64::from(MSE_STEPS);
    let error = |threshold: f64| {
        let step = threshold / f64::from(steps(elem));
        let low = if elem == Elem::U8 { 0.0 } else { -threshold };
        squared_error(&points, |x| (x / step).round() * step, (low, threshold))
    };
    let errors = (1..=MSE_STEPS).map(|i| (threshold(i), error(threshold(i))));
    errors.min_by(|a, b| a.1.total_cmp(&b.1)).expect("some thresholds").0 as f32
}

/// `Σ n·(x − q(clamp(x)))²` over points x that occur n times.
pub(super) fn squared_error(points: &[(f64, u64)], q: impl Fn(f64) -> f64, (low, high): (f64, f64)) -> f64 {
    points.iter().map(|&(x, n)| n as f64 * (x - q(x.clamp(low, high))).powi(2)).sum()
}

/// The threshold that minimizes `Σ p·ln(p/q)`: p is what lies below, with what lies beyond added to the last bin; q is p
/// averaged over the bins that share a step, those that are empty left out.
fn entropy(histogram: &Histogram, elem: Elem) -> f32 {
    let counts = histogram.magnitudes();
    let used = counts.iter().rposition(|&n| n > 0).expect("a histogram counts something") + 1;
    let steps = steps(elem) as usize + 1;
    let mut best = (f64::INFINITY, used);
    // Every number of bins is tried in TensorRT; neighbours differ by less than their steps do.
    for bins in (steps..=used).step_by((steps / 8).max(1)).chain([used.max(steps)]) {
        let divergence = divergence(&counts, bins.min(counts.len()), steps);
        if divergence < best.0 {
            best = (divergence, bins);
        }
    }
    (best.1 as f64 * histogram.bin_width()) as f32
}

fn divergence(counts: &[u64], bins: usize, steps: usize) -> f64 {
    let beyond: u64 = counts[bins..].iter().sum();
    let total: u64 = counts.iter().sum();
    let inside = total - beyond;
    if inside == 0 {
        return f64::INFINITY;
    }
    let mut sum = 0.0;
    for step in 0..steps {
        let range = step * bins / steps..((step + 1) * bins / steps).min(bins);
        let (n, occupied) = counts[range.clone()].iter().fold((0, 0), |(n, k), &c| (n + c, k + u64::from(c > 0)));
        for i in range {
            let p = counts[i] + if i + 1 == bins { beyond } else { 0 };
            if p > 0 {
                // An empty last bin that what lies beyond fills has no q of its own; a value in it stands for none.
                let q = if counts[i] > 0 { n as f64 / occupied as f64 } else { 0.5 };
                let (p, q) = (p as f64 / total as f64, q / inside as f64);
                sum += p * (p / q).ln();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::random;

    /// A normal distribution of deviation 1, and outliers of 100.
    fn with_outliers(outliers: usize) -> Histogram {
        let mut rng = random::Rng::with_seed(5);
        let mut values: Vec<f32> = (0..100_000).map(|_| random::normal(&mut rng)).collect();
        values.extend(std::iter::repeat_n(100.0, outliers));
        Histogram::of(&values).unwrap()
    }

    #[test]
    fn outliers_are_cut_off_by_all_but_min_max() {
        let h = with_outliers(5);
        let of = |observer: Observer| observer.max_abs(&h, Elem::I8);
        assert_eq!(of(Observer::MinMax), 100.0);
        assert!((3.2..4.5).contains(&of("percentile".parse().unwrap())));
        assert!((2.9..3.5).contains(&of("percentile=99.8".parse().unwrap())));
        assert_eq!(of("percentile=100".parse().unwrap()), 100.0);
        // Entropy gives five outliers up, but not one value in fifty, and not the ends of the distribution itself.
        let entropy = |outliers| Observer::Entropy.max_abs(&with_outliers(outliers), Elem::I8);
        assert!((4.0..10.0).contains(&entropy(5)), "{}", entropy(5));
        assert_eq!(entropy(2000), 100.0);
        assert!((3.5..5.0).contains(&entropy(0)), "{}", entropy(0));
        // 16 bits hold all.
        assert_eq!(Observer::Entropy.max_abs(&h, Elem::I16), 100.0);
    }

    #[test]
    fn mse_is_the_least_of_all_thresholds() {
        for (outliers, elem) in [(0, Elem::I8), (1, Elem::I8), (40, Elem::I8), (40, Elem::U8)] {
            let h = with_outliers(outliers);
            let error = |threshold: f32| {
                let step = f64::from(threshold) / f64::from(steps(elem));
                let low = if elem == Elem::U8 { 0.0 } else { -f64::from(threshold) };
                squared_error(&h.points(), |x| (x / step).round() * step, (low, threshold.into()))
            };
            let chosen = error(Observer::Mse.max_abs(&h, elem));
            for part in [1.0, 0.9, 0.5, 0.25, 0.1, 0.05, 0.03] {
                assert!(chosen <= error(h.max_abs() * part) * 1.05, "{outliers} {part}");
            }
        }
    }

    #[test]
    fn few_values_keep_their_range() {
        for values in [&[0.0][..], &[1e-3], &[-5.0, 5.0], &[7.5, 7.5, 7.5]] {
            let h = Histogram::of(values).unwrap();
            for observer in ["min-max", "percentile", "mse", "entropy"] {
                let max = observer.parse::<Observer>().unwrap().max_abs(&h, Elem::I8);
                assert!(max <= h.max_abs() && max >= 0.99 * h.max_abs(), "{observer} {values:?}: {max}");
            }
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["min-max", "percentile=99.99", "percentile=50.0", "mse", "entropy"] {
            assert_eq!(name.parse::<Observer>().unwrap().to_string(), name);
        }
        for name in ["", "max", "percentile=", "percentile=101", "percentile=NaN", "percentile=49"] {
            assert!(name.parse::<Observer>().is_err(), "{name}");
        }
    }
}
