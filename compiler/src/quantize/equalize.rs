//! Scales the channels between a LayerNorm and the linears that read it, where that makes quantization more precise.

use super::{
    Histogram, Observer, Statistics,
    insert::quantize_rows,
    statistics::{Channels, count},
};
use std::{collections::BTreeMap, fmt, str::FromStr};
use swint_ir::{
    Elem, Module, NodeId, Tensor, Type, Value, arith,
    infer::MAX_K,
    interp,
    op::{Class, OpKind},
};

/// What may be done to a LayerNorm's channels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Equalize {
    /// For each LayerNorm whichever of the others gives its linears the least noise; none with fewer than 8 inputs.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// γ and β go into the linears' weights and biases.
    Affine,
    /// Each channel is scaled by a power of two, so that all have about the same range. (after FQ-ViT's power-of-two
    /// factor, arXiv 2111.13824)
    PowerOfTwo,
    /// As before, but by half the power: some of the range goes to the weights. (after SmoothQuant, arXiv 2211.10438)
    HalfPower,
}

impl Equalize {
    /// All, with their names.
    pub const NAMES: [(&str, Equalize); 5] = [
        ("auto", Equalize::Auto),
        ("none", Equalize::None),
        ("affine", Equalize::Affine),
        ("pow2", Equalize::PowerOfTwo),
        ("half-pow2", Equalize::HalfPower),
    ];
}

impl FromStr for Equalize {
    type Err = String;

    fn from_str(text: &str) -> Result<Equalize, String> {
        let found = Equalize::NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, way)| *way)
            .ok_or_else(|| format!("there are: {}", Equalize::NAMES.map(|(name, _)| name).join(", ")))
    }
}

impl fmt::Display for Equalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Equalize::NAMES.iter().find(|(_, way)| way == self).expect("every way has a name");
        f.write_str(name)
    }
}

/// What was done to one LayerNorm.
#[derive(Clone, PartialEq, Debug)]
pub struct Equalized {
    /// The name of its γ.
    pub norm: String,
    /// What was chosen.
    pub way: Equalize,
    /// Signal to noise of its linears' results in decibels, without and with it.
    pub sqnr_db: (f64, f64),
}

/// A linear that reads a LayerNorm: its weights `[n,k]` and bias, of constants.
struct Reader {
    node: NodeId,
    weights: Vec<f32>,
}

/// `x = x'·scale + shift`, channel by channel: what reads x' has weights `w·scale` and a bias of `b + Σ w·shift`.
struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Affine {
    /// x' of rows x.
    fn undo(&self, rows: &[f32]) -> Vec<f32> {
        let k = self.scale.len();
        rows.iter().enumerate().map(|(i, x)| (x - self.shift[i % k]) / self.scale[i % k]).collect()
    }
}

/// The LayerNorms of a module whose channels may be scaled, and how.
pub(super) struct Ways(BTreeMap<NodeId, BTreeMap<Equalize, Affine>>);

impl Ways {
    /// From what a first run saw of a module.
    pub(super) fn of(module: &Module, statistics: &Statistics) -> Ways {
        let mut ways = BTreeMap::new();
        for (&id, channels) in &statistics.channels {
            let Some(norm) = Norm::of(module, id).filter(|norm| norm.gamma.len() == channels.low.len()) else {
                continue;
            };
            let affine = |(_, way): (&str, Equalize)| Some((way, affine(way, &norm, channels)?));
            ways.insert(id, Equalize::NAMES.into_iter().filter_map(affine).collect());
        }
        Ways(ways)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Histograms of the scaled results on some inputs.
    ///
    /// # Errors
    /// When one is not finite.
    pub(super) fn observe(
        &self,
        module: &Module,
        inputs: &[Vec<Tensor>],
    ) -> Result<BTreeMap<(NodeId, Equalize), Histogram>, String> {
        let mut seen = BTreeMap::new();
        for input in inputs {
            let (mut id, mut bad) = (NodeId(0), None);
            interp::run_with(&module.graph, &module.weights, input, |_, result| {
                for (&way, affine) in self.0.get(&id).into_iter().flatten() {
                    let data = result.as_f32().expect("a LayerNorm gives floats");
                    if count(&mut seen, (id, way), &affine.undo(data)).is_none() {
                        bad = Some(id);
                    }
                }
                id.0 += 1;
            })
            .map_err(|e| e.to_string())?;
            if let Some(id) = bad {
                return Err(format!("calibration: {id} is too large for its channels to be scaled"));
            }
        }
        Ok(seen)
    }
}

/// A LayerNorm that only linears read.
struct Norm<'a> {
    name: &'a str,
    gamma: &'a [f32],
    beta: &'a [f32],
    readers: Vec<Reader>,
    /// Whether zeros are put beside its results on their way: they must stay zeros.
    padded: bool,
}

