//! A block's program before and after the rewrites, side by side.

use super::rewrites::Kind;
use crate::{Report, page::Section, text};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use swint_compiler::egraph::History;
use swint_ir::{Graph, NodeId, Value};

/// Most lines of a program that has no block to show.
const LINES: usize = 80;

pub fn section(report: &Report<'_>) -> Section {
    let body = match report.history {
        Some(history) => both(history, &report.module.graph),
        None => html! { p.note { "This file does not have the program before the rewrites." } },
    };
    Section { id: "block", title: "A block, before and after", body }
}

fn both(history: &History, after: &Graph) -> Markup {
    let name = shown(&history.before, after);
    let [of_before, of_after] = [&history.before, after].map(|graph| match &name {
        Some(name) => part(graph, name),
        None => graph.iter().map(|(id, _)| id).take(LINES).collect(),
    });
    let prefix = name.as_ref().map_or_else(String::new, |name| format!("{name}."));
    let words = name.as_ref().map_or_else(|| format!("The first {LINES} ops of the program"), |name| text::name(name));
    let rules = rules(history, &of_before);
    html! {
        p {
            strong { (words) } ": " (text::plural(of_before.len(), "op", "ops")) " before, " (text::plural(of_after.len(), "op", "ops"))
            " after. " @if !prefix.is_empty() { "Names of constants begin with " code { (text::name(&prefix)) } ", left out here." }
        }
        div.columns.programs {
            (program("Before the rewrites", &history.before, &of_before, &prefix))
            (program("After the rewrites", after, &of_after, &prefix))
        }
        @if !rules.is_empty() {
            p.rules {
                "The rules that led from one to the other: "
                @for (i, ((rule, exact), n)) in rules.iter().enumerate() {
                    @if i > 0 { ", " }
                    code { (text::name(rule)) } " ×" (n) @if !exact { " (real)" }
                }
                ". All keep every bit but those marked " em { "real" } ", which are identities over the reals and may round otherwise. "
                code { "swint explain" } " shows every step."
            }
        }
    }
}

/// The first block that both programs name the output of; else the first module.
fn shown(before: &Graph, after: &Graph) -> Option<String> {
    let named: HashSet<&str> = after.nodes.iter().flat_map(|n| &n.locs).map(|l| &**l).collect();
    let both = || before.nodes.iter().flat_map(|n| &n.locs).filter(|l| named.contains(&***l));
    both().find(|l| l.contains(".blocks.")).or_else(|| both().next()).map(|l| l.to_string())
}

/// The nodes that a module's output needs, but for what modules before it are made of.
fn part(graph: &Graph, name: &str) -> Vec<NodeId> {
    let is = |id: &NodeId| graph.nodes[id.index()].locs.iter().any(|loc| **loc == *name);
    let Some((output, _)) = graph.iter().find(|(id, _)| is(id)) else { return Vec::new() };
    let (mut needed, mut next) = (BTreeSet::from([output]), vec![output]);
    while let Some(id) = next.pop() {
        for value in &graph.nodes[id.index()].operands {
            let Value::Node(operand) = *value else { continue };
            if graph.nodes[operand.index()].locs.is_empty() && needed.insert(operand) {
                next.push(operand);
            }
        }
    }
    needed.into_iter().collect()
}

fn program(caption: &str, graph: &Graph, nodes: &[NodeId], prefix: &str) -> Markup {
    let text = swint_ir::text::print(graph);
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.trim_start().split_once(" = ")).collect();
    html! {
        div.scroll.program tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) ", " (text::plural(nodes.len(), "op", "ops")) }
                thead.unseen { tr { th scope="col" { "Works on" } th scope="col" { "Op" } } }
                tbody {
                    @for id in nodes {
                        @let kind = Kind::of(graph, &graph.nodes[id.index()]);
                        @let name = id.to_string();
                        tr {
                            td.kind { span.swatch.(kind.colour()) aria-hidden="true" {} (kind.name()) }
                            td { code { (name) " = " (line(lines.get(&*name).copied().unwrap_or_default(), prefix)) } }
                        }
                    }
                }
            }
        }
    }
}

fn line(line: &str, prefix: &str) -> String {
    // The prefix is empty where there is no block.
    let short = if prefix.is_empty() { line.to_owned() } else { line.replace(&format!("@{prefix}"), "@") };
    text::plain(&short)
}

/// The rules of what became of some nodes, whether each keeps every bit, and how often it was applied.
fn rules(history: &History, nodes: &[NodeId]) -> BTreeMap<(String, bool), usize> {
    let mut rules = BTreeMap::new();
    for part in history.of(nodes) {
        for step in part.explanation.iter().flat_map(|e| &e.steps) {
            *rules.entry((step.rule.clone(), step.exact)).or_default() += 1;
        }
    }
    rules
}
