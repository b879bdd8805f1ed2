//! The e-graph's language: every op of the IR, its attributes as leaves, constants by handle.

use egg::{DidMerge, EGraph, FromOp, Id, Language};
use std::fmt;
use swint_ir::{
    ConstId, Elem, Type, Weights,
    graph::Decl,
    infer,
    op::{Attr, Op, OpKind, Order},
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

    /// An op by its name; an element type, order or integer as an attribute.
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
    /// Names and types.
    pub decls: Vec<Decl>,
    /// Values.
    pub weights: Weights,
}

/// What is known of an e-class.
#[derive(Clone, PartialEq, Debug)]
pub enum Facts {
    /// It is an attribute.
    Attr(Attr),
    /// It is a tensor.
    Tensor {
        /// Its type.
        ty: Type,
        /// The constant that it equals, if it is one.
        constant: Option<ConstId>,
    },
}

impl Facts {
    /// The tensor's type.
    pub fn ty(&self) -> Option<&Type> {
        if let Facts::Tensor { ty, .. } = self { Some(ty) } else { None }
    }
}

/// The type of an op's result from the facts of its children.
///
/// # Errors
/// When the children are not what the op takes.
pub fn infer_from<'a>(kind: OpKind, children: impl Iterator<Item = &'a Facts>) -> Result<Type, String> {
    let (mut types, mut attrs) = (Vec::new(), Vec::new());
    for facts in children {
        match facts {
            Facts::Tensor { ty, .. } => types.push(ty),
            Facts::Attr(attr) => attrs.push(attr.clone()),
        }
    }
    let op = Op::from_attrs(kind, &attrs).map_err(|e| e.to_string())?;
    infer(&op, &types).map_err(|e| e.to_string())
}

/// The analysis: types through the one shape inference, and constants.
impl egg::Analysis<ENode> for Constants {
    type Data = Facts;

    fn make(egraph: &mut SwinGraph, node: &ENode, _: Id) -> Facts {
        match node {
            ENode::Attr(attr) => Facts::Attr(attr.clone()),
            ENode::Const(c) => Facts::Tensor { ty: egraph.analysis.decls[c.index()].ty.clone(), constant: Some(*c) },
            ENode::Input(i) => Facts::Tensor { ty: egraph.analysis.inputs[*i as usize].clone(), constant: None },
            ENode::Op(kind, children) => {
                let ty = infer_from(*kind, children.iter().map(|&c| &egraph[c].data));
                let ty = ty.unwrap_or_else(|e| panic!("a rule made an ill-typed node: {e}"));
                Facts::Tensor { ty, constant: None }
            }
        }
    }

    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        match (a, b) {
            (Facts::Tensor { ty, constant }, Facts::Tensor { ty: other, constant: other_constant }) => {
                assert_eq!(*ty, other, "two types for one value: a rule is wrong");
                let (gains, loses) = (constant.is_none() && other_constant.is_some(), *constant != other_constant);
                if gains {
                    *constant = other_constant;
                }
                DidMerge(gains, loses)
            }
            (a, b) => {
                assert_eq!(*a, b, "two attributes for one: a rule is wrong");
                DidMerge(false, false)
            }
        }
    }
}
