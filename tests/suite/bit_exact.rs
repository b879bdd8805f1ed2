//! Kernels on the CPU runtime against the interpreter, bit for bit, after every kernel.

use crate::common::{compiled, noise};
use std::collections::HashMap;
use swint_compiler::pipeline::{Activation, Precision};
use swint_ir::{NodeId, Tensor, interp};
use swint_runtime::{device::Device, executor::Session, inputs::stack};

/// Every kernel's result on a batch of two equals the interpreter's.
fn kernels_equal_the_interpreter(name: &str, precision: Precision, activation: Activation) {
    let module = compiled(name, precision, activation);
    let input = stack(&noise(&module, 2));
    let session = Session::new(&module, Device::Cpu, 2).unwrap();
    let batched = session.module();
    let mut wanted: HashMap<NodeId, Tensor> = HashMap::new();
    interp::run_with(&batched.graph, &batched.weights, std::slice::from_ref(&input), |_, result| {
        wanted.insert(NodeId(wanted.len() as u32), result.clone());
    })
    .unwrap();
    session
        .run_with(&[input], |launch, found| {
            let wanted = &wanted[&launch.node];
            // Bits, so that zeros of both signs differ and no NaN hides.
            let (a, b) = (wanted.data.to_bytes(), found.data.to_bytes());
            let differing = a.iter().zip(&b).filter(|(a, b)| a != b).count();
            assert_eq!(differing, 0, "{name} {}: {differing} of {} bytes differ", launch.kernel, a.len());
        })
        .unwrap();
}

#[test]
fn micro_f32() {
    kernels_equal_the_interpreter("timm_micro", Precision::F32, Activation::Lut);
}

#[test]
fn micro_int8_lut() {
    kernels_equal_the_interpreter("timm_micro", Precision::Int8, Activation::Lut);
}

#[test]
fn odd_f32_relu() {
    kernels_equal_the_interpreter("timm_odd", Precision::F32, Activation::Relu);
}

#[test]
fn odd_int8_relu() {
    kernels_equal_the_interpreter("timm_odd", Precision::Int8, Activation::Relu);
}

#[test]
fn cifar10_int8_lut() {
    kernels_equal_the_interpreter("cifar10", Precision::Int8, Activation::Lut);
}

#[test]
fn cifar10_int8_gelu() {
    kernels_equal_the_interpreter("cifar10", Precision::Int8, Activation::Gelu);
}
