//! Inserts quantize/dequantize pairs around everything that will be integer.

mod attention;
mod gelu;
mod weights;

pub(super) use weights::quantize_rows;

use super::{FloatOps, GeluRange, GeluWindows, Histogram, Observer, Statistics, statistics::unmoved};
use attention::SharedScales;
use std::collections::{BTreeMap, HashMap};
use swint_ir::{
    Elem, F32, Module, Node, NodeId, Value,
    infer::MAX_K,
    op::{Class, Op, OpKind},
};
use weights::divisible;

/// 16-bit tensors hold so many times what calibration saw: they saturate on no picture that it happened not to see, and the
/// two bits are not missed.
const HEADROOM: f32 = 4.0;

/// How [`insert_quantization`] chooses scales.
#[derive(Clone, Copy, Debug)]
pub struct Ranges<'a> {
    /// What calibration saw of the module.
    pub statistics: &'a Statistics,
    /// How much of it 8-bit tensors represent.
    pub observer: Observer,
    /// Whether the ranges around a GELU may be shifted.
    pub gelu: GeluRange,
}

/// Inserts a `quantize`, `dequantize` pair at every activation that enters a linear, an attention product or a GELU; unless
/// `float_ops` leaves them float, one of 16 bits at what enters a LayerNorm, an addition or a mean, and at the result, whose
/// integers the graph then returns. Replaces every linear's weights by `dequantize` of an `i8` constant with a scale per output channel.
///
/// q, k and v of an attention get one scale, v's: `attention.rs` says how.
///
/// Scales: `4·max|x| / 32767` for `i16`; `max|x| / 127` for `i8`; `max x / 255` for the `u8` after a ReLU; 1/255 for
/// probabilities, which are `u8`, too; 1/127 for q and k of length 1. The observer says what max is. Ranges around a GELU may be shifted; what that came to
/// is returned.
///
/// # Errors
/// When a range was not observed, or is too large.
pub fn insert_quantization(
    module: &Module,
    ranges: Ranges<'_>,
    float_ops: FloatOps,
) -> Result<(Module, Vec<GeluWindows>), String> {
    let mut out = Module { graph: module.graph.clone(), weights: module.weights.clone() };
    out.graph.nodes.clear();
    let mut pass = Pass {
        source: module,
        ranges,
        float_ops,
        out,
        moved: HashMap::new(),
        pairs: HashMap::new(),
        shifted: HashMap::new(),
        windows: BTreeMap::new(),
        shared: SharedScales::default(),
    };
    if !float_ops.softmax {
        pass.shared = pass.share_scales()?;
    }
    for (id, node) in module.graph.iter() {
        let value = pass.node(id, node)?;
        pass.moved.insert(Value::Node(id), value);
    }
    pass.out.graph.output = pass.moved_value(module.graph.output);
    if !float_ops.residual && module.graph.ty(module.graph.output).is_float() {
        // Integers leave; what they stand for is in their type.
        let scale = F32::new(pass.stream_scale(module.graph.output)?);
        pass.out.graph.output = pass.push(Op::Quantize { elem: Elem::I16, scale }, vec![pass.out.graph.output]);
    }
    Ok((pass.out.without_dead_code(), pass.windows.into_values().collect()))
}

struct Pass<'a> {
    source: &'a Module,
    ranges: Ranges<'a>,
    float_ops: FloatOps,
    out: Module,
    moved: HashMap<Value, Value>,
    /// The pair already inserted after a value of the source, by the element type that was asked for.
    pairs: HashMap<(Value, Elem), Value>,
    /// What was added to a GELU's result before it was quantized, by the value of the source.
    shifted: HashMap<Value, f32>,
    /// What was chosen around a GELU, by its result.
    windows: BTreeMap<Value, GeluWindows>,
    /// What q and k are multiplied by to share v's scale.
    shared: SharedScales,
}

const TYPED: &str = "quantization keeps every type that is not its own";

