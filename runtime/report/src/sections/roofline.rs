//! Launches under the roofs of a device. (Williams, Waterman & Patterson, *Roofline: An Insightful Visual Performance Model for
//! Multicore Architectures*, CACM 52(4), 2009)

use crate::{
    Report,
    launches::Row,
    page::Section,
    svg::{Axis, WIDTH, below, columns, lines, plot, px},
    text,
};
use maud::{Markup, html};

const LEFT: f64 = 90.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 400.0;

/// Operations per second, of operations per picosecond.
const PER_SECOND: f64 = 1e12;

/// A launch that computes.
struct Point<'a, 'b> {
    row: &'b Row<'a>,
    /// Operations per byte.
    intensity: f64,
    /// Operations per second that it reaches.
    reached: f64,
    /// That it could, were nothing but its work.
    possible: f64,
}

pub fn section(report: &Report<'_>, rows: &[Row<'_>]) -> Section {
    let target = report.target;
    let points: Vec<Point<'_, '_>> = rows
        .iter()
        .filter(|row| row.work.operations() > 0)
        .map(|row| {
            let operations = row.work.operations() as f64;
            Point {
                row,
                intensity: operations / row.work.bytes as f64,
                reached: operations / row.us() * 1e6,
                possible: operations / row.work.roofline(target) * PER_SECOND,
            }
        })
        .collect();
    let body = html! {
        p {
            "What each launch computes for a byte that it moves, and how fast. The roofs are those of "
            (text::name(&target.device)) ": " (text::count(target.bandwidth * PER_SECOND)) "B/s of memory, "
            (text::count(2.0 * target.int8 * PER_SECOND)) " operations a second on 8-bit integers, and "
            (text::count(target.scalar * PER_SECOND))
            " others. Speeds are " @if report.profile.is_some() { "measured" } @else { "the cost model's" }
            ", the launch included; the line above a point ends at the most that its bytes and operations allow."
        }
        @if points.is_empty() { p.note { "No launch computes anything." } } @else { (drawing(report, &points)) }
    };
    Section { id: "roofline", title: "Roofline", body }
}

fn drawing(report: &Report<'_>, points: &[Point<'_, '_>]) -> Markup {
    let target = report.target;
    // A multiply-add is two operations.
    let (bandwidth, int8) = (target.bandwidth * PER_SECOND, 2.0 * target.int8 * PER_SECOND);
    let has_floats = points.iter().any(|p| p.row.work.float > 0);
    let (scalar, scalar_name) = match has_floats {
        true => (2.0 * target.scalar * PER_SECOND, "float multiply-adds"),
        false => (target.scalar * PER_SECOND, "other operations"),
    };
    let ridge = int8 / bandwidth;
    let x = Axis::decades(points.iter().map(|p| p.intensity).chain([ridge * 2.0, ridge / 4.0]), LEFT, RIGHT);
    let speeds = points.iter().flat_map(|p| [p.reached, p.possible]).chain([int8, scalar]);
    let y = Axis::decades(speeds, BOTTOM, TOP);
    let (low, high) = x.ends();
    // From where the diagonal enters the plot.
    let enter = low.max(y.ends().0 / bandwidth);
    let diagonal = format!(
        "M{} {}L{} {}H{}",
        px(x.at(enter)),
        px(y.at(enter * bandwidth)),
        px(x.at(ridge)),
        px(y.at(int8)),
        px(x.at(high))
    );
    let corner = (scalar / bandwidth).max(low);
    // Above its roof, if there is room for a line of text.
    let label = if y.at(int8) < TOP + 14.0 { y.at(int8) + 16.0 } else { y.at(int8) - 7.0 };
    let mut ops: Vec<&str> = Vec::new();
    for point in points {
        if !ops.contains(&point.row.op) {
            ops.push(point.row.op);
        }
    }
    let shapes = |op: &str| ops.iter().position(|o| *o == op).unwrap_or(0);
    let drawing = html! {
        (columns(&x, TOP, BOTTOM, text::significant))
        (lines(&y, LEFT, RIGHT, text::count))
        path.roof d=(diagonal) {}
        path.roof.second d=(format!("M{} {}H{}", px(x.at(corner)), px(y.at(scalar)), px(x.at(high)))) {}
        text.label x=(px(RIGHT - 6.0)) y=(px(label)) text-anchor="end" { "int8 multiply-adds" }
        text.label x=(px(RIGHT - 6.0)) y=(px(y.at(scalar) - 7.0)) text-anchor="end" { (scalar_name) }
        (slanted(&x, &y, enter.max(low * 1.3), bandwidth))
        @for point in points {
            @let at = px(x.at(point.intensity));
            line.stem x1=(at) x2=(at) y1=(px(y.at(point.reached))) y2=(px(y.at(point.possible))) {}
        }
        @for point in points {
            (mark(shapes(point.row.op), x.at(point.intensity), y.at(point.reached), html! {
                title {
                    (point.row.index) " " (point.row.op) " " (text::name(&point.row.module)) ": " (text::significant(point.intensity))
                    " operations a byte, " (text::count(point.reached)) " a second of " (text::count(point.possible))
                }
            }))
        }
        (below("operations per byte", LEFT, RIGHT, BOTTOM + 38.0))
        text.axis transform=(format!("translate(16 {}) rotate(-90)", px((TOP + BOTTOM) / 2.0))) text-anchor="middle" { "operations per second" }
    };
    let best = points.iter().map(|p| p.reached).fold(0.0, f64::max);
    let description = format!(
        "{} launches, from {} to {} operations per byte; the fastest reaches {} operations per second under a roof of {}.",
        points.len(),
        text::significant(points.iter().map(|p| p.intensity).fold(f64::INFINITY, f64::min)),
        text::significant(points.iter().map(|p| p.intensity).fold(0.0, f64::max)),
        text::count(best),
        text::count(int8)
    );
    html! {
        figure {
            (plot("roofline-plot", "Roofline", &description, BOTTOM + 48.0, drawing))
            figcaption {
                "Both axes are logarithmic; a multiply-add is two operations. "
                @for op in &ops {
                    span.key {
                        svg.glyph viewBox="0 0 14 14" aria-hidden="true" { (mark(shapes(op), 7.0, 7.0, html! {})) }
                        code { (op) }
                    } " "
                }
            }
        }
    }
}

/// The name of the diagonal, along it.
fn slanted(x: &Axis, y: &Axis, from: f64, bandwidth: f64) -> Markup {
    let at = |v: f64| (x.at(v), y.at(v * bandwidth));
    let ((x1, y1), (x2, y2)) = (at(from), at(from * 4.0));
    let angle = (y2 - y1).atan2(x2 - x1).to_degrees();
    html! {
        text.label transform=(format!("translate({} {}) rotate({angle:.1})", px(x1), px(y1 - 8.0))) { "memory bandwidth" }
    }
}

/// A mark of an op: colour and shape differ, since not everybody sees both.
fn mark(number: usize, x: f64, y: f64, title: Markup) -> Markup {
    let colour = format!("c{}", 1 + number % 6);
    let path = |d: String| html! { path.mark.(colour) d=(d) { (title) } };
    match number % 4 {
        0 => html! { circle.mark.(colour) cx=(px(x)) cy=(px(y)) r="5" { (title) } },
        1 => html! { rect.mark.(colour) x=(px(x - 4.5)) y=(px(y - 4.5)) width="9" height="9" { (title) } },
        2 => path(format!("M{} {}l6 10h-12z", px(x), px(y - 6.0))),
        _ => path(format!("M{} {}l6 6l-6 6l-6 -6z", px(x), px(y - 6.0))),
    }
}
