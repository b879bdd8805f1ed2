//! Histograms of activations that do not depend on the order in which values arrive.

/// Bins of either sign.
pub const BINS: usize = 2048;

/// How often which values occurred: their extremes, and counts of magnitudes, negative and positive apart.
///
/// A bin is `2^e / BINS` wide, e the smallest exponent with every magnitude at most `2^e`. Widening merges pairs of bins, so
/// that any order of values, and any split over threads, gives the same histogram.
#[derive(Clone, PartialEq, Debug)]
pub struct Histogram {
    /// The smallest and the largest value.
    range: (f32, f32),
    exponent: i32,
    /// Counts of negative values, and of the others.
    bins: [Box<[u64]>; 2],
}

/// The smallest magnitude that is told from zero: below, scales would be no normal numbers.
const SMALLEST: f32 = 1e-20;

/// The smallest e with `max ≤ 2^e`.
fn exponent(max: f32) -> i32 {
    let max = max.max(SMALLEST);
    let bits = max.to_bits();
    let power = bits & 0x007f_ffff == 0;
    (bits >> 23) as i32 - 127 + i32::from(!power)
}

fn power(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

impl Histogram {
    /// Of the first values; `None` when one is not finite, or there are none.
    pub fn of(values: &[f32]) -> Option<Histogram> {
        let mut histogram = Histogram {
            range: extremes(values)?,
            exponent: 0,
            bins: std::array::from_fn(|_| vec![0; BINS].into_boxed_slice()),
        };
        histogram.exponent = exponent(histogram.max_abs());
        histogram.count(values);
        Some(histogram)
    }

    /// Adds values; `None`, and nothing is added, when one is not finite.
    pub fn add(&mut self, values: &[f32]) -> Option<()> {
        if values.is_empty() {
            return Some(());
        }
        self.widen(extremes(values)?);
        self.count(values);
        Some(())
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, mut other: Histogram) {
        self.widen(other.range);
        other.widen(self.range);
        for (bins, more) in self.bins.iter_mut().zip(&other.bins) {
            bins.iter_mut().zip(more).for_each(|(n, more)| *n += more);
        }
    }

    /// From its parts, as [`Histogram::range`] and [`Histogram::counts`] give them.
    ///
    /// # Errors
    /// When they fit no values.
    pub fn from_parts(range: (f32, f32), negative: Vec<u64>, positive: Vec<u64>) -> Result<Histogram, String> {
        let (low, high) = range;
        if !(low.is_finite() && high.is_finite() && low <= high) {
            return Err(format!("{low} to {high} is no range"));
        }
        let mut bins = [negative, positive];
        for bins in &mut bins {
            if bins.len() > BINS {
                return Err(format!("{} bins; at most {BINS}", bins.len()));
            }
            bins.resize(BINS, 0);
        }
        if bins.iter().flatten().try_fold(0u64, |sum, &n| sum.checked_add(n)).is_none_or(|sum| sum == 0) {
            return Err("it counts no values".to_owned());
        }
        let histogram =
            Histogram { range, exponent: exponent(low.abs().max(high.abs())), bins: bins.map(Vec::into_boxed_slice) };
        // The extremes lie in the outermost bins.
        let used = |x: f32, there: bool| if there { Some(histogram.bin(x) + 1) } else { None };
        let wanted = [used(low, low < 0.0), used(high, high >= 0.0)].map(|bins| bins.unwrap_or(0));
        if histogram.counts().map(<[u64]>::len) != wanted {
            return Err(format!("its counts are not of values from {low} to {high}"));
        }
        Ok(histogram)
    }

    /// The smallest and the largest value.
    pub fn range(&self) -> (f32, f32) {
        self.range
    }

    /// The largest magnitude.
    pub fn max_abs(&self) -> f32 {
        self.range.0.abs().max(self.range.1.abs())
    }

    /// Counts of negative values and of the others by magnitude, without empty bins at the end.
    pub fn counts(&self) -> [&[u64]; 2] {
        self.bins.each_ref().map(|bins| {
            let used = bins.iter().rposition(|&n| n > 0).map_or(0, |last| last + 1);
            &bins[..used]
        })
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.bins.iter().flat_map(|bins| bins.iter()).sum()
    }

    /// The width of a bin.
    pub fn bin_width(&self) -> f64 {
        power(self.exponent) / BINS as f64
    }

    /// Counts of magnitudes, whatever the sign: bin i holds those in `(i, i + 1]` times [`Histogram::bin_width`], and the
    /// first bin zero, too.
    pub fn magnitudes(&self) -> Vec<u64> {
        self.bins[0].iter().zip(&self.bins[1]).map(|(a, b)| a + b).collect()
    }

    /// Every bin with something in it, from the smallest value to the largest: the middle of the bin, which stands for its
    /// values, and their number.
    pub fn points(&self) -> Vec<(f64, u64)> {
        let (width, (low, high)) = (self.bin_width(), (f64::from(self.range.0), f64::from(self.range.1)));
        let middle = |i: usize| (i as f64 + 0.5) * width;
        let negative = self.bins[0].iter().enumerate().rev().map(|(i, &n)| (-middle(i), n));
        let positive = self.bins[1].iter().enumerate().map(|(i, &n)| (middle(i), n));
        negative.chain(positive).filter(|(_, n)| *n > 0).map(|(x, n)| (x.clamp(low, high), n)).collect()
    }

    fn count(&mut self, values: &[f32]) {
        let per_unit = self.per_unit();
        for &x in values {
            self.bins[usize::from(x >= 0.0)][bin(x, per_unit)] += 1;
        }
    }

    /// Bins of a unit: a power of two, exact.
    fn per_unit(&self) -> f32 {
        (BINS as f64 / power(self.exponent)) as f32
    }

    /// The bin of a value that is no larger than those counted.
    fn bin(&self, x: f32) -> usize {
        bin(x, self.per_unit())
    }

    fn widen(&mut self, (low, high): (f32, f32)) {
        self.range = (self.range.0.min(low), self.range.1.max(high));
        let wanted = exponent(self.max_abs());
        while self.exponent < wanted {
            for bins in &mut self.bins {
                for i in 0..BINS {
                    bins[i] = if i < BINS / 2 { bins[2 * i] + bins[2 * i + 1] } else { 0 };
                }
            }
            self.exponent += 1;
        }
    }
}

fn bin(x: f32, per_unit: f32) -> usize {
    ((x.abs() * per_unit).ceil() as usize).saturating_sub(1)
}

/// The smallest and the largest value; `None` when one is not finite, or there are none.
fn extremes(values: &[f32]) -> Option<(f32, f32)> {
    let fold = |range: (f32, f32), &x: &f32| (range.0.min(x), range.1.max(x));
    let range = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), fold);
    let finite = range.0 <= range.1 && values.iter().all(|x| x.is_finite());
    // One zero: which of two is smaller depends on their order.
    finite.then_some((range.0 + 0.0, range.1 + 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_the_smallest_that_hold() {
        for (max, e) in [(1.0, 0), (1.0000001, 1), (0.75, 0), (0.5, -1), (2.0, 1), (3.5, 2), (f32::MAX, 128)] {
            assert_eq!(exponent(max), e, "{max}");
        }
        assert_eq!(exponent(0.0), exponent(SMALLEST));
    }

    #[test]
    fn order_and_split_do_not_matter() {
        let values: Vec<f32> = (0..5000).map(|i| ((i * 37 % 501) as f32 - 200.0) * 2f32.powi(i % 7 - 3)).collect();
        // Powers of two lie on the edges of bins, whatever their width.
        let values = [vec![1.0, 0.0, -0.0, 4.0, -64.0], values].concat();
        let whole = Histogram::of(&values).unwrap();
        let mut backwards: Option<Histogram> = None;
        for chunk in values.rchunks(77) {
            match &mut backwards {
                Some(h) => h.add(chunk).unwrap(),
                None => backwards = Histogram::of(chunk),
            }
        }
        let mut merged = Histogram::of(&values[4000..]).unwrap();
        merged.merge(Histogram::of(&values[..4000]).unwrap());
        assert_eq!(backwards.as_ref(), Some(&whole));
        assert_eq!(merged, whole);
        assert_eq!(whole.total(), 5005);
        // The largest value so far, on the edge of the last bin, before the bins widen.
        let mut grown = Histogram::of(&[1.0]).unwrap();
        grown.add(&[3.0]).unwrap();
        assert_eq!(grown, Histogram::of(&[1.0, 3.0]).unwrap());
        let [negative, positive] = whole.counts().map(<[u64]>::to_vec);
        assert_eq!(Histogram::from_parts(whole.range(), negative, positive), Ok(whole));
    }

    #[test]
    fn points_are_within_half_a_bin() {
        let h = Histogram::of(&[-3.0, 0.0, 0.1, 4.0]).unwrap();
        assert_eq!(h.bin_width(), 4.0 / BINS as f64);
        let points = h.points();
        for (wanted, (x, n)) in [-3.0, 0.0, 0.1, 4.0].iter().zip(&points) {
            assert!((wanted - x).abs() <= h.bin_width() / 2.0 + 1e-6 && *n == 1, "{points:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        assert_eq!(Histogram::of(&[1.0, f32::NAN]), None);
        assert_eq!(Histogram::of(&[]), None);
        let mut h = Histogram::of(&[1.0]).unwrap();
        assert_eq!(h.add(&[f32::INFINITY]), None);
        assert_eq!(h.total(), 1);
        assert!(Histogram::from_parts((0.0, f32::NAN), vec![], vec![1]).is_err());
        for (range, negative, positive) in [
            ((0.0, 1.0), vec![], vec![]),
            ((-1.0, 0.5), vec![], vec![1]),
            ((0.0, 1e19), vec![], vec![1]),
            ((-2.0, -1.0), vec![], vec![1]),
        ] {
            assert!(Histogram::from_parts(range, negative, positive).is_err(), "{range:?}");
        }
    }
}
