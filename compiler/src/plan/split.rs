//! Fused ops of which machines make more than one kernel.

use swint_ir::{Graph, Node, NodeId, Pair, Value, infer, op::Op};

/// The graph with the nodes for which `apart` says so, MLPs, as two ops. It computes the same, bit for bit.
///
/// Also the node of which each node is all or a part.
///
/// # Panics
/// When the graph is not verified.
pub(super) fn split(graph: &Graph, mut apart: impl FnMut(NodeId) -> bool) -> (Graph, Vec<NodeId>) {
    let mut result = Graph { nodes: Vec::with_capacity(graph.nodes.len()), ..graph.clone() };
    // Where each node's result is now.
    let mut places: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    let mut sources: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.iter() {
        let moved = |value: &Value| match value {
            Value::Node(id) => Value::Node(places[id.index()]),
            other => *other,
        };
        let operands: Vec<Value> = node.operands.iter().map(moved).collect();
        let parts = match node.op {
            Op::Mlp { eps, norm, elem, hidden, scale } if apart(id) => {
                let mut first: Vec<Value> = operands[..5].to_vec();
                first.extend(operands.get(7));
                let x = operands[0];
                let (none, still) = (Pair::from(0), Pair::from(0));
                let (pad, fill, window, shift) = (none, none, none, still);
                let up = Op::NormLinear { eps, norm, pad, shift, fill, window, elem, scale: hidden };
                let hidden = push(&mut result, node, up, first, false);
                let (cut, crop, height, width) = (none, none, 0, 0);
                let down = Op::LinearResidual { window, height, width, cut, shift, crop, scale };
                push(&mut result, node, down, vec![Value::Node(hidden), operands[5], operands[6], x], true)
            }
            _ => {
                result.nodes.push(Node { operands, ..node.clone() });
                NodeId(result.nodes.len() as u32 - 1)
            }
        };
        places.push(parts);
        sources.resize(result.nodes.len(), id);
    }
    if let Value::Node(id) = graph.output {
        result.output = Value::Node(places[id.index()]);
    }
    (result, sources)
}

/// Adds a part of a node; the last has its names.
fn push(graph: &mut Graph, of: &Node, op: Op, operands: Vec<Value>, last: bool) -> NodeId {
    let types: Vec<_> = operands.iter().map(|&value| graph.ty(value)).collect();
    let ty = infer(&op, &types).expect("the whole is verified");
    let locs = if last { of.locs.clone() } else { Vec::new() };
    graph.nodes.push(Node { op, operands, ty, locs, ..of.clone() });
    NodeId(graph.nodes.len() as u32 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::{interp, op::OpKind, random, reference};

    #[test]
    fn a_split_mlp_computes_the_same() {
        let graph = reference::example(OpKind::Mlp);
        assert_eq!(split(&graph, |_| false).0, graph);
        let (parts, sources) = split(&graph, |_| true);
        let kinds: Vec<OpKind> = parts.nodes.iter().map(|node| node.op.kind()).collect();
        assert!(!kinds.contains(&OpKind::Mlp) && kinds.contains(&OpKind::NormLinear), "{kinds:?}");
        assert_eq!(parts.nodes.len(), graph.nodes.len() + 1);
        assert_eq!(sources.len(), parts.nodes.len());
        swint_ir::verify(&parts).unwrap();
        for seed in 0..5 {
            let weights = random::weights(&graph, seed);
            let inputs = random::inputs(&graph, &mut random::Rng::with_seed(seed));
            let [whole, apart] = [&graph, &parts].map(|g| interp::run(g, &weights, &inputs).unwrap());
            assert_eq!(whole, apart, "{seed}");
        }
    }
}
