//! The IR after each pass, as a reviewer sees it. Beside every snapshot stand invariants: the text parses back to the same
//! graph, and the program computes what it should.

use crate::common::{calibration, imported, noise};
use swint_compiler::pipeline::{Activation, Options, Precision, compile};
use swint_ir::{Module, interp, text};

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
