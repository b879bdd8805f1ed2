//! Kernels on this processor against the interpreter, bit for bit, after every kernel.

use crate::common::{
    attention, compiled, compiled_with, noise, norm_residual, patch_embedding, random_programs, stream_linear,
};
use swint_compiler::{
    pipeline::{Activation, Equalize, FloatOps, Options, Precision},
    plan::Machine,
};
use swint_ir::{Module, Tensor, interp, op::OpKind, random};
use swint_runtime::{
    device::{Device, processor},
    executor::Session,
    inputs::stack,
    verify::run_session,
};

fn kernels_equal_the_interpreter(name: &str, precision: Precision, activation: Activation) {
    compare(name, &compiled(name, precision, activation));
}

/// Every kernel's result on a batch of two equals the interpreter's, of all processors'.
fn compare(name: &str, module: &Module) {
    for machine in processors() {
        compare_on(machine, name, module, 2, &[stack(&noise(module, 2))]);
    }
}

/// This processor, and others whose kernels it can run.
fn processors() -> Vec<Machine> {
    let Machine::Cpu { cores, quads, tables } = processor() else { unreachable!("a processor is none") };
    let all = [(quads, tables), (quads, false), (8, false), (0, false)];
    let able = all.iter().enumerate().filter(|(i, machine)| machine.0 <= quads && !all[..*i].contains(machine));
    able.map(|(_, &(quads, tables))| Machine::Cpu { cores, quads, tables }).collect()
}

/// Every result on a batch of the kernels that are made for a processor equals the interpreter's.
fn compare_on(machine: Machine, name: &str, module: &Module, batch: usize, inputs: &[Tensor]) {
    let session = Session::on_processor(module, batch, machine).unwrap();
    run_session(module, inputs, batch, &session, |launch, mismatch| {
        assert_eq!(mismatch, None, "{name} {}{} for {machine:?}", launch.kernel, launch.blueprint);
    })
    .unwrap();
}

/// The instructions that a processor has are used: without, every other test of this file would pass, too.
#[test]
fn quads_are_used_where_the_processor_has_them() {
    let Machine::Cpu { quads, tables, .. } = processor() else { unreachable!("a processor is none") };
    let session = Session::new(&compiled("cifar10", Precision::Int8, Activation::Lut), Device::Cpu, 1).unwrap();
    let made: Vec<String> = session.plan().launches.iter().map(|launch| launch.blueprint.to_string()).collect();
    let of = |what: &str| made.iter().filter(|made| made.contains(what)).count();
    // All products but the head; attention has tables as well.
    assert_eq!((of("quads["), of("windows[quads]")), (if quads > 0 { 35 } else { 0 }, if tables { 8 } else { 0 }));
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

/// Padding before and after the shift, windows and shifts of two sides, odd sides, cosine attention: in floats, in integers, fused and
/// not.
#[test]
fn padded_models_and_second_versions() {
    for name in ["timm_pad", "transformers_pad", "timm_v2_pad", "torchvision_v2_pad"] {
        kernels_equal_the_interpreter(name, Precision::F32, Activation::Gelu);
        kernels_equal_the_interpreter(name, Precision::Int8, Activation::Lut);
        let options = Options { precision: Precision::Int8, fuse: false, ..Options::default() };
        compare(name, &compiled_with(name, &options));
    }
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

/// γ and β in the linears, so that patch merging has a bias; fused all the same.
#[test]
fn folded_norms() {
    let options = Options { precision: Precision::Int8, equalize: Equalize::Affine, ..Options::default() };
    let module = compiled_with("cifar10", &options);
    let merges: Vec<_> = module.graph.nodes.iter().filter(|n| n.op.kind() == OpKind::PatchMerge).collect();
    assert!(merges.len() == 2 && merges.iter().all(|node| node.operands.len() == 5), "{}", module.graph);
    compare("cifar10", &module);
}

/// The same models without fusion: a kernel an op.
#[test]
fn unfused_int8() {
    for (name, activation) in
        [("cifar10", Activation::Lut), ("timm_odd", Activation::Lut), ("timm_micro", Activation::Relu)]
    {
        let options = Options { precision: Precision::Int8, activation, fuse: false, ..Options::default() };
        compare(name, &compiled_with(name, &options));
    }
}

/// A text's only op on random values, on all processors.
fn one_is_exact(name: &str, ir: &str) {
    let graph = swint_ir::text::read("one.ir", ir).unwrap().0;
    let inputs = random::inputs(&graph, &mut random::Rng::with_seed(5));
    let module = Module { weights: random::weights(&graph, 3), graph };
    processors().into_iter().for_each(|machine| compare_on(machine, name, &module, 1, &inputs));
}

/// Windows that fill vectors of keys, panels of four such, more than one, and none of them; heads of all widths.
#[test]
fn attention_is_exact_in_every_geometry() {
    let all = [
        (1, 16, 0),
        (9, 16, 2),
        (16, 32, 0),
        (25, 24, 4),
        (49, 32, 0),
        (49, 16, 4),
        (50, 48, 0),
        (64, 64, 2),
        (65, 32, 0),
        (100, 80, 2),
        (144, 32, 4),
        (160, 32, 0),
        (169, 32, 2),
        (256, 16, 0),
        (576, 32, 2),
    ];
    for (cosine, (tokens, head, masks)) in [false, true].into_iter().flat_map(|cosine| all.map(|way| (cosine, way))) {
        let name = format!("{tokens} tokens, {head} channels, cosine {cosine}");
        one_is_exact(&name, &attention(tokens, head, masks, cosine));
    }
}

/// What Swin V2 has of rows, of channels that are whole vectors of either length, and not.
#[test]
fn rows_of_the_second_version_are_exact() {
    for k in [8, 16, 24, 30, 96, 104, 192] {
        one_is_exact(&format!("norm of {k} channels"), &norm_residual(8, k));
        one_is_exact(&format!("linear on {k} channels"), &stream_linear(7, k, 64));
        one_is_exact(&format!("linear on {k} channels to few"), &stream_linear(7, k, 24));
    }
}

/// Patches of whole words of four bytes, and not; channels of whole vectors and panels, and not.
#[test]
fn patch_embeddings_are_exact_in_every_width() {
    for (n, block, height, width) in [(16, 2, 6, 10), (24, 4, 8, 12), (96, 4, 20, 36), (192, 4, 8, 8), (80, 1, 3, 7)] {
        one_is_exact(&format!("{n} channels"), &patch_embedding(n, block, height, width));
    }
}

/// Random programs: ops on shapes, widths and types that no model has.
#[test]
fn random_programs_are_exact() {
    // Each on this processor and on one of the others.
    let (own, others) = (processors()[0], &processors()[1..]);
    let mut others = others.iter().cycle();
    let kernels = random_programs(0..250, |name, module, inputs| {
        compare_on(own, name, module, 1, inputs);
        if let Some(&other) = others.next() {
            compare_on(other, name, module, 1, inputs);
        }
    });
    for fused in [
        "norm_linear",
        "linear_residual",
        "mlp",
        "window_attention",
        "linear_norm",
        "head",
        "stream_linear",
        "norm_residual",
        "cosine_attention",
    ] {
        assert!(kernels.contains(fused), "{fused} is in no program: {kernels:?}");
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
