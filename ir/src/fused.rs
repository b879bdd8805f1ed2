//! Fused ops: what each is, in terms of the others.
//!
//! A fused op is its body, a short program of simpler ops. Type inference, the interpreter, the verifier's bounds and the planner's
//! constants all come from the body, so that a fused op cannot mean anything but the ops that it stands for.

use crate::{
    infer::{MAX_BIAS, MAX_SCORE_BIAS, TypeError, infer},
    op::{Op, OpKind, Order},
    pair::Pair,
    types::{Elem, F32, Type},
};
use std::ops::Range;

/// Where an operand of a step comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// An operand of the fused op.
    Operand(usize),
    /// The channels of one of so many equal parts of an operand of the fused op.
    Part {
        /// Which operand.
        operand: usize,
        /// Which part.
        index: usize,
        /// How many parts it has.
        of: usize,
    },
    /// The result of an earlier step.
    Step(usize),
}

/// A step of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it does.
    pub op: Op,
    /// What it does it to.
    pub operands: Vec<Source>,
}

/// q, k and v.
const THIRDS: [Source; 3] = [third(0), third(1), third(2)];

const fn third(index: usize) -> Source {
    Source::Part { operand: 0, index, of: 3 }
}

/// Steps in order; the last gives the result.
#[derive(Default)]
struct Body(Vec<Step>);

impl Body {
    fn push(&mut self, op: Op, operands: &[Source]) -> Source {
        self.0.push(Step { op, operands: operands.to_vec() });
        Source::Step(self.0.len() - 1)
    }

    /// LayerNorm of integers, with γ and β from operand 1 on.
    fn norm(&mut self, x: Source, first: usize, eps: F32, elem: Elem, scale: F32) -> Source {
        let operands = [x, Source::Operand(first), Source::Operand(first + 1)];
        self.push(Op::QLayerNorm { eps, elem, scale }, &operands)
    }

    /// A linear with weights and bias from operand `first` on.
    fn linear(&mut self, x: Source, first: usize, elem: Elem, scale: F32) -> Source {
        self.push(Op::QLinear { elem, scale }, &[x, Source::Operand(first), Source::Operand(first + 1)])
    }

    /// Addition to the residual stream, which is requantized to the sum's scale first.
    fn residual(&mut self, r: usize, y: Source, scale: F32) -> Source {
        let r = self.push(Op::Requantize { elem: Elem::I16, scale }, &[Source::Operand(r)]);
        self.push(Op::Add {}, &[r, y])
    }

    /// Softmax of scores with the biases that are those operands, and what it makes of values, requantized.
    fn attention(&mut self, scores: Source, biases: Range<usize>, v: Source, factor: F32, elem: Elem, scale: F32) {
        let biases: Vec<Source> = [scores].into_iter().chain(biases.map(Source::Operand)).collect();
        let scores = self.push(Op::AttnBias { scale: factor }, &biases);
        let p = self.push(Op::QSoftmax {}, &[scores]);
        let y = self.push(Op::AttnValues {}, &[p, v]);
        self.push(Op::Requantize { elem, scale }, &[y]);
    }

    /// From an image to windows, padded before the shift and after it.
    fn partitioned(
        &mut self,
        x: Source,
        pad: Pair<usize>,
        shift: Pair<i64>,
        fill: Pair<usize>,
        window: Pair<usize>,
    ) -> Source {
        let y = self.pad(x, pad);
        let y = self.roll(y, shift);
        let y = self.pad(y, fill);
        if window == 0.into() { y } else { self.push(Op::WindowPartition { window }, &[y]) }
    }

    /// From windows to an image of so many rows and columns, cropped before the shift and after it.
    fn reversed(
        &mut self,
        x: Source,
        window: Pair<usize>,
        (height, width): (usize, usize),
        cut: Pair<usize>,
        shift: Pair<i64>,
        crop: Pair<usize>,
    ) -> Source {
        let mut y = x;
        if window != 0.into() {
            y = self.push(Op::WindowReverse { window, height, width }, &[y]);
        }
        let y = self.crop(y, cut);
        let y = self.roll(y, shift);
        self.crop(y, crop)
    }

    fn roll(&mut self, x: Source, shift: Pair<i64>) -> Source {
        if shift == 0.into() { x } else { self.push(Op::Roll { shift }, &[x]) }
    }

