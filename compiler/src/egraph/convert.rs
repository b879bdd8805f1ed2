//! Graph → e-graph → graph.

use super::{
    extract::Extraction,
    facts::{Facts, Range},
    lang::{Constants, ENode, SwinGraph},
};
use egg::Id;
use std::collections::{HashMap, HashSet, VecDeque};
use swint_ir::{
    ConstId, Decl, Elem, Graph, InputId, Module, Node, Tensor, Type, Value,
    op::{Op, OpKind},
};

/// A module as an e-graph.
pub(crate) struct Lowered {
    pub egraph: SwinGraph,
    pub root: Id,
    /// The class of each node.
    pub nodes: Vec<Id>,
    /// The nodes themselves: where another is as cheap, a program is left as it was written.
    pub written: Vec<ENode>,
}

pub(crate) fn to_egraph(module: &Module) -> Lowered {
    lower(module, Vec::new(), SwinGraph::new)
}

/// As [`to_egraph`], with a record of why classes became equal: slower. The inputs' values lie in `ranges`.
pub(crate) fn to_egraph_explained(module: &Module, ranges: Vec<Range>) -> Lowered {
    lower(module, ranges, |constants| SwinGraph::new(constants).with_explanations_enabled())
}

fn lower(module: &Module, ranges: Vec<Range>, new: impl FnOnce(Constants) -> SwinGraph) -> Lowered {
    let graph = &module.graph;
    let constants = Constants {
        inputs: graph.inputs.iter().map(|i| i.ty.clone()).collect(),
        ranges,
        decls: graph.consts.clone(),
        weights: module.weights.clone(),
    };
    let mut egraph = new(constants);
    let (mut ids, mut written): (Vec<Id>, Vec<ENode>) = Default::default();
    let add = |egraph: &mut SwinGraph, ids: &[Id], value: Value| match value {
        Value::Input(i) => egraph.add(ENode::Input(i.0)),
        Value::Const(c) => egraph.add(ENode::Const(c)),
        Value::Node(n) => ids[n.index()],
    };
    for node in &graph.nodes {
        let mut children: Vec<Id> = node.operands.iter().map(|&v| add(&mut egraph, &ids, v)).collect();
        children.extend(node.op.attrs().into_iter().map(|attr| egraph.add(ENode::Attr(attr))));
        let node = ENode::Op(node.op.kind(), children);
        written.push(node.clone());
        ids.push(egraph.add(node));
    }
    let root = add(&mut egraph, &ids, graph.output);
    egraph.rebuild();
    Lowered { egraph, root, nodes: ids, written }
}

/// The graph of an extraction. Inputs and name are the source's, and what it says of nodes beside their meaning: module
/// names, and what they approximate. `nodes` are the classes of its nodes.
pub(super) fn from_egraph(egraph: &SwinGraph, root: Id, chosen: &Extraction, nodes: &[Id], source: &Module) -> Module {
    let mut out = Module {
        graph: Graph::new(source.graph.name.clone(), source.graph.inputs.clone()),
        weights: Default::default(),
    };
    for input in &source.graph.inputs {
        declare_scales(egraph, &input.ty, &mut out);
    }
    let mut values: HashMap<Id, Value> = HashMap::new();
    let mut open: HashSet<Id> = HashSet::new();
    let mut has_floats = false;
    // Children first, with an explicit stack: graphs are deep.
    let mut stack = vec![(egraph.find(root), false)];
    while let Some((id, ready)) = stack.pop() {
        if values.contains_key(&id) {
            continue;
        }
        let value = match chosen.node(id) {
            ENode::Input(i) => Value::Input(InputId(*i)),
            ENode::Const(c) => constant(egraph, *c, &mut out),
            ENode::Attr(_) => continue,
            ENode::Op(kind, children) => {
                let children: Vec<Id> = children.iter().map(|&c| egraph.find(c)).collect();
                if !ready {
                    assert!(open.insert(id), "the extraction chose a cycle");
                    stack.push((id, true));
                    stack.extend(children.iter().rev().map(|&c| (c, false)));
                    continue;
                }
                let attrs: Vec<_> = children
                    .iter()
                    .filter_map(|&c| if let Facts::Attr(attr) = &egraph[c].data { Some(attr.clone()) } else { None })
                    .collect();
                let op = Op::from_attrs(*kind, &attrs).expect("the e-node was typed");
                let operands: Vec<Value> = children.iter().filter_map(|c| values.get(c).copied()).collect();
                match (&op, &operands[..]) {
                    (Op::Dequantize {}, &[Value::Const(c)]) => {
                        has_floats = true;
                        dequantized(c, &mut out)
                    }
                    _ => out.graph.push(op, operands).expect("the e-node was typed"),
                }
            }
        };
        values.insert(id, value);
    }
    let stand_ins = stand_ins(egraph, &values, &out.graph);
    for (&id, node) in nodes.iter().zip(&source.graph.nodes) {
        let id = egraph.find(id);
        let stand_in = values.get(&id).or_else(|| stand_ins.get(&id)).copied();
        match stand_in {
            // An approximation is not forgotten: what it was fused into has it.
            None | Some(Value::Input(_) | Value::Const(_)) if node.approximates.is_some() => {
                if let Some(reader) = first_chosen_reader(egraph, id, &values) {
                    out.graph.inherit(reader, &Node { locs: Vec::new(), ..node.clone() });
                }
            }
            Some(value) => out.graph.inherit(value, node),
            None => {}
        }
    }
    out.graph.output = values[&egraph.find(root)];
    // Integers of which only the floats are read are not needed.
    if has_floats { out.without_dead_code() } else { out }
}

