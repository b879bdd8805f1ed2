//! Kernels on the CPU runtime against the interpreter, bit for bit, after every kernel.

use crate::common::{compiled, compiled_with, noise};
use std::collections::HashMap;
use swint_compiler::pipeline::{Activation, FloatOps, Options, Precision};
use swint_ir::{Module, NodeId, Tensor, interp, random};
use swint_runtime::{device::Device, executor::Session, inputs::stack};

fn kernels_equal_the_interpreter(name: &str, precision: Precision, activation: Activation) {
    compare(name, &compiled(name, precision, activation));
}

/// Every kernel's result on a batch of two equals the interpreter's.
fn compare(name: &str, module: &Module) {
    let input = stack(&noise(module, 2));
    let session = Session::new(module, Device::Cpu, 2).unwrap();
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

/// Every kernel that an int8 model may have beside its integer ones, and their neighbours.
#[test]
fn micro_int8_with_float_ops() {
    let FloatOps { norm, softmax, residual } = FloatOps::ALL;
    for float_ops in [
        FloatOps::ALL,
        FloatOps { norm, ..FloatOps::NONE },
        FloatOps { softmax, ..FloatOps::NONE },
        FloatOps { residual, ..FloatOps::NONE },
    ] {
        let options = Options { precision: Precision::Int8, float_ops, ..Options::default() };
        compare("timm_micro", &compiled_with("timm_micro", &options));
    }
}

/// 256 random images, sixteen at a time: the results of a whole model.
fn many_images(name: &str, activation: Activation) {
    let module = compiled(name, Precision::Int8, activation);
    let session = Session::new(&module, Device::Cpu, 16).unwrap();
    let Module { graph, weights } = session.module();
    let mut rng = random::Rng::with_seed(256);
    for images in 0..16 {
        let input = random::inputs(graph, &mut rng);
        let (wanted, found) = (interp::run(graph, weights, &input).unwrap(), session.run(&input).unwrap());
        assert!(wanted.data.to_bytes() == found.data.to_bytes(), "{name} {activation:?}: images from {}", images * 16);
    }
}

#[test]
fn cifar10_many_images_lut() {
    many_images("cifar10", Activation::Lut);
}

#[test]
fn cifar10_many_images_relu() {
    many_images("cifar10", Activation::Relu);
}

#[test]
fn micro_many_images() {
    many_images("timm_micro", Activation::Lut);
}

#[test]
fn odd_many_images() {
    many_images("timm_odd", Activation::Lut);
}
