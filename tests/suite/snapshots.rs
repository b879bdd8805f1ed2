//! The IR after each pass, as a reviewer sees it. Beside every snapshot stand invariants: the text parses back to the same
//! graph, and the program computes what it should.

use crate::common::{calibration, compiled, imported, noise};
use swint_compiler::{
    egraph::Work,
    pipeline::{Activation, Options, Precision, compile},
    plan::{Choices, Machine, plan_for},
};
use swint_ir::{Module, Type, interp, text};

/// Snapshots every pass of a compilation; returns the module after each.
fn passes(name: &str, precision: Precision, activation: Activation) -> Vec<(&'static str, Module)> {
    let module = imported(name);
    let calibration = calibration(&module);
    let options = Options { precision, activation, calibration: Some(&calibration), ..Options::default() };
    let mut modules = Vec::new();
    compile(&module, &options, |stage| modules.push((stage.name, stage.module.clone()))).unwrap();
    for (pass, m) in &modules {
        let printed = text::print(&m.graph);
        assert_eq!(text::read(pass, &printed).unwrap().0, m.graph);
        // Scales come from floats that every platform rounds alike, so the text is the same everywhere.
        insta::assert_snapshot!(format!("{name}_{precision:?}_{activation:?}_{pass}").to_lowercase(), printed);
    }
    modules
}

fn logits(m: &Module) -> Vec<f32> {
    let input = noise(m, 1).remove(0);
    let output = interp::run(&m.graph, &m.weights, &[input]).unwrap();
    output.to_real(m.graph.ty(m.graph.output), &m.weights)
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn timm_micro_f32() {
    let passes = passes("timm_micro", Precision::F32, Activation::Gelu);
    let names: Vec<_> = passes.iter().map(|p| p.0).collect();
    assert_eq!(names, ["import", "rewrite"]);
    // Only `exact` rules fire on floats.
    assert_eq!(logits(&passes[0].1), logits(&passes[1].1));
}

#[test]
fn timm_micro_int8_lut() {
    let passes = passes("timm_micro", Precision::Int8, Activation::Lut);
    let names: Vec<_> = passes.iter().map(|p| p.0).collect();
    assert_eq!(names, ["import", "fold-normalize", "equalize", "quantize", "rewrite"]);
    assert!(worst(&logits(&passes[1].1), &logits(&passes[2].1)) < 1e-4, "equalizing is one, too");
    let [float, folded, quantized, rewritten] = [0, 1, 3, 4].map(|i| logits(&passes[i].1));
    assert!(worst(&float, &folded) < 1e-4, "folding is an identity over the reals");
    let scale = float.iter().fold(0f32, |m, x| m.max(x.abs()));
    assert!(worst(&float, &quantized) < 0.2 * scale, "{float:?}\n{quantized:?}");
    assert!(worst(&quantized, &rewritten) < 0.05 * scale, "{quantized:?}\n{rewritten:?}");
}

#[test]
fn timm_micro_int8_relu() {
    let passes = passes("timm_micro", Precision::Int8, Activation::Relu);
    let names: Vec<_> = passes.iter().map(|p| p.0).collect();
    assert_eq!(names, ["import", "fold-normalize", "approximate", "equalize", "quantize", "rewrite"]);
    let counts = passes[5].1.graph.op_counts();
    assert!(!counts.contains_key("gelu") && !counts.contains_key("relu") && !counts.contains_key("lut"), "{counts:?}");
}

/// What no machine's load changes: a change here is a change of what runs. Products are those of the formula.
#[test]
fn counts_of_the_bundled_model() {
    let mut counts = format!("{:<10}{:<18}{:>5}", "program", "for", "batch");
    counts +=
        &format!("{:>10}{:>13}{:>12}{:>14}{:>12}\n", "launches", "arena bytes", "bytes", "multiply-adds", "others");
    let two_cores = Machine::Cpu { cores: 2, quads: 0, tables: false };
    let machines = [
        ("no machine", None),
        ("2 cores", Some(two_cores)),
        ("132 processors", Some(Machine::Cuda { processors: 132 })),
    ];
    for (name, precision, activation) in [
        ("f32", Precision::F32, Activation::Gelu),
        ("int8 lut", Precision::Int8, Activation::Lut),
        ("int8 relu", Precision::Int8, Activation::Relu),
    ] {
        let module = compiled("cifar10", precision, activation);
        for (machine_name, machine) in machines {
            for batch in [1, 8, 32] {
                let graph = module.graph.with_batch(batch).unwrap();
                let (graph, plan) = plan_for(&graph, &module.weights, machine, &Choices::new()).unwrap();
                let of_launch = |node: &swint_ir::Node| {
                    let operands: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
                    Work::of(&node.op, &operands, &node.ty)
                };
                let work: Work = plan.launches.iter().map(|l| of_launch(&graph.nodes[l.node.index()])).sum();
                let products = work.int8 + work.float;
                assert_eq!(products, batch as u64 * products_of_the_bundled_model(), "{name} {machine_name}");
                counts +=
                    &format!("{name:<10}{machine_name:<18}{batch:>5}{:>10}{:>13}", plan.launches.len(), plan.arena);
                counts += &format!("{:>12}{products:>14}{:>12}\n", work.bytes, work.elementary);
            }
        }
    }
    insta::assert_snapshot!(counts);
}

/// Multiply-adds of an inference, by equation 2 of arXiv 2103.14030: attention of windows `4NC² + 2M²NC`, the MLP `2rNC²`; and the patch
/// embedding, the mergings and the head.
fn products_of_the_bundled_model() -> u64 {
    let (mut side, mut channels, patch, window, ratio, classes) = (16, 32, 2, 4, 4, 10);
    let mut sum = side * side * patch * patch * 3 * channels;
    for (stage, blocks) in [2, 4, 2].into_iter().enumerate() {
        if stage > 0 {
            side /= 2;
            sum += side * side * 4 * channels * 2 * channels;
            channels *= 2;
        }
        let tokens = side * side;
        let attention = 4 * tokens * channels * channels + 2 * window * window * tokens * channels;
        sum += blocks * (attention + 2 * ratio * tokens * channels * channels);
    }
    sum + channels * classes
}