impl Pass<'_> {
    fn moved_value(&self, value: Value) -> Value {
        self.moved.get(&value).copied().unwrap_or(value)
    }

    fn push(&mut self, op: Op, operands: Vec<Value>) -> Value {
        self.out.graph.push(op, operands).expect(TYPED)
    }

    fn node(&mut self, id: NodeId, node: &Node) -> Result<Value, String> {
        let mut operands: Vec<Value> = node.operands.iter().map(|&v| self.moved_value(v)).collect();
        // What is integer already stays, and so does a sum that 32 bits may not hold.
        let float = node.operands.iter().all(|&v| self.source.graph.ty(v).is_float());
        let fits = node.op.kind() != OpKind::Linear || self.source.graph.ty(node.operands[0]).last() <= MAX_K;
        let FloatOps { norm, residual, .. } = self.float_ops;
        let (quantized, elem) = match node.op.kind() {
            _ if !(float && fits) => (0, Elem::I8),
            OpKind::Linear => {
                self.linear_constants(id, node, &mut operands)?;
                (1, Elem::I8)
            }
            OpKind::Gelu if self.ranges.gelu == GeluRange::Auto => {
                if let Some(x) = self.shifted_index(Value::Node(id))? {
                    operands[0] = x;
                    (0, Elem::I8)
                } else {
                    (1, Elem::I8)
                }
            }
            OpKind::AttnScores | OpKind::AttnValues => (2, Elem::I8),
            OpKind::Gelu => (1, Elem::I8),
            // The residual stream has 16 bits, and what is normalised comes from it.
            OpKind::LayerNorm | OpKind::L2Norm if !norm => (1, Elem::I16),
            OpKind::Add if !residual => (2, Elem::I16),
            OpKind::MeanPool if !residual => (1, Elem::I16),
            _ => (0, Elem::I8),
        };
        for (operand, &source) in operands.iter_mut().zip(&node.operands).take(quantized) {
            *operand = match self.added(source).filter(|_| node.op.kind() == OpKind::Add) {
                // Sums of a linear that nothing else reads are added as they are: requantized once, to the scale of the result.
                Some(OpKind::Linear) => *operand,
                // So, too, is what nothing else reads of a LayerNorm.
                Some(OpKind::LayerNorm) => self.pair_of_scale(*operand, self.stream_scale(Value::Node(id))?),
                _ => self.pair(source, elem)?,
            };
        }
        let op = match self.shared.scores.get(&id) {
            Some(&scale) => Op::AttnBias { scale },
            None => node.op.clone(),
        };
        let value = self.push(op, operands);
        self.out.graph.inherit(value, node);
        Ok(value)
    }

    /// A value of the source, quantized to `elem` (or `u8` for 8 bits that are never negative) and dequantized.
    fn pair(&mut self, source: Value, elem: Elem) -> Result<Value, String> {
        let value = self.moved_value(source);
        if self.is_dequantized(source) {
            return Ok(value);
        }
        if let Some(&pair) = self.pairs.get(&(source, elem)) {
            return Ok(pair);
        }
        // What is added somewhere is an integer of 16 bits there: of that, 8 bits are made for others.
        let value = if elem != Elem::I16 && !self.float_ops.residual && self.is_stream(source) {
            let scale = self.stream_scale(unmoved(self.source, source))?;
            self.pair_of_scale(value, scale)
        } else if elem != Elem::I16 && self.shared.wide.contains(&source) {
            self.pair(source, Elem::I16)?
        } else {
            value
        };
        let quantize = |elem, scale| (Op::Quantize { elem, scale: F32::new(scale) }, value);
        let (quantize, value) = match self.source.graph.node(source).map(|n| n.op.kind()) {
            _ if elem == Elem::I16 => quantize(
                Elem::I16,
                match self.shared.linears.get(&source) {
                    Some(&(_, max)) => max * (HEADROOM / 32767.0),
                    None => self.stream_scale(source)?,
                },
            ),
            Some(OpKind::Softmax) => quantize(Elem::U8, 1.0 / 255.0),
            Some(OpKind::L2Norm) => quantize(Elem::I8, 1.0 / 127.0),
            Some(OpKind::Relu) => quantize(Elem::U8, self.max_abs(source, Elem::U8)? / 255.0),
            Some(OpKind::Gelu) => self.gelu_pair(source)?,
            _ => {
                let max = match self.shared.linears.get(&source) {
                    Some(&(_, max)) => max,
                    None => self.max_abs(source, Elem::I8)?,
                };
                quantize(Elem::I8, max / 127.0)
            }
        };
        let q = self.push(quantize, vec![value]);
        let pair = self.push(Op::Dequantize {}, vec![q]);
        self.pairs.insert((source, elem), pair);
        Ok(pair)
    }

    /// A value of the result, in 16 bits of a scale: as an addition takes it.
    fn pair_of_scale(&mut self, value: Value, scale: f32) -> Value {
        let q = self.push(Op::Quantize { elem: Elem::I16, scale: F32::new(scale) }, vec![value]);
        self.push(Op::Dequantize {}, vec![q])
    }

    /// Whether a value is a sum or a term of one, moved perhaps.
    fn is_stream(&self, source: Value) -> bool {
        let value = unmoved(self.source, source);
        let adds = |node: &Node| node.op.kind() == OpKind::Add;
        let graph = &self.source.graph;
        graph.node(value).is_some_and(adds) || graph.nodes.iter().any(|n| adds(n) && n.operands.contains(&value))
    }

    /// The scale of a value of the residual stream, for `i16`.
    fn stream_scale(&self, value: Value) -> Result<f32, String> {
        Ok(self.stream_max_abs(value)? * (HEADROOM / 32767.0))
    }

    /// The largest magnitude of a value of the residual stream: of a sum, its operands' too, for they are requantized to its
    /// scale and must not saturate where they cancel.
    fn stream_max_abs(&self, value: Value) -> Result<f32, String> {
        let operands = match self.source.graph.node(value) {
            Some(node) if node.op.kind() == OpKind::Add => &node.operands[..],
            _ => &[],
        };
        (operands.iter())
            .try_fold(self.max_abs(value, Elem::I16)?, |max, &operand| Ok(max.max(self.max_abs(operand, Elem::I16)?)))
    }

    fn histogram(&self, value: Value) -> Result<&'_ Histogram, String> {
        let found = self.ranges.statistics.histograms.get(&unmoved(self.source, value));
        found.ok_or_else(|| format!("{} was not observed in calibration", self.source.graph.value_name(value)))
    }

    /// The largest magnitude that a tensor of `elem` is to represent, as a scale may divide it.
    fn max_abs(&self, value: Value, elem: Elem) -> Result<f32, String> {
        let max = match value {
            Value::Const(c) => {
                let name = &self.source.graph.consts[c.index()].name;
                let values = self.source.weights.get(name).and_then(|t| t.as_f32());
                values.map_or(0.0, |v| v.iter().fold(0f32, |m, x| m.max(x.abs())))
            }
            _ => self.ranges.observer.max_abs(self.histogram(value)?, elem),
        };
        let name = || self.source.graph.value_name(value);
        divisible(max).ok_or_else(|| format!("{} reaches {max:e} in calibration, too much to quantize", name()))
    }

    /// Whether a value is a `dequantize`, perhaps moved: raw pixels.
    fn is_dequantized(&self, value: Value) -> bool {
        self.source_kind(value) == Some(OpKind::Dequantize)
    }

    /// What a value is the result of, index maps aside, where nothing else reads it.
    fn added(&self, mut value: Value) -> Option<OpKind> {
        let graph = &self.source.graph;
        loop {
            let reads = |node: &&Node| node.operands.contains(&value);
            if graph.output == value || graph.nodes.iter().filter(reads).count() != 1 {
                return None;
            }
            match graph.node(value)? {
                node if node.op.kind().class() == Class::Index => value = node.operands[0],
                node => return Some(node.op.kind()),
            }
        }
    }

    /// The op whose result a value is, index maps aside.
    fn source_kind(&self, value: Value) -> Option<OpKind> {
        Some(self.source.graph.node(unmoved(self.source, value))?.op.kind())
    }

    /// The name and the values of a float constant of the result.
    fn constant(&self, value: Value) -> Option<(String, Vec<f32>)> {
        let Value::Const(c) = value else { return None };
        let name = &self.out.graph.consts[c.index()].name;
        Some((name.to_string(), self.out.weights.get(name)?.as_f32()?.to_vec()))
    }
}
