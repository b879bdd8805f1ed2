//! Folds pixel normalisation into the patch embedding, so that raw `u8` pixels enter it.

use std::collections::HashMap;
use swint_ir::{
    Module, Node, Tensor, Value,
    op::{Op, OpKind},
};

/// Rewrites `linear(space_to_depth(normalize(image)), w, b)` into `linear(space_to_depth(dequantize(image)), w', b')`
/// with `w' = w / (255·std)` and `b' = b − Σ w·mean/std`. An identity over the reals.
pub fn fold_normalize(module: &Module) -> Module {
    let mut out = Module { graph: module.graph.clone(), weights: module.weights.clone() };
    out.graph.nodes.clear();
    let mut moved: HashMap<Value, Value> = HashMap::new();
    let mut any = false;
    for (id, node) in module.graph.iter() {
        let operands: Vec<Value> = node.operands.iter().map(|v| moved.get(v).copied().unwrap_or(*v)).collect();
        let value = match folded(module, &mut out, &moved, node) {
            Some(value) => {
                any = true;
                value
            }
            None => out.graph.push(node.op.clone(), operands).expect("types do not change"),
        };
        out.graph.inherit(value, node);
        moved.insert(Value::Node(id), value);
    }
    if !any {
        return module.clone();
    }
    out.graph.output = moved.get(&module.graph.output).copied().unwrap_or(module.graph.output);
    out.without_dead_code()
}

/// The folded form of a linear on normalised patches; `None` for any other node, and where it would not be finite.
fn folded(module: &Module, out: &mut Module, moved: &HashMap<Value, Value>, node: &Node) -> Option<Value> {
    if node.op.kind() != OpKind::Linear {
        return None;
    }
    let source = &node.operands;
    let patches = module.graph.node(source[0])?;
    let normalize = module.graph.node(*patches.operands.first()?)?;
    let (Op::SpaceToDepth { .. }, Op::Normalize { mean, std }) = (&patches.op, &normalize.op) else { return None };
    let constant = |v: Option<&Value>| match v {
        Some(Value::Const(c)) => Some(&module.graph.consts[c.index()]),
        _ => None,
    };
    let (w_decl, b_decl) = (constant(source.get(1))?, constant(source.get(2))?);
    let w = module.weights.get(&w_decl.name)?.as_f32()?;
    let b = module.weights.get(&b_decl.name)?.as_f32()?;
    let (k, channels) = (w_decl.ty.last(), mean.len());
    let mut folded_w = Vec::with_capacity(w.len());
    let mut folded_b: Vec<f64> = b.iter().map(|&b| b.into()).collect();
    for (i, &w) in w.iter().enumerate() {
        let (mean, std) = (mean[i % k % channels].get() as f64, std[i % k % channels].get() as f64);
        folded_w.push((w as f64 / (255.0 * std)) as f32);
        folded_b[i / k] -= w as f64 * mean / std;
    }
    let (w_ty, b_ty) = (w_decl.ty.clone(), b_decl.ty.clone());
    let folded_b: Vec<f32> = folded_b.into_iter().map(|b| b as f32).collect();
    if !folded_w.iter().chain(&folded_b).all(|x| x.is_finite()) {
        return None;
    }
    let w = Tensor::f32(w_ty.shape.clone(), folded_w);
    let b = Tensor::f32(b_ty.shape.clone(), folded_b);
    let (w, _) = out.fresh_constant(&format!("{}.raw", w_decl.name), w_ty, w);
    let (b, _) = out.fresh_constant(&format!("{}.raw", b_decl.name), b_ty, b);
    let pixels = normalize.operands[0];
    let pixels = moved.get(&pixels).copied().unwrap_or(pixels);
    let pixels = out.graph.push(Op::Dequantize {}, vec![pixels]).expect("pixels are integers");
    let patches = out.graph.push(patches.op.clone(), vec![pixels]).expect("types do not change");
    Some(out.graph.push(Op::Linear {}, vec![patches, w, b]).expect("types do not change"))
}
