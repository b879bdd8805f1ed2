//! Checks a graph against the invariants that every later stage relies on.
//!
//! 1. The graph has at least one input. ([`Code::NoInput`])
//! 2. The names of graph, inputs and constants are names ([`is_name`]), those of inputs and those of constants unique, and
//!    no input's is a number. ([`Code::BadName`])
//! 3. Every type is well formed ([`well_formed`]): extents positive, not too many elements, a scale within bounds, `f32`
//!    with unit scale, channel scales along an axis that exists. ([`Code::BadType`])
//! 4. Channel scales are a declared `f32` vector as long as the axis that they run along. ([`Code::ChannelScales`])
//! 5. Operands exist and come before their user. ([`Code::UseBeforeDefinition`])
//! 6. Every op takes its operands ([`infer`]). ([`Code::IllTyped`])
//! 7. Every node's type is the inferred one. ([`Code::WrongType`])
//! 8. The output exists. ([`Code::NoOutput`])
//! 9. `loc` strings hold no quote and no control character. ([`Code::BadLoc`])
//! 10. Integer biases are constants, and a sum of products gets at most one (scores a bias and a mask, once).
//!     ([`Code::BiasNotBounded`])
//!
//! [`verify_weights`] adds what needs the constants' values:
//!
//! 11. Every constant has a tensor of its type. ([`Code::NoValue`])
//! 12. Floats are finite. ([`Code::NotFinite`])
//! 13. Every scale, factor times channel, those inside of fused ops included, is within the bounds of
//!     [`crate::infer::is_scale`]. ([`Code::ScaleBounds`])
//! 14. Integer biases lie within ±[`MAX_BIAS`](crate::infer::MAX_BIAS), those of scores within
//!     ±[`MAX_SCORE_BIAS`](crate::infer::MAX_SCORE_BIAS). ([`Code::BiasBounds`])
//!
//! Every violation is reported, up to 100, but what follows from another is not: a node with an operand of an impossible type is not
//! asked what it infers.

use crate::{
    diagnostic::Code,
    fused::{self, integer_biases},
    graph::{ConstId, Decl, Graph, InputId, Node, NodeId, Value},
    infer::{infer, well_formed},
    op::{Op, OpKind},
    tensor::{Data, Weights},
    text::is_name,
    types::{F32, Type},
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// A place of a graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The graph as a whole.
    Graph,
    /// An input.
    Input(InputId),
    /// An input's type.
    InputType(InputId),
    /// A constant.
    Const(ConstId),
    /// A constant's type.
    ConstType(ConstId),
    /// The op of a node.
    Op(NodeId),
    /// An operand of a node, by position.
    Operand(NodeId, usize),
    /// The type of a node.
    Type(NodeId),
    /// A `loc` of a node, by position.
    Loc(NodeId, usize),
    /// What the graph returns.
    Output,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Graph => f.write_str("graph"),
            Place::Input(i) | Place::InputType(i) => write!(f, "input {}", i.0),
            Place::Const(c) | Place::ConstType(c) => write!(f, "constant {}", c.0),
            Place::Op(n) | Place::Operand(n, _) | Place::Type(n) | Place::Loc(n, _) => write!(f, "{n}"),
            Place::Output => f.write_str("output"),
        }
    }
}

/// A broken invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which one.
    pub code: Code,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What is to be said of the place.
    pub label: String,
    /// What would be right.
    pub help: Option<String>,
}

/// The broken invariants of a graph: at least one, and all unless there are very many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError(pub Vec<Violation>);

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid graph: ")?;
        for (i, v) in self.0.iter().enumerate() {
            write!(f, "{}{}: {} [{}]", if i > 0 { "; " } else { "" }, v.place, v.message, v.code)?;
        }
        Ok(())
    }
}

impl std::error::Error for VerifyError {}

/// Most violations that are collected: more help nobody, and each may quote from the text.
const MOST: usize = 100;

/// Collects violations.
#[derive(Default)]
struct Violations(Vec<Violation>);

