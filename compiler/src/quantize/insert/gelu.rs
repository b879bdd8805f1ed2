//! Shifts around a GELU: what [`gelu_range`] chose, put into the graph.

use super::Pass;
use crate::quantize::{
    GeluRange,
    gelu_range::{self, Shifted},
};
use swint_ir::{
    Elem, F32, Tensor, Type, Value,
    op::{Op, OpKind},
};

impl Pass<'_> {
    /// What enters a GELU, quantized with a shift: `dequantize(quantize(linear(x, w, b + t))) − t`. `None` where no shift is
    /// better, or what enters is no linear that could add it.
    pub(super) fn shifted_index(&mut self, gelu: Value) -> Result<Option<Value>, String> {
        let Some(&source) = self.source.graph.node(gelu).and_then(|node| node.operands.first()) else {
            return Ok(None);
        };
        let Some(linear) = self.out.graph.node(self.moved_value(source)).cloned() else { return Ok(None) };
        let (OpKind::Linear, Some(&bias)) = (linear.op.kind(), linear.operands.get(2)) else { return Ok(None) };
        let Some((name, values)) = self.constant(bias) else { return Ok(None) };
        let histogram = self.histogram(source)?;
        let symmetric = self.max_abs(source, Elem::I8)?;
        let window = gelu_range::index(histogram, symmetric);
        self.windows.entry(gelu).or_default().index = Some((name.clone(), window.sqnr_db));
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
    pub(super) fn gelu_pair(&mut self, source: Value) -> Result<(Op, Value), String> {
        let value = self.moved_value(source);
        let symmetric = self.max_abs(source, Elem::I8)?;
        let mut shifted = None;
        if self.ranges.gelu == GeluRange::Auto && self.only_linears_read(source) {
            let window = gelu_range::result(self.histogram(source)?, symmetric);
            self.windows.entry(source).or_default().result_db = Some(window.sqnr_db);
            shifted = window.shifted;
        }
        Ok(match shifted {
            None => (Op::Quantize { elem: Elem::I8, scale: F32::new(symmetric / 127.0) }, value),
            Some(Shifted { shift, scale }) => {
                self.shifted.insert(source, shift);
                (Op::Quantize { elem: Elem::U8, scale: F32::new(scale) }, self.add_everywhere(value, shift))
            }
        })
    }

    /// Whether every reader of a value is a linear that can take a shift back: with constant weights, and a constant bias or
    /// none.
    fn only_linears_read(&self, value: Value) -> bool {
        let graph = &self.source.graph;
        let constant = |v: &Value| matches!(v, Value::Const(_)) && graph.ty(*v).is_float();
        let takes_it_back = |node: &&swint_ir::Node| {
            node.op.kind() == OpKind::Linear && node.operands[0] == value && node.operands[1..].iter().all(constant)
        };
        let mut readers = graph.nodes.iter().filter(|node| node.operands.contains(&value));
        graph.output != value && readers.all(|node| takes_it_back(&node))
    }
}
