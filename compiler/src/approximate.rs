//! Approximations: directed passes that change the function. They are chosen by policy, never unioned.

use std::{fmt, str::FromStr};
use swint_ir::{Graph, Module, NodeId, Value, op::Op};

/// Some blocks of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocks {
    /// Every block of the stages from the first to the last, both included, counted from 0.
    Stages(usize, usize),
    /// One block of a stage.
    Block {
        /// The stage.
        stage: usize,
        /// Its block.
        block: usize,
    },
}

impl Blocks {
    fn contain(self, (stage, block): (usize, usize)) -> bool {
        match self {
            Blocks::Stages(first, last) => (first..=last).contains(&stage),
            Blocks::Block { stage: s, block: b } => (s, b) == (stage, block),
        }
    }
}

impl FromStr for Blocks {
    type Err = String;

    fn from_str(text: &str) -> Result<Blocks, String> {
        let wanted = || format!("{text:?}: wanted stage=2, stage=2..3 or block=2.0");
        let number = |text: &str| text.parse::<usize>().ok();
        let (kind, numbers) = text.split_once('=').ok_or_else(wanted)?;
        let pair = |between: &str| numbers.split_once(between).map(|(a, b)| (number(a), number(b)));
        match (kind, pair(".."), pair("."), number(numbers)) {
            ("stage", Some((Some(first), Some(last))), ..) if first <= last => Ok(Blocks::Stages(first, last)),
            ("stage", _, _, Some(stage)) => Ok(Blocks::Stages(stage, stage)),
            ("block", _, Some((Some(stage), Some(block))), _) => Ok(Blocks::Block { stage, block }),
            _ => Err(wanted()),
        }
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocks::Stages(first, last) if first == last => write!(f, "stage={first}"),
            Blocks::Stages(first, last) => write!(f, "stage={first}..{last}"),
            Blocks::Block { stage, block } => write!(f, "block={stage}.{block}"),
        }
    }
}

/// Replaces every GELU, or those of some blocks, by a ReLU and returns how many there were. The result needs distillation.
///
/// (Faster Inference of Integer SWIN Transformer by Removing the GELU Activation, arXiv 2402.01169)
///
/// # Errors
/// When blocks are named that have no GELU.
pub fn gelu_to_relu(module: &Module, only: Option<&[Blocks]>) -> Result<(Module, usize), String> {
    let mut out = module.clone();
    let mut count = 0;
    let mut found = vec![false; only.map_or(0, <[Blocks]>::len)];
    for (id, _) in module.graph.iter().filter(|(_, node)| node.op == Op::Gelu {}) {
        let chosen = only.is_none_or(|only| {
            let Some(block) = block_of(&module.graph, id) else { return false };
            let named: Vec<bool> = only.iter().map(|blocks| blocks.contain(block)).collect();
            found.iter_mut().zip(&named).for_each(|(found, named)| *found |= named);
            named.contains(&true)
        });
        if chosen {
            let node = &mut out.graph.nodes[id.index()];
            (node.op, node.approximates) = (Op::Relu {}, Some(node.op.kind()));
            count += 1;
        }
    }
    match only.unwrap_or_default().iter().zip(&found).find(|(_, found)| !**found) {
        Some((blocks, _)) => Err(format!("no GELU is in {blocks}: the model has no such block")),
        None => Ok((out, count)),
    }
}

/// The GELUs of a graph in its order, each with its stage and block; `None` for one that is in no block.
pub fn gelus(graph: &Graph) -> Vec<(NodeId, Option<(usize, usize)>)> {
    let gelus = graph.iter().filter(|(_, node)| node.op == Op::Gelu {});
    gelus.map(|(id, _)| (id, block_of(graph, id))).collect()
}

/// The stage and block that a node is part of: of the first node that follows from it and is a block's result,
/// `layers.STAGE.blocks.BLOCK`.
fn block_of(graph: &Graph, id: NodeId) -> Option<(usize, usize)> {
    let mut follows = vec![false; graph.nodes.len()];
    follows[id.index()] = true;
    for (user, node) in graph.iter().skip(id.index()) {
        let reads = |value: &Value| matches!(value, Value::Node(n) if follows[n.index()]);
        follows[user.index()] |= node.operands.iter().any(reads);
        if follows[user.index()]
            && let Some(block) = node.locs.iter().find_map(|loc| block_name(loc))
        {
            return Some(block);
        }
    }
    None
}

fn block_name(loc: &str) -> Option<(usize, usize)> {
    let (stage, block) = loc.strip_prefix("layers.")?.split_once(".blocks.")?;
    Some((stage.parse().ok()?, block.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{import, preset, random_checkpoint};

    #[test]
    fn blocks_are_read_as_they_are_written() {
        for text in ["stage=0", "stage=2..3", "block=2.0"] {
            assert_eq!(text.parse::<Blocks>().unwrap().to_string(), text);
        }
        for text in ["", "stage", "stage=", "stage=3..2", "stage=1.0", "block=2", "block=-1.0", "stages=1"] {
            assert!(text.parse::<Blocks>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_named_blocks_change() {
        let spec = preset("swin_tiny_patch4_window7_224").unwrap();
        let module = import(&spec, &random_checkpoint(&spec, 1)).unwrap();
        // Where the ReLUs are among the twelve activations, in order.
        let places = |blocks: Option<&[Blocks]>| -> Vec<usize> {
            let (changed, count) = gelu_to_relu(&module, blocks).unwrap();
            let kinds = changed.graph.nodes.iter().filter(|n| matches!(n.op, Op::Gelu {} | Op::Relu {}));
            let places: Vec<usize> = kinds.enumerate().filter(|(_, n)| n.op == Op::Relu {}).map(|(i, _)| i).collect();
            assert_eq!(places.len(), count);
            places
        };
        assert_eq!(places(None).len(), 12);
        assert_eq!(places(Some(&[Blocks::Stages(1, 2)])), [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(places(Some(&[Blocks::Block { stage: 2, block: 5 }, Blocks::Stages(0, 0)])), [0, 1, 9]);
        let error = gelu_to_relu(&module, Some(&[Blocks::Stages(0, 0), Blocks::Stages(4, 4)])).unwrap_err();
        assert_eq!(error, "no GELU is in stage=4: the model has no such block");
    }
}
