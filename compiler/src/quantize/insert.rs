//! Inserts quantize/dequantize pairs around everything that will be integer.

use super::Ranges;
use std::collections::HashMap;
use swint_ir::{
    Data, Elem, F32, Module, Node, Scale, Tensor, Type, Value, arith,
    infer::MAX_K,
    op::{Class, Op, OpKind},
};

/// Inserts a `quantize`, `dequantize` pair at every activation that enters a linear, an attention product or a GELU, and
/// replaces every linear's weights by `dequantize` of an `i8` constant with a scale per output channel.
///
/// Scales: `max|x| / 127` for `i8`; `max x / 255` for the `u8` after a ReLU; 1/255 for probabilities, which are `u8`, too.
///
/// # Errors
/// When a range was not observed, or is too large.
pub fn insert_quantization(module: &Module, ranges: &Ranges) -> Result<Module, String> {
    let mut out = Module { graph: module.graph.clone(), weights: module.weights.clone() };
    out.graph.nodes.clear();
    let mut pass = Pass { source: module, ranges, out, moved: HashMap::new(), pairs: HashMap::new() };
    for (id, node) in module.graph.iter() {
        let value = pass.node(node)?;
        pass.moved.insert(Value::Node(id), value);
    }
    pass.out.graph.output = pass.moved_value(module.graph.output);
    Ok(pass.out.without_dead_code())
}

struct Pass<'a> {
    source: &'a Module,
    ranges: &'a Ranges,
    out: Module,
    moved: HashMap<Value, Value>,
    /// The pair already inserted after a value of the source.
    pairs: HashMap<Value, Value>,
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
        let quantized = match node.op.kind() {
            _ if !(float && fits) => 0,
            OpKind::Linear => {
                operands[1] = self.weight(node.operands[1])?.unwrap_or(operands[1]);
                1
            }
            OpKind::AttnScores | OpKind::AttnValues => 2,
            OpKind::Gelu => 1,
            _ => 0,
        };
        for (operand, &source) in operands.iter_mut().zip(&node.operands).take(quantized) {
            *operand = self.pair(source)?;
        }
        let value = self.push(node.op.clone(), operands);
        for loc in &node.locs {
            self.out.graph.add_loc(value, loc.clone());
        }
        Ok(value)
    }

    /// A value of the source, quantized and dequantized.
    fn pair(&mut self, source: Value) -> Result<Value, String> {
        let value = self.moved_value(source);
        if self.is_dequantized(source) {
            return Ok(value);
        }
        if let Some(&pair) = self.pairs.get(&source) {
            return Ok(pair);
        }
        let (elem, scale) = match self.source.graph.node(source).map(|n| n.op.kind()) {
            Some(OpKind::Softmax) => (Elem::U8, 1.0 / 255.0),
            Some(OpKind::Relu) => (Elem::U8, self.max_abs(source)? / 255.0),
            _ => (Elem::I8, self.max_abs(source)? / 127.0),
        };
        let q = self.push(Op::Quantize { elem, scale: F32::new(scale) }, vec![value]);
        let pair = self.push(Op::Dequantize {}, vec![q]);
        self.pairs.insert(source, pair);
        Ok(pair)
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
    fn is_dequantized(&self, mut value: Value) -> bool {
        while let Some(node) = self.source.graph.node(value) {
            match node.op.kind() {
                OpKind::Dequantize => return true,
                kind if kind.class() == Class::Index => value = node.operands[0],
                _ => return false,
            }
        }
        false
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