impl Violations {
    fn enough(&self) -> bool {
        self.0.len() >= MOST
    }

    fn add(&mut self, code: Code, place: Place, message: impl Into<String>, label: impl Into<String>) {
        if self.enough() {
            return;
        }
        self.0.push(Violation { code, place, message: message.into(), label: label.into(), help: None });
    }

    fn result(self) -> Result<(), VerifyError> {
        if self.0.is_empty() { Ok(()) } else { Err(VerifyError(self.0)) }
    }
}

/// Checks invariants 1 to 10. With [`verify_weights`], `Ok` promises that no later stage panics on the graph.
///
/// # Errors
/// All that is wrong.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let mut scales: HashMap<&str, &Type> = HashMap::new();
    for decl in &graph.consts {
        scales.entry(&decl.name).or_insert(&decl.ty);
    }
    let mut verifier = Verifier { graph, scales, impossible: HashSet::new(), violations: Violations::default() };
    verifier.decls();
    for (id, node) in graph.iter() {
        if verifier.violations.enough() {
            break;
        }
        verifier.node(id, node);
    }
    if !verifier.exists(graph.output, graph.nodes.len()) {
        verifier.violations.add(Code::NoOutput, Place::Output, "the output does not exist", "returned here");
    }
    verifier.violations.result()
}

struct Verifier<'a> {
    graph: &'a Graph,
    /// The constants' types, by name.
    scales: HashMap<&'a str, &'a Type>,
    /// Values whose types are not well formed: [`infer`] must not see them.
    impossible: HashSet<Value>,
    violations: Violations,
}

