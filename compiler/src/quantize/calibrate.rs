//! Calibration: where the statistics of a graph's activations come from.

use super::{
    Equalize, Histogram, Statistics,
    statistics::{Channels, MAX_INPUTS},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};
use swint_ir::{InputId, Module, NodeId, Tensor, Value, text};

/// Calibration inputs, and the statistics that were collected with them or read from a file.
///
/// The passes of one compilation ask for the statistics of several graphs. Each is known by the SHA-256 of its text and its
/// constants, so that saved statistics are never used for another model.
#[derive(Debug, Default)]
pub struct Calibration {
    /// Each a tensor for every input of the graph. Without, only what was read from a file is known.
    inputs: Vec<Vec<Tensor>>,
    known: Mutex<BTreeMap<String, Arc<Statistics>>>,
}

/// The file's format, in its metadata.
const FORMAT: &str = "swint-calibration-1";

impl Calibration {
    /// With inputs; at most 1024 are taken when statistics are collected.
    pub fn new(inputs: Vec<Vec<Tensor>>) -> Calibration {
        Calibration { inputs, known: Mutex::default() }
    }

    /// The inputs, each a tensor for every input of the graph.
    pub fn inputs(&self) -> &[Vec<Tensor>] {
        &self.inputs
    }

    /// The statistics of a float module, collected the first time that they are asked for.
    ///
    /// # Errors
    /// As [`Statistics::collect`]; without inputs, when they are not in the file.
    pub fn statistics(&self, module: &Module) -> Result<Arc<Statistics>, String> {
        let print = fingerprint(module);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&print) {
            return Ok(found.clone());
        }
        if self.inputs.is_empty() && !known.is_empty() {
            return Err("the saved statistics are of another model or activation: collect them anew".to_owned());
        }
        let found = Arc::new(Statistics::collect(module, &self.inputs)?);
        known.insert(print, found.clone());
        Ok(found)
    }

    /// Makes the statistics of a module known without a run, unless they are already.
    pub fn learn(&self, module: &Module, statistics: Statistics) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(fingerprint(module)).or_insert_with(|| Arc::new(statistics));
    }

    /// Every statistic so far, as a safetensors file.
    ///
    /// # Errors
    /// When the format refuses them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inputs: BTreeMap<String, usize> = BTreeMap::new();
        let mut tensors: Vec<(String, Dtype, Vec<u8>)> = Vec::new();
        for (print, statistics) in known.iter() {
            inputs.insert(print.clone(), statistics.inputs);
            for (value, histogram) in &statistics.histograms {
                write_histogram(&mut tensors, &format!("{print}.{}", key(*value)), histogram);
            }
            for (id, channels) in &statistics.channels {
                let stem = format!("{print}.{}", key(Value::Node(*id)));
                tensors.push((format!("{stem}.low"), Dtype::F32, to_bytes(&channels.low, f32::to_le_bytes)));
                tensors.push((format!("{stem}.high"), Dtype::F32, to_bytes(&channels.high, f32::to_le_bytes)));
                tensors.push((format!("{stem}.rows"), Dtype::F32, to_bytes(&channels.rows, f32::to_le_bytes)));
                for (way, histogram) in &channels.equalized {
                    write_histogram(&mut tensors, &format!("{stem}-{way}"), histogram);
                }
            }
        }
        // One entry: the format writes several in no certain order.
        tensors.sort();
        let header = Header { sha256: checksum(tensors.iter().map(|(name, _, bytes)| (&**name, &**bytes))), inputs };
        let header = serde_json::to_string(&header).map_err(|e| e.to_string())?;
        let metadata = HashMap::from([(FORMAT.to_owned(), header)]);
        let views = tensors
            .iter()
            .map(|(name, dtype, bytes)| {
                let size = if *dtype == Dtype::U64 { 8 } else { 4 };
                Ok((name.as_str(), TensorView::new(*dtype, vec![bytes.len() / size], bytes)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| e.to_string())?;
        safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())
    }

    /// Reads what [`Calibration::to_bytes`] wrote; there are no inputs.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Calibration, String> {
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| format!("not a readable safetensors file: {e}"))?;
        let header = header.metadata().as_ref().and_then(|m| m.get(FORMAT)).ok_or("no statistics of calibration")?;
        let Header { sha256, inputs } = serde_json::from_str(header).map_err(|e| format!("its metadata: {e}"))?;
        if let Some((_, n)) = inputs.iter().find(|(_, n)| !(1..=MAX_INPUTS).contains(*n)) {
            return Err(format!("its metadata: {n} inputs"));
        }
        let start = |(print, inputs)| (print, Statistics { inputs, ..Statistics::default() });
        let mut known: BTreeMap<String, Statistics> = inputs.into_iter().map(start).collect();
        let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a readable safetensors file: {e}"))?;
        let mut tensors: Vec<_> = file.iter().collect();
        tensors.sort_by_key(|(name, _)| *name);
        if checksum(tensors.iter().map(|(name, view)| (*name, view.data()))) != sha256 {
            return Err("it is damaged: its checksum is another".to_owned());
        }
        let mut equalized = Vec::new();
        for name in file.names() {
            let bad = |why: &str| format!("tensor {name:?}: {why}");
            let parts: Vec<&str> = name.split('.').collect();
            let &[print, subject, what] = &parts[..] else { return Err(bad("an unknown name")) };
            let statistics = known.get_mut(print).ok_or_else(|| bad("of an unknown graph"))?;
            let (value, way) = parse_key(subject).ok_or_else(|| bad("of an unknown value"))?;
            let part = |part: &str| format!("{print}.{subject}.{part}");
            match (what, value, way) {
                ("range", _, way) => {
                    let range = floats(&file, name)?;
                    let &[low, high] = &range[..] else { return Err(bad("wanted two numbers")) };
                    let [negative, positive] = [part("negative"), part("positive")].map(|name| counts(&file, &name));
                    let histogram = Histogram::from_parts((low, high), negative?, positive?).map_err(|e| bad(&e))?;
                    match (value, way) {
                        (_, None) => drop(statistics.histograms.insert(value, histogram)),
                        (Value::Node(id), Some(way)) => equalized.push((print.to_owned(), id, way, histogram)),
                        _ => return Err(bad("an unknown name")),
                    }
                }
                ("low", Value::Node(id), None) => {
                    let [high, rows] = [part("high"), part("rows")].map(|name| floats(&file, &name));
                    let (low, high, rows) = (floats(&file, name)?, high?, rows?);
                    let whole = !low.is_empty() && low.len() == high.len() && rows.len() % low.len() == 0;
                    if !whole || rows.is_empty() || low.iter().zip(&high).any(|(low, high)| low > high) {
                        return Err(bad("it fits no rows"));
                    }
                    statistics.channels.insert(id, Channels { low, high, rows, equalized: BTreeMap::new() });
                }
                ("negative" | "positive" | "high" | "rows", ..) => {}
                _ => return Err(bad("an unknown name")),
            }
        }
        for (print, id, way, histogram) in equalized {
            let channels = known.get_mut(&print).and_then(|s| s.channels.get_mut(&id));
            channels.ok_or_else(|| format!("{id}-{way} has no rows"))?.equalized.insert(way, histogram);
        }
        if known.is_empty() {
            return Err("it holds no statistics".to_owned());
        }
        let known = known.into_iter().map(|(print, statistics)| (print, Arc::new(statistics))).collect();
        Ok(Calibration { inputs: Vec::new(), known: Mutex::new(known) })
    }
}

