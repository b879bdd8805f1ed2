//! Checks a graph against the invariants that every later stage relies on.
//!
//! 1. The graph has at least one input; the names of graph, inputs and constants are names ([`is_name`]), those of inputs
//!    and those of constants unique, and no input's is a number.
//! 2. Every type is well formed ([`well_formed`]): extents positive, not too many elements, a scale within bounds, `f32`
//!    with unit scale; channel scales name a declared `f32` vector as long as the axis they run along.
//! 3. Operands exist and come before their user.
//! 4. Every node's type is the inferred one.
//! 5. The output exists.
//! 6. `loc` strings hold no quote and no control character.
//! 7. Integer biases are constants, and a sum of products gets at most one.
//!
//! [`verify_weights`] adds what needs the constants' values:
//!
//! 8. Every constant has a tensor of its type, floats finite.
//! 9. Every scale, factor times channel, is within the bounds of [`is_scale`].
//! 10. Integer biases lie within ±[`MAX_BIAS`].

use crate::{
    graph::{Decl, Graph, Node, Value},
    infer::{MAX_BIAS, infer, is_scale, well_formed},
    op::{Op, OpKind},
    tensor::{Data, Weights},
    text::is_name,
    types::{F32, Type},
};
use std::{collections::HashSet, fmt};

/// Every broken invariant of a graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError(pub Vec<String>);

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid graph: {}", self.0.join("; "))
    }
}

impl std::error::Error for VerifyError {}

/// Checks invariants 1 to 7. `Ok` promises that no later stage panics on the graph.
///
/// # Errors
/// All that is wrong.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let mut errors = Vec::new();
    if graph.inputs.is_empty() {
        errors.push("no input".to_owned());
    }
    if !is_name(&graph.name) {
        errors.push(format!("graph name {:?} is not a name", graph.name));
    }
    for (kind, decls) in [("input", &graph.inputs), ("constant", &graph.consts)] {
        let mut seen = HashSet::new();
        for decl in decls {
            // `%12` is a node.
            let number = kind == "input" && decl.name.chars().all(|c| c.is_ascii_digit());
            if number || !is_name(&decl.name) {
                errors.push(format!("{kind} name {:?} is not a name", decl.name));
            } else if !seen.insert(&decl.name) {
                errors.push(format!("{kind} {} is declared twice", decl.name));
            }
            if let Err(message) = declared(graph, &decl.ty) {
                errors.push(format!("{kind} {}: {message}", decl.name));
            }
        }
    }
    // What follows asks `infer`, which takes well-formed types.
    if !errors.is_empty() {
        return Err(VerifyError(errors));
    }
    let exists = |value: Value, before: usize| match value {
        Value::Input(i) => i.index() < graph.inputs.len(),
        Value::Const(c) => c.index() < graph.consts.len(),
        Value::Node(n) => n.index() < before,
    };
    for (id, node) in graph.iter() {
        if !node.operands.iter().all(|&v| exists(v, id.index())) {
            errors.push(format!("{id}: an operand does not come before its user"));
            continue;
        }
        let types: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
        match infer(&node.op, &types) {
            Err(error) => errors.push(format!("{id}: {error}")),
            Ok(ty) if ty != node.ty => errors.push(format!("{id}: has type {}, but gives {ty}", node.ty)),
            Ok(ty) => errors.extend(declared(graph, &ty).err().map(|message| format!("{id}: {message}"))),
        }
        errors.extend(bounded_bias(graph, node).err().map(|message| format!("{id}: {message}")));
        if node.locs.iter().any(|loc| loc.chars().any(|c| c == '"' || c.is_control())) {
            errors.push(format!("{id}: loc holds a quote or a control character"));
        }
    }
    if !exists(graph.output, graph.nodes.len()) {
        errors.push("the output does not exist".to_owned());
    }
    if errors.is_empty() { Ok(()) } else { Err(VerifyError(errors)) }
}