impl Verifier<'_> {
    fn exists(&self, value: Value, nodes: usize) -> bool {
        match value {
            Value::Input(i) => i.index() < self.graph.inputs.len(),
            Value::Const(c) => c.index() < self.graph.consts.len(),
            Value::Node(n) => n.index() < nodes,
        }
    }

    /// Invariants 1 and 2, and the types of inputs and constants.
    fn decls(&mut self) {
        let graph = self.graph;
        if graph.inputs.is_empty() {
            self.violations.add(Code::NoInput, Place::Graph, "the graph has no input", "computes nothing of anything");
        }
        if !is_name(&graph.name) {
            let message = format!("graph name {:?} is not a name", graph.name);
            self.violations.add(Code::BadName, Place::Graph, message, "not a name");
        }
        let inputs = graph.inputs.iter().enumerate().map(|(i, decl)| {
            let id = InputId(i as u32);
            ("input", '%', decl, Value::Input(id), Place::Input(id), Place::InputType(id))
        });
        let consts = graph.consts.iter().enumerate().map(|(i, decl)| {
            let id = ConstId(i as u32);
            ("constant", '@', decl, Value::Const(id), Place::Const(id), Place::ConstType(id))
        });
        let mut seen = HashSet::new();
        for (kind, sigil, decl, value, place, ty_place) in inputs.chain(consts) {
            if self.violations.enough() {
                return;
            }
            // `%12` is a node.
            let number = sigil == '%' && !decl.name.is_empty() && decl.name.chars().all(|c| c.is_ascii_digit());
            if number || !is_name(&decl.name) {
                let message = format!("{kind} name {:?} is not a name", decl.name);
                self.violations.add(Code::BadName, place, message, if number { "a node's name" } else { "not a name" });
            } else if !seen.insert((sigil, &decl.name)) {
                let message = format!("{kind} {sigil}{} is declared twice", decl.name);
                self.violations.add(Code::BadName, place, message, "again");
            }
            self.ty(&decl.ty, value, ty_place);
        }
    }

    /// Invariants 3 and 4.
    fn ty(&mut self, ty: &Type, value: Value, place: Place) {
        if let Err(message) = well_formed(ty) {
            self.violations.add(Code::BadType, place, message, "no tensor has this type");
            self.impossible.insert(value);
            return;
        }
        let Some(channels) = &ty.scale.channels else { return };
        let wanted = Type::f32([ty.shape[channels.axis]]);
        let message = match self.scales.get(&*channels.name) {
            None => format!("channel scales @{} are not declared", channels.name),
            Some(found) if **found != wanted => format!("channel scales @{} are {found}, not {wanted}", channels.name),
            Some(_) => return,
        };
        self.violations.add(Code::ChannelScales, place, message, format!("wants @{} : {wanted}", channels.name));
    }

    /// Invariants 5 to 7, 9 and 10.
    fn node(&mut self, id: NodeId, node: &Node) {
        self.ty(&node.ty, Value::Node(id), Place::Type(id));
        for (i, loc) in node.locs.iter().enumerate() {
            if loc.chars().any(|c| c == '"' || c.is_control()) {
                let message = format!("loc {loc:?} holds a quote or a control character");
                self.violations.add(Code::BadLoc, Place::Loc(id, i), message, "cannot be printed");
            }
        }
        let mut possible = !self.impossible.contains(&Value::Node(id));
        for (i, &operand) in node.operands.iter().enumerate() {
            if !self.exists(operand, id.index()) {
                let message = "an operand does not come before its user";
                let label = match operand {
                    Value::Node(n) if n == id => "this very node",
                    operand if self.exists(operand, self.graph.nodes.len()) => "defined below",
                    _ => "does not exist",
                };
                self.violations.add(Code::UseBeforeDefinition, Place::Operand(id, i), message, label);
                possible = false;
            }
            possible &= !self.impossible.contains(&operand);
        }
        if !possible {
            return;
        }
        let types: Vec<&Type> = node.operands.iter().map(|&v| self.graph.ty(v)).collect();
        match infer(&node.op, &types) {
            Err(error) => {
                let label = match types[..] {
                    [] => "no operands".to_owned(),
                    _ => format!(
                        "applied to {}",
                        types.iter().take(4).map(|t| t.to_string()).collect::<Vec<_>>().join(", ")
                    ),
                };
                self.violations.add(Code::IllTyped, Place::Op(id), error.to_string(), label);
                return;
            }
            Ok(ty) if ty != node.ty => {
                let message = format!("{} gives {ty} here, not {}", node.op.kind(), node.ty);
                self.violations.add(Code::WrongType, Place::Type(id), message, format!("should be {ty}"));
                return;
            }
            Ok(_) => {}
        }
        if let Err((operand, message)) = bounded_bias(self.graph, node) {
            self.violations.add(Code::BiasNotBounded, Place::Operand(id, operand), message, "this bias");
        }
    }
}

/// Checks that an integer bias is a constant, and added once: the bounds on overflow count on it. An error names the
/// operand.
fn bounded_bias(graph: &Graph, node: &Node) -> Result<(), (usize, &'static str)> {
    let constant = |i: usize| node.operands.get(i).is_none_or(|v| matches!(v, Value::Const(_)));
    match node.op.kind() {
        _ if node.ty.is_float() => Ok(()),
        OpKind::AttnBias => {
            let is_scores = |kind: OpKind| matches!(kind, OpKind::AttnScores | OpKind::HeadScale);
            let scores = graph.node(node.operands[0]).is_some_and(|n| is_scores(n.op.kind()));
            match (1..3).find(|&i| !(scores && constant(i))) {
                Some(i) => Err((i, "bias and mask of integer scores must be constants, added to scores once")),
                None => Ok(()),
            }
        }
        OpKind::BiasAdd => {
            let sums = graph.node(node.operands[0]).is_some_and(|n| n.op == Op::Linear {} && n.operands.len() == 2);
            if sums && constant(1) {
                Ok(())
            } else {
                Err((1, "an integer bias must be a constant, added to a linear without one"))
            }
        }
        _ => {
            let biases = integer_biases(&node.op, node.operands.len());
            match biases.into_iter().find(|&(i, _)| !constant(i)) {
                Some((i, _)) => Err((i, "an integer bias must be a constant")),
                None => Ok(()),
            }
        }
    }
}

