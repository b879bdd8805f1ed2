//! What calibration saw of a float graph's activations.

use super::{Equalize, Histogram, equalize::Ways};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    thread,
};
use swint_ir::{
    InputId, Module, NodeId, Tensor, Value, interp,
    op::{Class, OpKind},
};

/// Most calibration inputs.
pub const MAX_INPUTS: usize = 1024;

/// Rows that are kept of each LayerNorm's result.
pub const ROWS: usize = 64;

/// Histograms of the float activations of a graph, and rows of its LayerNorms' results.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Statistics {
    /// Calibration inputs that were seen.
    pub inputs: usize,
    /// Of every float value but constants and results of index maps.
    pub histograms: BTreeMap<Value, Histogram>,
    /// Of every LayerNorm.
    pub channels: BTreeMap<NodeId, Channels>,
}

/// What was seen of each channel of a LayerNorm's result.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Channels {
    /// The smallest value of each.
    pub low: Vec<f32>,
    /// The largest value of each.
    pub high: Vec<f32>,
    /// Some rows, of every channel each, spread evenly over the inputs.
    pub rows: Vec<f32>,
    /// Of the whole result, scaled in each way that [`crate::quantize::equalize`] may choose.
    pub equalized: BTreeMap<Equalize, Histogram>,
}

/// The value whose elements a value has, moved by index maps perhaps.
pub fn unmoved(module: &Module, mut value: Value) -> Value {
    while let Some(node) = module.graph.node(value).filter(|node| node.op.kind().class() == Class::Index) {
        value = node.operands[0];
    }
    value
}

impl Statistics {
    /// As if every value of a graph had been seen to spread over ±`largest`: for a program that is looked at or timed, whose
    /// results nobody reads.
    ///
    /// # Panics
    /// When `largest` is not finite.
    pub fn assumed(module: &Module, largest: f32) -> Statistics {
        let seen = Histogram::of(&[-largest, largest / 40.0, largest / 20.0, largest]).expect("it is finite");
        let value = |i| (Value::Node(NodeId(i as u32)), seen.clone());
        Statistics {
            inputs: 1,
            histograms: (0..module.graph.nodes.len()).map(value).collect(),
            ..Statistics::default()
        }
    }

    /// Runs a module on each input (a tensor for every input of the graph); inputs are spread over the machine's cores. The
    /// result does not depend on how. A second run sees the LayerNorms' results with their channels scaled: how follows from
    /// the first.
    ///
    /// # Errors
    /// When there are none or too many, one does not fit the graph, or an activation is not finite.
    pub fn collect(module: &Module, inputs: &[Vec<Tensor>]) -> Result<Statistics, String> {
        if !(1..=MAX_INPUTS).contains(&inputs.len()) {
            return Err(format!("{} calibration inputs; wanted 1 to {MAX_INPUTS}", inputs.len()));
        }
        let mut all = Statistics::default();
        for part in spread(inputs.len(), |first, share| Statistics::of_some(module, inputs, first, share))? {
            all.append(part);
        }
        let ways = Ways::of(module, &all);
        if ways.is_empty() {
            return Ok(all);
        }
        for part in spread(inputs.len(), |first, share| ways.observe(module, &inputs[first..][..share]))? {
            for ((id, way), histogram) in part {
                let equalized = &mut all.channels.get_mut(&id).expect("a LayerNorm that was seen").equalized;
                add(equalized, way, histogram);
            }
        }
        Ok(all)
    }

    /// Sees the inputs from `first` on, at most `share` of them.
    fn of_some(module: &Module, inputs: &[Vec<Tensor>], first: usize, share: usize) -> Result<Statistics, String> {
        let Module { graph, weights } = module;
        let mut seen = Statistics::default();
        for (number, input) in inputs.iter().enumerate().skip(first).take(share) {
            seen.inputs += 1;
            for (i, tensor) in input.iter().enumerate() {
                let value = Value::Input(InputId(i as u32));
                if tensor.as_f32().is_some_and(|data| seen.observe(value, data).is_none()) {
                    return Err(format!("calibration input {number} is not finite"));
                }
            }
            let (mut id, mut bad) = (NodeId(0), None);
            interp::run_with(graph, weights, input, |node, result| {
                let kind = node.op.kind();
                if let Some(data) = result.as_f32().filter(|_| kind.class() != Class::Index && bad.is_none()) {
                    if seen.observe(Value::Node(id), data).is_none() {
                        bad = Some(format!("calibration input {number}: {id} ({kind}) is not finite"));
                    }
                    if kind == OpKind::LayerNorm {
                        seen.channels.entry(id).or_default().observe(data, node.ty.last(), number, inputs.len());
                    }
                }
                id.0 += 1;
            })
            .map_err(|e| format!("calibration input {number}: {e}"))?;
            if let Some(message) = bad {
                return Err(message);
            }
        }
        Ok(seen)
    }

    /// Counts values; `None` when one is not finite.
    fn observe(&mut self, value: Value, data: &[f32]) -> Option<()> {
        count(&mut self.histograms, value, data)
    }

    /// Adds what was seen of later inputs.
    fn append(&mut self, other: Statistics) {
        self.inputs += other.inputs;
        for (value, histogram) in other.histograms {
            add(&mut self.histograms, value, histogram);
        }
        for (id, channels) in other.channels {
            let all = self.channels.entry(id).or_default();
            all.widen(&channels.low);
            all.widen(&channels.high);
            all.rows.extend(channels.rows);
        }
    }
}

