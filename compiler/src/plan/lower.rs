//! Lowers a verified graph to a plan: one kernel an op.

use super::{
    Blueprint, Buffer, ConstSource, Kernel, Launch, Machine, Plan, Rows, Whole,
    arena::{Lifetime, allocate},
    fused,
    options::{options, pack},
    split::split,
};
use petgraph::{
    algo::toposort,
    graph::{DiGraph, NodeIndex},
};
use std::collections::{BTreeMap, HashMap};
use swint_ir::{
    Elem, F32, Graph, Node, NodeId, Scale, Type, Value, Weights,
    arith::{l2_norm, layer_norm, softmax},
    fused::linear_weights,
    infer,
    op::{Class, Op, OpKind},
    tensor::channel_stride,
};

/// Why a graph has no plan.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, miette::Diagnostic)]
#[diagnostic(code("SW0204"))]
pub enum PlanError {
    /// It computes nothing.
    #[error("the graph returns an input or a constant: there is nothing to run")]
    Empty,
    /// A linear's weights are computed, and kernels want them packed ahead.
    #[error("{0}: the weights of a linear must be a constant")]
    ComputedWeights(NodeId),
}

/// Plans a graph that [`swint_ir::verify()`] accepts, for no machine in particular: see [`Blueprint::Plain`](super::Blueprint::Plain).
///
/// # Errors
/// When the graph runs no op, or computes the weights of a linear.
pub fn plan(graph: &Graph) -> Result<Plan, PlanError> {
    plan_with(graph, None, None)
}

/// Plans a graph for a machine: which kernels there are and how they are made depends on it, on how many rows there are, and on
/// the values of constants. Also the graph whose nodes the launches name: which may have MLPs in two. Without a machine, [`plan`].
///
/// # Errors
/// As [`plan`].
pub fn plan_for(
    graph: &Graph,
    weights: &Weights,
    machine: Option<Machine>,
    choices: &Choices,
) -> Result<(Graph, Plan), PlanError> {
    let Some(machine) = machine else { return Ok((graph.clone(), plan(graph)?)) };
    let machine = Some((weights, machine, choices));
    let (wholes, chosen) = wholes(graph, machine);
    let (graph, sources) = split(graph, |id| chosen.get(&id) == Some(&Blueprint::Parts));
    let plan = Plan { wholes, ..plan_with(&graph, Some(&sources), machine)? };
    Ok((graph, plan))
}

/// The nodes that may be made by their parts, and the blueprint that is chosen for each.
fn wholes(graph: &Graph, machine: Machined) -> (Vec<Whole>, HashMap<NodeId, Blueprint>) {
    let lowering = Lowering { graph, sources: None, machine, consts: Vec::new(), known: HashMap::new() };
    let (mut wholes, mut chosen) = (Vec::new(), HashMap::new());
    for (source, _) in graph.iter().filter(|(_, node)| node.op.kind() == OpKind::Mlp) {
        // Where results are matters to no choice.
        let (kernel, items, inputs) = lowering.specify(source, &|_| Buffer::Input(0));
        let (blueprint, options) = lowering.choose(&kernel, items, &inputs);
        chosen.insert(source, blueprint);
        if options.len() > 1 {
            wholes.push(Whole { source, key: key(&kernel, items, &options), options });
        }
    }
    (wholes, chosen)
}

/// What a plan is made for: values of constants, the machine, and blueprints that are known to be the fastest.
type Machined<'a> = Option<(&'a Weights, Machine, &'a Choices)>;

/// Blueprints that were found to be the fastest, by their launch's [`key`](super::Launch::key). A launch that has none, or one that is
/// none of its options, takes the likely one.
pub type Choices = BTreeMap<String, Blueprint>;

/// What a kernel's options depend on: `norm_linear[…] x3136`, and ` wide` where upper halves of products do not suffice.
pub(super) fn key(kernel: &Kernel, items: usize, options: &[Blueprint]) -> String {
    // All that have sums are alike in this.
    format!("{kernel} x{items}{}", if options.iter().any(Blueprint::narrow) { "" } else { " wide" })
}

