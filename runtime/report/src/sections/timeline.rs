//! Launches over time, a lane an op.

use crate::{
    Report,
    launches::Row,
    page::Section,
    svg::{Axis, WIDTH, below, columns, fit, plot, px},
    text,
};
use maud::{Markup, html};

const LEFT: f64 = 150.0;
const LANE: f64 = 26.0;
const TOP: f64 = 34.0;

pub fn section(report: &Report<'_>, rows: &[Row<'_>]) -> Section {
    let all: f64 = rows.iter().map(Row::us).sum();
    let source = match report.profile {
        Some(profile) => format!("as measured on {}, each launch alone", text::name(&profile.device)),
        None => format!("by the cost model of {}", text::name(&report.target.device)),
    };
    let body = html! {
        p {
            "One launch follows the other: " (text::time(all)) " in all, " (source) "."
            @if report.profile.is_none() {
                " Measured times take their place with " code { "swint report --measure cpu" } " or " code { "cuda" } "."
            }
        }
        (drawing(rows, all))
    };
    Section { id: "timeline", title: "Timeline", body }
}

fn drawing(rows: &[Row<'_>], all: f64) -> Markup {
    let mut lanes: Vec<&str> = Vec::new();
    for row in rows {
        if !lanes.contains(&row.op) {
            lanes.push(row.op);
        }
    }
    let axis = Axis::linear(0.0, all, LEFT, WIDTH - 20.0);
    let bottom = TOP + LANE * lanes.len() as f64;
    let starts: Vec<f64> = rows
        .iter()
        .scan(0.0, |time, row| {
            let start = *time;
            *time += row.us();
            Some(start)
        })
        .collect();
    let drawing = html! {
        (columns(&axis, TOP - 4.0, bottom, text::time))
        (stages(rows, &starts, &axis, bottom))
        @for (i, lane) in lanes.iter().enumerate() {
            @let y = TOP + LANE * i as f64;
            text.label x=(px(LEFT - 10.0)) y=(px(y + 16.0)) text-anchor="end" { (lane) }
        }
        @for (row, start) in rows.iter().zip(&starts) {
            @let lane = lanes.iter().position(|l| *l == row.op).unwrap_or(0);
            @let (x, end) = (axis.at(*start), axis.at(start + row.us()));
            rect.mark.(format!("c{}", 1 + lane % 6)) x=(px(x)) y=(px(TOP + LANE * lane as f64 + 3.0))
                width=(px((end - x - 0.5).max(0.8))) height=(px(LANE - 8.0)) {
                title {
                    (row.index) " " (row.op) " " (text::name(&row.module)) ": " (text::time(row.us()))
                    @if row.measured.is_some() { ", estimated " (text::time(row.estimated)) }
                }
            }
        }
        (below("time since the first launch", LEFT, WIDTH - 20.0, bottom + 36.0))
    };
    let longest = rows.iter().max_by(|a, b| a.us().total_cmp(&b.us()));
    let description = format!(
        "{} launches in {} lanes, {} in all{}.",
        rows.len(),
        lanes.len(),
        text::time(all),
        longest.map_or_else(String::new, |r| format!(
            "; the longest is number {}, {}, with {}",
            r.index,
            r.op,
            text::time(r.us())
        ))
    );
    html! {
        figure {
            (plot("timeline-plot", "Launches over time", &description, bottom + 44.0, drawing))
            figcaption { "A lane for each op. Above, the stages that launches belong to." }
        }
    }
}

/// Brackets above the lanes: where launches of a stage begin and end.
fn stages(rows: &[Row<'_>], starts: &[f64], axis: &Axis, bottom: f64) -> Markup {
    let stage = |module: &str| -> String { module.split('.').take(2).collect::<Vec<_>>().join(".") };
    let mut spans: Vec<(String, f64, f64)> = Vec::new();
    for (row, start) in rows.iter().zip(starts) {
        let (name, end) = (stage(&row.module), start + row.us());
        match spans.last_mut().filter(|(last, ..)| *last == name) {
            Some(span) => span.2 = end,
            None => spans.push((name, *start, end)),
        }
    }
    html! {
        @for (name, start, end) in spans.iter().filter(|(name, ..)| name.starts_with("layers.")) {
            @let (x, end) = (axis.at(*start), axis.at(*end));
            path.bracket d=(format!("M{} {}V{}H{}V{}", px(x + 1.0), px(bottom), px(TOP - 10.0), px(end - 1.0), px(bottom))) {}
            @if end - x > 50.0 {
                text.tick x=(px((x + end) / 2.0)) y=(px(TOP - 16.0)) text-anchor="middle" { (fit(name, end - x)) }
            }
        }
    }
}
