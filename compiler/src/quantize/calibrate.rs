//! Observes the ranges of activations.

use std::collections::HashMap;
use swint_ir::{InputId, Module, NodeId, Tensor, Value, interp};

/// The smallest and the largest value of each float activation, over all calibration inputs.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Ranges(HashMap<Value, (f32, f32)>);

impl Ranges {
    /// The largest magnitude of a value; `None` if it was not observed.
    pub fn max_abs(&self, value: Value) -> Option<f32> {
        self.0.get(&value).map(|(low, high)| low.abs().max(high.abs()))
    }

    /// Records a value; `false` when it is not finite everywhere.
    fn observe(&mut self, value: Value, data: &[f32]) -> bool {
        let range = self.0.entry(value).or_insert((f32::INFINITY, f32::NEG_INFINITY));
        for &x in data {
            *range = (range.0.min(x), range.1.max(x));
        }
        data.iter().all(|x| x.is_finite())
    }

    fn merge(&mut self, other: Ranges) {
        for (value, (low, high)) in other.0 {
            let range = self.0.entry(value).or_insert((low, high));
            *range = (range.0.min(low), range.1.max(high));
        }
    }
}

/// Runs a float module on each input (a tensor for every input of the graph) and records the ranges; inputs are spread over the machine's cores.
///
/// # Errors
/// When an input does not fit the graph, or an activation is not finite.
pub fn calibrate(module: &Module, inputs: &[Vec<Tensor>]) -> Result<Ranges, String> {
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get()).min(inputs.len().max(1));
    let share = inputs.len().div_ceil(workers).max(1);
    let partial: Vec<Result<Ranges, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (inputs.chunks(share).enumerate())
            .map(|(i, chunk)| scope.spawn(move || observe_all(module, chunk, i * share)))
            .collect();
        threads.into_iter().map(|t| t.join().expect("the interpreter does not panic on a verified module")).collect()
    });
    let mut all = Ranges::default();
    for ranges in partial {
        all.merge(ranges?);
    }
    Ok(all)
}

/// Observes some of the inputs; `first` is the number of the first.
fn observe_all(module: &Module, inputs: &[Vec<Tensor>], first: usize) -> Result<Ranges, String> {
    let Module { graph, weights } = module;
    let mut ranges = Ranges::default();
    for (number, input) in inputs.iter().enumerate() {
        let number = first + number;
        for (i, tensor) in input.iter().enumerate() {
            let value = Value::Input(InputId(i as u32));
            if tensor.as_f32().is_some_and(|data| !ranges.observe(value, data)) {
                return Err(format!("calibration input {number} is not finite"));
            }
        }
        let (mut id, mut bad) = (NodeId(0), None);
        interp::run_with(graph, weights, input, |node, result| {
            if result.as_f32().is_some_and(|data| !ranges.observe(Value::Node(id), data)) && bad.is_none() {
                bad = Some(format!("calibration input {number}: {id} ({}) is not finite", node.op.kind()));
            }
            id.0 += 1;
        })
        .map_err(|e| format!("calibration input {number}: {e}"))?;
        if let Some(message) = bad {
            return Err(message);
        }
    }
    Ok(ranges)
}
