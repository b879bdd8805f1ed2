//! Inserts quantize/dequantize pairs around everything that will be integer.

use super::{
    FloatOps, GeluRange, Histogram, Observer, Statistics,
    gelu_range::{self, GeluWindows, Shifted},
    statistics::unmoved,
};
use std::collections::HashMap;
use swint_ir::{
    Data, Elem, F32, Module, Node, Scale, Tensor, Type, Value, arith,
    infer::MAX_K,
    op::{Op, OpKind},
};

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
/// Scales: `4·max|x| / 32767` for `i16`; `max|x| / 127` for `i8`; `max x / 255` for the `u8` after a ReLU; 1/255 for probabilities, which are `u8`, too. The
/// observer says what max is. Ranges around a GELU may be shifted; what that came to is returned.
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
        windows: Vec::new(),
    };
    for (id, node) in module.graph.iter() {
        let value = pass.node(node)?;
        pass.moved.insert(Value::Node(id), value);
    }
    pass.out.graph.output = pass.moved_value(module.graph.output);
    if !float_ops.residual && module.graph.ty(module.graph.output).is_float() {
        // Integers leave; what they stand for is in their type.
        let scale = F32::new(pass.stream_scale(module.graph.output)?);
        pass.out.graph.output = pass.push(Op::Quantize { elem: Elem::I16, scale }, vec![pass.out.graph.output]);
    }
    Ok((pass.out.without_dead_code(), pass.windows))
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
    windows: Vec<GeluWindows>,
}

const TYPED: &str = "quantization keeps every type that is not its own";

