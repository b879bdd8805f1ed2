//! Times of whole inferences.

use super::table;
use crate::{
    Bench, BenchResult, Report,
    page::Section,
    svg::{Axis, WIDTH, fit, plot, px},
    text,
};
use maud::{Markup, html};
use std::collections::BTreeMap;

const LEFT: f64 = 300.0;
const RIGHT: f64 = WIDTH - 110.0;
const LINE: f64 = 24.0;

/// A bench and one of its results.
type Entry<'a> = (&'a Bench, &'a BenchResult);

pub fn section(report: &Report<'_>) -> Section {
    let benches = report.benches;
    let mut batches: BTreeMap<usize, Vec<Entry<'_>>> = BTreeMap::new();
    for bench in benches {
        bench.results.iter().for_each(|result| batches.entry(result.batch).or_default().push((bench, result)));
    }
    for entries in batches.values_mut() {
        entries.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    }
    let body = if batches.is_empty() {
        html! {
            p.note {
                "Not measured. " code { "swint bench M.swint --json > B.json" } " and " code { "swint report M.swint --bench B.json" }
                " show times of whole inferences here, those of other programs beside them."
            }
        }
    } else {
        html! {
            (drawing(&batches))
            (results(&batches))
            (sources(benches))
        }
    };
    Section { id: "bench", title: "Benchmarks", body }
}

/// The program, the model and where it ran.
fn label(bench: &Bench) -> String {
    [&bench.tool, &bench.model, &bench.device].map(|part| text::name(part)).join(" · ")
}

fn is_own(bench: &Bench) -> bool {
    bench.tool.split([' ', '-']).next() == Some("swint")
}

/// Bars of images a second, by batch, the fastest first.
fn drawing(batches: &BTreeMap<usize, Vec<Entry<'_>>>) -> Markup {
    let fastest = batches.values().flatten().map(|(_, r)| r.images_per_s).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let axis = Axis::linear(0.0, fastest, LEFT, RIGHT);
    let mut y = 6.0;
    let mut marks = Vec::new();
    for (batch, entries) in batches {
        marks.push(html! { text.axis x=(px(LEFT)) y=(px(y + 14.0)) { "batch " (batch) } });
        y += LINE;
        for (bench, result) in entries {
            let end = axis.at(result.images_per_s);
            let colour = if is_own(bench) { "c1" } else { "c0" };
            marks.push(html! {
                text.label x=(px(LEFT - 10.0)) y=(px(y + 14.0)) text-anchor="end" {
                    (fit(&format!("{} · {}", bench.tool, bench.model), LEFT - 16.0))
                }
                rect.mark.(colour) x=(px(LEFT)) y=(px(y + 2.0)) width=(px((end - LEFT).max(0.8))) height=(px(LINE - 7.0)) {
                    title {
                        (label(bench)) ", batch " (batch) ": " (text::significant(result.images_per_s)) " images a second, median "
                        (text::time(result.median * 1e3))
                    }
                }
                text.tick x=(px(end + 8.0)) y=(px(y + 14.0)) { (text::significant(result.images_per_s)) " images/s" }
            });
            y += LINE;
        }
        y += 8.0;
    }
    let best = batches.iter().filter_map(|(batch, entries)| {
        let (bench, result) = entries.first()?;
        Some(format!(
            "batch {batch}: {} with {} images a second",
            text::name(&bench.tool),
            text::significant(result.images_per_s)
        ))
    });
    let description = format!("The fastest at {}.", best.collect::<Vec<_>>().join("; at "));
    html! {
        figure {
            (plot("bench-plot", "Images a second", &description, y + 4.0, html! { @for mark in &marks { (mark) } }))
            figcaption { "Images a second at the median, the fastest of each batch first. Longer is better." }
        }
    }
}

fn results(batches: &BTreeMap<usize, Vec<Entry<'_>>>) -> Markup {
    let head = [
        ("Batch", true),
        ("Program", false),
        ("Model", false),
        ("Where", false),
        ("Runs", true),
        ("Fastest", true),
        ("Median", true),
        ("90 %", true),
        ("99 %", true),
        ("Images/s", true),
        ("Remarks", false),
    ];
    table(
        "Times of an inference",
        &head,
        html! {
            @for (batch, entries) in batches {
                @for (bench, result) in entries {
                    tr {
                        th.n scope="row" { (batch) }
                        td { (text::name(&bench.tool)) }
                        td { (text::name(&bench.model)) }
                        td { (text::name(&bench.device)) }
                        td.n { (text::whole(result.runs)) }
                        @for ms in [result.min, result.median, result.p90, result.p99] { td.n { (text::time(ms * 1e3)) } }
                        td.n { (text::significant(result.images_per_s)) }
                        td { @for (i, warning) in result.warnings.iter().enumerate() { @if i > 0 { "; " } (text::name(warning)) } }
                    }
                }
            }
        },
    )
}

/// How the numbers came about.
fn sources(benches: &[Bench]) -> Markup {
    html! {
        details {
            summary { "How they were measured" }
            @for bench in benches {
                dl.facts {
                    dt { "Program" } dd { (label(bench)) }
                    @for (name, value) in [("Host", &bench.host), ("Clock", &bench.clock), ("Started", &bench.started)] {
                        @if !value.is_empty() { dt { (name) } dd { (text::name(value)) } }
                    }
                    @if !bench.command.is_empty() { dt { "Command" } dd { code { (text::name(&bench.command)) } } }
                    @if !bench.cold_ms.is_empty() {
                        dt { "Cold" } dd {
                            @for (i, (name, ms)) in bench.cold_ms.iter().enumerate() {
                                @if i > 0 { ", " } (text::name(name)) " " (text::time(ms * 1e3))
                            }
                        }
                    }
                }
            }
        }
    }
}
