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
        OpKind::Softmax | OpKind::QSoftmax => 25.0,
        OpKind::LayerNorm | OpKind::QLayerNorm => 8.0,
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
    let mut time = arithmetic(op.kind(), operands, result).time(target);
    if op.kind().is_fused() {
        let inner = fused::step_types(op, operands).expect("the op is typed");
        let steps = fused::body(op, operands.len()).expect("it is fused");
        if kept(op, &steps, &inner) > target.on_chip {
            return INFEASIBLE;
        }
        time = arithmetic_of(&steps, &inner).map(|work| work.time(target)).sum();
    }
    Cost((target.launch + time.max(moved(operands, result) as f64 / target.bandwidth)) as u64)
}

/// What a kernel of one op does, however long it takes: the roofline's coordinates.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Work {
    /// Bytes that it must move: operands and result, each once.
    pub bytes: usize,
    /// Multiply-adds of integers.
    pub int8: f64,
    /// Float multiply-adds and other elementary operations.
    pub scalar: f64,
}

impl Work {
    /// The work of an op; of a fused op that of its steps, whose results between them it does not move.
    ///
    /// # Panics
    /// When the op does not take these operands.
    pub fn of(op: &Op, operands: &[&Type], result: &Type) -> Work {
        let mut work = arithmetic(op.kind(), operands, result);
        if op.kind().is_fused() {
            let inner = fused::step_types(op, operands).expect("the op is typed");
            let steps = fused::body(op, operands.len()).expect("it is fused");
            for step in arithmetic_of(&steps, &inner) {
                work.int8 += step.int8;
                work.scalar += step.scalar;
            }
        }
        Work { bytes: moved(operands, result), ..work }
    }

    /// Operations, a multiply-add being one.
    pub fn operations(&self) -> f64 {
        self.int8 + self.scalar
    }

    /// Picoseconds that a target computes, without the launch and memory.
    fn time(&self, target: &Target) -> f64 {
        self.int8 / target.int8 + self.scalar / target.scalar
    }

    /// Picoseconds that a target takes at least, without the launch: what it computes, or what it moves.
    pub fn least(&self, target: &Target) -> f64 {
        self.time(target).max(self.bytes as f64 / target.bandwidth)
    }

    /// Whether a target computes for longer than it moves.
    pub fn computes(&self, target: &Target) -> bool {
        self.time(target) > self.bytes as f64 / target.bandwidth
    }
}

fn moved(operands: &[&Type], result: &Type) -> usize {
    operands.iter().map(|ty| ty.bytes()).sum::<usize>() + result.bytes()
}

/// The arithmetic of a fused op's steps.
fn arithmetic_of(steps: &[Step], inner: &[(Vec<Type>, Type)]) -> impl Iterator<Item = Work> {
    (steps.iter().zip(inner))
        .map(|(step, (from, to))| arithmetic(step.op.kind(), &from.iter().collect::<Vec<_>>(), to))
}

/// The arithmetic of an op; of a fused op its steps must be asked.
fn arithmetic(kind: OpKind, operands: &[&Type], result: &Type) -> Work {
    match kind.class() {
        Class::Fused | Class::Index => Work::default(),
        Class::Contract => {
            // The length of the sum is the contracted extent: of the weights, the head or the window.
            let length = match kind {
                OpKind::AttnScores => operands[0].last() / result.shape[1],
                _ => operands[0].last(),
            };
            let products = (result.elements() * length) as f64;
            if result.is_float() {
                Work { scalar: products, ..Work::default() }
            } else {
                Work { int8: products, ..Work::default() }
            }
        }
        _ => {
            let elements = result.elements().max(operands[0].elements()) as f64;
            Work { scalar: elements * operations(kind), ..Work::default() }
        }
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
    use swint_ir::{Elem, F32, Scale, random};

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
    fn an_estimate_is_the_launch_and_the_work() {
        let target = Target::default();
        let mut fused = 0;
        for seed in 0..300 {
            let graph = random::graph(seed, 12);
            for node in &graph.nodes {
                let operands: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
                let estimate = estimate(&node.op, &operands, &node.ty, &target);
                let work = Work::of(&node.op, &operands, &node.ty);
                let expected = target.launch + work.least(&target);
                let close = (estimate.0 as f64 - expected).abs() <= 1.0 + 1e-12 * expected;
                assert!(close || estimate == INFEASIBLE, "{}: {estimate:?}, {expected}", node.op.kind());
                assert_eq!(work.computes(&target), work.least(&target) > work.bytes as f64 / target.bandwidth);
                fused += usize::from(node.op.kind().is_fused() && estimate != INFEASIBLE);
            }
        }
        assert!(fused > 50, "{fused}");
        // What is moved is not computed, and a product is one operation.
        let (x, w) = (Type::int(Elem::I8, Scale::UNIT, [3, 8]), Type::int(Elem::I8, Scale::UNIT, [5, 8]));
        let y = Type::int(Elem::I32, Scale::UNIT, [3, 5]);
        let work = Work::of(&Op::Linear {}, &[&x, &w], &y);
        assert_eq!(work, Work { bytes: 24 + 40 + 60, int8: 120.0, scalar: 0.0 });
    }

    #[test]
    fn sums_saturate() {
        assert_eq!([Cost(u64::MAX), Cost(1)].into_iter().sum::<Cost>(), Cost(u64::MAX));
    }
}
