//! What many times of the same thing come to.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// The spread above which a measurement is noisy, in percent.
pub const MAX_SPREAD: f64 = 2.5;

/// Times of the same thing, in the unit of its user.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The shortest.
    pub min: f64,
    /// Half of them are no longer.
    pub median: f64,
    /// Their mean.
    pub mean: f64,
    /// 90 % of them are no longer.
    pub p90: f64,
    /// 95 % of them are no longer.
    pub p95: f64,
    /// 99 % of them are no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// `(p75 − p25) / median`, in percent: unlike a standard deviation, no single outlier moves it.
    pub spread_percent: f64,
}

impl Summary {
    /// Of some times, which are sorted.
    ///
    /// # Panics
    /// When there are none.
    pub fn of(times: &mut [f64]) -> Summary {
        times.sort_by(f64::total_cmp);
        let p = |p| percentile(times, p);
        // Of times that the clock does not resolve there is no spread to speak of.
        let spread = if p(0.5) > 0.0 { (p(0.75) - p(0.25)) / p(0.5) * 100.0 } else { 0.0 };
        Summary {
            min: times[0],
            median: p(0.5),
            mean: times.iter().sum::<f64>() / times.len() as f64,
            p90: p(0.9),
            p95: p(0.95),
            p99: p(0.99),
            max: times[times.len() - 1],
            spread_percent: spread,
        }
    }

    /// Whether it can be one: what others wrote need not be.
    fn check(&self) -> Result<(), String> {
        let ordered = [
            ("min", self.min),
            ("median", self.median),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
            ("max", self.max),
        ];
        for (name, value) in ordered.into_iter().chain([("mean", self.mean)]) {
            if value.is_nan() || value <= 0.0 {
                return Err(format!("`{name}` is {value}, and a time is above 0"));
            }
        }
        if let Some(pair) = ordered.windows(2).find(|pair| pair[0].1 > pair[1].1) {
            return Err(format!("`{}` is {}, above `{}`, {}", pair[0].0, pair[0].1, pair[1].0, pair[1].1));
        }
        // As far as rounding may put it.
        if self.mean < self.min * 0.999 || self.mean > self.max * 1.001 {
            return Err(format!("`mean` is {}, not between `min` and `max`", self.mean));
        }
        if self.spread_percent.is_nan() || self.spread_percent < 0.0 {
            return Err(format!("`spread_percent` is {}, below 0", self.spread_percent));
        }
        Ok(())
    }

    /// Reads one that makes sense.
    pub(super) fn checked<'de, D: Deserializer<'de>>(from: D) -> Result<Summary, D::Error> {
        let summary = Summary::deserialize(from)?;
        summary.check().map_err(D::Error::custom)?;
        Ok(summary)
    }
}

/// The smallest value that at least a share `p` of the sorted values do not exceed (nearest rank).
pub(crate) fn percentile(sorted: &[f64], p: f64) -> f64 {
    sorted[((sorted.len() as f64 * p).ceil() as usize).clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let s = Summary::of(&mut values);
        assert_eq!([s.min, s.median, s.p90, s.p95, s.p99, s.max], [1.0, 50.0, 90.0, 95.0, 99.0, 100.0]);
        assert_eq!((s.mean, s.spread_percent), (50.5, 100.0));
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert_eq!([0.5, 0.6, 0.61].map(|p| percentile(&[1.0, 2.0, 3.0, 4.0, 5.0], p)), [3.0, 3.0, 4.0]);
        assert_eq!(Summary::of(&mut [3.0]).spread_percent, 0.0);
    }

    #[test]
    fn an_outlier_is_no_spread() {
        let mut values = vec![10.0; 99];
        values.push(1000.0);
        let s = Summary::of(&mut values);
        assert_eq!((s.spread_percent, s.p99, s.max), (0.0, 10.0, 1000.0));
    }

    #[test]
    fn what_was_measured_is_consistent_and_what_is_not_is_refused() {
        let good = Summary::of(&mut [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(good.check(), Ok(()));
        for (bad, message) in [
            (Summary { min: 0.0, ..good }, "`min` is 0"),
            (Summary { max: f64::NAN, ..good }, "`max` is NaN"),
            (Summary { median: 9.0, ..good }, "`median` is 9, above `p90`"),
            (Summary { mean: 40.0, ..good }, "not between `min` and `max`"),
            (Summary { spread_percent: -1.0, ..good }, "below 0"),
        ] {
            assert!(bad.check().unwrap_err().contains(message), "{:?}", bad.check());
        }
    }
}
