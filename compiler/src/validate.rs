//! Translation validation: runs a program and what a pass made of it on the same inputs, in the interpreter. (Pnueli,
//! Siegel and Singerman, TACAS 1998; in spirit, for random inputs only, Alive2.)

use std::{collections::BTreeMap, fmt};
use swint_ir::{
    Data, Elem, F32, Module, Node, NodeId, Tensor, Type, Value, arith, infer,
    infer::norm_scale,
    interp,
    op::{Op, OpKind},
    random,
};

/// How far two programs are apart on some inputs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Difference {
    /// Number of inputs.
    pub inputs: usize,
    /// Elements of the outputs that differ in any bit.
    pub differing: usize,
    /// Elements of the outputs.
    pub elements: usize,
    /// Largest difference of two real numbers.
    pub largest: f32,
    /// Largest finite magnitude of the first program's outputs.
    pub magnitude: f32,
}

impl Difference {
    /// The largest difference over the largest magnitude; 0 where both are.
    pub fn relative(&self) -> f32 {
        if self.largest == 0.0 { 0.0 } else { self.largest / self.magnitude }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { inputs, differing, elements, .. } = self;
        let plural = if *inputs == 1 { "" } else { "s" };
        write!(f, "{inputs} random input{plural}: ")?;
        match differing {
            0 => write!(f, "equal bit for bit"),
            _ => write!(f, "{differing} of {elements} elements differ, relatively by at most {:.1e}", self.relative()),
        }
    }
}

/// Compares two verified modules on `inputs` random inputs. They must take the same types and return the same shape: results
/// of one type are compared bit for bit, others as the numbers that they stand for.
///
/// # Errors
/// When they do not.
pub fn validate(before: &Module, after: &Module, inputs: usize, seed: u64) -> Result<Difference, String> {
    let types = |m: &Module| -> Vec<_> { m.graph.inputs.iter().map(|i| i.ty.clone()).collect() };
    let (from, to) = (before.graph.ty(before.graph.output), after.graph.ty(after.graph.output));
    if types(before) != types(after) || from.shape != to.shape {
        return Err(format!("the programs have different inputs or results: {from} and {to}"));
    }
    let same_type = from == to;
    let scales = |m: &Module, ty: &Type| m.weights.scales(ty);
    if let Some(input) = before.graph.inputs.iter().find(|i| scales(before, &i.ty) != scales(after, &i.ty)) {
        return Err(format!("the channel scales of %{} have changed", input.name));
    }
    if same_type && scales(before, from) != scales(after, to) {
        return Err(format!("the channel scales of the result {from} have changed"));
    }
    // Not the inputs that the same seed gives for calibration.
    let mut rng = random::Rng::with_seed(!seed);
    let mut difference = Difference { inputs, ..Difference::default() };
    for _ in 0..inputs {
        let input = random::inputs(&before.graph, &mut rng);
        let run = |m: &Module| interp::run(&m.graph, &m.weights, &input).map_err(|e| e.to_string());
        let (a, b) = (run(before)?, run(after)?);
        let bits = |t: &Tensor| t.data.to_bytes();
        let size = from.elem.bytes();
        if same_type {
            difference.differing += bits(&a).chunks(size).zip(bits(&b).chunks(size)).filter(|(a, b)| a != b).count();
        }
        difference.elements += from.elements();
        let real = |m: &Module, t: &Tensor| t.to_real(m.graph.ty(m.graph.output), &m.weights);
        for (a, b) in real(before, &a).into_iter().zip(real(after, &b)) {
            difference.differing += usize::from(!same_type && a != b);
            if a.is_finite() {
                difference.magnitude = difference.magnitude.max(a.abs());
            }
            difference.largest = difference.largest.max((a - b).abs());
            // A NaN on one side only is as far as can be.
            if a.is_nan() != b.is_nan() {
                difference.largest = f32::INFINITY;
            }
        }
    }
    Ok(difference)
}

/// How far the integer ops of an unfused program are from float ops on the very same operands: the most quantization steps, by op.
/// What `real` rules promise of each op is checked so on whole models, whose own differences add up. Of a LayerNorm they are steps
/// beyond what its rule allows, a unit of the normalised value times γ and γ's own rounding.
///
/// # Errors
/// When the inputs do not fit.
pub fn steps_from_float(module: &Module, inputs: &[Tensor]) -> Result<BTreeMap<OpKind, i32>, interp::InterpError> {
    let Module { graph, weights } = module;
    let mut results: Vec<Tensor> = Vec::with_capacity(graph.nodes.len());
    let mut most: BTreeMap<OpKind, i32> = BTreeMap::new();
    interp::run_with(graph, weights, inputs, |node, result| {
        let operands: Vec<(&Tensor, &Type)> = (node.operands.iter())
            .map(|&value| {
                let tensor = match value {
                    Value::Input(i) => &inputs[i.index()],
                    Value::Const(c) => &**weights.get(&graph.consts[c.index()].name).expect("the module is verified"),
                    Value::Node(NodeId(n)) => &results[n as usize],
                };
                (tensor, graph.ty(value))
            })
            .collect();
        if let Some(float) = float_result(module, &node.op, &operands, &node.ty) {
            let found = result.data.to_i32().expect("integers");
            let allowed = allowed(module, &node.op, &operands, &node.ty);
            let apart = float.iter().zip(&found).map(|(a, b)| (a - b).abs());
            let steps = apart.zip(allowed.iter().cycle()).map(|(steps, allowed)| (steps - allowed).max(0)).max();
            let steps = steps.unwrap_or(0);
            let entry = most.entry(node.op.kind()).or_default();
            *entry = steps.max(*entry);
        }
        results.push(result.clone());
    })?;
    Ok(most)
}