/// The file's metadata.
#[derive(Serialize, Deserialize)]
struct Header {
    /// Of names and bytes of the tensors, in order.
    sha256: String,
    /// How many inputs were seen, by the graph.
    inputs: BTreeMap<String, usize>,
}

fn checksum<'a>(tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    tensors.for_each(|(name, bytes)| hash.update([name.as_bytes(), bytes].concat()));
    format!("{:x}", hash.finalize())
}

/// The SHA-256 of a module's text and constants.
fn fingerprint(module: &Module) -> String {
    let mut hash = Sha256::new();
    hash.update(text::print(&module.graph));
    for (name, tensor) in &module.weights.0 {
        hash.update(name.as_bytes());
        hash.update(tensor.data.to_bytes());
    }
    format!("{:x}", hash.finalize())
}

/// How the file names a value: `x0` an input, `n12` a node.
fn key(value: Value) -> String {
    match value {
        Value::Input(i) => format!("x{}", i.0),
        Value::Node(n) => format!("n{}", n.0),
        Value::Const(c) => format!("c{}", c.0),
    }
}

/// A value, and the way in which its channels are scaled, if they are.
fn parse_key(text: &str) -> Option<(Value, Option<Equalize>)> {
    let (value, way) = match text.split_once('-') {
        Some((value, way)) => (value, Some(way.parse().ok()?)),
        None => (text, None),
    };
    let number = value.get(1..)?.parse().ok()?;
    let value = match value.as_bytes()[0] {
        b'x' => Value::Input(InputId(number)),
        b'n' => Value::Node(NodeId(number)),
        _ => return None,
    };
    Some((value, way))
}