    fn pad(&mut self, x: Source, sides: Pair<usize>) -> Source {
        if sides == 0.into() { x } else { self.push(Op::Pad { sides }, &[x]) }
    }

    fn crop(&mut self, x: Source, sides: Pair<usize>) -> Source {
        if sides == 0.into() { x } else { self.push(Op::Crop { sides }, &[x]) }
    }
}

/// The body of an op on so many operands; `None` where it has none.
pub fn body(op: &Op, operands: usize) -> Option<Vec<Step>> {
    let mut body = Body::default();
    let x = Source::Operand(0);
    match *op {
        Op::QLinear { elem, scale } => {
            let operands: Vec<Source> = (0..operands).map(Source::Operand).collect();
            let sums = body.push(Op::Linear {}, &operands);
            body.push(Op::Requantize { elem, scale }, &[sums]);
        }
        Op::FloatGelu { elem, scale } => {
            let real = body.push(Op::Dequantize {}, &[x]);
            let y = body.push(Op::Gelu {}, &[real]);
            body.push(Op::Quantize { elem, scale }, &[y]);
        }
        Op::NormLinear { eps, norm, pad, shift, fill, window, elem, scale } => {
            let y = body.norm(x, 1, eps, Elem::I8, norm);
            let y = body.partitioned(y, pad, shift, fill, window);
            let y = body.linear(y, 3, elem, scale);
            if operands > 5 {
                body.push(Op::Lut {}, &[y, Source::Operand(5)]);
            }
        }
        Op::StreamLinear { cast, block, pad, shift, fill, window, elem, scale } => {
            let mut y = body.push(Op::Requantize { elem: Elem::I8, scale: cast }, &[x]);
            if block != 0 {
                y = body.push(Op::SpaceToDepth { block, order: Order::Column }, &[y]);
            }
            let y = body.partitioned(y, pad, shift, fill, window);
            let y = body.linear(y, 1, elem, scale);
            if operands > 3 {
                body.push(Op::Lut {}, &[y, Source::Operand(3)]);
            }
        }
        Op::WindowAttention { heads, factor, elem, scale } => {
            let [q, k, v] = THIRDS;
            let scores = body.push(Op::AttnScores { heads }, &[q, k]);
            body.attention(scores, 1..operands, v, factor, elem, scale);
        }
        Op::CosineAttention { heads, unit, value, factor, elem, scale } => {
            let [q, k, v] = THIRDS;
            let [q, k] = [q, k].map(|x| body.push(Op::QL2Norm { heads, elem: Elem::I8, scale: unit }, &[x]));
            let v = body.push(Op::Requantize { elem: Elem::I8, scale: value }, &[v]);
            let scores = body.push(Op::AttnScores { heads }, &[q, k]);
            let scores = body.push(Op::HeadScale {}, &[scores, Source::Operand(1)]);
            body.attention(scores, 2..operands, v, factor, elem, scale);
        }
        Op::LinearResidual { window, height, width, cut, shift, crop, scale } => {
            let y = body.linear(x, 1, Elem::I16, scale);
            let y = body.reversed(y, window, (height, width), cut, shift, crop);
            body.residual(3, y, scale);
        }
        Op::NormResidual { eps, window, height, width, cut, shift, crop, scale } => {
            let y = body.norm(x, 1, eps, Elem::I16, scale);
            let y = body.reversed(y, window, (height, width), cut, shift, crop);
            body.residual(3, y, scale);
        }
        Op::Mlp { eps, norm, elem, hidden, scale } => {
            let y = body.norm(x, 1, eps, Elem::I8, norm);
            let mut y = body.linear(y, 3, elem, hidden);
            if operands > 7 {
                y = body.push(Op::Lut {}, &[y, Source::Operand(7)]);
            }
            let y = body.linear(y, 5, Elem::I16, scale);
            body.residual(0, y, scale);
        }
        Op::PatchEmbed { block, linear, eps, scale } => {
            let y = body.push(Op::SpaceToDepth { block, order: Order::Row }, &[x]);
            let y = body.linear(y, 1, Elem::I16, linear);
            body.norm(y, 3, eps, Elem::I16, scale);
        }
        Op::PatchMerge { eps, norm, scale } => {
            let y = body.push(Op::SpaceToDepth { block: 2, order: Order::Column }, &[x]);
            let y = body.norm(y, 1, eps, Elem::I8, norm);
            let linear: Vec<Source> = [y].into_iter().chain((3..operands).map(Source::Operand)).collect();
            body.push(Op::QLinear { elem: Elem::I16, scale }, &linear);
        }
        Op::Head { eps, norm, mean, elem, scale } => {
            let y = body.norm(x, 1, eps, Elem::I16, norm);
            let y = body.push(Op::MeanPool {}, &[y]);
            let y = body.push(Op::Requantize { elem: Elem::I8, scale: mean }, &[y]);
            body.linear(y, 3, elem, scale);
        }
        _ => return None,
    }
    Some(body.0)
}