/// Counts values in the histogram of a key; `None` when one is not finite.
pub(super) fn count<K: Ord>(histograms: &mut BTreeMap<K, Histogram>, key: K, data: &[f32]) -> Option<()> {
    match histograms.entry(key) {
        Entry::Occupied(mut entry) => entry.get_mut().add(data),
        Entry::Vacant(entry) => {
            entry.insert(Histogram::of(data)?);
            Some(())
        }
    }
}

/// Adds a histogram to that of a key.
fn add<K: Ord>(histograms: &mut BTreeMap<K, Histogram>, key: K, histogram: Histogram) {
    match histograms.entry(key) {
        Entry::Occupied(mut entry) => entry.get_mut().merge(histogram),
        Entry::Vacant(entry) => {
            entry.insert(histogram);
        }
    }
}

/// Runs `work` on shares of `n` inputs, each from its first on, on as many threads as there are cores; in order.
fn spread<T: Send>(n: usize, work: impl Fn(usize, usize) -> Result<T, String> + Sync) -> Result<Vec<T>, String> {
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get()).min(n);
    let share = n.div_ceil(workers);
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (0..n).step_by(share).map(|first| scope.spawn(move || work(first, share.min(n - first)))).collect();
        threads.into_iter().map(|t| t.join().expect("the interpreter does not panic on a verified module")).collect()
    })
}

impl Channels {
    /// Sees input `number` of `inputs`, and keeps its share of the [`ROWS`] rows.
    fn observe(&mut self, data: &[f32], channels: usize, number: usize, inputs: usize) {
        data.chunks_exact(channels).for_each(|row| self.widen(row));
        let rows = data.len() / channels;
        for slot in (0..ROWS).filter(|slot| slot * inputs / ROWS == number) {
            // The golden ratio's multiples spread over a picture, whatever the number of inputs.
            let at = ((slot as u64 * 0x9e37_79b9) % (1 << 32) * rows as u64) >> 32;
            self.rows.extend_from_slice(&data[at as usize * channels..][..channels]);
        }
    }

    /// Widens each channel's range by a row.
    fn widen(&mut self, row: &[f32]) {
        self.low.resize(row.len(), f32::INFINITY);
        self.high.resize(row.len(), f32::NEG_INFINITY);
        self.low.iter_mut().zip(row).for_each(|(low, x)| *low = low.min(*x));
        self.high.iter_mut().zip(row).for_each(|(high, x)| *high = high.max(*x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::text;

    fn module() -> Module {
        let graph = "graph @g(%x: f32[4,3]) -> f32[4,3] {\n  const @g : f32[3]\n  const @b : f32[3]\n  \
                     %0 = layer_norm %x, @g, @b {eps = 1e-5} : f32[4,3]\n  %1 = relu %0 : f32[4,3]\n  return %1\n}\n";
        let graph = text::read("g.ir", graph).unwrap().0;
        let mut weights = swint_ir::random::weights(&graph, 1);
        weights.insert("g", Tensor::f32([3], vec![1.0, 2.0, -1.0]));
        Module { graph, weights }
    }

    fn inputs(n: usize) -> Vec<Vec<Tensor>> {
        let value = |i: usize| ((i * 31 % 97) as f32 - 40.0) / 7.0;
        (0..n).map(|n| vec![Tensor::f32([4, 3], (0..12).map(|i| value(n * 12 + i)).collect())]).collect()
    }

    #[test]
    fn every_value_is_counted_and_rows_are_the_ones_kept() {
        let (module, inputs) = (module(), inputs(70));
        let all = Statistics::collect(&module, &inputs).unwrap();
        assert_eq!(all.inputs, 70);
        assert_eq!(all.histograms.len(), 3);
        assert!(all.histograms.values().all(|h| h.total() == 70 * 12));
        let channels = &all.channels[&NodeId(0)];
        assert_eq!(channels.rows.len(), ROWS * 3);
        let outputs: Vec<Vec<f32>> = (inputs.iter())
            .map(|input| {
                let mut norm = Vec::new();
                interp::run_with(&module.graph, &module.weights, input, |node, y| {
                    if node.op.kind() == OpKind::LayerNorm {
                        norm = y.as_f32().unwrap().to_vec();
                    }
                })
                .unwrap();
                norm
            })
            .collect();
        assert!(channels.rows.chunks(3).all(|row| outputs.iter().any(|y| y.chunks(3).any(|r| r == row))));
        for c in 0..3 {
            let all: Vec<f32> = outputs.iter().flat_map(|y| y.iter().skip(c).step_by(3)).copied().collect();
            assert_eq!(channels.low[c], all.iter().copied().fold(f32::INFINITY, f32::min));
            assert_eq!(channels.high[c], all.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
        // However the inputs are shared out.
        let mut parts = Statistics::default();
        for first in [0, 23, 46, 69] {
            parts.append(Statistics::of_some(&module, &inputs, first, 23).unwrap());
        }
        assert_eq!(parts, all);
    }

    #[test]
    fn too_few_too_many_and_not_finite() {
        let module = module();
        assert!(Statistics::collect(&module, &[]).unwrap_err().contains("wanted 1 to 1024"));
        let one = inputs(1).remove(0);
        assert!(Statistics::collect(&module, &vec![one; 1025]).unwrap_err().contains("1025 calibration inputs"));
        let mut some = inputs(3);
        some[2] = vec![Tensor::f32([4, 3], vec![f32::NAN; 12])];
        assert_eq!(Statistics::collect(&module, &some).unwrap_err(), "calibration input 2 is not finite");
    }
}