fn to_bytes<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&x| bytes(x)).collect()
}

fn write_histogram(tensors: &mut Vec<(String, Dtype, Vec<u8>)>, stem: &str, histogram: &Histogram) {
    let (low, high) = histogram.range();
    let [negative, positive] = histogram.counts();
    tensors.push((format!("{stem}.range"), Dtype::F32, to_bytes(&[low, high], f32::to_le_bytes)));
    tensors.push((format!("{stem}.negative"), Dtype::U64, to_bytes(negative, u64::to_le_bytes)));
    tensors.push((format!("{stem}.positive"), Dtype::U64, to_bytes(positive, u64::to_le_bytes)));
}

fn tensor<'a>(file: &'a SafeTensors<'_>, name: &str, dtype: Dtype) -> Result<&'a [u8], String> {
    let view = file.tensor(name).map_err(|e| format!("tensor {name:?}: {e}"))?;
    if view.dtype() == dtype { Ok(view.data()) } else { Err(format!("tensor {name:?} is not {dtype:?}")) }
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>, String> {
    let bytes = tensor(file, name, Dtype::F32)?;
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
    if values.iter().all(|x| x.is_finite()) { Ok(values) } else { Err(format!("tensor {name:?} is not finite")) }
}

fn counts(file: &SafeTensors<'_>, name: &str) -> Result<Vec<u64>, String> {
    let bytes = tensor(file, name, Dtype::U64)?;
    Ok(bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::random;

    fn module(seed: u64) -> Module {
        let graph = "graph @g(%x: f32[4,3]) -> f32[4,3] {\n  const @g : f32[3]\n  const @b : f32[3]\n  \
                     %0 = layer_norm %x, @g, @b {eps = 1e-5} : f32[4,3]\n  return %0\n}\n";
        let graph = text::read("g.ir", graph).unwrap().0;
        let weights = random::weights(&graph, seed);
        Module { graph, weights }
    }

    #[test]
    fn statistics_are_saved_and_belong_to_one_model() {
        let module_1 = module(1);
        let mut rng = random::Rng::with_seed(3);
        let calibration = Calibration::new((0..5).map(|_| random::inputs(&module_1.graph, &mut rng)).collect());
        let collected = calibration.statistics(&module_1).unwrap();
        let saved = calibration.to_bytes().unwrap();
        let read = Calibration::from_bytes(&saved).unwrap();
        assert_eq!(read.statistics(&module_1).unwrap(), collected);
        assert!(!collected.channels.is_empty() && read.to_bytes().unwrap() == saved, "the same bytes");
        // The same text with other weights.
        assert!(read.statistics(&module(2)).unwrap_err().contains("of another model"));
        assert!(calibration.statistics(&module(2)).is_ok());
    }

    #[test]
    fn broken_files_are_errors() {
        let module = module(1);
        let mut rng = random::Rng::with_seed(3);
        let calibration = Calibration::new(vec![random::inputs(&module.graph, &mut rng)]);
        calibration.statistics(&module).unwrap();
        let saved = calibration.to_bytes().unwrap();
        // Any byte changed or any end cut off.
        for at in (0..saved.len()).step_by(3) {
            let mut bytes = saved.clone();
            bytes[at] ^= 0x15;
            assert!(Calibration::from_bytes(&bytes).is_err() || bytes[at].is_ascii_whitespace(), "byte {at}");
            assert!(Calibration::from_bytes(&saved[..at]).is_err());
        }
        let other = safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap();
        assert_eq!(Calibration::from_bytes(&other).unwrap_err(), "no statistics of calibration");
    }
}