/// For each class that was not chosen, the value of the result that is its real numbers as integers: quantized, or to be
/// dequantized. Of several the one with most bits, and the first of these.
///
/// Unsigned integers stand only for what is never negative: of anything else they are the ReLU.
fn stand_ins(egraph: &SwinGraph, values: &HashMap<Id, Value>, graph: &Graph) -> HashMap<Id, Value> {
    let mut found: HashMap<Id, Value> = HashMap::new();
    let mut offer = |class: Id, value: Value| {
        let rank = |value: Value| (std::cmp::Reverse(graph.ty(value).elem.bytes()), value);
        let best = found.entry(class).or_insert(value);
        if rank(value) < rank(*best) {
            *best = value;
        }
    };
    for class in egraph.classes() {
        for node in &class.nodes {
            match node {
                ENode::Op(OpKind::Quantize, children) => {
                    let real = egraph.find(children[0]);
                    if let Some(&value) = values.get(&class.id)
                        && (graph.ty(value).elem != Elem::U8 || is_positive(egraph, real))
                    {
                        offer(real, value);
                    }
                }
                ENode::Op(OpKind::Dequantize, children) => {
                    if let Some(&value) = values.get(&egraph.find(children[0])) {
                        offer(class.id, value);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// Whether a class is never negative.
fn is_positive(egraph: &SwinGraph, class: Id) -> bool {
    egraph[class].data.range().is_some_and(|range| range.low >= 0.0)
}

/// The chosen node that is made from a class in the fewest steps; `None` where the output does not need the class.
fn first_chosen_reader(egraph: &SwinGraph, class: Id, values: &HashMap<Id, Value>) -> Option<Value> {
    let mut seen = HashSet::from([class]);
    let mut queue = VecDeque::from([class]);
    while let Some(class) = queue.pop_front() {
        if let Some(&value @ Value::Node(_)) = values.get(&class) {
            return Some(value);
        }
        queue.extend(egraph[class].parents().map(|reader| egraph.find(reader)).filter(|&reader| seen.insert(reader)));
    }
    None
}

/// Declares a constant in the result, with the channel scales that its type names.
fn constant(egraph: &SwinGraph, c: ConstId, out: &mut Module) -> Value {
    let decl = &egraph.analysis.decls[c.index()];
    declare_scales(egraph, &decl.ty, out);
    let value = egraph.analysis.weights.get(&decl.name).expect("every constant has a value").clone();
    out.weights.0.insert(decl.name.clone(), value);
    out.graph.constant(decl.name.clone(), decl.ty.clone())
}

/// What a constant of integers stands for, as a constant of floats: where rewrites stop early, or values do not fit integers, a
/// float linear is left, and kernels want its weights packed ahead.
fn dequantized(c: ConstId, out: &mut Module) -> Value {
    let Decl { name, ty } = out.graph.consts[c.index()].clone();
    let values = out.weights.get(&name).expect("every constant has a value").to_real(&ty, &out.weights);
    let tensor = Tensor::f32(ty.shape.clone(), values);
    out.fresh_constant(&format!("{name}.f32"), Type::f32(ty.shape), tensor).0
}

/// Declares in the result the channel scales that a type names.
fn declare_scales(egraph: &SwinGraph, ty: &Type, out: &mut Module) {
    let Some(channels) = &ty.scale.channels else { return };
    let mut decls = egraph.analysis.decls.iter();
    let index = decls.position(|d| d.name == channels.name).expect("channel scales are declared");
    constant(egraph, ConstId(index as u32), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egraph::{Target, extract};
    use swint_ir::{Elem, F32, Scale, Weights, interp, random};

    /// Random graphs come back with what the output needs, and nodes that say the same thing once.
    #[test]
    fn random_graphs_survive_the_round_trip() {
        let mut counts = (0, 0);
        for seed in 0..2000 {
            let graph = random::graph(seed, 12);
            let module = Module { weights: random::weights(&graph, seed), graph };
            let Lowered { egraph, root, nodes, written } = to_egraph(&module);
            let chosen = extract::extract(&egraph, root, &written, &Target::default());
            let back = from_egraph(&egraph, root, &chosen, &nodes, &module);
            assert_eq!(back.verify(), Ok(()), "seed {seed}");
            let live = module.without_dead_code();
            assert!(back.graph.nodes.len() <= live.graph.nodes.len(), "seed {seed}");
            counts = (counts.0 + live.graph.nodes.len(), counts.1 + back.graph.nodes.len());
            let inputs = random::inputs(&module.graph, &mut random::Rng::with_seed(seed));
            let run = |m: &Module| interp::run(&m.graph, &m.weights, &inputs).map(|y| y.data.to_bytes());
            assert!(run(&back) == run(&module), "seed {seed}:\n{}", module.graph);
        }
        // Most nodes say something of their own.
        assert!(counts.1 * 10 > counts.0 * 9, "{counts:?}");
    }

    #[test]
    fn an_approximation_is_marked_whatever_becomes_of_it() {
        let text = "graph @g(%x: u8<0.1>[2,8]) -> i8<0.2>[2,4] {
  const @w : i8<0.01>[4,8]
  %0 = dequantize %x : f32[2,8]
  %1 = relu %0 : f32[2,8] approximates gelu
  %2 = quantize %1 {elem = u8, scale = 0.1} : u8<0.1>[2,8]
  %3 = qlinear %2, @w {elem = i8, scale = 0.2} : i8<0.2>[2,4]
  return %3
}
";
        let graph = swint_ir::text::read("g.ir", text).unwrap().0;
        let module = Module { weights: random::weights(&graph, 1), graph };
        let table = crate::rules::rules(crate::rules::RuleSet::INTEGER);
        let (rewritten, _) = crate::egraph::rewrite(&module, &table, &Target::default(), Default::default());
        // The ReLU of unsigned bytes is nothing, and the linear reads the input itself.
        let nodes: Vec<_> = rewritten.graph.nodes.iter().map(|n| (n.op.kind(), n.approximates)).collect();
        assert_eq!(nodes, [(OpKind::QLinear, Some(OpKind::Gelu))]);
    }

    #[test]
    fn a_graph_survives_the_round_trip() {
        let input = Decl { name: "x".into(), ty: Type::f32([1, 4, 4, 8]) };
        let mut m = Module { graph: Graph::new("g", vec![input]), weights: Weights::default() };
        let x = Value::Input(InputId(0));
        let q = m.graph.push(Op::Quantize { elem: Elem::I8, scale: F32::new(0.1) }, vec![x]).unwrap();
        let r = m.graph.push(Op::Roll { shift: 1.into() }, vec![q]).unwrap();
        m.constant("w.scale", Type::f32([2]), Tensor::f32([2], vec![0.5, 0.25]));
        let w_ty = Type::int(Elem::I8, Scale::channels("w.scale", 0), [2, 8]);
        let w = m.constant("w", w_ty, Tensor::new([2, 8], swint_ir::Data::I8(vec![1; 16])));
        let l = m.graph.push(Op::Linear {}, vec![r, w]).unwrap();
        m.graph.add_loc(l, "a");
        m.graph.add_loc(l, "b");
        m.graph.output = m.graph.push(Op::Dequantize {}, vec![l]).unwrap();
        let Lowered { egraph, root, nodes, written } = to_egraph(&m);
        let chosen = extract::extract(&egraph, root, &written, &Target::default());
        let back = from_egraph(&egraph, root, &chosen, &nodes, &m);
        assert_eq!(back, m);
    }
}
