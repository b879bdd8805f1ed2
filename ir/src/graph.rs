//! Graphs: an arena of nodes, operands ordered, one result each.

use crate::{
    fused,
    infer::{TypeError, infer},
    op::{Op, OpKind},
    tensor::{Tensor, Weights},
    types::Type,
    verify::{VerifyError, verify, verify_weights},
};
use std::{collections::HashMap, fmt, sync::Arc};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub u32);

        impl $name {
            /// Position in its arena.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id! {
    /// A node of a graph; prints as the text does, `%12`.
    NodeId
}
id! {
    /// An input of a graph.
    InputId
}
id! {
    /// A constant of a graph.
    ConstId
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// What an operand refers to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Value {
    /// An input of the graph.
    Input(InputId),
    /// A named constant.
    Const(ConstId),
    /// The result of a node.
    Node(NodeId),
}

/// A named input or constant with its type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decl {
    /// The name, without sigil.
    pub name: Arc<str>,
    /// The type.
    pub ty: Type,
}

/// An op, its operands and its result's type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// The op.
    pub op: Op,
    /// Operands, in order.
    pub operands: Vec<Value>,
    /// Type of the result.
    pub ty: Type,
    /// The names of the source's modules whose output this is.
    pub locs: Vec<Arc<str>>,
    /// The op in whose place stands another, that only comes near it: here, or in what was fused into this node. Such a
    /// model needs distillation.
    pub approximates: Option<OpKind>,
}

/// A graph and the values of its constants: what passes take and give.
#[derive(Clone, PartialEq, Debug)]
pub struct Module {
    /// The program.
    pub graph: Graph,
    /// Its constants' values.
    pub weights: Weights,
}

impl Module {
    /// Checks every invariant, those on the constants' values included.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn verify(&self) -> Result<(), VerifyError> {
        verify(&self.graph)?;
        verify_weights(&self.graph, &self.weights)
    }

    /// Drops nodes and constants that the output does not need.
    pub fn without_dead_code(&self) -> Module {
        let graph = self.graph.without_dead_code();
        let values = graph.consts.iter().filter_map(|c| Some((c.name.clone(), self.weights.get(&c.name)?.clone())));
        let weights = Weights(values.collect());
        Module { graph, weights }
    }

    /// Declares a constant and gives it a value.
    ///
    /// # Panics
    /// When the name is declared with another type, or the value is not of the type.
    pub fn constant(&mut self, name: impl Into<Arc<str>>, ty: Type, tensor: Tensor) -> Value {
        let name = name.into();
        assert!(tensor.is_of(&ty), "constant @{name} is of type {ty}");
        self.weights.insert(name.clone(), tensor);
        self.graph.constant(name, ty)
    }

    /// Declares a constant as [`declare_fresh`] does: no other constant is touched. Gives it and its name.
    pub fn fresh_constant(&mut self, stem: &str, ty: Type, tensor: Tensor) -> (Value, Arc<str>) {
        let index = declare_fresh(&mut self.graph.consts, &mut self.weights, stem, ty, tensor);
        (Value::Const(ConstId(index as u32)), self.graph.consts[index].name.clone())
    }
}

/// Declares a constant of a type and value under a name that starts with `stem`: finds the one that is there already, or
/// takes the first free name of `stem`, `stem.2`, `stem.3`, … Gives its position.
pub fn declare_fresh(decls: &mut Vec<Decl>, weights: &mut Weights, stem: &str, ty: Type, tensor: Tensor) -> usize {
    let mut name: Arc<str> = stem.into();
    let mut number = 1;
    loop {
        match decls.iter().position(|d| d.name == name) {
            None => {
                weights.insert(name.clone(), tensor);
                decls.push(Decl { name, ty });
                return decls.len() - 1;
            }
            Some(i) if decls[i].ty == ty && weights.get(&name).is_some_and(|t| **t == tensor) => return i,
            Some(_) => {
                number += 1;
                name = format!("{stem}.{number}").into();
            }
        }
    }
}

/// A program: inputs, named constants, nodes in an order in which operands come first, one output.
///
/// The fields are open so that a parser can hold any graph; [`crate::verify()`] tells whether it makes sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Graph {
    /// The graph's name.
    pub name: Arc<str>,
    /// Inputs, in order.
    pub inputs: Vec<Decl>,
    /// Constants.
    pub consts: Vec<Decl>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// What the graph returns.
    pub output: Value,
}

impl Graph {
    /// A graph with inputs and no nodes; it returns its first input until [`Graph::output`] is set.
    pub fn new(name: impl Into<Arc<str>>, inputs: Vec<Decl>) -> Graph {
        Graph { name: name.into(), inputs, consts: Vec::new(), nodes: Vec::new(), output: Value::Input(InputId(0)) }
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        match value {
            Value::Input(i) => &self.inputs[i.index()].ty,
            Value::Const(c) => &self.consts[c.index()].ty,
            Value::Node(n) => &self.nodes[n.index()].ty,
        }
    }

    /// The node behind a value, if it is one.
    pub fn node(&self, value: Value) -> Option<&Node> {
        if let Value::Node(n) = value { Some(&self.nodes[n.index()]) } else { None }
    }

    /// How the text names a value: `%12`, `%image`, `@head.weight`.
    pub fn value_name(&self, value: Value) -> String {
        match value {
            Value::Input(i) => format!("%{}", self.inputs[i.index()].name),
            Value::Const(c) => format!("@{}", self.consts[c.index()].name),
            Value::Node(n) => n.to_string(),
        }
    }

