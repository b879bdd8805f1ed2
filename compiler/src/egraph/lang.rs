//! The e-graph's language: every op of the IR, its attributes as leaves, constants by handle.

use super::facts::{self, Facts, Range};
use egg::{DidMerge, EGraph, FromOp, Id, Language};
use std::fmt;
use swint_ir::{
    ConstId, Elem, F32, Type, Weights,
    graph::Decl,
    op::{Attr, OpKind, Order},
};

/// An e-graph over swint's ops.
pub type SwinGraph = EGraph<ENode, Constants>;

/// A node: an op's children are its operands, then its attributes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ENode {
    /// An op.
    Op(OpKind, Vec<Id>),
    /// An attribute of an op.
    Attr(Attr),
    /// An input of the graph.
    Input(u32),
    /// A constant, by its handle in [`Constants`].
    Const(ConstId),
}

impl Language for ENode {
    type Discriminant = (std::mem::Discriminant<ENode>, Option<OpKind>);

    fn discriminant(&self) -> Self::Discriminant {
        let kind = if let ENode::Op(kind, _) = self { Some(*kind) } else { None };
        (std::mem::discriminant(self), kind)
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (ENode::Op(a, x), ENode::Op(b, y)) => a == b && x.len() == y.len(),
            _ => self == other,
        }
    }

    fn children(&self) -> &[Id] {
        if let ENode::Op(_, children) = self { children } else { &[] }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        if let ENode::Op(_, children) = self { children } else { &mut [] }
    }
}

impl fmt::Display for ENode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ENode::Op(kind, _) => write!(f, "{kind}"),
            ENode::Attr(attr) => write!(f, "{attr}"),
            ENode::Input(i) => write!(f, "%input{i}"),
            ENode::Const(c) => write!(f, "@const{}", c.0),
        }
    }
}

impl FromOp for ENode {
    type Error = String;

    /// An op by its name; an element type, order or number as an attribute.
    fn from_op(name: &str, children: Vec<Id>) -> Result<Self, String> {
        if let Some(kind) = OpKind::from_name(name) {
            let (min, max) = kind.arity();
            let attrs = kind.attr_names().len();
            return if (min + attrs..=max + attrs).contains(&children.len()) {
                Ok(ENode::Op(kind, children))
            } else {
                Err(format!("{name} does not take {} children", children.len()))
            };
        }
        (Elem::from_name(name).map(Attr::Elem))
            .or_else(|| Order::from_name(name).map(Attr::Order))
            .or_else(|| name.parse().ok().map(Attr::Int))
            .or_else(|| name.parse().ok().map(|number| Attr::F32(F32::new(number))))
            .filter(|_| children.is_empty())
            .map(ENode::Attr)
            .ok_or_else(|| format!("unknown op {name}"))
    }
}

/// The inputs and constants that e-nodes refer to. Weights are never copied into e-nodes.
#[derive(Clone, Default, Debug)]
pub struct Constants {
    /// Types of the graph's inputs.
    pub inputs: Vec<Type>,
    /// Where the inputs' values lie; of those that are left out anything is possible.
    pub ranges: Vec<Range>,
    /// Names and types.
    pub decls: Vec<Decl>,
    /// Values.
    pub weights: Weights,
}

/// The analysis: types through the one shape inference, constants, ranges, functions of bytes.
impl egg::Analysis<ENode> for Constants {
    type Data = Facts;

    fn make(egraph: &mut SwinGraph, node: &ENode, _: Id) -> Facts {
        match node {
            ENode::Attr(attr) => Facts::Attr(attr.clone()),
            ENode::Const(c) => facts::of_constant(&egraph.analysis, *c),
            ENode::Input(i) => facts::of_input(&egraph.analysis, *i as usize),
            ENode::Op(kind, children) => facts::of_op(egraph, *kind, children),
        }
    }

    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        let (first, second) = facts::merge(a, b);
        DidMerge(first, second)
    }
}
