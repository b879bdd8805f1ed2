//! Intermediate results in memory: where each is, and how long.

use crate::{
    Report,
    launches::{Life, Row, lives},
    page::Section,
    svg::{Axis, WIDTH, below, columns, fit, lines, plot, px},
    text,
};
use maud::{Markup, html};

const LEFT: f64 = 90.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 340.0;

pub fn section(report: &Report<'_>, rows: &[Row<'_>]) -> Section {
    let lives = lives(report.plan);
    let alive = |i: usize| -> usize { lives.iter().filter(|l| (l.first..=l.last).contains(&i)).map(|l| l.bytes).sum() };
    let most = (0..rows.len()).map(alive).max().unwrap_or(0);
    let together: usize = lives.iter().map(|l| l.bytes).sum();
    let body = html! {
        p {
            "All " (text::plural(lives.len(), "intermediate result", "intermediate results")) " are in one arena of "
            (text::bytes(report.plan.arena as f64)) ". Apart they would take " (text::bytes(together as f64))
            "; the most that live at once are " (text::bytes(most as f64)) "."
        }
        @if lives.is_empty() { p.note { "Nothing is kept in it." } } @else { (drawing(report, rows, &lives)) }
    };
    Section { id: "arena", title: "Memory arena", body }
}

fn drawing(report: &Report<'_>, rows: &[Row<'_>], lives: &[Life]) -> Markup {
    let x = Axis::linear(0.0, rows.len() as f64, LEFT, RIGHT);
    // Round numbers of a unit of bytes, not of bytes.
    let (unit, unit_name) = if report.plan.arena >= 4 << 20 { (1048576.0, "MiB") } else { (1024.0, "KiB") };
    let y = Axis::linear(0.0, report.plan.arena as f64 / unit, BOTTOM, TOP);
    let mut ops: Vec<&str> = Vec::new();
    for row in rows {
        if !ops.contains(&row.op) {
            ops.push(row.op);
        }
    }
    let drawing = html! {
        (columns(&x, TOP, BOTTOM, |v| format!("{v:.0}")))
        (lines(&y, LEFT, RIGHT, |v| format!("{} {unit_name}", text::significant(v))))
        @for life in lives {
            @let row = &rows[life.first];
            @let (left, right) = (x.at(life.first as f64), x.at(life.last as f64 + 1.0));
            @let (top, bottom) = (y.at((life.offset + life.bytes) as f64 / unit), y.at(life.offset as f64 / unit));
            @let colour = format!("c{}", 1 + ops.iter().position(|op| *op == row.op).unwrap_or(0) % 6);
            rect.mark.buffer.(colour) x=(px(left + 0.5)) y=(px(top + 0.5))
                width=(px((right - left - 1.0).max(0.8))) height=(px((bottom - top - 1.0).max(0.8))) {
                title {
                    "result of " (row.index) " " (row.op) " " (text::name(&row.module)) ": " (text::bytes(life.bytes as f64)) " at "
                    (life.offset) ", launches " (life.first) " to " (life.last)
                }
            }
            @if bottom - top > 16.0 && right - left > 26.0 {
                text.inside x=(px((left + right) / 2.0)) y=(px((top + bottom) / 2.0 + 4.0)) text-anchor="middle" {
                    (fit(&row.index.to_string(), right - left))
                }
            }
        }
        (below("launch", LEFT, RIGHT, BOTTOM + 38.0))
    };
    let description = format!(
        "{} buffers as rectangles, launches from left to right, bytes of the arena from bottom to top, up to {}.",
        lives.len(),
        text::bytes(report.plan.arena as f64)
    );
    html! {
        figure {
            (plot("arena-plot", "Memory arena", &description, BOTTOM + 48.0, drawing))
            figcaption {
                "A rectangle is a result, of the launch that it begins at: its width is how long it lives, its height how large it is. "
                @for (i, op) in ops.iter().enumerate() {
                    span.key { span.swatch.(format!("c{}", 1 + i % 6)) aria-hidden="true" {} code { (op) } } " "
                }
            }
        }
    }
}
