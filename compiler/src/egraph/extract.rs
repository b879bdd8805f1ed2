//! Extraction: the cheapest program of an e-graph, shared nodes counted once.

use super::{
    cost::{Cost, Target, node_cost},
    lang::{ENode, SwinGraph},
};
use egg::{Id, Language};
use std::collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry};
use swint_ir::Type;

/// A node for every class that the root needs.
pub(super) struct Extraction {
    nodes: HashMap<Id, ENode>,
    /// The sum over the chosen nodes, each once.
    pub cost: Cost,
}

impl Extraction {
    /// The chosen node of a class, which the root must need.
    pub fn node(&self, id: Id) -> &ENode {
        &self.nodes[&id]
    }
}

/// The best known program of a class: what every class below it costs, its own included.
struct Best {
    node: ENode,
    parts: BTreeMap<Id, Cost>,
    total: Cost,
}

/// Greedy DAG extraction: each class keeps the set of classes that its program needs, so that shared ones count once;
/// improvements travel to parents until none is left. (The bottom-up method of extraction-gym's `faster-greedy-dag`.)
pub(super) fn extract(egraph: &SwinGraph, root: Id, target: &Target) -> Extraction {
    let mut ids: Vec<Id> = egraph.classes().map(|c| c.id).collect();
    ids.sort();
    let mut parents: HashMap<Id, Vec<Id>> = HashMap::new();
    for &id in &ids {
        for child in egraph[id].nodes.iter().flat_map(|n| n.children()) {
            parents.entry(egraph.find(*child)).or_default().push(id);
        }
    }
    let mut best: HashMap<Id, Best> = HashMap::new();
    let mut queue: VecDeque<Id> = ids.iter().copied().collect();
    let mut queued: HashMap<Id, bool> = ids.iter().map(|&id| (id, true)).collect();
    while let Some(id) = queue.pop_front() {
        queued.insert(id, false);
        let mut improved = false;
        for node in &egraph[id].nodes {
            if let Some(found) = candidate(egraph, id, node, &best, target)
                && best.get(&id).is_none_or(|old| found.total < old.total)
            {
                best.insert(id, found);
                improved = true;
            }
        }
        if improved {
            for &parent in parents.get(&id).into_iter().flatten() {
                if queued.insert(parent, true) != Some(true) {
                    queue.push_back(parent);
                }
            }
        }
    }
    let root = egraph.find(root);
    let mut nodes = HashMap::new();
    let mut stack = vec![root];
    let mut cost = Cost::default();
    while let Some(id) = stack.pop() {
        if let Entry::Vacant(entry) = nodes.entry(id) {
            let chosen = &best[&id];
            cost = cost + chosen.parts[&id];
            stack.extend(chosen.node.children().iter().map(|&c| egraph.find(c)));
            entry.insert(chosen.node.clone());
        }
    }
    Extraction { nodes, cost }
}

/// The program that takes `node` for its class; `None` while a child has none or needs the class itself.
fn candidate(egraph: &SwinGraph, id: Id, node: &ENode, best: &HashMap<Id, Best>, target: &Target) -> Option<Best> {
    let mut parts = BTreeMap::new();
    for &child in node.children() {
        let below = best.get(&egraph.find(child))?;
        if below.parts.contains_key(&id) {
            return None;
        }
        if parts.is_empty() {
            parts.clone_from(&below.parts);
        } else {
            parts.extend(below.parts.iter().map(|(&id, &cost)| (id, cost)));
        }
    }
    let own = match node {
        ENode::Op(kind, children) => {
            let operands: Vec<&Type> = children.iter().filter_map(|&c| egraph[c].data.ty()).collect();
            node_cost(*kind, &operands, egraph[id].data.ty().expect("ops make tensors"), target)
        }
        _ => Cost::default(),
    };
    parts.insert(id, own);
    let total = parts.values().copied().sum();
    Some(Best { node: node.clone(), parts, total })
}
