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
fn operations(kind: OpKind) -> u64 {
    match kind {
        OpKind::Gelu => 30,
        OpKind::FloatGelu => 35,
        OpKind::Softmax | OpKind::QSoftmax => 25,
        OpKind::LayerNorm | OpKind::QLayerNorm | OpKind::L2Norm | OpKind::QL2Norm => 8,
        OpKind::Requantize | OpKind::Quantize | OpKind::AttnBias | OpKind::Normalize => 4,
        _ => 1,
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

/// What an op has to do, whatever the device.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Work {
    /// Bytes of its operands and its result, each moved once.
    pub bytes: u64,
    /// Multiply-adds of 8-bit integers.
    pub int8: u64,
    /// Multiply-adds of floats.
    pub float: u64,
    /// Other elementary operations.
    pub elementary: u64,
}

impl std::ops::Add for Work {
    type Output = Work;
    fn add(self, other: Work) -> Work {
        Work {
            bytes: self.bytes.saturating_add(other.bytes),
            int8: self.int8.saturating_add(other.int8),
            float: self.float.saturating_add(other.float),
            elementary: self.elementary.saturating_add(other.elementary),
        }
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Work>>(all: I) -> Work {
        all.fold(Work::default(), |a, b| a + b)
    }
}

impl Work {
    /// What an op has to do; a fused one what its body has, but for the bytes between its steps.
    ///
    /// # Panics
    /// When the op does not take these operands.
    pub fn of(op: &Op, operands: &[&Type], result: &Type) -> Work {
        let work = if op.kind().is_fused() {
            let (steps, inner) = body(op, operands);
            let of_step = |(step, (from, to)): (&Step, &(Vec<Type>, Type))| {
                arithmetic(step.op.kind(), &from.iter().collect::<Vec<_>>(), to)
            };
            steps.iter().zip(&inner).map(of_step).sum()
        } else {
            arithmetic(op.kind(), operands, result)
        };
        let bytes = operands.iter().map(|ty| ty.bytes()).sum::<usize>() + result.bytes();
        Work { bytes: bytes as u64, ..work }
    }

    /// Operations as rates are given in: a multiply-add is two.
    pub fn operations(&self) -> u64 {
        2 * (self.int8 + self.float) + self.elementary
    }

    /// The least picoseconds on a target: `max(bytes / bandwidth, operations / rate)`, the roofline (Williams et al., 2009).
    pub fn roofline(&self, target: &Target) -> f64 {
        let other = (self.float + self.elementary) as f64 / target.scalar;
        (self.int8 as f64 / target.int8 + other).max(self.bytes as f64 / target.bandwidth)
    }
}

/// `launch +` [`Work::roofline`] of one op; more than any program takes where it would have to keep more on the chip than there is
/// room for.
///
/// # Panics
/// When the op does not take these operands.
pub fn estimate(op: &Op, operands: &[&Type], result: &Type, target: &Target) -> Cost {
    if op.kind().is_fused() {
        let (steps, inner) = body(op, operands);
        if kept(op, &steps, &inner) > target.on_chip {
            return INFEASIBLE;
        }
    }
    Cost((target.launch + Work::of(op, operands, result).roofline(target)) as u64)
}

/// The steps of a fused op, and of each the types of its operands and its result.
fn body(op: &Op, operands: &[&Type]) -> (Vec<Step>, Vec<(Vec<Type>, Type)>) {
    let inner = fused::step_types(op, operands).expect("the op is typed");
    (fused::body(op, operands.len()).expect("it is fused"), inner)
}

/// What an op computes; of a fused op its steps must be asked.
fn arithmetic(kind: OpKind, operands: &[&Type], result: &Type) -> Work {
    match kind.class() {
        Class::Fused | Class::Index => Work::default(),
        Class::Contract => {
            // The length of the sum is the contracted extent: of the weights, the head or the window.
            let length = match kind {
                OpKind::AttnScores => operands[0].last() / result.shape[1],
                _ => operands[0].last(),
            };
            let products = (result.elements() * length) as u64;
            if result.is_float() {
                Work { float: products, ..Work::default() }
            } else {
                Work { int8: products, ..Work::default() }
            }
        }
        _ => {
            let elements = result.elements().max(operands[0].elements()) as u64;
            Work { elementary: elements * operations(kind), ..Work::default() }
        }
    }
}

/// Bytes that a fused kernel keeps on the chip: of a tile of rows, the results of all products, softmaxes and means but the last;
/// in attention all q, k and v of one head. Normalised rows stream through with their means and
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
        // Of one head of one window; scores are in registers.
        OpKind::WindowAttention | OpKind::CosineAttention => {
            let scores = steps.iter().position(|step| step.op.kind() == OpKind::AttnScores);
            let (from, scores) = &inner[scores.expect("attention has scores")];
            3 * from[0].bytes().div_ceil(scores.shape[0] * scores.shape[1])
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
    fn work_counts_products_bytes_and_what_comes_after() {
        let scale = Scale::tensor(0.1);
        let (x, w) = (Type::int(Elem::I8, scale.clone(), [16, 96]), Type::int(Elem::I8, scale.clone(), [32, 96]));
        let y = Type::int(Elem::I8, scale, [16, 32]);
        let op = Op::QLinear { elem: Elem::I8, scale: F32::new(0.1) };
        let work = Work::of(&op, &[&x, &w], &y);
        let sums = 16 * 32;
        assert_eq!((work.bytes, work.int8, work.float), (16 * 96 + 32 * 96 + sums, sums * 96, 0));
        // A product is two operations.
        assert_eq!(work.operations(), sums * 96 * 2);
        let norm = Work::of(&Op::LayerNorm { eps: F32::new(1e-5) }, &[&Type::f32([16, 96])], &Type::f32([16, 96]));
        assert_eq!(norm.operations(), 16 * 96 * 8);
        let target = Target { bandwidth: 1.0, int8: 1e9, scalar: 1e9, launch: 5.0, ..Target::default() };
        assert_eq!(estimate(&op, &[&x, &w], &y, &target).0, 5 + work.bytes);
    }

    #[test]
    fn sums_saturate() {
        assert_eq!([Cost(u64::MAX), Cost(1)].into_iter().sum::<Cost>(), Cost(u64::MAX));
    }
}