/// Plans a graph; `sources` are the nodes of which its nodes are parts, where some are.
fn plan_with(graph: &Graph, sources: Option<&[NodeId]>, machine: Machined) -> Result<Plan, PlanError> {
    let Value::Node(output) = graph.output else { return Err(PlanError::Empty) };
    let computed = |n: &Node| {
        let weights = linear_weights(&n.op, n.operands.len());
        weights.into_iter().any(|i| !matches!(n.operands[i], Value::Const(_)))
    };
    let order = schedule(graph);
    if let Some(&id) = order.iter().find(|id| computed(&graph.nodes[id.index()])) {
        return Err(PlanError::ComputedWeights(id));
    }
    let position: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    let lifetimes = lifetimes(graph, &order, output);
    let (offsets, arena) = allocate(&lifetimes);
    let buffer = |id: NodeId| {
        let i = position[&id];
        Buffer::Arena { offset: offsets[i], bytes: lifetimes[i].bytes }
    };
    let mut lowering = Lowering { graph, sources, machine, consts: Vec::new(), known: HashMap::new() };
    let launches = order.iter().map(|&id| lowering.launch(id, &buffer)).collect();
    Ok(Plan {
        name: graph.name.clone(),
        inputs: graph.inputs.iter().map(|i| i.ty.clone()).collect(),
        consts: lowering.consts,
        arena,
        launches,
        wholes: Vec::new(),
        output: buffer(output),
        output_type: graph.ty(graph.output).clone(),
    })
}

/// The order of launches: a topological order of the nodes that the output needs.
fn schedule(graph: &Graph) -> Vec<NodeId> {
    let mut needed = vec![false; graph.nodes.len()];
    let mut edges: DiGraph<NodeId, ()> = DiGraph::new();
    let mut index: Vec<Option<NodeIndex>> = vec![None; graph.nodes.len()];
    if let Value::Node(output) = graph.output {
        needed[output.index()] = true;
    }
    for (id, node) in graph.iter().rev() {
        if needed[id.index()] {
            for operand in &node.operands {
                if let Value::Node(n) = operand {
                    needed[n.index()] = true;
                }
            }
        }
    }
    for (id, node) in graph.iter().filter(|(id, _)| needed[id.index()]) {
        let user = edges.add_node(id);
        index[id.index()] = Some(user);
        for operand in &node.operands {
            if let Value::Node(n) = operand {
                edges.add_edge(index[n.index()].expect("operands come first"), user, ());
            }
        }
    }
    let order = toposort(&edges, None).expect("a verified graph has no cycle");
    order.into_iter().map(|i| edges[i]).collect()
}

/// A result lives from its launch to its last user's; the output to the end.
fn lifetimes(graph: &Graph, order: &[NodeId], output: NodeId) -> Vec<Lifetime> {
    let mut last_use = vec![0; graph.nodes.len()];
    for (i, &id) in order.iter().enumerate() {
        last_use[id.index()] = i;
        for operand in &graph.nodes[id.index()].operands {
            if let Value::Node(n) = operand {
                last_use[n.index()] = i;
            }
        }
    }
    last_use[output.index()] = order.len() - 1;
    let lifetime = |(first, id): (usize, &NodeId)| {
        let bytes = graph.ty(Value::Node(*id)).bytes();
        Lifetime { bytes, first, last: last_use[id.index()] }
    };
    order.iter().enumerate().map(lifetime).collect()
}

/// What a kernel reads.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Operand {
    /// A buffer that is there.
    Buffer(Buffer),
    /// A constant of the plan.
    Const(ConstSource),
}

/// Mantissas and shifts that requantize values of a type, one for each of its channels.
pub(super) fn multipliers(from: &Type, to: F32) -> [Operand; 2] {
    let (ty, n) = (scale_only(from), from.last());
    [ConstSource::Mantissas(ty.clone(), to, n), ConstSource::Shifts(ty, to, n)].map(Operand::Const)
}

struct Lowering<'a> {
    graph: &'a Graph,
    sources: Option<&'a [NodeId]>,
    machine: Machined<'a>,
    consts: Vec<ConstSource>,
    known: HashMap<ConstSource, usize>,
}