    /// Every node with its id, operands first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, n)| (NodeId(i as u32), n))
    }

    /// Declares a constant, or finds the one of that name.
    ///
    /// # Panics
    /// When the name is declared with another type.
    pub fn constant(&mut self, name: impl Into<Arc<str>>, ty: Type) -> Value {
        let name = name.into();
        let index = match self.consts.iter().position(|c| c.name == name) {
            Some(index) => {
                assert_eq!(self.consts[index].ty, ty, "constant @{name} declared twice");
                index
            }
            None => {
                self.consts.push(Decl { name, ty });
                self.consts.len() - 1
            }
        };
        Value::Const(ConstId(index as u32))
    }

    /// Appends a node; its type is inferred.
    ///
    /// # Errors
    /// When the op does not take these operands.
    pub fn push(&mut self, op: Op, operands: Vec<Value>) -> Result<Value, TypeError> {
        let types: Vec<&Type> = operands.iter().map(|&v| self.ty(v)).collect();
        let ty = infer(&op, &types)?;
        self.nodes.push(Node { op, operands, ty, locs: Vec::new(), approximates: None });
        Ok(Value::Node(NodeId(self.nodes.len() as u32 - 1)))
    }

    /// Names a node after a module of the source; a node can be the output of several.
    pub fn add_loc(&mut self, value: Value, loc: impl Into<Arc<str>>) {
        if let Value::Node(n) = value {
            self.nodes[n.index()].locs.push(loc.into());
        }
    }

    /// Says of a value what is said of a node that it stands for: module names and approximation.
    pub fn inherit(&mut self, value: Value, from: &Node) {
        if let Value::Node(n) = value {
            let node = &mut self.nodes[n.index()];
            node.locs.extend(from.locs.iter().cloned());
            node.approximates = node.approximates.or(from.approximates);
        }
    }

    /// The same program for `batch` images at once: the first extent of every input is multiplied, all else inferred.
    ///
    /// # Errors
    /// When a tensor would become too large.
    pub fn with_batch(&self, batch: usize) -> Result<Graph, TypeError> {
        self.with_first_extents(|extent| extent.saturating_mul(batch))
    }

    /// The same program for every `parts`-th of its images: [`Graph::with_batch`] the other way.
    ///
    /// # Errors
    /// When an op does not fit what is left.
    pub fn with_part_of_batch(&self, parts: usize) -> Result<Graph, TypeError> {
        self.with_first_extents(|extent| extent / parts)
    }

    /// The same program for inputs of other first extents, all else inferred.
    fn with_first_extents(&self, change: impl Fn(usize) -> usize) -> Result<Graph, TypeError> {
        let mut inputs = self.inputs.clone();
        for input in &mut inputs {
            if let Some(extent) = input.ty.shape.first_mut() {
                *extent = change(*extent);
            }
        }
        let mut graph = Graph { inputs, nodes: Vec::new(), ..self.clone() };
        for node in &self.nodes {
            let value = graph.push(node.op.clone(), node.operands.clone())?;
            graph.inherit(value, node);
        }
        Ok(graph)
    }

    /// The same program without nodes and constants that the output does not need; order and names stay.
    pub fn without_dead_code(&self) -> Graph {
        let mut live = vec![false; self.nodes.len()];
        let mark = |value: Value, live: &mut Vec<bool>| {
            if let Value::Node(n) = value {
                live[n.index()] = true;
            }
        };
        mark(self.output, &mut live);
        for (id, node) in self.iter().rev() {
            if live[id.index()] {
                node.operands.iter().for_each(|&v| mark(v, &mut live));
            }
        }
        let mut graph = Graph::new(self.name.clone(), self.inputs.clone());
        self.inputs.iter().for_each(|input| self.copy_scale_const(&input.ty, &mut graph));
        let mut moved: HashMap<Value, Value> = HashMap::new();
        let move_value = |graph: &mut Graph, moved: &HashMap<Value, Value>, value: Value| match value {
            Value::Input(_) => value,
            Value::Const(c) => self.copy_const(c, graph),
            Value::Node(_) => moved[&value],
        };
        for (id, node) in self.iter().filter(|(id, _)| live[id.index()]) {
            let operands = node.operands.iter().map(|&v| move_value(&mut graph, &moved, v)).collect();
            self.copy_scale_const(&node.ty, &mut graph);
            graph.nodes.push(Node { operands, ..node.clone() });
            moved.insert(Value::Node(id), Value::Node(NodeId(graph.nodes.len() as u32 - 1)));
        }
        graph.output = move_value(&mut graph, &moved, self.output);
        graph
    }

    /// Declares in `to` a constant of this graph, and the channel scales that its type names.
    fn copy_const(&self, c: ConstId, to: &mut Graph) -> Value {
        let decl = &self.consts[c.index()];
        self.copy_scale_const(&decl.ty, to);
        to.constant(decl.name.clone(), decl.ty.clone())
    }

    fn copy_scale_const(&self, ty: &Type, to: &mut Graph) {
        if let Some(channels) = &ty.scale.channels
            && let Some(decl) = self.consts.iter().find(|d| d.name == channels.name)
        {
            to.constant(decl.name.clone(), decl.ty.clone());
        }
    }

    /// Nodes that take or give floats, or have them inside.
    pub fn float_nodes(&self) -> impl Iterator<Item = NodeId> {
        let between = |node: &Node| node.ty.is_float() || node.operands.iter().any(|&v| self.ty(v).is_float());
        let float = move |node: &Node| between(node) || !fused::floats(node.op.kind()).is_empty();
        self.iter().filter(move |(_, node)| float(node)).map(|(id, _)| id)
    }

    /// How many nodes there are of each op, by name.
    pub fn op_counts(&self) -> std::collections::BTreeMap<&'static str, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for node in &self.nodes {
            *counts.entry(node.op.kind().name()).or_default() += 1;
        }
        counts
    }
}
