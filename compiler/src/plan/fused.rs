//! Fused ops: what their kernels read, from their bodies.

use super::{
    ConstSource, Kernel, Rows,
    lower::{Operand, map_shape, multipliers},
};
use swint_ir::{
    Elem, F32, Scale, Type,
    arith::{l2_norm, layer_norm, softmax},
    fused::{Source, Step, body, step_types},
    infer,
    op::{Class, Op},
};

/// What the steps of a body say of its kernel.
#[derive(Default)]
struct Facts {
    maps: Vec<(Op, Vec<usize>)>,
    epsilon: Option<i64>,
}

/// The kernel of a fused op and its inputs: x, then what each step takes in order, then the index map.
pub(super) fn lower(op: &Op, types: &[&Type], y: &Type, operands: &[Operand]) -> (Kernel, Vec<Operand>) {
    let steps = body(op, types.len()).expect("fused ops have bodies");
    let inner = step_types(op, types).expect("the graph is verified");
    let mut inputs = vec![operands[0].clone()];
    let mut facts = Facts::default();
    for (step, (from, _)) in steps.iter().zip(&inner) {
        step_inputs(step, from, operands, &mut inputs, &mut facts);
    }
    let x = types[0];
    let parts = match facts.maps.first() {
        Some((Op::SpaceToDepth { block, .. }, _)) => block * block,
        _ => 1,
    };
    let rows = Rows::moved(x.last(), parts, &facts.maps);
    if rows.period > 0 {
        inputs.push(Operand::Const(ConstSource::Map(facts.maps)));
    }
    let epsilon = || facts.epsilon.expect("there is a LayerNorm");
    let elem_of = |i: usize| types.get(i).map(|ty| ty.elem);
    let kernel = match *op {
        Op::NormLinear { elem, .. } => {
            let epsilon = Some(epsilon());
            Kernel::NormLinear { x: x.elem, rows, epsilon, n: y.last(), bias: true, to: elem, table: elem_of(5) }
        }
        Op::StreamLinear { elem, .. } => {
            let (epsilon, table) = (None, elem_of(3));
            Kernel::NormLinear { x: x.elem, rows, epsilon, n: y.last(), bias: true, to: elem, table }
        }
        Op::PatchMerge { .. } => {
            let (epsilon, bias) = (Some(epsilon()), types.len() > 4);
            Kernel::NormLinear { x: x.elem, rows, epsilon, n: y.last(), bias, to: Elem::I16, table: None }
        }
        Op::LinearResidual { .. } => Kernel::LinearResidual { x: x.elem, rows, n: y.last(), r: types[3].elem },
        Op::NormResidual { .. } => Kernel::NormResidual { x: x.elem, rows, epsilon: epsilon(), r: types[3].elem },
        Op::Mlp { elem, .. } => {
            let epsilon = epsilon();
            Kernel::Mlp { x: x.elem, k: x.last(), hidden: types[3].shape[0], epsilon, to: elem, table: elem_of(7) }
        }
        Op::WindowAttention { heads, elem, .. } => {
            let masks = types.get(2).map_or(0, |m| m.shape[0]);
            let (tokens, channels) = (x.shape[1], y.last());
            Kernel::WindowAttention { x: x.elem, heads, tokens, channels, masks, cosine: false, to: elem }
        }
        Op::CosineAttention { heads, elem, .. } => {
            let masks = types.get(3).map_or(0, |m| m.shape[0]);
            let (tokens, channels) = (x.shape[1], y.last());
            Kernel::WindowAttention { x: x.elem, heads, tokens, channels, masks, cosine: true, to: elem }
        }
        Op::PatchEmbed { .. } => Kernel::LinearNorm { x: x.elem, rows, n: y.last(), epsilon: epsilon() },
        Op::Head { elem, .. } => {
            let (tokens, epsilon) = (x.shape[1] * x.shape[2], epsilon());
            Kernel::Head { x: x.elem, tokens, k: x.last(), n: y.last(), epsilon, to: elem }
        }
        _ => unreachable!("{} is not fused", op.kind()),
    };
    (kernel, inputs)
}

/// How many items a fused kernel works on.
pub(super) fn items(kernel: &Kernel, y: &Type) -> usize {
    match kernel {
        Kernel::WindowAttention { heads, .. } => y.rows() * heads,
        _ => y.rows(),
    }
}

/// What a step takes beside the results of others.
fn step_inputs(step: &Step, from: &[Type], operands: &[Operand], inputs: &mut Vec<Operand>, facts: &mut Facts) {
    let outer = |source: &Source| if let Source::Operand(i) = source { Some(operands[*i].clone()) } else { None };
    match &step.op {
        op if op.kind().class() == Class::Index => facts.maps.push((op.clone(), map_shape(op, &from[0].shape))),
        Op::QLayerNorm { eps, scale, .. } => {
            let epsilon = layer_norm::epsilon(eps.get(), from[0].scale.factor.get(), from[0].last());
            facts.epsilon = Some(epsilon.expect("the graph is verified"));
            inputs.extend(step.operands[1..].iter().filter_map(outer));
            inputs.extend(multipliers(&Type::int(Elem::I32, from[2].scale.clone(), [1]), *scale));
        }
        Op::QLinear { scale, .. } => {
            let from: Vec<&Type> = from.iter().collect();
            let sums = infer(&Op::Linear {}, &from).expect("the graph is verified");
            inputs.extend(step.operands[1..].iter().filter_map(outer));
            inputs.extend(multipliers(&sums, *scale));
        }
        Op::Requantize { elem, scale } => {
            // One scale serves every channel, but a residual, which stays 16 bits wide, is requantized by vectors of channels.
            match outer(&step.operands[0]) {
                Some(stream) if *elem == Elem::I16 => {
                    inputs.push(stream);
                    inputs.extend(multipliers(&from[0], *scale));
                }
                _ => inputs.extend(multipliers(&from[0].with_shape([1]), *scale)),
            }
        }
        Op::QL2Norm { scale, .. } => {
            inputs.extend(multipliers(&Type::int(Elem::I32, Scale::tensor(l2_norm::SCALE), [1]), *scale));
        }
        Op::QSoftmax {} => {
            inputs.push(Operand::Const(ConstSource::Powers));
            inputs.extend(multipliers(&from[0].with_shape([1]), F32::new(softmax::EXPONENT_SCALE)));
        }
        Op::AttnBias { .. } | Op::HeadScale {} | Op::Lut {} => {
            inputs.extend(step.operands[1..].iter().filter_map(outer))
        }
        Op::AttnScores { .. } | Op::AttnValues {} | Op::MeanPool {} | Op::Add {} => {}
        other => unreachable!("{} is in no body", other.kind()),
    }
}
