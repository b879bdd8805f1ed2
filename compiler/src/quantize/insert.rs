//! Inserts quantize/dequantize pairs around everything that will be integer.

use super::{FloatOps, Ranges};
use std::collections::HashMap;
use swint_ir::{
    Data, Elem, F32, Module, Node, Scale, Tensor, Type, Value, arith,
    infer::MAX_K,
    op::{Class, Op, OpKind},
};

/// Inserts a `quantize`, `dequantize` pair at every activation that enters a linear, an attention product or a GELU; unless
/// `float_ops` leaves them float, one of 16 bits at what enters a LayerNorm, an addition or a mean, and at the result, whose
/// integers the graph then returns. Replaces every linear's weights by `dequantize` of an `i8` constant with a scale per output channel.
///
/// Scales: `max|x| / 127` for `i8`; `max x / 255` for the `u8` after a ReLU; 1/255 for probabilities, which are `u8`, too.
///
/// # Errors
/// When a range was not observed, or is too large.
pub fn insert_quantization(module: &Module, ranges: &Ranges, float_ops: FloatOps) -> Result<Module, String> {
    let mut out = Module { graph: module.graph.clone(), weights: module.weights.clone() };
    out.graph.nodes.clear();
    let mut pass = Pass { source: module, ranges, float_ops, out, moved: HashMap::new(), pairs: HashMap::new() };
    for (id, node) in module.graph.iter() {
        let value = pass.node(node)?;
        pass.moved.insert(Value::Node(id), value);
    }
    pass.out.graph.output = pass.moved_value(module.graph.output);
    if !float_ops.residual && module.graph.ty(module.graph.output).is_float() {
        // Integers leave; what they stand for is in their type.
        let scale = F32::new(pass.stream_max_abs(module.graph.output)? / 32767.0);
        pass.out.graph.output = pass.push(Op::Quantize { elem: Elem::I16, scale }, vec![pass.out.graph.output]);
    }
    Ok(pass.out.without_dead_code())
}

struct Pass<'a> {
    source: &'a Module,
    ranges: &'a Ranges,
    float_ops: FloatOps,
    out: Module,
    moved: HashMap<Value, Value>,
    /// The pair already inserted after a value of the source, by the element type that was asked for.
    pairs: HashMap<(Value, Elem), Value>,
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
                operands[1] = self.weight(node.operands[1])?.unwrap_or(operands[1]);
                (1, Elem::I8)
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

    /// A value of the source, quantized to `elem` (or `u8` for 8 bits that are never negative) and dequantized.
    fn pair(&mut self, source: Value, elem: Elem) -> Result<Value, String> {
        let value = self.moved_value(source);
        if self.is_dequantized(source) {
            return Ok(value);
        }
        if let Some(&pair) = self.pairs.get(&(source, elem)) {
            return Ok(pair);
        }
        let (to, scale) = match self.source.graph.node(source).map(|n| n.op.kind()) {
            _ if elem == Elem::I16 => (Elem::I16, self.stream_max_abs(source)? / 32767.0),
            Some(OpKind::Softmax) => (Elem::U8, 1.0 / 255.0),
            Some(OpKind::Relu) => (Elem::U8, self.max_abs(source)? / 255.0),
            _ => (Elem::I8, self.max_abs(source)? / 127.0),
        };
        let q = self.push(Op::Quantize { elem: to, scale: F32::new(scale) }, vec![value]);
        let pair = self.push(Op::Dequantize {}, vec![q]);
        self.pairs.insert((source, elem), pair);
        Ok(pair)
    }

    /// The largest magnitude of a value of the residual stream: of a sum, its operands' too, for they are requantized to its
    /// scale and must not saturate where they cancel.
    fn stream_max_abs(&self, value: Value) -> Result<f32, String> {
        let operands = match self.source.graph.node(value) {
            Some(node) if node.op.kind() == OpKind::Add => &node.operands[..],
            _ => &[],
        };
        operands.iter().try_fold(self.max_abs(value)?, |max, &operand| Ok(max.max(self.max_abs(operand)?)))
    }

    /// The largest magnitude observed, as a scale may divide it.
    fn max_abs(&self, value: Value) -> Result<f32, String> {
        let name = self.source.graph.value_name(value);
        let observed = match value {
            Value::Const(c) => {
                let tensor = self.source.weights.get(&self.source.graph.consts[c.index()].name);
                tensor.and_then(|t| t.as_f32()).map(|v| v.iter().fold(0f32, |m, x| m.max(x.abs())))
            }
            _ => self.ranges.max_abs(value),
        };
        let max = observed.ok_or_else(|| format!("{name} was not observed in calibration"))?;
        divisible(max).ok_or_else(|| format!("{name} reaches {max:e} in calibration, too much to quantize"))
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
    fn source_kind(&self, mut value: Value) -> Option<OpKind> {
        loop {
            let node = self.source.graph.node(value)?;
            match node.op.kind() {
                kind if kind.class() == Class::Index => value = node.operands[0],
                kind => return Some(kind),
            }
        }
    }

    /// `dequantize` of a constant's integers; `None` when it is no float constant.
    fn weight(&mut self, source: Value) -> Result<Option<Value>, String> {
        let Value::Const(c) = source else { return Ok(None) };
        let decl = self.source.graph.consts[c.index()].clone();
        let Some(values) = self.source.weights.get(&decl.name).and_then(|t| t.as_f32()) else { return Ok(None) };
        let (q, scales) = quantize_rows(values, decl.ty.last())
            .ok_or_else(|| format!("weights @{} are too large to quantize", decl.name))?;
        let n = scales.len();
        let (_, name) =
            self.out.fresh_constant(&format!("{}.scale", decl.name), Type::f32([n]), Tensor::f32([n], scales));
        let ty = Type::int(Elem::I8, Scale::channels(name, 0), decl.ty.shape.clone());
        let tensor = Tensor::new(decl.ty.shape, Data::I8(q));
        let (q, _) = self.out.fresh_constant(&format!("{}.i8", decl.name), ty, tensor);
        Ok(Some(self.push(Op::Dequantize {}, vec![q])))
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
fn quantize_rows(values: &[f32], k: usize) -> Option<(Vec<i8>, Vec<f32>)> {
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