/// Checks invariants 11 to 14 on a graph that [`verify`] accepts.
///
/// # Errors
/// All that is wrong.
pub fn verify_weights(graph: &Graph, weights: &Weights) -> Result<(), VerifyError> {
    let mut violations = Violations::default();
    for (i, Decl { name, ty }) in graph.consts.iter().enumerate() {
        let place = Place::Const(ConstId(i as u32));
        let Some(tensor) = weights.get(name) else {
            violations.add(Code::NoValue, place, format!("constant @{name} has no value"), "no value");
            continue;
        };
        if !tensor.is_of(ty) {
            let found = format!("{}{:?}", tensor.data.elem(), tensor.shape);
            violations.add(
                Code::NoValue,
                place,
                format!("constant @{name}: value is {found}, not {ty}"),
                format!("its value is {found}"),
            );
        } else if let Data::F32(values) = &tensor.data
            && let Some(i) = values.iter().position(|x| !x.is_finite())
        {
            let message = format!("constant @{name}: element {i} is {}", values[i]);
            violations.add(Code::NotFinite, place, message, "not finite");
        }
    }
    // What follows looks at the values.
    violations.result()?;
    let mut violations = Violations::default();
    let decls = graph.inputs.iter().chain(&graph.consts).map(|d| &d.ty);
    let inner: Vec<Type> = graph.nodes.iter().flat_map(|node| inner_types(graph, node)).collect();
    let types = decls.chain(graph.nodes.iter().map(|n| &n.ty)).chain(&inner);
    let mut seen: HashSet<(&str, F32)> = HashSet::new();
    for ty in types {
        let Some(channels) = &ty.scale.channels else { continue };
        let (name, factor) = (&*channels.name, ty.scale.factor);
        if seen.insert((name, factor)) && !weights.scales_in_bounds(ty) {
            let index = graph.consts.iter().position(|d| &*d.name == name).expect("the graph is verified");
            let message = format!("channel scales @{name} times {factor} are not all between 1e-24 and 1e24");
            violations.add(Code::ScaleBounds, Place::Const(ConstId(index as u32)), message, "its values");
        }
    }
    for (id, node) in graph.iter() {
        for (position, most) in integer_biases(&node.op, node.operands.len()) {
            if let Some(&Value::Const(c)) = node.operands.get(position)
                && let Some(tensor) = weights.get(&graph.consts[c.index()].name)
                && let Data::I32(values) = &tensor.data
                && values.iter().any(|b| b.unsigned_abs() > most as u32)
            {
                let message = format!("bias @{} exceeds ±2^{}", graph.consts[c.index()].name, most.ilog2());
                violations.add(Code::BiasBounds, Place::Operand(id, position), message, "this bias");
            }
        }
    }
    violations.result()
}

/// The types inside an op with a body.
fn inner_types(graph: &Graph, node: &Node) -> Vec<Type> {
    if fused::body(&node.op, node.operands.len()).is_none() {
        return Vec::new();
    }
    let types: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
    let steps = fused::step_types(&node.op, &types).expect("the graph is verified");
    steps.into_iter().flat_map(|(inputs, result)| inputs.into_iter().chain([result])).collect()
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
        broken(|g| g.output = Value::Input(InputId(1)), "the output does not exist");
        broken(|g| g.inputs[0].ty.shape = vec![usize::MAX, 4], "no elements or more than");
        broken(|g| g.consts[0].ty.scale.factor = F32::new(-1.0), "f32 has no scale");
        broken(|g| g.consts[0].ty = Type::int(Elem::I8, Scale::channels("s", 0), [4]), "@s are not declared");
        broken(|g| g.nodes.swap(0, 1), "does not come before its user");
        broken(|g| g.nodes[1].ty.shape = vec![2, 3], "relu gives f32[2,4] here, not f32[2,3]");
        broken(|g| g.output = Value::Const(ConstId(7)), "the output does not exist");
        broken(|g| g.nodes[0].locs = vec!["a\"b".into()], "holds a quote");
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
