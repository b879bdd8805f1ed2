//! The page around its sections.

use crate::{
    Report,
    launches::{Row, rows},
    sections, text,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded from anywhere, and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A part of the page.
pub struct Section {
    pub id: &'static str,
    pub title: &'static str,
    pub body: Markup,
}

/// The page of a report.
///
/// # Panics
/// When the plan is not of the graph that the report says it is.
pub fn page(report: &Report<'_>) -> String {
    let rows = rows(report);
    let sections = [
        sections::model::section(report),
        sections::rewrites::section(report),
        sections::block::section(report),
        sections::kernels::section(report, &rows),
        sections::timeline::section(report, &rows),
        sections::roofline::section(report, &rows),
        sections::arena::section(report, &rows),
        sections::accuracy::section(report),
        sections::bench::section(report),
    ];
    let model = report.model;
    let name = text::name(&model.name);
    let subtitle = [&model.precision, &model.activation].map(|part| text::name(part)).join(" · ");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(text::name(&model.tool));
                title { (name) " – compiled model" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { "Compiled model" }
                    h1 { (name) }
                    p.subtitle { (subtitle) " · for " (text::name(&report.target.device)) }
                    (figures(report, &rows))
                }
                nav aria-label="Sections" {
                    ol { @for section in &sections { li { a href=(format!("#{}", section.id)) { (section.title) } } } }
                }
                main {
                    @for section in &sections {
                        section id=(section.id) aria-labelledby=(format!("{}-heading", section.id)) {
                            h2 id=(format!("{}-heading", section.id)) { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer { p { "Made by " (text::name(&model.tool)) " from " code { (text::name(&model.file)) } "." } }
            }
        }
    };
    page.into_string()
}

/// The few numbers that say most.
fn figures(report: &Report<'_>, rows: &[Row<'_>]) -> Markup {
    let graph = &report.module.graph;
    let floats = graph.float_nodes().count();
    let before = report.history.map(|h| h.before.nodes.len());
    let us: f64 = rows.iter().map(Row::us).sum();
    let measured = report.profile.is_some();
    html! {
        dl.figures {
            div {
                dt { "Ops" }
                dd {
                    @if let Some(before) = before { (text::whole(before)) " " span.arrow { "→" } " " }
                    (text::whole(graph.nodes.len()))
                }
            }
            div { dt { "On floats" } dd { (text::whole(floats)) } }
            div { dt { "Launches" } dd { (text::whole(rows.len())) } }
            div { dt { "Constants" } dd { (text::bytes(sections::model::constant_bytes(report.module) as f64)) } }
            div { dt { "Arena" } dd { (text::bytes(report.plan.arena as f64)) } }
            div { dt { @if measured { "Kernels, measured" } @else { "Kernels, estimated" } } dd { (text::time(us)) } }
        }
    }
}