impl<'a> Norm<'a> {
    fn of(module: &'a Module, id: NodeId) -> Option<Norm<'a>> {
        let node = &module.graph.nodes.get(id.index()).filter(|node| node.op.kind() == OpKind::LayerNorm)?;
        let (name, gamma) = constant(module, node.operands[1]);
        let (readers, padded) = readers(module, id)?;
        Some(Norm { name, gamma: gamma?, beta: constant(module, node.operands[2]).1?, readers, padded })
    }
}

/// Noise must fall to this part of what it was for a change to be worth it.
const WORTH: f64 = 0.95;

/// Fewest calibration inputs to decide by: rows of a few pictures say little of others.
const ENOUGH: usize = 8;

/// Multiplications that one way's noise is measured with, unless a linear's weights are more than an eighth of it.
const BUDGET: usize = 1 << 22;

/// Rescales every LayerNorm that only linears read, perhaps through index maps that keep channels. An identity over the
/// reals: `w·x = (w·s)·(x/s)`. Noise is measured on rows that calibration kept: what 8-bit rows and weights give against
/// what the float ones do.
///
/// Gives the statistics of the changed module, too, where it has the same nodes.
///
/// # Errors
/// When the statistics are not of this module.
pub fn equalize(
    module: &Module,
    statistics: &Statistics,
    observer: Observer,
    way: Equalize,
) -> Result<(Module, Vec<Equalized>, Option<Statistics>), String> {
    let mut changes: BTreeMap<NodeId, (Affine, Vec<Reader>)> = BTreeMap::new();
    let mut report = Vec::new();
    let mut after = statistics.clone();
    after.channels.clear();
    for (id, _) in module.graph.iter().filter(|(_, node)| node.op.kind() == OpKind::LayerNorm) {
        let Some(norm) = Norm::of(module, id) else { continue };
        let missing = || format!("{id} was not observed in calibration");
        let channels = statistics.channels.get(&id).filter(|channels| channels.low.len() == norm.gamma.len());
        let channels = channels.ok_or_else(missing)?;
        let histogram = statistics.histograms.get(&Value::Node(id)).ok_or_else(missing)?;
        let unchanged = Affine { scale: vec![1.0; norm.gamma.len()], shift: vec![0.0; norm.gamma.len()] };
        let max_abs = |histogram| observer.max_abs(histogram, Elem::I8);
        let (signal, before) = noise(channels, &norm.readers, &unchanged, max_abs(histogram));
        let mut best = (Equalize::None, unchanged, before, histogram);
        for (&candidate, histogram) in &channels.equalized {
            let wanted = candidate == way || (way == Equalize::Auto && statistics.inputs >= ENOUGH);
            let Some(affine) = affine(candidate, &norm, channels).filter(|_| wanted) else { continue };
            let noise = noise(channels, &norm.readers, &affine, max_abs(histogram)).1;
            if noise.is_finite() && (way != Equalize::Auto || (noise < best.2 && noise < WORTH * before)) {
                best = (candidate, affine, noise, histogram);
            }
        }
        let db = |noise: f64| 10.0 * (signal / noise).log10();
        report.push(Equalized { norm: norm.name.to_owned(), way: best.0, sqnr_db: (db(before), db(best.2)) });
        if best.0 != Equalize::None {
            after.histograms.insert(Value::Node(id), best.3.clone());
            changes.insert(id, (best.1, norm.readers));
        }
    }
    let changed = rescaled(module, &changes);
    let same_nodes = changed.graph.nodes.len() == module.graph.nodes.len();
    Ok((changed, report, same_nodes.then_some(after)))
}

/// The name and the values of a float constant.
fn constant(module: &Module, value: Value) -> (&str, Option<&[f32]>) {
    let Value::Const(c) = value else { return ("", None) };
    let name = &module.graph.consts[c.index()].name;
    (name, module.weights.get(name).and_then(|t| t.as_f32()))
}

/// The linears that read a value, if nothing else does; and whether one reads it padded.
fn readers(module: &Module, id: NodeId) -> Option<(Vec<Reader>, bool)> {
    let (mut found, mut padded) = (Vec::new(), false);
    let mut stack = vec![Value::Node(id)];
    while let Some(value) = stack.pop() {
        if module.graph.output == value {
            return None;
        }
        for (node_id, node) in module.graph.iter().filter(|(_, node)| node.operands.contains(&value)) {
            let kind = node.op.kind();
            if kind.class() == Class::Index && kind != OpKind::SpaceToDepth {
                padded |= kind == OpKind::Pad;
                stack.push(Value::Node(node_id));
                continue;
            }
            let constants = node.operands[1..].iter().all(|&v| constant(module, v).1.is_some());
            if kind != OpKind::Linear || !constants || module.graph.ty(value).last() > MAX_K {
                return None;
            }
            found.push(Reader { node: node_id, weights: constant(module, node.operands[1]).1?.to_vec() });
        }
    }
    (!found.is_empty()).then_some((found, padded))
}

/// What a way does to the channels; `None` when it cannot be done in `f32`.
fn affine(way: Equalize, norm: &Norm<'_>, channels: &Channels) -> Option<Affine> {
    let Norm { gamma, beta, .. } = norm;
    let unshifted = || vec![0.0; gamma.len()];
    let scaled = |power: f32| {
        let max: Vec<f32> = channels.low.iter().zip(&channels.high).map(|(a, b)| a.abs().max(b.abs())).collect();
        let mut sorted = max.clone();
        sorted.sort_by(f32::total_cmp);
        let middle = sorted[sorted.len() / 2].max(1e-10);
        // Beyond these, γ of 16 bits would lose too much.
        let scale = |max: &f32| 2f32.powi((power * (max / middle).log2()).round().clamp(-6.0, 6.0) as i32);
        Affine { scale: max.iter().map(scale).collect(), shift: unshifted() }
    };
    let found = match way {
        Equalize::PowerOfTwo => scaled(1.0),
        Equalize::HalfPower => scaled(0.5),
        Equalize::Affine if norm.padded => return None,
        Equalize::Affine => {
            // A channel that γ switches off is a constant: its weights are of no use.
            let scale = gamma.iter().map(|&g| if g == 0.0 { 1.0 } else { g }).collect();
            Affine { scale, shift: beta.to_vec() }
        }
        Equalize::Auto | Equalize::None => return None,
    };
    let fits = |x: &f32| (1e-10..1e10).contains(&x.abs());
    found.scale.iter().all(fits).then_some(found)
}

/// `Σ (w·x)²`, and `Σ (w·x − w'·x')²` for the quantized weights w' and rows x' that an affine makes, over some of the rows
/// kept; `max_abs` is the largest magnitude that x' represents.
fn noise(channels: &Channels, readers: &[Reader], affine: &Affine, max_abs: f32) -> (f64, f64) {
    let k = affine.scale.len();
    let products: usize = readers.iter().map(|r| r.weights.len()).sum();
    let most = (BUDGET / products.max(1)).max(8);
    let rows = affine.undo(&channels.rows);
    let every = (rows.len() / k).div_ceil(most).max(1);
    let step = (max_abs / 127.0).max(1e-20);
    let quantized: Vec<f32> = rows.iter().map(|&x| arith::quantize(x, step, Elem::I8) as f32 * step).collect();
    let (mut signal, mut noise) = (0f64, 0f64);
    for reader in readers {
        let weights: Vec<f32> = reader.weights.iter().enumerate().map(|(i, w)| w * affine.scale[i % k]).collect();
        let Some((q, scales)) = quantize_rows(&weights, k, |_| 0.0) else { return (0.0, f64::INFINITY) };
        let weights_q: Vec<f32> = q.iter().enumerate().map(|(i, &q)| f32::from(q) * scales[i / k]).collect();
        for (x, xq) in rows.chunks_exact(k).zip(quantized.chunks_exact(k)).step_by(every) {
            for (w, wq) in weights.chunks_exact(k).zip(weights_q.chunks_exact(k)) {
                let y = (0..k).map(|i| x[i] * w[i]).sum::<f32>();
                let error = (0..k).map(|i| x[i] * w[i] - xq[i] * wq[i]).sum::<f32>();
                signal += f64::from(y).powi(2);
                noise += f64::from(error).powi(2);
            }
        }
    }
    (signal, if noise.is_finite() { noise } else { f64::INFINITY })
}

/// The module with its LayerNorms and their readers changed.
fn rescaled(module: &Module, changes: &BTreeMap<NodeId, (Affine, Vec<Reader>)>) -> Module {
    let mut out = module.clone();
    for (id, (affine, readers)) in changes {
        let k = affine.scale.len();
        let norm = &module.graph.nodes[id.index()];
        for (operand, shifted) in [(1, false), (2, true)] {
            let (name, values) = constant(module, norm.operands[operand]);
            let shift = |i: usize| if shifted { affine.shift[i] } else { 0.0 };
            let values = values.expect("looked at above").iter().enumerate();
            let values: Vec<f32> = values.map(|(i, v)| (v - shift(i)) / affine.scale[i]).collect();
            let tensor = Tensor::f32([k], values);
            let (value, _) = out.fresh_constant(&format!("{name}.equalized"), Type::f32([k]), tensor);
            out.graph.nodes[id.index()].operands[operand] = value;
        }
        // It is no longer what the module gave.
        out.graph.nodes[id.index()].locs.clear();
        for reader in readers {
            let operands = module.graph.nodes[reader.node.index()].operands.clone();
            let n = reader.weights.len() / k;
            let name = constant(module, operands[1]).0;
            let weights = reader.weights.iter().enumerate().map(|(i, w)| w * affine.scale[i % k]).collect();
            let tensor = Tensor::f32([n, k], weights);
            let (w, _) = out.fresh_constant(&format!("{name}.equalized"), Type::f32([n, k]), tensor);
            let node = &mut out.graph.nodes[reader.node.index()];
            node.operands[1] = w;
            if affine.shift.iter().all(|&t| t == 0.0) {
                continue;
            }
            let bias = operands.get(2).map(|&b| constant(module, b).1.expect("looked at above"));
            let shift = |row: &[f32]| row.iter().zip(&affine.shift).map(|(&w, &t)| f64::from(w) * f64::from(t)).sum();
            let shifts = reader.weights.chunks_exact(k).map(shift);
            let values = shifts.enumerate().map(|(j, s): (usize, f64)| (bias.map_or(0.0, |b| b[j].into()) + s) as f32);
            let tensor = Tensor::f32([n], values.collect());
            let stem = match operands.get(2) {
                Some(&b) => format!("{}.equalized", constant(module, b).0),
                None => format!("{name}.bias"),
            };
            let (b, _) = out.fresh_constant(&stem, Type::f32([n]), tensor);
            let node = &mut out.graph.nodes[reader.node.index()];
            node.operands.truncate(2);
            node.operands.push(b);
        }
    }
    out.without_dead_code()
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::{random, text};

    /// A LayerNorm, moved, that two linears read; one channel's γ is `outlier` times the others'.
    fn module(outlier: f32) -> Module {
        let graph = "graph @g(%x: f32[1,4,4,32]) -> f32[4,4,24] {
  const @g : f32[32]
  const @b : f32[32]
  const @w : f32[24,32]
  const @c : f32[24]
  const @v : f32[24,32]
  %0 = layer_norm %x, @g, @b {eps = 1e-5} : f32[1,4,4,32]
  %1 = window_partition %0 {window = 2} : f32[4,4,32]
  %2 = linear %1, @w, @c : f32[4,4,24]
  %3 = linear %1, @v : f32[4,4,24]
  %4 = add %2, %3 : f32[4,4,24]
  return %4
}
";
        let graph = text::read("g.ir", graph).unwrap().0;
        let mut weights = random::weights(&graph, 4);
        let mut gamma: Vec<f32> = (0..32).map(|c| 0.7 + c as f32 / 50.0).collect();
        gamma[5] = -outlier;
        weights.insert("g", Tensor::f32([32], gamma));
        Module { graph, weights }
    }

