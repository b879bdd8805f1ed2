//! Random changes of graphs: some break an invariant, some do not, and only the verifier knows.

use crate::{
    graph::{ConstId, Graph, InputId, NodeId, Value},
    infer,
    op::{Op, Order},
    pair::Pair,
    types::{Channels, Elem, F32, Scale, Type},
};
use fastrand::Rng;

/// Changes a random thing of a graph. Often every node's type is inferred anew afterwards, so that changes reach far.
pub fn mutate(graph: &mut Graph, rng: &mut Rng) {
    match rng.u8(..8) {
        0 => {
            let value = value(graph, rng);
            if let Some(operand) = any(&mut graph.nodes, rng).and_then(|node| any(&mut node.operands, rng)) {
                *operand = value;
            }
        }
        1 => {
            if let Some(node) = any(&mut graph.nodes, rng) {
                node.op = op(rng);
            }
        }
        2 => {
            if let Some(node) = any(&mut graph.nodes, rng) {
                ty(&mut node.ty, rng);
            }
        }
        3 => any(&mut graph.inputs, rng).into_iter().for_each(|input| ty(&mut input.ty, rng)),
        4 => any(&mut graph.consts, rng).into_iter().for_each(|constant| ty(&mut constant.ty, rng)),
        5 => graph.output = value(graph, rng),
        6 => {
            let value = value(graph, rng);
            if let Some(node) = any(&mut graph.nodes, rng) {
                if rng.bool() {
                    node.operands.push(value);
                } else {
                    node.operands.pop();
                }
            }
        }
        _ => {
            if graph.nodes.len() > 1 {
                let (a, b) = (rng.usize(..graph.nodes.len()), rng.usize(..graph.nodes.len()));
                graph.nodes.swap(a, b);
            }
        }
    }
    if rng.bool() {
        reinfer(graph);
    }
}

fn any<'a, T>(all: &'a mut [T], rng: &mut Rng) -> Option<&'a mut T> {
    if all.is_empty() {
        return None;
    }
    let i = rng.usize(..all.len());
    all.get_mut(i)
}

/// A value that may not exist.
fn value(graph: &Graph, rng: &mut Rng) -> Value {
    let mut id = |n: usize| rng.u32(..=n as u32);
    match id(2) {
        0 => Value::Input(InputId(id(graph.inputs.len()))),
        1 => Value::Const(ConstId(id(graph.consts.len()))),
        _ => Value::Node(NodeId(id(graph.nodes.len()))),
    }
}

fn float(rng: &mut Rng) -> F32 {
    let all = [0.02, 1.0, -1.0, 0.0, 1e-24, 1e24, 1e-30, 1e30, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NAN];
    F32::new(all[rng.usize(..all.len())])
}

fn extent(rng: &mut Rng) -> usize {
    [0, 1, 2, 3, 4, 6, 9, 256, 1 << 16, 1 << 31, usize::MAX][rng.usize(..11)]
}

fn elem(rng: &mut Rng) -> Elem {
    Elem::ALL[rng.usize(..Elem::ALL.len())]
}

fn ty(ty: &mut Type, rng: &mut Rng) {
    match rng.u8(..5) {
        0 => {
            if let Some(d) = any(&mut ty.shape, rng) {
                *d = extent(rng);
            }
        }
        1 => {
            ty.shape.pop();
        }
        2 => ty.elem = elem(rng),
        3 => ty.scale = Scale { factor: float(rng), channels: None },
        _ => {
            let name = ["c.0", "scales.1", "missing"][rng.usize(..3)].into();
            ty.scale.channels = Some(Channels { name, axis: rng.usize(..4) });
        }
    }
}