/// The type of a part of the channels.
fn part(ty: &Type, of: usize) -> Result<Type, String> {
    let channels = ty.last();
    if ty.rank() == 0 || ty.scale.channels.is_some() || !channels.is_multiple_of(of) {
        return Err(format!("takes {of} parts of equal width with one scale, not {ty}"));
    }
    let mut part = ty.clone();
    *part.shape.last_mut().expect("rank checked") = channels / of;
    Ok(part)
}

/// The types of the operands of every step and of its result, for operands of the fused op.
///
/// # Errors
/// When a step does not take its operands.
pub fn step_types(op: &Op, operands: &[&Type]) -> Result<Vec<(Vec<Type>, Type)>, TypeError> {
    let steps = body(op, operands.len()).unwrap_or_default();
    let fail = |message: String| TypeError { op: op.kind(), message };
    // What a LayerNorm would take: others requantize by channels.
    if let (Op::StreamLinear { .. }, [x, ..]) = (op, operands)
        && !(matches!(x.elem, Elem::I8 | Elem::I16) && x.scale.channels.is_none())
    {
        return Err(fail(format!("takes i8 or i16 with one scale, not {x}")));
    }
    // One map moves parts of rows, the others rows.
    if let Op::StreamLinear { block: 1.., pad, shift, fill, window, .. } = *op
        && !(pad == 0.into() && shift == 0.into() && fill == 0.into() && window == 0.into())
    {
        return Err(fail("takes blocks, or padding, shift and windows, but not both".to_owned()));
    }
    let mut types: Vec<(Vec<Type>, Type)> = Vec::with_capacity(steps.len());
    for step in &steps {
        let resolve = |source: &Source| match *source {
            Source::Operand(i) => Ok(operands[i].clone()),
            Source::Part { operand, of, .. } => part(operands[operand], of).map_err(fail),
            Source::Step(i) => Ok(types[i].1.clone()),
        };
        let inputs: Vec<Type> = step.operands.iter().map(resolve).collect::<Result<_, _>>()?;
        let refs: Vec<&Type> = inputs.iter().collect();
        let result = infer(&step.op, &refs).map_err(|error| fail(format!("its {error}")))?;
        types.push((inputs, result));
    }
    Ok(types)
}

/// The operands of an op that are integer biases where it works on integers, each with its largest magnitude: constants,
/// for the bounds on overflow count on them.
pub fn integer_biases(op: &Op, operands: usize) -> Vec<(usize, i32)> {
    if let Some(steps) = body(op, operands) {
        let of_step = |step: &Step| {
            let biases = integer_biases(&step.op, step.operands.len()).into_iter();
            let outer = biases.filter_map(|(i, most)| match step.operands[i] {
                Source::Operand(operand) => Some((operand, most)),
                _ => None,
            });
            outer.collect::<Vec<_>>()
        };
        return steps.iter().flat_map(of_step).collect();
    }
    let (positions, most) = match op.kind() {
        OpKind::Linear | OpKind::QLayerNorm => (2..3, MAX_BIAS),
        OpKind::BiasAdd => (1..2, MAX_BIAS),
        OpKind::AttnBias => (1..3, MAX_SCORE_BIAS),
        _ => (0..0, 0),
    };
    positions.filter(|&i| i < operands).map(|i| (i, most)).collect()
}

/// The ops on floats that an op between integers has inside.
pub fn floats(kind: OpKind) -> &'static [OpKind] {
    match kind {
        OpKind::FloatGelu => &[OpKind::Dequantize, OpKind::Gelu, OpKind::Quantize],
        _ => &[],
    }
}

