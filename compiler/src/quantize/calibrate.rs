//! Observes the ranges of activations.

use std::collections::HashMap;
use swint_ir::{Graph, Module, NodeId, Tensor, Value, interp};

/// The smallest and the largest value of each float activation, over all calibration inputs.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Ranges(HashMap<Value, (f32, f32)>);

impl Ranges {
    /// The largest magnitude of a value; `None` if it was not observed.
    pub fn max_abs(&self, value: Value) -> Option<f32> {
        self.0.get(&value).map(|(low, high)| low.abs().max(high.abs()))
    }

    fn observe(&mut self, value: Value, data: &[f32]) {
        let range = self.0.entry(value).or_insert((f32::INFINITY, f32::NEG_INFINITY));
        for &x in data {
            *range = (range.0.min(x), range.1.max(x));
        }
    }

    fn merge(&mut self, other: Ranges) {
        for (value, (low, high)) in other.0 {
            let range = self.0.entry(value).or_insert((low, high));
            *range = (range.0.min(low), range.1.max(high));
        }
    }
}

/// Runs a float module on each input and records the ranges; inputs are spread over the machine's cores.
///
/// # Errors
/// When an input does not fit the graph.
pub fn calibrate(module: &Module, inputs: &[Tensor]) -> Result<Ranges, interp::InterpError> {
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get()).min(inputs.len().max(1));
    let share = inputs.len().div_ceil(workers).max(1);
    let partial: Vec<Result<Ranges, interp::InterpError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = inputs.chunks(share).map(|chunk| scope.spawn(|| observe_all(module, chunk))).collect();
        threads.into_iter().map(|t| t.join().expect("the interpreter does not panic on a verified module")).collect()
    });
    let mut all = Ranges::default();
    for ranges in partial {
        all.merge(ranges?);
    }
    Ok(all)
}

fn observe_all(module: &Module, inputs: &[Tensor]) -> Result<Ranges, interp::InterpError> {
    let Module { graph, weights } = module;
    let mut ranges = Ranges::default();
    for input in inputs {
        observe_input(graph, input, &mut ranges);
        let mut id = 0;
        interp::run_with(graph, weights, std::slice::from_ref(input), |_, result| {
            if let Some(data) = result.as_f32() {
                ranges.observe(Value::Node(NodeId(id)), data);
            }
            id += 1;
        })?;
    }
    Ok(ranges)
}

fn observe_input(graph: &Graph, input: &Tensor, ranges: &mut Ranges) {
    if graph.inputs.len() == 1
        && let Some(data) = input.as_f32()
    {
        ranges.observe(Value::Input(swint_ir::InputId(0)), data);
    }
}