/// An op with any attributes.
fn op(rng: &mut Rng) -> Op {
    let scale = float(rng);
    let elem = elem(rng);
    let (a, b, c) = (extent(rng), extent(rng), extent(rng));
    let floats = |rng: &mut Rng| (0..rng.usize(..4)).map(|_| float(rng)).collect();
    let shift = |rng: &mut Rng| [0, 1, -1, i64::MIN, i64::MAX][rng.usize(..5)];
    let (shift, window) = (Pair::new(shift(rng), shift(rng)), if rng.bool() { a.into() } else { Pair::new(a, b) });
    match rng.u8(..25) {
        0 => Op::Normalize { mean: floats(rng), std: floats(rng) },
        1 => Op::SpaceToDepth { block: a, order: Order::Column },
        2 => Op::Roll { shift },
        3 => Op::WindowPartition { window },
        4 => Op::WindowReverse { window, height: b, width: c },
        5 => Op::LayerNorm { eps: scale },
        6 => Op::QLinear { elem, scale },
        7 => Op::AttnScores { heads: a },
        8 => Op::AttnBias { scale },
        9 => Op::Quantize { elem, scale },
        10 => Op::Requantize { elem, scale },
        11 => Op::Dequantize {},
        12 => Op::Linear {},
        13 => Op::BiasAdd {},
        14 if rng.bool() => Op::FloatGelu { elem, scale },
        14 => Op::Gelu {},
        15 if rng.bool() => {
            let (pad, fill) = (Pair::new(b, c), 0.into());
            Op::StreamLinear { cast: scale, block: a, pad, shift: 1.into(), fill, window, elem, scale }
        }
        15 => {
            let (pad, fill) = (Pair::new(b, c), 0.into());
            Op::NormLinear { eps: scale, norm: scale, pad, shift: 1.into(), fill, window, elem, scale }
        }
        16 if rng.bool() => {
            let (cut, crop) = (0.into(), Pair::new(a, b));
            Op::NormResidual { eps: scale, window, height: b, width: c, cut, shift: 1.into(), crop, scale }
        }
        16 => {
            let (cut, crop) = (0.into(), Pair::new(a, b));
            Op::LinearResidual { window, height: b, width: c, cut, shift: 1.into(), crop, scale }
        }
        17 if rng.bool() => Op::CosineAttention { heads: a, unit: scale, value: scale, factor: scale, elem, scale },
        17 => Op::WindowAttention { heads: a, factor: scale, elem, scale },
        19 => Op::Pad { sides: window },
        20 => Op::Crop { sides: window },
        21 => Op::L2Norm { heads: a, eps: scale },
        22 => Op::QL2Norm { heads: a, elem, scale },
        23 => Op::HeadScale {},
        18 => Op::PatchEmbed { block: a, linear: scale, eps: scale, scale },
        _ => Op::Add {},
    }
}

/// Infers every type anew, as far as operands exist and fit.
fn reinfer(graph: &mut Graph) {
    for i in 0..graph.nodes.len() {
        let exists = |v: &Value| match v {
            Value::Input(n) => n.index() < graph.inputs.len(),
            Value::Const(n) => n.index() < graph.consts.len(),
            Value::Node(n) => n.index() < i,
        };
        let node = &graph.nodes[i];
        if !node.operands.iter().all(exists) {
            continue;
        }
        let types: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
        // The inference takes well-formed types.
        if types.iter().any(|ty| infer::well_formed(ty).is_err()) {
            continue;
        }
        if let Ok(ty) = infer(&node.op, &types) {
            graph.nodes[i].ty = ty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{interp, random, verify, verify_weights};
    use std::panic;

    /// The verifier itself never panics, and what it accepts prints, parses, and runs.
    #[test]
    fn what_the_verifier_accepts_runs() {
        let (mut accepted, mut refused) = (0, 0);
        for seed in 0..20_000 {
            let mut rng = Rng::with_seed(seed);
            let mut g = random::graph(seed, 6);
            for _ in 0..rng.usize(1..=3) {
                mutate(&mut g, &mut rng);
            }
            if verify(&g).is_err() {
                refused += 1;
                continue;
            }
            accepted += 1;
            let (parsed, _) = crate::text::read("g", &crate::text::print(&g)).unwrap();
            assert_eq!(parsed, g, "seed {seed}");
            let elements = |ty: &Type| ty.elements();
            let all = g
                .inputs
                .iter()
                .chain(&g.consts)
                .map(|d| elements(&d.ty))
                .chain(g.nodes.iter().map(|n| elements(&n.ty)));
            // More would take the machine's memory, which the verifier does not promise.
            if all.max() > Some(1 << 16) {
                continue;
            }
            let weights = random::weights(&g, seed);
            if verify_weights(&g, &weights).is_err() {
                continue;
            }
            let inputs = random::inputs(&g, &mut rng);
            let ran = panic::catch_unwind(|| interp::run(&g, &weights, &inputs).unwrap());
            assert!(ran.is_ok(), "seed {seed}:\n{g}");
        }
        assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
    }
}
