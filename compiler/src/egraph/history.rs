//! What the rewrites did to a whole program, as a compiled model keeps it.

use super::{Explanation, Rewriting, Step};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use swint_ir::{Graph, NodeId, text};

/// A program before the rewrites, and what became of each of its parts.
#[derive(Clone, PartialEq, Debug)]
pub struct History {
    /// The program before the rewrites. Its constants' values are not kept.
    pub before: Graph,
    /// The target that it was rewritten for.
    pub target: String,
    /// The parts; every node of the program is in one.
    pub parts: Vec<Part>,
}

/// Nodes that became one op of the chosen program together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The nodes.
    #[serde(with = "nodes")]
    pub nodes: Vec<NodeId>,
    /// How; `None` where the output does not need them.
    pub explanation: Option<Explanation>,
}

impl Part {
    /// Whether its texts can be shown on a terminal.
    fn is_printable(&self) -> bool {
        let plain = |text: &str| !text.chars().any(char::is_control);
        self.explanation.as_ref().is_none_or(|e| {
            let step = |s: &Step| [&s.rule, &s.before, &s.after, &s.term].into_iter().all(|text| plain(text));
            plain(&e.written) && e.steps.iter().all(step)
        })
    }
}

/// What of a history is no graph.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    target: String,
    parts: Vec<Part>,
}

impl Rewriting<'_> {
    /// Explains every part.
    pub fn history(&self) -> History {
        let graph = &self.module.graph;
        let parts = self.explain(graph.iter().map(|(id, _)| id));
        History { before: graph.clone(), target: self.target.name.clone(), parts }
    }
}

impl History {
    /// The parts that some nodes are in, with those nodes only; each once, in the order of the first node asked for.
    pub fn of(&self, nodes: &[NodeId]) -> Vec<Part> {
        let of_part = |(i, part): (usize, &Part)| part.nodes.iter().map(move |&node| (node, i)).collect::<Vec<_>>();
        let part_of: HashMap<NodeId, usize> = self.parts.iter().enumerate().flat_map(of_part).collect();
        let (mut found, mut places): (Vec<Part>, HashMap<usize, usize>) = Default::default();
        for &node in nodes {
            let Some(&index) = part_of.get(&node) else { continue };
            match places.get(&index) {
                Some(&place) => found[place].nodes.push(node),
                None => {
                    places.insert(index, found.len());
                    found.push(Part { nodes: vec![node], explanation: self.parts[index].explanation.clone() });
                }
            }
        }
        found
    }

    /// The program as text, and the rest as JSON.
    pub fn to_texts(&self) -> (String, String) {
        let record = Record { target: self.target.clone(), parts: self.parts.clone() };
        (text::print(&self.before), serde_json::to_string(&record).expect("strings and numbers"))
    }

    /// Reads both.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_texts(before: &str, record: &str) -> Result<History, String> {
        let (before, _) = text::read("before.ir", before).map_err(|errors| errors.first().to_string())?;
        let Record { target, parts } = serde_json::from_str(record).map_err(|e| e.to_string())?;
        let mut nodes: Vec<NodeId> = parts.iter().flat_map(|part| &part.nodes).copied().collect();
        nodes.sort();
        if parts.iter().any(|part| part.nodes.is_empty()) || !parts.iter().all(Part::is_printable) {
            return Err("its explanations hold no nodes, or control characters".to_owned());
        }
        let rooted = |part: &Part| part.explanation.as_ref().is_none_or(|e| part.nodes.contains(&e.root));
        if !nodes.iter().copied().eq(before.iter().map(|(id, _)| id)) || !parts.iter().all(rooted) {
            return Err("its explanations are not those of its program".to_owned());
        }
        Ok(History { before, target, parts })
    }
}

/// Nodes as their numbers.
mod nodes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use swint_ir::NodeId;

    pub fn serialize<S: Serializer>(nodes: &[NodeId], serializer: S) -> Result<S::Ok, S::Error> {
        nodes.iter().map(|node| node.0).collect::<Vec<u32>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NodeId>, D::Error> {
        Ok(Vec::<u32>::deserialize(deserializer)?.into_iter().map(NodeId).collect())
    }
}

/// A node as its number.
pub(super) mod node {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use swint_ir::NodeId;

    pub fn serialize<S: Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
        node.0.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeId, D::Error> {
        u32::deserialize(deserializer).map(NodeId)
    }
}
