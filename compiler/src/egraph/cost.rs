//! What a program costs: the roofline of each op on a described target.

use super::Target;
use std::iter::Sum;
use swint_ir::{
    Graph, Type,
    op::{Class, OpKind},
};

/// Estimated time in picoseconds; sums saturate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
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

/// `launch + max(bytes / bandwidth, operations / rate)` of one op.
pub(super) fn node_cost(kind: OpKind, operands: &[&Type], result: &Type, target: &Target) -> Cost {
    let bytes: usize = operands.iter().map(|ty| ty.bytes()).sum::<usize>() + result.bytes();
    let compute = if kind.class() == Class::Contract {
        // The length of the sum is the contracted extent: of the weights, the head or the window.
        let length = match kind {
            OpKind::AttnScores => operands[0].last() / result.shape[1],
            _ => operands[0].last(),
        };
        let products = (result.elements() * length) as f64;
        products / if result.is_float() { target.scalar } else { target.int8 }
    } else {
        result.elements().max(operands[0].elements()) as f64 * operations(kind) / target.scalar
    };
    Cost((target.launch + compute.max(bytes as f64 / target.bandwidth)) as u64)
}

/// The sum over a graph's nodes.
pub(super) fn graph_cost(graph: &Graph, target: &Target) -> Cost {
    graph
        .nodes
        .iter()
        .map(|node| {
            let types: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
            node_cost(node.op.kind(), &types, &node.ty, target)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::{Elem, Scale};

    #[test]
    fn a_table_is_cheaper_than_the_float_detour() {
        let t = Target::default();
        let q = Type::int(Elem::I8, Scale::UNIT, [3136, 384]);
        let f = Type::f32([3136, 384]);
        let table = Type::int(Elem::I8, Scale::UNIT, [256]);
        let detour = node_cost(OpKind::Dequantize, &[&q], &f, &t)
            + node_cost(OpKind::Gelu, &[&f], &f, &t)
            + node_cost(OpKind::Quantize, &[&f], &q, &t);
        assert!(node_cost(OpKind::Lut, &[&q, &table], &q, &t).0 * 3 < detour.0);
    }

    #[test]
    fn sums_saturate() {
        assert_eq!([Cost(u64::MAX), Cost(1)].into_iter().sum::<Cost>(), Cost(u64::MAX));
    }
}
