//! What the model is.

use super::table;
use crate::{Report, launches::shape, page::Section, text};
use maud::html;
use std::collections::BTreeMap;
use swint_ir::{Elem, Graph, Module, Type, op::Attr};

/// Bytes of a program's constants.
pub fn constant_bytes(module: &Module) -> usize {
    module.graph.consts.iter().map(|c| c.ty.bytes()).sum()
}

pub fn section(report: &Report<'_>) -> Section {
    let Report { model, module, target, batch, .. } = *report;
    let graph = &module.graph;
    let floats = graph.float_nodes().count();
    let parameters: usize = graph.consts.iter().map(|c| c.ty.elements()).sum();
    let mut by_elem: BTreeMap<Elem, (usize, usize)> = BTreeMap::new();
    for c in &graph.consts {
        let sum = by_elem.entry(c.ty.elem).or_default();
        *sum = (sum.0 + c.ty.elements(), sum.1 + c.ty.bytes());
    }
    let stages = stages(report.history.map_or(graph, |h| &h.before));
    let body = html! {
        dl.facts {
            dt { "File" } dd { code { (text::name(&model.file)) } ", " (text::bytes(model.bytes as f64)) }
            dt { "Precision" } dd {
                (text::name(&model.precision))
                @if floats == 0 { ", integer-only: no op takes or gives a float" }
                @else { ", " (text::plural(floats, "op works", "ops work")) " on floats" }
            }
            dt { "Activation" } dd {
                (text::name(&model.activation))
                @if model.approximated > 0 {
                    ", " strong { (text::whole(model.approximated)) " GELUs replaced by ReLU: an approximation, the model needs distillation" }
                }
            }
            dt { "Takes" } dd {
                @for input in &graph.inputs { code { (shape(&input.ty)) } " " }
                @if let Some(preprocess) = &model.preprocess { "– " (text::name(preprocess)) }
            }
            dt { "Returns" } dd { code { (text::name(&graph.ty(graph.output).to_string())) } }
            dt { "Constants" } dd {
                (text::count(parameters as f64)) " numbers in " (text::bytes(constant_bytes(module) as f64)) ": "
                @for (i, (elem, (n, bytes))) in by_elem.iter().enumerate() {
                    @if i > 0 { ", " }
                    (text::count(*n as f64)) " " (elem.name()) " (" (text::bytes(*bytes as f64)) ")"
                }
            }
            dt { "Shown for" } dd {
                (text::name(&target.device)) " (" code { (text::name(&target.name)) } "), "
                (text::plural(batch, "image", "images")) " at once"
            }
        }
        @if !stages.is_empty() {
            (table("Stages", &[("Stage", false), ("Blocks", true), ("Tokens", true), ("Channels", true), ("Heads", true)], html! {
                @for (number, stage) in &stages {
                    tr {
                        th scope="row" { (number) }
                        td.n { (stage.blocks) }
                        td.n { (stage.tokens) }
                        td.n { (stage.channels) }
                        td.n { @if let Some(heads) = stage.heads { (heads) } @else { "–" } }
                    }
                }
            }))
        }
    };
    Section { id: "model", title: "Model", body }
}

/// A stage, as the modules' names and the shapes of their results tell.
struct Stage {
    blocks: usize,
    tokens: String,
    channels: usize,
    heads: Option<i64>,
}

fn stages(graph: &Graph) -> BTreeMap<usize, Stage> {
    let mut stages: BTreeMap<usize, Stage> = BTreeMap::new();
    let mut heads = None;
    for node in &graph.nodes {
        let found = node.op.kind().attr_names().iter().position(|&name| name == "heads");
        if let Some(Attr::Int(n)) = found.and_then(|i| node.op.attrs().into_iter().nth(i)) {
            heads = Some(n);
        }
        for (stage, _) in node.locs.iter().filter_map(|loc| block(loc)) {
            let blocks = stages.get(&stage).map_or(0, |s| s.blocks) + 1;
            let channels = if node.ty.shape.is_empty() { 0 } else { node.ty.last() };
            stages.insert(stage, Stage { blocks, tokens: tokens(&node.ty), channels, heads });
        }
    }
    stages
}

/// Stage and block of a block's name, `layers.2.blocks.1`.
fn block(loc: &str) -> Option<(usize, usize)> {
    let (stage, block) = loc.strip_prefix("layers.")?.split_once(".blocks.")?;
    Some((stage.parse().ok()?, block.parse().ok()?))
}

/// `16 × 16` of `[1,16,16,32]`.
fn tokens(ty: &Type) -> String {
    let extents = ty.shape.get(1..ty.shape.len().saturating_sub(1)).unwrap_or_default();
    extents.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

#[cfg(test)]
mod tests {
    use super::block;

    #[test]
    fn blocks_are_told_by_their_names() {
        assert_eq!(block("layers.2.blocks.11"), Some((2, 11)));
        assert_eq!(block("layers.2.blocks.11.mlp"), None);
        assert_eq!(block("layers.2"), None);
    }
}
