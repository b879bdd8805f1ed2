//! Random values and random valid graphs: what a program needs to be tried out without a trained model, and what passes
//! are tested on. The same seed gives the same values.

mod graphs;
mod mutate;

pub use graphs::graph;
pub use mutate::mutate;

use crate::{
    graph::Graph,
    infer::MAX_BIAS,
    tensor::{Data, Tensor, Weights},
    types::{Elem, Type},
};
pub use fastrand::Rng;
use std::collections::HashMap;

/// Values of a tensor as an activation may have them: floats within ±2, integers over their whole range (32-bit ones
/// within ±2^24, as sums are); one in eight is zero, and one in eight each is the smallest and the largest.
pub fn tensor(ty: &Type, rng: &mut Rng) -> Tensor {
    let n = ty.elements();
    let data = match ty.elem.range() {
        None => Data::F32(
            (0..n)
                .map(|_| match rng.u8(..8) {
                    0 => 0.0,
                    1 => -2.0,
                    2 => 2.0,
                    _ => (rng.f32() - 0.5) * 4.0,
                })
                .collect(),
        ),
        Some((low, high)) => {
            let (low, high) = (low.max(-(1 << 24)), high.min(1 << 24));
            let value = |_| match rng.u8(..8) {
                0 => 0,
                1 => low,
                2 => high,
                _ => rng.i32(low..=high),
            };
            Data::from_i32(ty.elem, (0..n).map(value))
        }
    };
    Tensor::new(ty.shape.clone(), data)
}

/// A number from about a normal distribution of deviation 1: twelve uniform numbers have a variance of one. (Irwin and Hall)
pub fn normal(rng: &mut Rng) -> f32 {
    (0..12).map(|_| rng.f32() - 0.5).sum()
}

/// Inputs of a graph.
pub fn inputs(graph: &Graph, rng: &mut Rng) -> Vec<Tensor> {
    graph.inputs.iter().map(|input| tensor(&input.ty, rng)).collect()
}

/// Values of a constant: floats uniform with a variance of one over the last extent, as linears are initialised, so that
/// activations neither vanish nor explode; integers of 32 bits as biases are, the others over their whole range.
pub fn weights_of(ty: &Type, rng: &mut Rng) -> Tensor {
    let n = ty.elements();
    let data = match ty.elem {
        Elem::F32 => {
            let limit = (3.0 / ty.last() as f32).sqrt();
            Data::F32((0..n).map(|_| (rng.f32() * 2.0 - 1.0) * limit).collect())
        }
        Elem::I32 => Data::I32((0..n).map(|_| rng.i32(-(MAX_BIAS >> 14)..=MAX_BIAS >> 14)).collect()),
        _ => tensor(ty, rng).data,
    };
    Tensor::new(ty.shape.clone(), data)
}

/// Values for every constant of a verified graph, such that [`crate::verify_weights`] accepts them wherever any are.
/// Channel scales are between 1/256 and 1/64, unless the factors beside them want others.
pub fn weights(graph: &Graph, seed: u64) -> Weights {
    let types = graph.inputs.iter().chain(&graph.consts).map(|d| &d.ty).chain(graph.nodes.iter().map(|n| &n.ty));
    // The smallest and the largest factor beside each constant that is channel scales.
    let mut factors: HashMap<&str, (f32, f32)> = HashMap::new();
    for ty in types {
        if let Some(channels) = &ty.scale.channels {
            let factor = ty.scale.factor.get();
            let range = factors.entry(&channels.name).or_insert((factor, factor));
            *range = (range.0.min(factor), range.1.max(factor));
        }
    }
    let mut rng = Rng::with_seed(seed);
    let mut weights = Weights::default();
    for decl in &graph.consts {
        let tensor = match factors.get(&*decl.name) {
            Some(&(smallest, largest)) => {
                // A little inside the bounds of what a scale may be.
                let low = (1.0f32 / 256.0).max(1.1e-24 / smallest).min(0.2e24 / largest);
                let values = (0..decl.ty.elements()).map(|_| low * (1.0 + 3.0 * rng.f32())).collect();
                Tensor::f32(decl.ty.shape.clone(), values)
            }
            None => weights_of(&decl.ty, &mut rng),
        };
        weights.insert(decl.name.clone(), tensor);
    }
    weights
}