impl Lowering<'_> {
    fn buffer(&mut self, operand: Operand) -> Buffer {
        let source = match operand {
            Operand::Buffer(buffer) => return buffer,
            Operand::Const(source) => source,
        };
        let consts = &mut self.consts;
        Buffer::Const(*self.known.entry(source).or_insert_with_key(|source| {
            consts.push(source.clone());
            consts.len() - 1
        }))
    }

    /// What a node's kernel computes, on how many items, and of what.
    fn specify(&self, id: NodeId, buffer: &dyn Fn(NodeId) -> Buffer) -> (Kernel, usize, Vec<Operand>) {
        let graph = self.graph;
        let node = &graph.nodes[id.index()];
        let types: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
        let (x, y) = (types[0], &node.ty);
        let weights = linear_weights(&node.op, node.operands.len());
        let mut inputs: Vec<Operand> = Vec::new();
        for (i, &operand) in node.operands.iter().enumerate() {
            inputs.push(match operand {
                Value::Input(input) => Operand::Buffer(Buffer::Input(input.index())),
                Value::Node(n) => Operand::Buffer(buffer(n)),
                Value::Const(c) => {
                    let name = graph.consts[c.index()].name.clone();
                    let transposed = weights.contains(&i);
                    Operand::Const(if transposed { ConstSource::Transposed(name) } else { ConstSource::Weight(name) })
                }
            });
        }
        let channels = |ty: &Type| ty.scale.channels.as_ref().map_or(1, |c| ty.shape[c.axis]);
        let (kernel, items) = match &node.op {
            op if op.kind().is_fused() => {
                let (kernel, all) = fused::lower(op, &types, y, &inputs);
                inputs = all;
                let items = fused::items(&kernel, y);
                (kernel, items)
            }
            op if op.kind().class() == Class::Index => {
                let maps = vec![(op.clone(), map_shape(op, &x.shape))];
                let rows = Rows::moved(x.last(), 1, &maps);
                inputs.push(Operand::Const(ConstSource::Map(maps)));
                (Kernel::Move { elem: x.elem, rows }, y.elements() / rows.chunk)
            }
            Op::Linear {} | Op::QLinear { .. } => {
                let mut requantize = None;
                if let Op::QLinear { elem, scale } = &node.op {
                    let sums = infer(&Op::Linear {}, &types).expect("the graph is verified");
                    inputs.extend(multipliers(&sums, *scale));
                    requantize = Some(*elem);
                }
                let bias = types.len() > 2;
                (Kernel::Linear { x: x.elem, k: x.last(), n: y.last(), bias, requantize }, y.rows())
            }
            Op::AttnScores { heads } => {
                let kernel = Kernel::AttnScores { x: x.elem, heads: *heads, tokens: x.shape[1], channels: x.last() };
                (kernel, y.rows())
            }
            Op::AttnValues {} => {
                let kernel =
                    Kernel::AttnValues { p: x.elem, heads: x.shape[1], tokens: x.shape[2], channels: y.last() };
                (kernel, y.rows())
            }
            Op::AttnBias { scale } => {
                let masks = types.get(2).map_or(0, |m| m.shape[0]);
                // Of integers, the scale is in the type.
                let scale = if x.is_float() { *scale } else { F32::ONE };
                let kernel = Kernel::AttnBias { elem: x.elem, heads: x.shape[1], tokens: x.last(), masks, scale };
                (kernel, y.elements())
            }
            Op::BiasAdd {} => (Kernel::BiasAdd { elem: x.elem, n: x.last() }, y.elements()),
            Op::Normalize { mean, std } => {
                inputs.push(Operand::Const(ConstSource::Floats(mean.clone())));
                inputs.push(Operand::Const(ConstSource::Floats(std.clone())));
                (Kernel::Normalize { channels: mean.len() }, y.elements())
            }
            Op::LayerNorm { eps } => (Kernel::LayerNorm { channels: x.last(), eps: *eps }, y.rows()),
            Op::QLayerNorm { eps, elem, scale } => {
                let sums = Type::int(Elem::I32, types[2].scale.clone(), [1]);
                inputs.extend(multipliers(&sums, *scale));
                let epsilon = layer_norm::epsilon(eps.get(), x.scale.factor.get(), x.last());
                let epsilon = epsilon.expect("the graph is verified");
                (Kernel::QLayerNorm { x: x.elem, channels: x.last(), epsilon, to: *elem }, y.rows())
            }
            Op::L2Norm { heads, eps } => (Kernel::L2Norm { channels: x.last() / heads, eps: *eps }, y.rows() * heads),
            Op::QL2Norm { heads, elem, scale } => {
                let units = Type::int(Elem::I32, Scale::tensor(l2_norm::SCALE), [1]);
                inputs.extend(multipliers(&units, *scale));
                (Kernel::QL2Norm { x: x.elem, channels: x.last() / heads, to: *elem }, y.rows() * heads)
            }
            Op::HeadScale {} => {
                (Kernel::HeadScale { elem: x.elem, heads: x.shape[1], area: x.shape[2] * x.shape[3] }, y.elements())
            }
            Op::Softmax {} => (Kernel::Softmax { n: x.last() }, y.rows()),
            Op::QSoftmax {} => {
                inputs.push(Operand::Const(ConstSource::Powers));
                inputs.extend(multipliers(&x.with_shape([1]), F32::new(softmax::EXPONENT_SCALE)));
                (Kernel::QSoftmax { n: x.last() }, y.rows())
            }
            Op::Gelu {} => (Kernel::Gelu, y.elements()),
            Op::FloatGelu { elem, scale } => {
                inputs.push(Operand::Const(ConstSource::Scales(scale_only(x))));
                let (channels, stride) = (channels(x), channel_stride(x));
                (Kernel::FloatGelu { from: x.elem, channels, stride, to: *elem, scale: *scale }, y.elements())
            }
            Op::Relu {} => (Kernel::Relu, y.elements()),
            Op::Add {} => (Kernel::Add { elem: x.elem }, y.elements()),
            Op::MeanPool {} => {
                let (tokens, channels) = (x.shape[1] * x.shape[2], x.shape[3]);
                (Kernel::MeanPool { elem: x.elem, tokens, channels }, y.elements())
            }
            Op::Quantize { elem, scale } => (Kernel::Quantize { elem: *elem, scale: *scale }, y.elements()),
            Op::Dequantize {} => {
                inputs.push(Operand::Const(ConstSource::Scales(scale_only(x))));
                let kernel = Kernel::Dequantize { elem: x.elem, channels: channels(x), stride: channel_stride(x) };
                (kernel, y.elements())
            }
            Op::Requantize { elem, scale } => {
                inputs.extend(multipliers(x, *scale));
                (Kernel::Requantize { from: x.elem, to: *elem, n: x.last() }, y.rows())
            }
            Op::Lut {} => (Kernel::Lut { from: x.elem, to: y.elem }, y.elements()),
            _ => unreachable!("index maps and fused ops are handled above"),
        };
        (kernel, items, inputs)
    }

    /// The blueprint of a kernel and all that it may have.
    fn choose(&self, kernel: &Kernel, items: usize, inputs: &[Operand]) -> (Blueprint, Vec<Blueprint>) {
        let Some((values, machine, choices)) = self.machine else {
            return (Blueprint::Plain, vec![Blueprint::Plain]);
        };
        let all = options(kernel, items, inputs, values, machine);
        let chosen = choices.get(&key(kernel, items, &all)).filter(|chosen| all.contains(chosen));
        (*chosen.unwrap_or(&all[0]), all)
    }

    fn launch(&mut self, id: NodeId, buffer: &dyn Fn(NodeId) -> Buffer) -> Launch {
        let (kernel, items, mut inputs) = self.specify(id, buffer);
        let (blueprint, all) = self.choose(&kernel, items, &inputs);
        pack(&kernel, &blueprint, &mut inputs);
        let node = &self.graph.nodes[id.index()];
        let inputs = inputs.into_iter().map(|operand| self.buffer(operand)).collect();
        let source = self.sources.map_or(id, |sources| sources[id.index()]);
        Launch {
            kernel,
            blueprint,
            options: all,
            items,
            inputs,
            output: buffer(id),
            node: id,
            source,
            locs: node.locs.clone(),
        }
    }
}

/// The type reduced to what its scales depend on, so that equal constants are shared.
fn scale_only(ty: &Type) -> Type {
    let shape = ty.scale.channels.as_ref().map_or(Vec::new(), |c| vec![ty.shape[c.axis]]);
    Type { shape, elem: ty.elem, scale: ty.scale.on_axis(0) }
}

/// The shape that an index map depends on: one image's, so that every batch shares the constant.
pub(super) fn map_shape(op: &Op, shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[0] = match *op {
        Op::WindowReverse { window, height, width } => (height / window.rows) * (width / window.columns),
        _ => 1,
    };
    shape
}
