//! Extraction: the cheapest program of an e-graph, shared nodes counted once.

mod search;

#[cfg(test)]
mod oracle;

use super::{
    Target,
    cost::{Cost, node_cost},
    facts::op_of,
    lang::{ENode, SwinGraph},
};
use egg::{Id, Language};
use search::Search;
use std::collections::{BTreeSet, HashMap, HashSet};
use swint_ir::Type;

/// A node for every class that the root needs.
pub(super) struct Extraction {
    nodes: HashMap<Id, ENode>,
    /// The sum over the chosen nodes, each once.
    pub cost: Cost,
}

impl Extraction {
    /// Whether the root needs a class.
    pub fn has(&self, id: Id) -> bool {
        self.nodes.contains_key(&id)
    }

    /// The chosen node of a class, which the root must need.
    pub fn node(&self, id: Id) -> &ENode {
        &self.nodes[&id]
    }
}

/// The best known program of a class: what every class below it costs, its own included, in order of class.
struct Best {
    /// Its position in the class.
    node: usize,
    parts: Vec<(Id, Cost)>,
    total: Cost,
}

/// Greedy DAG extraction, then a search for what it missed. Each class keeps the set of classes that its program needs, so that shared ones count once;
/// improvements travel to parents until none is left. (The bottom-up method of extraction-gym's `faster-greedy-dag`.)
///
/// Classes are taken children first, so that without cycles each is looked at once. What costs nothing (attributes, inputs,
/// constants) is left out of the sets; they still grow with the depth of the graph, so memory is quadratic in it.
///
/// A class decides alone, so it may take what is cheap for it and dear for the program, like a value that another reader needs
/// in another layout anyway. [`Search`] mends that. Of equally cheap nodes one of those that are `written` is taken.
pub(super) fn extract(egraph: &SwinGraph, root: Id, written: &[ENode], target: &Target) -> Extraction {
    let written: HashSet<ENode> =
        written.iter().map(|node| node.clone().map_children(|child| egraph.find(child))).collect();
    let order = children_first(egraph, egraph.find(root));
    let rank: HashMap<Id, usize> = order.iter().enumerate().map(|(rank, &id)| (id, rank)).collect();
    let mut parents: HashMap<Id, Vec<usize>> = HashMap::new();
    for (rank, &id) in order.iter().enumerate() {
        for child in egraph[id].nodes.iter().flat_map(|n| n.children()) {
            parents.entry(egraph.find(*child)).or_default().push(rank);
        }
    }
    let mut best: HashMap<Id, Best> = HashMap::new();
    let mut queue: BTreeSet<usize> = rank.values().copied().collect();
    while let Some(next) = queue.pop_first() {
        let id = order[next];
        let mut improved = false;
        let (first, then): (Vec<usize>, Vec<usize>) =
            (0..egraph[id].nodes.len()).partition(|&node| written.contains(&egraph[id].nodes[node]));
        for node in first.into_iter().chain(then) {
            if let Some(found) = candidate(egraph, id, node, &best, target)
                && best.get(&id).is_none_or(|old| found.total < old.total)
            {
                best.insert(id, found);
                improved = true;
            }
        }
        if improved {
            queue.extend(parents.get(&id).into_iter().flatten());
        }
    }
    let greedy = order.iter().map(|id| best.get(id).map(|best| best.node)).collect();
    let mut search = Search::new(egraph, &order, &rank, &written, greedy, target);
    search.improve(rank[&egraph.find(root)]);
    search.extraction(rank[&egraph.find(root)])
}

/// The classes that `root` reaches, each after its children where there is no cycle.
fn children_first(egraph: &SwinGraph, root: Id) -> Vec<Id> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    let mut stack = vec![(root, false)];
    while let Some((id, done)) = stack.pop() {
        if done {
            order.push(id);
        } else if seen.insert(id) {
            stack.push((id, true));
            let children = egraph[id].nodes.iter().flat_map(|n| n.children());
            stack.extend(children.map(|&c| (egraph.find(c), false)));
        }
    }
    order
}

/// The program that takes `node` for its class; `None` while a child has none or needs the class itself.
fn candidate(egraph: &SwinGraph, id: Id, index: usize, best: &HashMap<Id, Best>, target: &Target) -> Option<Best> {
    let node = &egraph[id].nodes[index];
    let own = own_cost(egraph, id, node, target);
    let mut parts: Vec<(Id, Cost)> = Vec::new();
    for &child in node.children() {
        let below = best.get(&egraph.find(child))?;
        if below.parts.binary_search_by_key(&id, |p| p.0).is_ok() {
            return None;
        }
        parts = union(&parts, &below.parts);
    }
    if matches!(node, ENode::Op(..)) {
        let at = parts.partition_point(|p| p.0 < id);
        parts.insert(at, (id, own));
    }
    let total = parts.iter().map(|p| p.1).sum();
    Some(Best { node: index, parts, total })
}

/// The cost of an e-node alone.
fn own_cost(egraph: &SwinGraph, class: Id, node: &ENode, target: &Target) -> Cost {
    let ENode::Op(kind, children) = node else { return Cost::default() };
    let (op, operands) = op_of(*kind, children.iter().map(|&c| &egraph[c].data)).expect("the e-node was typed");
    let operands: Vec<&Type> = operands.into_iter().filter_map(|facts| facts.ty()).collect();
    node_cost(&op, &operands, egraph[class].data.ty().expect("ops make tensors"), target)
}

/// The union of two sets in order of class; the first's costs where both have one.
fn union(a: &[(Id, Cost)], b: &[(Id, Cost)]) -> Vec<(Id, Cost)> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        all.push(if b[j].0 < a[i].0 { b[j] } else { a[i] });
        (i, j) = (i + usize::from(a[i].0 <= b[j].0), j + usize::from(b[j].0 <= a[i].0));
    }
    all.extend_from_slice(&a[i..]);
    all.extend_from_slice(&b[j..]);
    all
}