    fn inputs(module: &Module) -> Vec<Vec<Tensor>> {
        let mut rng = random::Rng::with_seed(9);
        (0..8).map(|_| random::inputs(&module.graph, &mut rng)).collect()
    }

    #[test]
    fn every_way_is_an_identity_over_the_reals() {
        let module = module(20.0);
        let inputs = inputs(&module);
        let statistics = Statistics::collect(&module, &inputs).unwrap();
        let outputs = |m: &Module| -> Vec<f32> {
            let run =
                |input: &Vec<Tensor>| interp::run(&m.graph, &m.weights, input).unwrap().as_f32().unwrap().to_vec();
            inputs.iter().flat_map(run).collect()
        };
        let wanted = outputs(&module);
        for (name, way) in Equalize::NAMES {
            let (changed, report, after) = equalize(&module, &statistics, Observer::MinMax, way).unwrap();
            assert_eq!(changed.verify(), Ok(()));
            assert_eq!(changed == module, way == Equalize::None, "{name}");
            assert_eq!(report.len(), 1);
            // What is said of the changed module is what calibrating it again sees, but for rounding.
            let (again, after) = (Statistics::collect(&changed, &inputs).unwrap(), after.unwrap());
            for (value, seen) in &again.histograms {
                let (a, b) = (seen.max_abs(), after.histograms[value].max_abs());
                assert!((a - b).abs() <= 1e-4 * a, "{name} {value:?}: {a} and {b}");
            }
            for (a, b) in wanted.iter().zip(outputs(&changed)) {
                assert!((a - b).abs() <= 2e-4, "{name}: {a} and {b}");
            }
        }
        // Powers of two change no bit of the result.
        let (changed, ..) = equalize(&module, &statistics, Observer::MinMax, Equalize::PowerOfTwo).unwrap();
        assert_eq!(outputs(&changed), wanted);
    }