/// Checks a type on its own, and that its channel scales are declared.
fn declared(graph: &Graph, ty: &Type) -> Result<(), String> {
    well_formed(ty)?;
    if let Some(channels) = &ty.scale.channels {
        let wanted = Type::f32([ty.shape[channels.axis]]);
        match graph.consts.iter().find(|c| c.name == channels.name) {
            None => return Err(format!("channel scales @{} are not declared", channels.name)),
            Some(Decl { ty: found, .. }) if *found != wanted => {
                return Err(format!("channel scales @{} are {found}, not {wanted}", channels.name));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Checks that an integer bias is a constant, and added once: the bounds on overflow count on it.
fn bounded_bias(graph: &Graph, node: &Node) -> Result<(), String> {
    let constant = |i: usize| node.operands.get(i).is_none_or(|v| matches!(v, Value::Const(_)));
    match node.op.kind() {
        OpKind::Linear if node.ty.is_float() => Ok(()),
        OpKind::Linear | OpKind::QLinear if !constant(2) => Err("an integer bias must be a constant".to_owned()),
        OpKind::BiasAdd if !node.ty.is_float() => {
            let sums = graph.node(node.operands[0]).is_some_and(|n| n.op == Op::Linear {} && n.operands.len() == 2);
            if sums && constant(1) {
                Ok(())
            } else {
                Err("an integer bias must be a constant, added to a linear without one".to_owned())
            }
        }
        _ => Ok(()),
    }
}

/// Checks invariants 8 to 10 on a graph that [`verify`] accepts.
///
/// # Errors
/// All that is wrong.
pub fn verify_weights(graph: &Graph, weights: &Weights) -> Result<(), VerifyError> {
    let mut errors = Vec::new();
    for decl in &graph.consts {
        let Some(tensor) = weights.get(&decl.name) else {
            errors.push(format!("constant @{} has no value", decl.name));
            continue;
        };
        if !tensor.is_of(&decl.ty) {
            errors.push(format!(
                "constant @{}: value is {}{:?}, not {}",
                decl.name,
                tensor.data.elem(),
                tensor.shape,
                decl.ty
            ));
        } else if let Data::F32(values) = &tensor.data
            && let Some(i) = values.iter().position(|x| !x.is_finite())
        {
            errors.push(format!("constant @{}: element {i} is {}", decl.name, values[i]));
        }
    }
    if !errors.is_empty() {
        return Err(VerifyError(errors));
    }
    let decls = graph.inputs.iter().chain(&graph.consts).map(|d| &d.ty);
    let scaled: HashSet<(F32, &str)> = decls
        .chain(graph.nodes.iter().map(|n| &n.ty))
        .filter_map(|ty| Some((ty.scale.factor, &*ty.scale.channels.as_ref()?.name)))
        .collect();
    for (factor, name) in scaled {
        let channels = weights.get(name).and_then(|t| t.as_f32()).unwrap_or_default();
        if !channels.iter().all(|c| is_scale(*c) && is_scale(factor.get() * c)) {
            errors.push(format!("channel scales @{name} times {factor} are not all between 1e-24 and 1e24"));
        }
    }
    for (id, node) in graph.iter() {
        let bias = match node.op.kind() {
            OpKind::Linear | OpKind::QLinear => node.operands.get(2),
            OpKind::BiasAdd => node.operands.get(1),
            _ => None,
        };
        if let Some(&Value::Const(c)) = bias
            && let Some(tensor) = weights.get(&graph.consts[c.index()].name)
            && let Data::I32(values) = &tensor.data
            && values.iter().any(|b| b.unsigned_abs() > MAX_BIAS as u32)
        {
            errors.push(format!("{id}: bias @{} exceeds ±2^30", graph.consts[c.index()].name));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(VerifyError(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::InputId,
        tensor::Tensor,
        types::{Elem, Scale},
    };

    fn relu_graph() -> Graph {
        let mut g = Graph::new("g", vec![Decl { name: "x".into(), ty: Type::f32([2, 4]) }]);
        let x = Value::Input(InputId(0));
        let b = g.constant("b", Type::f32([4]));
        let y = g.push(Op::BiasAdd {}, vec![x, b]).unwrap();
        g.output = g.push(Op::Relu {}, vec![y]).unwrap();
        g
    }

    fn broken(change: impl Fn(&mut Graph), message: &str) {
        let mut g = relu_graph();
        change(&mut g);
        let error = verify(&g).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn each_invariant_is_checked() {
        verify(&relu_graph()).unwrap();
        broken(|g| g.inputs.clear(), "no input");
        broken(|g| g.consts.push(g.consts[0].clone()), "declared twice");
        broken(|g| g.consts[0].name = "a b".into(), "is not a name");
        broken(|g| g.inputs[0].name = "0".into(), "is not a name");
        broken(|g| g.name = "".into(), "is not a name");
        broken(|g| g.consts[0].ty.shape = vec![0], "no elements");
        broken(|g| g.inputs[0].ty.shape = vec![usize::MAX, 4], "no elements or more than");
        broken(|g| g.consts[0].ty.scale.factor = F32::new(-1.0), "f32 has no scale");
        broken(|g| g.consts[0].ty = Type::int(Elem::I8, Scale::channels("s", 0), [4]), "@s are not declared");
        broken(|g| g.nodes.swap(0, 1), "does not come before its user");
        broken(|g| g.nodes[1].ty.shape = vec![2, 3], "has type");
        broken(|g| g.output = Value::Const(crate::ConstId(7)), "the output does not exist");
        broken(|g| g.nodes[0].locs = vec!["a\"b".into()], "loc holds a quote");
    }

    #[test]
    fn an_accumulator_gets_one_constant_bias() {
        let mut g = Graph::new("g", vec![Decl { name: "x".into(), ty: Type::int(Elem::I8, Scale::UNIT, [1, 4]) }]);
        let w = g.constant("w", Type::int(Elem::I8, Scale::UNIT, [4, 4]));
        let b = g.constant("b", Type::int(Elem::I32, Scale::UNIT, [4]));
        let y = g.push(Op::Linear {}, vec![Value::Input(InputId(0)), w]).unwrap();
        g.output = g.push(Op::BiasAdd {}, vec![y, b]).unwrap();
        verify(&g).unwrap();
        g.output = g.push(Op::BiasAdd {}, vec![g.output, b]).unwrap();
        assert!(verify(&g).unwrap_err().to_string().contains("added to a linear without one"));
    }

    #[test]
    fn channel_scales_are_checked_with_their_factors() {
        let mut g =
            Graph::new("g", vec![Decl { name: "x".into(), ty: Type::int(Elem::I8, Scale::tensor(1e20), [1, 2]) }]);
        g.constant("s", Type::f32([2]));
        let w = g.constant("w", Type::int(Elem::I8, Scale::channels("s", 0), [2, 2]));
        g.output = g.push(Op::Linear {}, vec![Value::Input(InputId(0)), w]).unwrap();
        verify(&g).unwrap();
        let mut weights = Weights::default();
        weights.insert("w", Tensor::new([2, 2], Data::I8(vec![1; 4])));
        weights.insert("s", Tensor::f32([2], vec![1.0, 0.5]));
        verify_weights(&g, &weights).unwrap();
        weights.insert("s", Tensor::f32([2], vec![1.0, 1e20]));
        assert!(verify_weights(&g, &weights).unwrap_err().to_string().contains("channel scales @s"));
    }

    #[test]
    fn weights_are_checked() {
        let g = relu_graph();
        let check = |values: Vec<f32>| {
            let mut weights = Weights::default();
            weights.insert("b", Tensor::f32([values.len()], values));
            verify_weights(&g, &weights).map_err(|e| e.to_string())
        };
        check(vec![0.0; 4]).unwrap();
        assert!(check(vec![0.0; 3]).unwrap_err().contains("f32[3]"));
        assert!(check(vec![0.0, f32::NAN, 0.0, 0.0]).unwrap_err().contains("element 1 is NaN"));
        assert!(verify_weights(&g, &Weights::default()).unwrap_err().to_string().contains("no value"));
    }
}