/// Whether an op is of a kind, or has one of it on floats inside.
pub fn is_or_has(op: OpKind, kind: OpKind) -> bool {
    op == kind || floats(op).contains(&kind)
}

/// The operands of an op that are weights of a linear.
pub fn linear_weights(op: &Op, operands: usize) -> Vec<usize> {
    let Some(steps) = body(op, operands) else {
        return if op.kind() == OpKind::Linear { vec![1] } else { Vec::new() };
    };
    let of_step = |step: &Step| {
        let weights = linear_weights(&step.op, step.operands.len()).into_iter();
        let outer = weights.filter_map(|i| if let Source::Operand(i) = step.operands[i] { Some(i) } else { None });
        outer.collect::<Vec<_>>()
    };
    steps.iter().flat_map(of_step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fused_op_has_a_body_that_reads_every_operand() {
        for kind in OpKind::ALL.iter().filter(|kind| kind.is_fused()) {
            let op = crate::reference::example(*kind).nodes[0].op.clone();
            let (fewest, most) = kind.arity();
            for operands in fewest..=most {
                let steps = body(&op, operands).unwrap_or_else(|| panic!("{kind} has no body"));
                for i in 0..operands {
                    let reads = |source: &Source| match *source {
                        Source::Operand(operand) | Source::Part { operand, .. } => operand == i,
                        Source::Step(_) => false,
                    };
                    assert!(steps.iter().any(|step| step.operands.iter().any(reads)), "{kind}: operand {i}");
                }
            }
        }
    }

    #[test]
    fn the_ops_with_floats_inside_are_known() {
        for &kind in OpKind::ALL {
            let example = crate::reference::example(kind);
            let node = example.nodes.last().expect("an example has a node");
            let types: Vec<&Type> = node.operands.iter().map(|&v| example.ty(v)).collect();
            let steps = body(&node.op, types.len()).unwrap_or_default();
            let inner = step_types(&node.op, &types).unwrap();
            let is_float = |types: &(Vec<Type>, Type)| types.1.is_float() || types.0.iter().any(Type::is_float);
            let inside = steps.iter().zip(&inner).filter(|(_, types)| is_float(types));
            let inside: Vec<OpKind> = inside.map(|(step, _)| step.op.kind()).collect();
            assert_eq!(inside, floats(node.op.kind()), "{kind}");
        }
        assert!(is_or_has(OpKind::FloatGelu, OpKind::Gelu) && !is_or_has(OpKind::Gelu, OpKind::FloatGelu));
    }

    #[test]
    fn blocks_and_windows_of_one_linear_are_refused() {
        let graph = crate::reference::example(OpKind::StreamLinear);
        let types: Vec<&Type> = graph.nodes[0].operands.iter().map(|&v| graph.ty(v)).collect();
        let Op::StreamLinear { cast, pad, shift, fill, window, elem, scale, .. } = graph.nodes[0].op else {
            panic!("{:?}", graph.nodes[0].op)
        };
        let none = Pair::from(0);
        let of = |block, shift, window| {
            let op = Op::StreamLinear { cast, block, pad, shift, fill, window, elem, scale };
            // The weights are for rows of one block of one.
            step_types(&op, &types).map(|_| ()).map_err(|error| error.message)
        };
        assert_eq!(of(0, shift, window), Ok(()));
        assert_eq!(of(1, Pair::from(0), none), Ok(()));
        for (shift, window) in [(shift, none), (Pair::from(0), window)] {
            assert!(of(1, shift, window).unwrap_err().contains("but not both"));
        }
    }

    #[test]
    fn biases_and_weights_are_found_through_bodies() {
        let op = crate::reference::example(OpKind::Mlp).nodes[0].op.clone();
        assert_eq!(integer_biases(&op, 8), [(2, MAX_BIAS), (4, MAX_BIAS), (6, MAX_BIAS)]);
        assert_eq!(linear_weights(&op, 8), [3, 5]);
        let op = crate::reference::example(OpKind::WindowAttention).nodes[0].op.clone();
        assert_eq!(integer_biases(&op, 2), [(1, MAX_SCORE_BIAS)]);
        assert_eq!(integer_biases(&op, 3), [(1, MAX_SCORE_BIAS), (2, MAX_SCORE_BIAS)]);
    }
}