    #[test]
    fn outlier_channels_are_found_and_what_has_none_stays() {
        for observer in [Observer::MinMax, Observer::Mse] {
            let decide = |outlier: f32| {
                let module = module(outlier);
                let statistics = Statistics::collect(&module, &inputs(&module)).unwrap();
                equalize(&module, &statistics, observer, Equalize::Auto).unwrap().1.remove(0)
            };
            let hard = decide(40.0);
            assert!(hard.way != Equalize::None && hard.sqnr_db.1 > hard.sqnr_db.0 + 6.0, "{hard:?}");
            // The report is of all that was tried: nothing forced is better than what was chosen.
            let module = module(40.0);
            let statistics = Statistics::collect(&module, &inputs(&module)).unwrap();
            for (_, way) in &Equalize::NAMES[1..] {
                let forced = equalize(&module, &statistics, observer, *way).unwrap().1.remove(0);
                assert!(forced.sqnr_db.1 <= hard.sqnr_db.1 && forced.sqnr_db.0 == hard.sqnr_db.0, "{forced:?}");
            }
        }
    }

    #[test]
    fn a_norm_that_something_else_reads_stays() {
        let mut module = module(40.0);
        let norm = Value::Node(NodeId(0));
        module.graph.output = module.graph.push(swint_ir::op::Op::Relu {}, vec![norm]).unwrap();
        let statistics = Statistics::collect(&module, &inputs(&module)).unwrap();
        let (changed, report, _) = equalize(&module, &statistics, Observer::MinMax, Equalize::Affine).unwrap();
        assert!(changed == module.without_dead_code() && report.is_empty());
        module.graph.output = norm;
        let (_, report, _) = equalize(&module, &statistics, Observer::MinMax, Equalize::Affine).unwrap();
        assert!(report.is_empty());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, way) in Equalize::NAMES {
            assert_eq!((name.parse(), way.to_string()), (Ok(way), name.to_owned()));
        }
        assert!("all".parse::<Equalize>().is_err());
    }
}
