//! Approximations: directed passes that change the function. They are chosen by policy, never unioned.

use swint_ir::{Module, op::Op};

/// Replaces every GELU by a ReLU and returns how many there were. The result needs distillation.
///
/// (Faster Inference of Integer SWIN Transformer by Removing the GELU Activation, arXiv 2402.01169)
pub fn gelu_to_relu(module: &Module) -> (Module, usize) {
    let mut out = module.clone();
    let mut count = 0;
    for node in out.graph.nodes.iter_mut().filter(|n| n.op == Op::Gelu {}) {
        node.op = Op::Relu {};
        count += 1;
    }
    (out, count)
}
