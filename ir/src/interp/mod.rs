//! The reference interpreter: every op in the plainest Rust. It is the oracle of rewrites and kernels.

mod eval;

use crate::{
    graph::{Graph, Node, Value},
    tensor::{Tensor, Weights},
    types::Type,
};
use std::sync::Arc;

/// What went wrong before the first op ran; a verified graph with checked weights and fitting inputs always runs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterpError {
    /// Another number of inputs than the graph declares.
    #[error("the graph takes {wanted} inputs, not {found}")]
    InputCount {
        /// Declared.
        wanted: usize,
        /// Given.
        found: usize,
    },
    /// An input of another type.
    #[error("input %{name} is {wanted}, not {found}")]
    Input {
        /// Name of the input.
        name: Arc<str>,
        /// Declared.
        wanted: Type,
        /// Given.
        found: String,
    },
    /// A constant without a value.
    #[error("constant @{0} has no value")]
    Constant(Arc<str>),
}

/// Runs a graph and returns its output.
///
/// # Errors
/// When inputs or constants do not fit.
pub fn run(graph: &Graph, weights: &Weights, inputs: &[Tensor]) -> Result<Tensor, InterpError> {
    run_with(graph, weights, inputs, |_, _| {})
}

/// As [`run`]; `observe` sees every node's result as soon as it exists.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    graph: &Graph,
    weights: &Weights,
    inputs: &[Tensor],
    mut observe: impl FnMut(&Node, &Tensor),
) -> Result<Tensor, InterpError> {
    check_inputs(graph, inputs)?;
    let constants: Vec<Arc<Tensor>> = (graph.consts.iter())
        .map(|c| weights.get(&c.name).cloned().ok_or_else(|| InterpError::Constant(c.name.clone())))
        .collect::<Result<_, _>>()?;
    // A result is dropped after its last use.
    let mut uses = vec![0usize; graph.nodes.len()];
    for value in graph.nodes.iter().flat_map(|n| &n.operands).chain([&graph.output]) {
        if let Value::Node(n) = value {
            uses[n.index()] += 1;
        }
    }
    let mut results: Vec<Option<Tensor>> = vec![None; graph.nodes.len()];
    for (id, node) in graph.iter() {
        let operands: Vec<(&Tensor, &Type)> = (node.operands.iter())
            .map(|&v| {
                let tensor = match v {
                    Value::Input(i) => &inputs[i.index()],
                    Value::Const(c) => &*constants[c.index()],
                    Value::Node(n) => results[n.index()].as_ref().expect("used later, so not dropped"),
                };
                (tensor, graph.ty(v))
            })
            .collect();
        let result = eval::eval(node, &operands, weights);
        debug_assert!(result.is_of(&node.ty), "{id}: {} gave {:?}", node.op.kind(), result.shape);
        observe(node, &result);
        results[id.index()] = Some(result);
        for value in &node.operands {
            if let Value::Node(n) = value {
                uses[n.index()] -= 1;
                if uses[n.index()] == 0 {
                    results[n.index()] = None;
                }
            }
        }
    }
    Ok(match graph.output {
        Value::Input(i) => inputs[i.index()].clone(),
        Value::Const(c) => (*constants[c.index()]).clone(),
        Value::Node(n) => results[n.index()].take().expect("the output is a use"),
    })
}

/// Evaluates one op on its own; the operands must be of the given types.
pub fn eval_op(node: &Node, operands: &[(&Tensor, &Type)], weights: &Weights) -> Tensor {
    eval::eval(node, operands, weights)
}

/// Checks number and types of the inputs.
///
/// # Errors
/// At the first that does not fit.
pub fn check_inputs(graph: &Graph, inputs: &[Tensor]) -> Result<(), InterpError> {
    if inputs.len() != graph.inputs.len() {
        return Err(InterpError::InputCount { wanted: graph.inputs.len(), found: inputs.len() });
    }
    for (decl, tensor) in graph.inputs.iter().zip(inputs) {
        if !tensor.is_of(&decl.ty) {
            let found = format!("{}{:?}", tensor.data.elem(), tensor.shape);
            return Err(InterpError::Input { name: decl.name.clone(), wanted: decl.ty.clone(), found });
        }
    }
    Ok(())
}