/// For each channel, the steps that an op may be off beside those of rounding its result.
fn allowed(module: &Module, op: &Op, operands: &[(&Tensor, &Type)], ty: &Type) -> Vec<i32> {
    if !matches!(op, Op::QLayerNorm { .. }) {
        return vec![0];
    }
    let (gamma, gamma_ty) = operands[1];
    let (unit, step) = (norm_scale(F32::ONE).get(), ty.scale.factor.get());
    let rounded = (gamma.data.len() as f32).sqrt() * gamma_ty.scale.factor.get() / 2.0;
    let allowed = |gamma: &f32| ((gamma.abs() * unit + rounded) / step).ceil() as i32;
    gamma.to_real(gamma_ty, &module.weights).iter().map(allowed).collect()
}

/// What float ops give in an integer op's place, quantized like its result; `None` of ops that round nothing.
fn float_result(module: &Module, op: &Op, operands: &[(&Tensor, &Type)], ty: &Type) -> Option<Vec<i32>> {
    let eval = |op: Op, operands: &[(&Tensor, &Type)]| -> (Tensor, Type) {
        let types: Vec<&Type> = operands.iter().map(|operand| operand.1).collect();
        let ty = infer(&op, &types).expect("of the same shapes as the integer op");
        let node = Node { op, operands: Vec::new(), ty: ty.clone(), locs: Vec::new(), approximates: None };
        (interp::eval_op(&node, operands, &module.weights), ty)
    };
    let real = |(tensor, ty): (&Tensor, &Type)| {
        (Tensor::f32(tensor.shape.clone(), tensor.to_real(ty, &module.weights)), Type::f32(ty.shape.clone()))
    };
    let reals: Vec<(Tensor, Type)> = operands.iter().map(|&operand| real(operand)).collect();
    let refs: Vec<(&Tensor, &Type)> = reals.iter().map(|(tensor, ty)| (tensor, ty)).collect();
    let result = match op {
        Op::QLinear { .. } => {
            // The sums are exact: they are what is rounded.
            let (sums, ty) = eval(Op::Linear {}, operands);
            real((&sums, &ty)).0
        }
        Op::Requantize { .. } => reals[0].0.clone(),
        Op::QLayerNorm { eps, .. } => eval(Op::LayerNorm { eps: *eps }, &refs).0,
        // Integers are at least a unit long, and no unit is as small.
        Op::QL2Norm { heads, .. } => eval(Op::L2Norm { heads: *heads, eps: F32::new(1e-30) }, &refs).0,
        Op::QSoftmax {} => eval(Op::Softmax {}, &refs[..1]).0,
        Op::Add {} if ty.elem == Elem::I16 => eval(Op::Add {}, &refs).0,
        _ => return None,
    };
    let Data::F32(values) = &result.data else { return None };
    Some(values.iter().map(|&x| arith::quantize(x, ty.scale.factor.get(), ty.elem)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::{Elem, F32, Graph, InputId, Scale, Tensor, Value, Weights, graph::Decl, op::Op};

    #[test]
    fn a_changed_program_is_seen() {
        let graph = Graph::new("g", vec![Decl { name: "x".into(), ty: Type::f32([4, 8]) }]);
        let before = Module { graph, weights: Weights::default() };
        assert_eq!(validate(&before, &before, 3, 0).unwrap().differing, 0);
        let mut after = before.clone();
        let out = after.graph.output;
        after.graph.output = after.graph.push(Op::Add {}, vec![out, out]).unwrap();
        let difference = validate(&before, &after, 3, 0).unwrap();
        assert!(difference.differing > 0 && difference.relative() > 0.9, "{difference}");
        // 2 and −2 are among the inputs, and steps of 2^-12 hold them all but for rounding.
        let q = Op::Quantize { elem: Elem::I16, scale: F32::new(2f32.powi(-12)) };
        after.graph.output = after.graph.push(q, vec![out]).unwrap();
        let difference = validate(&before, &after, 3, 0).unwrap();
        assert!(difference.differing > 0 && difference.largest <= 2f32.powi(-13), "{difference}");
        after.graph.inputs[0].ty = Type::f32([4, 9]);
        assert!(validate(&before, &after, 1, 0).unwrap_err().contains("different inputs or results"));
    }

    #[test]
    fn changed_channel_scales_are_seen() {
        let ty = Type::int(Elem::I8, Scale::channels("s", 0), [2]);
        let graph = Graph::new("g", vec![Decl { name: "x".into(), ty }]);
        let mut before = Module { graph, weights: Weights::default() };
        before.constant("s", Type::f32([2]), Tensor::f32([2], vec![1.0, 0.5]));
        let mut after = before.clone();
        assert_eq!(validate(&before, &after, 1, 0).unwrap().differing, 0);
        after.weights.insert("s", Tensor::f32([2], vec![1.0, 0.25]));
        assert!(validate(&before, &after, 1, 0).unwrap_err().contains("channel scales of %x have changed"));
    }

    #[test]
    fn an_infinite_output_hides_nothing() {
        let graph = Graph::new("g", vec![Decl { name: "x".into(), ty: Type::f32([8, 2]) }]);
        let mut before = Module { graph, weights: Weights::default() };
        let b = before.constant("b", Type::f32([2]), Tensor::f32([2], vec![f32::MAX, 0.0]));
        let x = Value::Input(InputId(0));
        let large = before.graph.push(Op::BiasAdd {}, vec![x, b]).unwrap();
        before.graph.output = before.graph.push(Op::Add {}, vec![large, large]).unwrap();
        let mut after = before.clone();
        after.graph.output = after.graph.push(Op::Gelu {}, vec![before.graph.output]).unwrap();
        assert!(validate(&before, &after, 4, 0).unwrap().relative() > 0.1);
    }
}