impl Pass<'_> {
    fn moved_value(&self, value: Value) -> Value {
        self.moved.get(&value).copied().unwrap_or(value)
    }

    fn push(&mut self, op: Op, operands: Vec<Value>) -> Value {
        self.out.graph.push(op, operands).expect(TYPED)
    }

    fn node(&mut self, node: &Node) -> Result<Value, String> {
        let mut operands: Vec<Value> = node.operands.iter().map(|&v| self.moved_value(v)).collect();
        // What is integer already stays, and so does a sum that 32 bits may not hold.
        let float = node.operands.iter().all(|&v| self.source.graph.ty(v).is_float());
        let fits = node.op.kind() != OpKind::Linear || self.source.graph.ty(node.operands[0]).last() <= MAX_K;
        let FloatOps { norm, residual, .. } = self.float_ops;
        let (quantized, elem) = match node.op.kind() {
            _ if !(float && fits) => (0, Elem::I8),
            OpKind::Linear => {
                self.linear_constants(node, &mut operands)?;
                (1, Elem::I8)
            }
            OpKind::Gelu if self.ranges.gelu == GeluRange::Auto => {
                if let Some(x) = self.shifted_index(node.operands[0])? {
                    operands[0] = x;
                    (0, Elem::I8)
                } else {
                    (1, Elem::I8)
                }
            }
            OpKind::AttnScores | OpKind::AttnValues => (2, Elem::I8),
            OpKind::Gelu => (1, Elem::I8),
            // The residual stream has 16 bits, and what is normalised comes from it.
            OpKind::LayerNorm if !norm => (1, Elem::I16),
            OpKind::Add if !residual => (2, Elem::I16),
            OpKind::MeanPool if !residual => (1, Elem::I16),
            _ => (0, Elem::I8),
        };
        for (operand, &source) in operands.iter_mut().zip(&node.operands).take(quantized) {
            // A linear's sums are added as they are: requantized once, to the scale of the result.
            if node.op.kind() != OpKind::Add || !self.is_sum(source) {
                *operand = self.pair(source, elem)?;
            }
        }
        let value = self.push(node.op.clone(), operands);
        for loc in &node.locs {
            self.out.graph.add_loc(value, loc.clone());
        }
        Ok(value)
    }

    /// What enters a GELU, quantized with a shift: `dequantize(quantize(linear(x, w, b + t))) − t`. `None` where no shift is
    /// better, or what enters is no linear that could add it.
    fn shifted_index(&mut self, source: Value) -> Result<Option<Value>, String> {
        let Some(linear) = self.out.graph.node(self.moved_value(source)).cloned() else { return Ok(None) };
        let (OpKind::Linear, Some(&bias)) = (linear.op.kind(), linear.operands.get(2)) else { return Ok(None) };
        let Some((name, values)) = self.constant(bias) else { return Ok(None) };
        let histogram = self.histogram(source)?;
        let symmetric = self.max_abs(source, Elem::I8)?;
        let window = gelu_range::index(histogram, symmetric);
        self.windows.push(GeluWindows { linear: name.clone(), index_db: window.sqnr_db, result_db: None });
        let Some(Shifted { shift, scale }) = window.shifted else { return Ok(None) };
        let values: Vec<f32> = values.iter().map(|b| b + shift).collect();
        let n = values.len();
        let stem = format!("{name}.shifted");
        let (bias, _) = self.out.fresh_constant(&stem, Type::f32([n]), Tensor::f32([n], values));
        let x = self.push(Op::Linear {}, vec![linear.operands[0], linear.operands[1], bias]);
        let q = self.push(Op::Quantize { elem: Elem::I8, scale: F32::new(scale) }, vec![x]);
        let x = self.push(Op::Dequantize {}, vec![q]);
        Ok(Some(self.add_everywhere(x, -shift)))
    }

    /// `x + shift`, one number for every element.
    fn add_everywhere(&mut self, x: Value, shift: f32) -> Value {
        let n = self.out.graph.ty(x).last();
        let (shift, _) = self.out.fresh_constant("shift", Type::f32([n]), Tensor::f32([n], vec![shift; n]));
        self.push(Op::BiasAdd {}, vec![x, shift])
    }

    /// The pair at a GELU's result: u8 with a shift where that is better.
    fn gelu_pair(&mut self, source: Value) -> Result<(Op, Value), String> {
        let value = self.moved_value(source);
        let symmetric = self.max_abs(source, Elem::I8)?;
        let mut window = gelu_range::Window { shifted: None, sqnr_db: (0.0, 0.0) };
        if self.ranges.gelu == GeluRange::Auto {
            window = gelu_range::result(self.histogram(source)?, symmetric);
            if let Some(last) = self.windows.last_mut() {
                last.result_db = Some(window.sqnr_db);
            }
        }
        Ok(match window.shifted {
            None => (Op::Quantize { elem: Elem::I8, scale: F32::new(symmetric / 127.0) }, value),
            Some(Shifted { shift, scale }) => {
                self.shifted.insert(source, shift);
                (Op::Quantize { elem: Elem::U8, scale: F32::new(scale) }, self.add_everywhere(value, shift))
            }
        })
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
        let quantize = |elem, scale| (Op::Quantize { elem, scale: F32::new(scale) }, value);
        let (quantize, value) = match self.source.graph.node(source).map(|n| n.op.kind()) {
            _ if elem == Elem::I16 => quantize(Elem::I16, self.stream_scale(source)?),
            Some(OpKind::Softmax) => quantize(Elem::U8, 1.0 / 255.0),
            Some(OpKind::Relu) => quantize(Elem::U8, self.max_abs(source, Elem::U8)? / 255.0),
            Some(OpKind::Gelu) => self.gelu_pair(source)?,
            _ => quantize(Elem::I8, self.max_abs(source, Elem::I8)? / 127.0),
        };
        let q = self.push(quantize, vec![value]);
        let pair = self.push(Op::Dequantize {}, vec![q]);
        self.pairs.insert((source, elem), pair);
        Ok(pair)
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

    /// Whether a value is a linear that becomes integer, perhaps moved.
    fn is_sum(&self, value: Value) -> bool {
        self.source_kind(value) == Some(OpKind::Linear)
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

    /// Quantizes a linear's weights, where they are constant, and takes back what was added to its operand: the bias becomes
    /// `b − t·Σₖ w[n,k]`, w the quantized weights.
    fn linear_constants(&mut self, node: &Node, operands: &mut Vec<Value>) -> Result<(), String> {
        let Some((w, sums)) = self.weight(node.operands[1])? else { return Ok(()) };
        operands[1] = w;
        let source = node.operands[0];
        let bias = operands.get(2).map(|&b| self.constant(b));
        if self.source.graph.node(source).is_none_or(|n| n.op.kind() != OpKind::Gelu) || bias == Some(None) {
            return Ok(());
        }
        self.pair(source, Elem::I8)?;
        let Some(&shift) = self.shifted.get(&source) else { return Ok(()) };
        let (name, bias) = bias.flatten().unwrap_or_else(|| ("bias".to_owned(), vec![0.0; sums.len()]));
        let values = bias.iter().zip(&sums).map(|(&b, sum)| (f64::from(b) - f64::from(shift) * sum) as f32);
        let n = sums.len();
        let stem = format!("{name}.shifted");
        let tensor = Tensor::f32([n], values.collect());
        let (bias, _) = self.out.fresh_constant(&stem, Type::f32([n]), tensor);
        operands.truncate(2);
        operands.push(bias);
        Ok(())
    }

    /// `dequantize` of a constant's integers, and the sum of each of its rows; `None` when it is no float constant.
    fn weight(&mut self, source: Value) -> Result<Option<(Value, Vec<f64>)>, String> {
        let Value::Const(c) = source else { return Ok(None) };
        let decl = self.source.graph.consts[c.index()].clone();
        let Some(values) = self.source.weights.get(&decl.name).and_then(|t| t.as_f32()) else { return Ok(None) };
        let (q, scales) = quantize_rows(values, decl.ty.last())
            .ok_or_else(|| format!("weights @{} are too large to quantize", decl.name))?;
        let (n, k) = (scales.len(), decl.ty.last());
        let sum = |(row, &scale): (&[i8], &f32)| row.iter().map(|&q| f64::from(q)).sum::<f64>() * f64::from(scale);
        let sums = q.chunks_exact(k).zip(&scales).map(sum).collect();
        let (_, name) =
            self.out.fresh_constant(&format!("{}.scale", decl.name), Type::f32([n]), Tensor::f32([n], scales));
        let ty = Type::int(Elem::I8, Scale::channels(name, 0), decl.ty.shape.clone());
        let tensor = Tensor::new(decl.ty.shape, Data::I8(q));
        let (q, _) = self.out.fresh_constant(&format!("{}.i8", decl.name), ty, tensor);
        Ok(Some((self.push(Op::Dequantize {}, vec![q]), sums)))
    }
}

/// A largest magnitude as a scale may divide it: 1 where it is as good as zero, `None` where it is too large.
fn divisible(max: f32) -> Option<f32> {
    match max {
        m if m < 1e-20 => Some(1.0),
        m if m <= 1e20 => Some(m),
        _ => None,
    }
}

/// Symmetric 8-bit integers in ±127 and a scale for each row of `k` values; `None` where values are too large.
pub(super) fn quantize_rows(values: &[f32], k: usize) -> Option<(Vec<i8>, Vec<f32>)> {
    let (mut q, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    for row in values.chunks_exact(k) {
        let max = row.iter().fold(0f32, |m, x| m.max(x.abs()));
        let scale = divisible(max)? / 127.0;
        q.extend(row.iter().map(|&x| arith::quantize(x, scale, Elem::I8).max(-127) as i8));
        scales.push(scale);
    }
    Some((q, scales))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_scales_of_their_own() {
        let (q, scales) = quantize_rows(&[1.0, -0.5, 0.0, 0.0, -254.0, 3.0], 2).unwrap();
        assert_eq!(q, [127, -63, 0, 0, -127, 2]);
        assert_eq!(scales, [1.0 / 127.0, 1.0 / 127.0, 2.0]);
        assert_eq!(quantize_rows(&[1e30], 1), None);
    }
}
