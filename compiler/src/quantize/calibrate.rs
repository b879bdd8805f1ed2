//! Calibration: where the statistics of a graph's activations come from.

use super::{
    Histogram, Statistics,
    statistics::{Channels, MAX_INPUTS},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
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
            return Err(
                "the saved statistics are of another model, activation or equalization: collect them anew".to_owned()
            );
        }
        let found = Arc::new(Statistics::collect(module, &self.inputs)?);
        known.insert(print, found.clone());
        Ok(found)
    }

    /// Every statistic so far, as a safetensors file.
    ///
    /// # Errors
    /// When the format refuses them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut metadata = HashMap::from([("format".to_owned(), FORMAT.to_owned())]);
        let mut tensors: Vec<(String, Dtype, Vec<u8>)> = Vec::new();
        let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let counts = |values: &[u64]| values.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        for (print, statistics) in known.iter() {
            metadata.insert(format!("{print}.inputs"), statistics.inputs.to_string());
            for (value, histogram) in &statistics.histograms {
                let stem = format!("{print}.{}", key(*value));
                let (low, high) = histogram.range();
                let [negative, positive] = histogram.counts();
                tensors.push((format!("{stem}.range"), Dtype::F32, floats(&[low, high])));
                tensors.push((format!("{stem}.negative"), Dtype::U64, counts(negative)));
                tensors.push((format!("{stem}.positive"), Dtype::U64, counts(positive)));
            }
            for (id, channels) in &statistics.channels {
                let stem = format!("{print}.{}", key(Value::Node(*id)));
                tensors.push((format!("{stem}.low"), Dtype::F32, floats(&channels.low)));
                tensors.push((format!("{stem}.high"), Dtype::F32, floats(&channels.high)));
                tensors.push((format!("{stem}.rows"), Dtype::F32, floats(&channels.rows)));
            }
        }
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
        let metadata = header.metadata().as_ref().filter(|m| m.get("format").is_some_and(|f| f == FORMAT));
        let metadata = metadata.ok_or("no statistics of calibration")?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a readable safetensors file: {e}"))?;
        let mut known: BTreeMap<String, Statistics> = BTreeMap::new();
        for (name, inputs) in metadata {
            if let Some(print) = name.strip_suffix(".inputs") {
                let inputs = inputs.parse().ok().filter(|n| (1..=MAX_INPUTS).contains(n));
                let inputs = inputs.ok_or_else(|| format!("{name:?} is no number of inputs"))?;
                known.insert(print.to_owned(), Statistics { inputs, ..Statistics::default() });
            }
        }
        for name in file.names() {
            let bad = |why: &str| format!("tensor {name:?}: {why}");
            let parts: Vec<&str> = name.split('.').collect();
            let &[print, value, what] = &parts[..] else { return Err(bad("an unknown name")) };
            let statistics = known.get_mut(print).ok_or_else(|| bad("of an unknown graph"))?;
            let value = parse_key(value).ok_or_else(|| bad("of an unknown value"))?;
            let part = |part: &str| format!("{print}.{}.{part}", key(value));
            match (what, value) {
                ("range", _) => {
                    let range = floats(&file, name)?;
                    let &[low, high] = &range[..] else { return Err(bad("wanted two numbers")) };
                    let [negative, positive] = [part("negative"), part("positive")].map(|name| counts(&file, &name));
                    let histogram = Histogram::from_parts((low, high), negative?, positive?).map_err(|e| bad(&e))?;
                    statistics.histograms.insert(value, histogram);
                }
                ("low", Value::Node(id)) => {
                    let [high, rows] = [part("high"), part("rows")].map(|name| floats(&file, &name));
                    let (low, high, rows) = (floats(&file, name)?, high?, rows?);
                    let whole = !low.is_empty() && low.len() == high.len() && rows.len() % low.len() == 0;
                    if !whole || rows.is_empty() || low.iter().zip(&high).any(|(low, high)| low > high) {
                        return Err(bad("it fits no rows"));
                    }
                    statistics.channels.insert(id, Channels { low, high, rows });
                }
                ("negative" | "positive" | "high" | "rows", _) => {}
                _ => return Err(bad("an unknown name")),
            }
        }
        if known.is_empty() {
            return Err("it holds no statistics".to_owned());
        }
        let known = known.into_iter().map(|(print, statistics)| (print, Arc::new(statistics))).collect();
        Ok(Calibration { inputs: Vec::new(), known: Mutex::new(known) })
    }
}

/// The SHA-256 of a module's text and constants.
fn fingerprint(module: &Module) -> String {
    let mut hash = Sha256::new();
    hash.update(text::print(&module.graph));
    for (name, tensor) in &module.weights.0 {
        hash.update(name.as_bytes());
        hash.update(tensor.data.to_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// How the file names a value: `x0` an input, `n12` a node.
fn key(value: Value) -> String {
    match value {
        Value::Input(i) => format!("x{}", i.0),
        Value::Node(n) => format!("n{}", n.0),
        Value::Const(c) => format!("c{}", c.0),
    }
}

fn parse_key(text: &str) -> Option<Value> {
    let number = text.get(1..)?.parse().ok()?;
    match text.as_bytes()[0] {
        b'x' => Some(Value::Input(InputId(number))),
        b'n' => Some(Value::Node(NodeId(number))),
        _ => None,
    }
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
        // Any byte changed or any end cut off: an error or other numbers, never a panic.
        let mut errors = 0;
        for at in 0..saved.len().min(4000) {
            let mut bytes = saved.clone();
            bytes[at] ^= 0x15;
            errors += usize::from(Calibration::from_bytes(&bytes).is_err());
            assert!(Calibration::from_bytes(&saved[..at]).is_err());
        }
        assert!(errors > 100);
        let other = safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap();
        assert_eq!(Calibration::from_bytes(&other).unwrap_err(), "no statistics of calibration");
    }
}
