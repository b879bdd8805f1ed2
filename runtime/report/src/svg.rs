//! What plots share: axes, ticks, and their frame.

use crate::text;
use maud::{Markup, html};

/// Width of every plot in its own units, which are near a pixel on a wide page.
pub const WIDTH: f64 = 1000.0;

/// Values on a line of the drawing.
#[derive(Clone, Copy)]
pub struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Axis {
    /// From 0, or from a value below it, to a value that is shown as `to`.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Axis {
        let high = if high > low { high } else { low + 1.0 };
        Axis { low, high, from, to, logarithmic: false }
    }

    /// Whole decades around some positive values.
    pub fn decades(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let logs = values.filter(|v| v.is_finite() && *v > 0.0).map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low <= high { (low.floor(), high.ceil()) } else { (0.0, 1.0) };
        Axis { low, high: if high > low { high } else { low + 1.0 }, from, to, logarithmic: true }
    }

    /// Where a value is; those beyond the ends are at the ends.
    pub fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let share = (value - self.low) / (self.high - self.low);
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.from + share * (self.to - self.from)
    }

    /// The least and the greatest value.
    pub fn ends(&self) -> (f64, f64) {
        if self.logarithmic { (10f64.powf(self.low), 10f64.powf(self.high)) } else { (self.low, self.high) }
    }

    /// Round values on it: powers of ten, or some steps of 1, 2 or 5.
    pub fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let step = (((self.high - self.low) / 8.0).ceil() as usize).max(1);
            return (self.low as i32..=self.high as i32).step_by(step).map(|e| 10f64.powi(e)).collect();
        }
        let rough = (self.high - self.low) / 6.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|v| *v <= self.high + step * 1e-9).collect()
    }
}

/// A coordinate, to a tenth: more would only make the page larger.
pub fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A plot: what it shows for those who do not see it, and its drawing.
pub fn plot(id: &str, title: &str, description: &str, height: f64, drawing: Markup) -> Markup {
    let (title_id, description_id) = (format!("{id}-title"), format!("{id}-desc"));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(title) {
            svg.plot xmlns="http://www.w3.org/2000/svg" role="img" viewBox=(format!("0 0 {WIDTH} {}", px(height)))
                aria-labelledby=(format!("{title_id} {description_id}")) {
                title id=(title_id) { (title) }
                desc id=(description_id) { (description) }
                (drawing)
            }
        }
    }
}

/// Vertical lines at the ticks of a horizontal axis, with labels below.
pub fn columns(axis: &Axis, top: f64, bottom: f64, label: impl Fn(f64) -> String) -> Markup {
    html! {
        @for tick in axis.ticks() {
            @let x = px(axis.at(tick));
            line.grid x1=(x) x2=(x) y1=(px(top)) y2=(px(bottom)) {}
            text.tick x=(x) y=(px(bottom + 16.0)) text-anchor="middle" { (label(tick)) }
        }
    }
}

/// Horizontal lines at the ticks of a vertical axis, with labels on the left.
pub fn lines(axis: &Axis, left: f64, right: f64, label: impl Fn(f64) -> String) -> Markup {
    html! {
        @for tick in axis.ticks() {
            @let y = axis.at(tick);
            line.grid x1=(px(left)) x2=(px(right)) y1=(px(y)) y2=(px(y)) {}
            text.tick x=(px(left - 8.0)) y=(px(y + 4.0)) text-anchor="end" { (label(tick)) }
        }
    }
}

/// The name of a horizontal axis, below its labels.
pub fn below(text: &str, left: f64, right: f64, y: f64) -> Markup {
    html! { text.axis x=(px((left + right) / 2.0)) y=(px(y)) text-anchor="middle" { (text) } }
}

/// A text that has a place of so many units, cut where it is longer.
pub fn fit(shown: &str, units: f64) -> String {
    let most = (units / 7.6) as usize;
    let shown = text::name(shown);
    if shown.chars().count() <= most {
        return shown;
    }
    // The end of a module's name says more than its beginning.
    let skipped = shown.chars().count() - most.saturating_sub(1);
    format!("…{}", shown.chars().skip(skipped).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_on_the_axis() {
        for high in [0.3, 1.0, 7.0, 44.0, 99.9, 12_345.0] {
            let axis = Axis::linear(0.0, high, 100.0, 900.0);
            let ticks = axis.ticks();
            assert!((3..=9).contains(&ticks.len()), "{high}: {ticks:?}");
            assert!(ticks.iter().all(|&t| (0.0..=high * 1.000_001).contains(&t)));
            assert_eq!((axis.at(0.0), axis.at(high), axis.at(f64::NAN)), (100.0, 900.0, 100.0));
        }
        let axis = Axis::decades([0.02, 700.0].into_iter(), 0.0, 50.0);
        assert_eq!(axis.ends(), (0.01, 1000.0));
        assert_eq!(axis.ticks().len(), 6);
        assert_eq!(axis.at(0.0), 0.0);
        // Nothing to show is no reason to divide by zero.
        assert!(Axis::decades([].into_iter(), 0.0, 1.0).at(3.0).is_finite());
    }

    #[test]
    fn what_has_no_place_loses_its_beginning() {
        assert_eq!(fit("layers.0", 200.0), "layers.0");
        assert_eq!(fit("layers.0.blocks.1", 76.0), "….blocks.1");
    }
}
