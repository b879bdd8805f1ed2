//! Weights and biases of the linears.

use super::Pass;
use swint_ir::{
    Data, Elem, Node, NodeId, Scale, Tensor, Type, Value, arith,
    infer::MAX_BIAS,
    op::{Class, Op, OpKind},
};

impl Pass<'_> {
    /// Quantizes a linear's weights, where they are constant, and takes back what was added to its operand: the bias becomes
    /// `b − t·Σₖ w[n,k]`, w the quantized weights.
    pub(super) fn linear_constants(
        &mut self,
        id: NodeId,
        node: &Node,
        operands: &mut Vec<Value>,
    ) -> Result<(), String> {
        let source = node.operands[0];
        let x = self.pair(source, Elem::I8)?;
        let bias = operands.get(2).map(|&b| self.constant(b));
        // A row of tiny weights gets a scale that its bias can be expressed in, whatever shift the bias is given: at most the
        // range of the result, twice.
        let reach = self.ranges.statistics.histograms.get(&Value::Node(id)).map_or(0.0, |h| 2.0 * h.max_abs());
        let unit = self.scale_before(x).unwrap_or(1.0) * (MAX_BIAS / 2) as f32;
        let bias_of = |row: usize| bias.iter().flatten().next().map_or(0.0, |(_, b)| b[row].abs());
        let factor = self.shared.linears.get(&Value::Node(id)).map_or(1.0, |shared| shared.0);
        let least = |row| ((bias_of(row) + reach) / unit).min(1e18);
        let Some((w, sums)) = self.weight(node.operands[1], least, factor)? else { return Ok(()) };
        operands[1] = w;
        if let (true, Some(Some((name, bias)))) = (factor != 1.0, &bias) {
            let tensor = Tensor::f32([bias.len()], bias.iter().map(|b| b * factor).collect());
            let (bias, _) = self.out.fresh_constant(&format!("{name}.scaled"), Type::f32([bias.len()]), tensor);
            operands[2] = bias;
        }
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

    /// `dequantize` of a constant's integers times a factor, and the sum of each of its rows; `None` when it is no float constant.
    /// A row's scale is at least `least`, times the factor.
    fn weight(
        &mut self,
        source: Value,
        least: impl Fn(usize) -> f32,
        factor: f32,
    ) -> Result<Option<(Value, Vec<f64>)>, String> {
        let Value::Const(c) = source else { return Ok(None) };
        let decl = self.source.graph.consts[c.index()].clone();
        let Some(values) = self.source.weights.get(&decl.name).and_then(|t| t.as_f32()) else { return Ok(None) };
        let (q, scales) = quantize_rows(values, decl.ty.last(), least)
            .ok_or_else(|| format!("weights @{} are too large to quantize", decl.name))?;
        let scales: Vec<f32> = scales.into_iter().map(|scale| scale * factor).collect();
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

    /// The scale of what a value of the result was dequantized from, index maps aside.
    fn scale_before(&self, mut value: Value) -> Option<f32> {
        loop {
            let node = self.out.graph.node(value)?;
            match node.op.kind() {
                kind if kind.class() == Class::Index => value = node.operands[0],
                OpKind::Dequantize => return Some(self.out.graph.ty(node.operands[0]).scale.factor.get()),
                _ => return None,
            }
        }
    }
}

/// A largest magnitude as a scale may divide it: 1 where it is as good as zero, `None` where it is too large.
pub(super) fn divisible(max: f32) -> Option<f32> {
    match max {
        m if m < 1e-20 => Some(1.0),
        m if m <= 1e20 => Some(m),
        _ => None,
    }
}

/// Symmetric 8-bit integers in ±127 and a scale, at least `least`, for each row of `k` values; `None` where values are too
/// large.
pub(in crate::quantize) fn quantize_rows(
    values: &[f32],
    k: usize,
    least: impl Fn(usize) -> f32,
) -> Option<(Vec<i8>, Vec<f32>)> {
    let (mut q, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    for (i, row) in values.chunks_exact(k).enumerate() {
        let max = row.iter().fold(0f32, |m, x| m.max(x.abs()));
        let scale = (divisible(max)? / 127.0).max(least(i));
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
        let (q, scales) = quantize_rows(&[1.0, -0.5, 0.0, 0.0, -254.0, 3.0], 2, |_| 0.0).unwrap();
        assert_eq!(q, [127, -63, 0, 0, -127, 2]);
        assert_eq!(scales, [1.0 / 127.0, 1.0 / 127.0, 2.0]);
        assert_eq!(quantize_rows(&[1e30], 1, |_| 0.0), None);
    }
}
