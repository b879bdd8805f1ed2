//! What the rewrites removed.

use super::table;
use crate::{
    Report,
    page::Section,
    svg::{Axis, WIDTH, plot, px},
    text,
};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};
use swint_ir::{Graph, Node, op::Class};

/// What an op works on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Floats.
    Float,
    /// Floats from or to integers.
    Convert,
    /// Any elements, which it only moves.
    Move,
    /// Integers.
    Integer,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Float, Kind::Convert, Kind::Move, Kind::Integer];

    pub fn of(graph: &Graph, node: &Node) -> Kind {
        let float = node.ty.is_float() || node.operands.iter().any(|&v| graph.ty(v).is_float());
        match (node.op.kind().class(), float) {
            (Class::Index, _) => Kind::Move,
            (Class::Convert, true) => Kind::Convert,
            (_, true) => Kind::Float,
            (_, false) => Kind::Integer,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Convert => "convert",
            Kind::Move => "move",
            Kind::Integer => "integer",
        }
    }

    /// The class of its colour.
    pub fn colour(self) -> &'static str {
        match self {
            Kind::Float => "c2",
            Kind::Convert => "c5",
            Kind::Move => "c0",
            Kind::Integer => "c1",
        }
    }

    fn explained(self) -> &'static str {
        match self {
            Kind::Float => "works on floats",
            Kind::Convert => "quantizes or dequantizes",
            Kind::Move => "only moves elements",
            Kind::Integer => "works on integers",
        }
    }
}

pub fn section(report: &Report<'_>) -> Section {
    let body = html! {
        @match report.history {
            Some(history) => {
                p {
                    "Every op of the quantized float program, and what was left of it when the rewrites had chosen the cheapest equal program "
                    "on " code { (text::name(&history.target)) } "."
                }
                (bars(&history.before, &report.module.graph))
            }
            None => p.note { "This file does not say how it was rewritten: compile it again with " code { "swint compile -o" } " to see it here." }
        }
        div.columns { (ops(report)) (rules(report)) }
    };
    Section { id: "rewrites", title: "What the rewrites removed", body }
}

/// Two bars, before and after, of ops by what they work on.
fn bars(before: &Graph, after: &Graph) -> Markup {
    const LEFT: f64 = 80.0;
    let sums = [("before", before), ("after", after)].map(|(name, graph)| {
        let count = |kind| graph.nodes.iter().filter(|node| Kind::of(graph, node) == kind).count();
        (name, Kind::ALL.map(|kind| (kind, count(kind))))
    });
    let most = before.nodes.len().max(after.nodes.len()) as f64;
    let axis = Axis::linear(0.0, most, LEFT, WIDTH - 60.0);
    let drawing = html! {
        @for (i, (name, counts)) in sums.iter().enumerate() {
            @let y = 12.0 + 46.0 * i as f64;
            text.label x=(px(LEFT - 10.0)) y=(px(y + 21.0)) text-anchor="end" { (name) }
            @for (j, (kind, n)) in counts.iter().enumerate() {
                @let start: usize = counts[..j].iter().map(|(_, n)| n).sum();
                @let (x, end) = (axis.at(start as f64), axis.at((start + n) as f64));
                @if *n > 0 {
                    rect.mark.(kind.colour()) x=(px(x)) y=(px(y)) width=(px((end - x).max(1.0))) height="32" {
                        title { (text::plural(*n, "op", "ops")) ", " (kind.explained()) }
                    }
                    @if end - x > 30.0 { text.inside x=(px((x + end) / 2.0)) y=(px(y + 21.0)) text-anchor="middle" { (n) } }
                }
            }
            @let sum: usize = counts.iter().map(|(_, n)| n).sum();
            text.label x=(px(axis.at(sum as f64) + 8.0)) y=(px(y + 21.0)) { (sum) }
        }
    };
    let words = |i: usize| {
        let counts = sums[i].1.iter().filter(|(_, n)| *n > 0);
        counts.map(|(kind, n)| format!("{n} {}", kind.name())).collect::<Vec<_>>().join(", ")
    };
    let description = format!("Before the rewrites: {}. After: {}.", words(0), words(1));
    html! {
        figure {
            (plot("ops-plot", "Ops before and after the rewrites", &description, 100.0, drawing))
            figcaption {
                "Ops by what they work on. "
                @for kind in Kind::ALL { span.key { span.swatch.(kind.colour()) aria-hidden="true" {} (kind.name()) " – " (kind.explained()) } " " }
            }
        }
    }
}

fn ops(report: &Report<'_>) -> Markup {
    let named = |graph: &Graph| -> BTreeMap<String, usize> {
        graph.op_counts().into_iter().map(|(op, n)| (op.to_owned(), n)).collect()
    };
    let imported = &report.model.imported;
    let before = report.history.map(|h| named(&h.before));
    let after = named(&report.module.graph);
    let all: BTreeSet<&String> =
        imported.keys().chain(before.iter().flatten().map(|(k, _)| k)).chain(after.keys()).collect();
    let cell = |counts: &BTreeMap<String, usize>, op: &String| counts.get(op).copied().unwrap_or(0);
    let mut head = vec![("Op", false), ("Imported", true)];
    if before.is_some() {
        head.push(("Quantized", true));
    }
    head.push(("Compiled", true));
    let row = |name: &str, numbers: Vec<usize>| {
        html! {
            tr {
                th scope="row" { code { (text::name(name)) } }
                @for n in numbers { td.n { @if n == 0 { span.nil { "0" } } @else { (text::whole(n)) } } }
            }
        }
    };
    let columns: Vec<&BTreeMap<String, usize>> = [imported].into_iter().chain(&before).chain([&after]).collect();
    table(
        "Ops of the program: as imported, quantized before the rewrites, and compiled",
        &head,
        html! {
            @for op in all { (row(op, columns.iter().map(|counts| cell(counts, op)).collect())) }
            tr.sum {
                th scope="row" { "All" }
                @for counts in &columns { td.n { (text::whole(counts.values().sum())) } }
            }
        },
    )
}

fn rules(report: &Report<'_>) -> Markup {
    let mut rules: Vec<(&String, &usize)> = report.model.rules.iter().collect();
    rules.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), *name));
    if rules.is_empty() {
        return html! { p.note { "No rewrite rule fired." } };
    }
    let table = table(
        "Rewrite rules, by how often they added something",
        &[("Rule", false), ("Fired", true)],
        html! {
            @for (rule, n) in rules { tr { th scope="row" { code { (text::name(rule)) } } td.n { (text::whole(*n)) } } }
        },
    );
    html! { div.tall tabindex="0" role="region" aria-label="Rewrite rules" { (table) } }
}
