//! What a program costs: the roofline of each op on a described target.

use super::Target;
use serde::{Deserialize, Serialize};
use std::iter::Sum;
use swint_ir::{
    Graph, Type,
    fused::{self, Step},
    op::{Class, Op, OpKind},
};

/// Estimated time in picoseconds; sums saturate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
pub struct Cost(pub u64);

impl std::ops::Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost(self.0.saturating_add(other.0))
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |a, b| a + b)
    }
}

impl Cost {
    /// Microseconds.
    pub fn micros(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// Elementary operations for each element that an op works on.
fn operations(kind: OpKind) -> f64 {
    match kind {
        OpKind::Gelu => 30.0,
        OpKind::FloatGelu => 35.0,
        OpKind::Softmax | OpKind::QSoftmax => 25.0,
        OpKind::LayerNorm | OpKind::QLayerNorm | OpKind::L2Norm | OpKind::QL2Norm => 8.0,
        OpKind::Requantize | OpKind::Quantize | OpKind::AttnBias | OpKind::Normalize => 4.0,
        _ => 1.0,
    }
}

/// Rows of a tile: how many a kernel works on before it writes results.
const TILE: usize = 64;

/// What a kernel costs that does not fit on the chip: more than any program, yet a program that has one can be extracted.
const INFEASIBLE: Cost = Cost(1_000_000_000_000_000);

/// The time of one op: measured, or estimated.
pub(super) fn node_cost(op: &Op, operands: &[&Type], result: &Type, target: &Target) -> Cost {
    match &target.timings {
        None => estimate(op, operands, result, target),
        Some(timings) => timings.get(op, operands, result).unwrap_or_else(|| {
            let estimate = estimate(op, operands, result, target);
            if estimate == INFEASIBLE { INFEASIBLE } else { timings.scaled(estimate).min(INFEASIBLE) }
        }),
    }
}

/// `launch + max(bytes / bandwidth, operations / rate)` of one op; more than any program takes where it would have to keep more on
/// the chip than there is room for.
///
/// # Panics
/// When the op does not take these operands.
pub fn estimate(op: &Op, operands: &[&Type], result: &Type, target: &Target) -> Cost {
    let bytes: usize = operands.iter().map(|ty| ty.bytes()).sum::<usize>() + result.bytes();
    let mut time = compute(op.kind(), operands, result, target);
    if op.kind().is_fused() {
        let inner = fused::step_types(op, operands).expect("the op is typed");
        let steps = fused::body(op, operands.len()).expect("it is fused");
        if kept(op, &steps, &inner) > target.on_chip {
            return INFEASIBLE;
        }
        let of_step = |(step, (from, to)): (&Step, &(Vec<Type>, Type))| {
            compute(step.op.kind(), &from.iter().collect::<Vec<_>>(), to, target)
        };
        time = steps.iter().zip(&inner).map(of_step).sum();
    }
    Cost((target.launch + time.max(bytes as f64 / target.bandwidth)) as u64)
}

/// Picoseconds that an op computes; of a fused op its steps must be asked.
fn compute(kind: OpKind, operands: &[&Type], result: &Type, target: &Target) -> f64 {
    match kind.class() {
        Class::Fused | Class::Index => 0.0,
        Class::Contract => {
            // The length of the sum is the contracted extent: of the weights, the head or the window.
            let length = match kind {
                OpKind::AttnScores => operands[0].last() / result.shape[1],
                _ => operands[0].last(),
            };
            let products = (result.elements() * length) as f64;
            products / if result.is_float() { target.scalar } else { target.int8 }
        }
        _ => result.elements().max(operands[0].elements()) as f64 * operations(kind) / target.scalar,
    }
}

/// Bytes that a fused kernel keeps on the chip: of a tile of rows, the results of all products, softmaxes and means but the last;
/// in attention of a tile of queries of one head, and all of its k and v. Normalised rows stream through with their means and
/// deviations, but in an MLP, whose hidden layer is made part by part and reads them as often.
fn kept(op: &Op, steps: &[Step], inner: &[(Vec<Type>, Type)]) -> usize {
    let streams = |kind: OpKind| kind == OpKind::QLayerNorm && op.kind() != OpKind::Mlp;
    let mut rows_and_products: Vec<&Type> = (steps.iter().zip(inner))
        .filter(|(step, _)| matches!(step.op.kind().class(), Class::Row | Class::Contract) && !streams(step.op.kind()))
        .map(|(_, (_, ty))| ty)
        .collect();
    // The last is written as it is made: of a patch embedding, whose norm comes last, nothing else is.
    if op.kind() != OpKind::PatchEmbed {
        rows_and_products.pop();
    }
    match op.kind() {
        OpKind::WindowAttention => {
            let (from, scores) = &inner[0];
            let (heads, tokens) = (scores.shape[0] * scores.shape[1], scores.last());
            let head = |ty: &Type| ty.bytes().div_ceil(heads);
            let rows: usize = rows_and_products.iter().map(|ty| head(ty)).sum::<usize>() + head(&from[0]);
            (rows * TILE.min(tokens)).div_ceil(tokens) + 2 * head(&from[0])
        }
        _ => rows_and_products.iter().map(|ty| ty.last() * ty.elem.bytes() * TILE.min(ty.rows())).sum(),
    }
}

/// The sum over a graph's nodes.
pub(super) fn graph_cost(graph: &Graph, target: &Target) -> Cost {
    graph
        .nodes
        .iter()
        .map(|node| {
            let types: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
            node_cost(&node.op, &types, &node.ty, target)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::{Elem, F32, Scale};

    #[test]
    fn a_table_is_cheaper_than_the_float_detour() {
        let t = Target::default();
        let q = Type::int(Elem::I8, Scale::UNIT, [3136, 384]);
        let f = Type::f32([3136, 384]);
        let table = Type::int(Elem::I8, Scale::UNIT, [256]);
        let detour = node_cost(&Op::Dequantize {}, &[&q], &f, &t)
            + node_cost(&Op::Gelu {}, &[&f], &f, &t)
            + node_cost(&Op::Quantize { elem: Elem::I8, scale: F32::ONE }, &[&f], &q, &t);
        assert!(node_cost(&Op::Lut {}, &[&q, &table], &q, &t).0 * 3 < detour.0);
    }

    #[test]
    fn sums_saturate() {
        assert_eq!([Cost(u64::MAX), Cost(1)].into_iter().sum::<Cost>(), Cost(u64::MAX));
    }
}
