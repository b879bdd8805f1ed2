//! Checks a graph against the invariants that every later stage relies on.
//!
//! 1. The graph has at least one input; input and constant names are unique, not empty and made of name characters.
//! 2. Every type is well formed: extents positive, at most [`MAX_ELEMENTS`] elements, scale factor a positive normal
//!    number, `f32` with unit scale, channel scales naming a declared `f32` vector as long as the axis they run along.
//! 3. Operands exist and come before their user.
//! 4. Every node's type is the inferred one.
//! 5. The output exists.
//! 6. `loc` strings hold no quote and no control character.
//!
//! [`verify_weights`] adds what needs the constants' values:
//!
//! 7. Every constant has a tensor of its type, floats finite, channel scales positive.
//! 8. Integer biases lie within ±[`MAX_BIAS`].

use crate::{
    graph::{Decl, Graph, Value},
    infer::{MAX_BIAS, MAX_ELEMENTS, infer},
    op::OpKind,
    tensor::{Data, Weights},
    types::{Scale, Type},
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

/// Checks invariants 1 to 6. `Ok` promises that no later stage panics on the graph.
///
/// # Errors
/// All that is wrong.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let mut errors = Vec::new();
    if graph.inputs.is_empty() {
        errors.push("no input".to_owned());
    }
    for (kind, decls) in [("input", &graph.inputs), ("constant", &graph.consts)] {
        let mut seen = HashSet::new();
        for decl in decls {
            let fits = !decl.name.is_empty()
                && decl.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
            if !fits {
                errors.push(format!("{kind} name {:?} is not a name", decl.name));
            } else if !seen.insert(&decl.name) {
                errors.push(format!("{kind} {} is declared twice", decl.name));
            }
            if let Err(message) = well_formed(graph, &decl.ty) {
                errors.push(format!("{kind} {}: {message}", decl.name));
            }
        }
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
            Ok(ty) => errors.extend(well_formed(graph, &ty).err().map(|message| format!("{id}: {message}"))),
        }
        if node.locs.iter().any(|loc| loc.chars().any(|c| c == '"' || c.is_control())) {
            errors.push(format!("{id}: loc holds a quote or a control character"));
        }
    }
    if !exists(graph.output, graph.nodes.len()) {
        errors.push("the output does not exist".to_owned());
    }
    if errors.is_empty() { Ok(()) } else { Err(VerifyError(errors)) }
}

fn well_formed(graph: &Graph, ty: &Type) -> Result<(), String> {
    let elements = ty.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if !elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n)) {
        return Err(format!("{ty} has no elements or more than {MAX_ELEMENTS}"));
    }
    if ty.is_float() && ty.scale != Scale::UNIT {
        return Err("f32 has no scale".to_owned());
    }
    let factor = ty.scale.factor.get();
    if !(factor.is_normal() && factor > 0.0) {
        return Err(format!("scale {factor} is not a positive normal number"));
    }
    if let Some(channels) = &ty.scale.channels {
        let Some(&extent) = ty.shape.get(channels.axis) else {
            return Err(format!("{ty} has no axis {}", channels.axis));
        };
        let wanted = Type::f32([extent]);
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

/// Checks invariants 7 and 8 on a graph that [`verify`] accepts.
///
/// # Errors
/// All that is wrong.
pub fn verify_weights(graph: &Graph, weights: &Weights) -> Result<(), VerifyError> {
    let mut errors = Vec::new();
    let scales: HashSet<&str> = (graph.consts.iter().map(|c| &c.ty).chain(graph.nodes.iter().map(|n| &n.ty)))
        .filter_map(|ty| ty.scale.channels.as_ref().map(|c| &*c.name))
        .collect();
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
        } else if let Data::F32(values) = &tensor.data {
            if let Some(i) = values.iter().position(|x| !x.is_finite()) {
                errors.push(format!("constant @{}: element {i} is {}", decl.name, values[i]));
            } else if scales.contains(&*decl.name) && values.iter().any(|x| *x <= 0.0) {
                errors.push(format!("channel scales @{} are not all positive", decl.name));
            }
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
        op::Op,
        tensor::Tensor,
        types::{Elem, F32},
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
