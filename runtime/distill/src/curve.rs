//! A run as a picture: loss and accuracy over steps, as SVG.

use crate::run::Line;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
/// Room for the numbers at the axes.
const MARGIN: f64 = 48.0;

/// Loss (logarithmic, smoothed over a fiftieth of the run) and accuracy over steps.
pub fn svg(lines: &[Line]) -> String {
    let losses: Vec<(f64, f64)> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Step { measured, .. } => Some((measured.step as f64, f64::from(measured.loss.max(1e-9)).log10())),
            Line::Evaluation { .. } => None,
        })
        .collect();
    let accuracies: Vec<(f64, f64)> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Evaluation { step, top1, .. } => Some((*step as f64, *top1)),
            Line::Step { .. } => None,
        })
        .collect();
    let losses = smoothed(&losses, losses.len() / 50 + 1);
    let last = losses.iter().chain(&accuracies).map(|p| p.0).fold(1.0, f64::max);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    let bottom = HEIGHT - MARGIN / 2.0;
    out += &format!("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">step</text>\n", WIDTH / 2.0, HEIGHT - 6.0);
    for (at, anchor, step) in [(MARGIN, "start", 0.0), (WIDTH - MARGIN, "end", last)] {
        out += &format!("<text x=\"{at}\" y=\"{}\" text-anchor=\"{anchor}\">{step}</text>\n", HEIGHT - 6.0);
    }
    let series = [
        (&losses, "#c33", "loss", MARGIN - 4.0, "end", true),
        (&accuracies, "#36c", "top-1 %", WIDTH - MARGIN + 4.0, "start", false),
    ];
    for (points, colour, name, edge, anchor, logarithmic) in series {
        let Some((low, high)) = extent(points) else { continue };
        let place = |&(step, y): &(f64, f64)| {
            let x = MARGIN + step / last * (WIDTH - 2.0 * MARGIN);
            format!("{x:.1},{:.1}", bottom - (y - low) / (high - low) * (bottom - MARGIN))
        };
        let places: Vec<String> = points.iter().map(place).collect();
        out += &format!("<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>\n", places.join(" "));
        for (y, value) in [(bottom, low), (MARGIN, high)] {
            let value = if logarithmic { format!("{:.3}", 10f64.powf(value)) } else { format!("{value:.2}") };
            out += &format!("<text x=\"{edge}\" y=\"{y}\" fill=\"{colour}\" text-anchor=\"{anchor}\">{value}</text>\n");
        }
        let name_y = MARGIN - 20.0;
        out += &format!("<text x=\"{edge}\" y=\"{name_y}\" fill=\"{colour}\" text-anchor=\"{anchor}\">{name}</text>\n");
    }
    out + "</svg>\n"
}

/// Least and greatest value, never the same; `None` of nothing.
fn extent(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let low = points.iter().map(|p| p.1).reduce(f64::min)?;
    let high = points.iter().map(|p| p.1).reduce(f64::max)?;
    Some(if low < high { (low, high) } else { (low - 0.5, high + 0.5) })
}

/// Means of so many points each.
fn smoothed(points: &[(f64, f64)], n: usize) -> Vec<(f64, f64)> {
    let mean = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        (part.iter().map(|p| p.0).sum::<f64>() / n, part.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(n).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Measured;

    #[test]
    fn a_run_is_drawn() {
        let step = |step| {
            let measured = Measured { step, loss: 1.0 / (step + 1) as f32, ..Measured::default() };
            Line::Step { measured, seconds: 0.1, skipped: 0 }
        };
        let mut lines: Vec<Line> = (0..100).map(step).collect();
        lines.push(Line::Evaluation { step: 100, top1: 76.5, images: 10 });
        let drawn = svg(&lines);
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
        assert_eq!(drawn.matches("<polyline").count(), 2);
        assert!(drawn.contains(">top-1 %<") && !drawn.contains("NaN"), "{drawn}");
        // A run that has measured nothing yet.
        assert!(!svg(&[]).contains("polyline"));
    }
}
