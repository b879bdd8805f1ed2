//! Rewritten graphs against the graphs they came from, in the interpreter.

use crate::common::{calibration, compiled_with, imported, noise};
use swint_compiler::{
    egraph::{Class, Limits, Rule, Target, rewrite},
    pipeline::{Activation, Options, Precision, compile},
    rules::{RuleSet, rules},
    validate::steps_from_float,
};
use swint_ir::{Module, interp, op::OpKind};

/// The module with quantize/dequantize pairs, before the rewrites.
fn quantized(name: &str, activation: Activation) -> Module {
    let module = imported(name);
    let calibration = calibration(&module);
    let options =
        Options { precision: Precision::Int8, activation, calibration: Some(&calibration), ..Options::default() };
    let mut found = None;
    compile(&module, &options, |stage| {
        if stage.name == "quantize" {
            found = Some(stage.module.clone());
        }
    })
    .unwrap();
    found.unwrap()
}

fn exact_rules() -> Vec<Rule> {
    rules(RuleSet::INTEGER).into_iter().filter(|r| r.class == Class::Exact).collect()
}

/// Where only `exact` rules fire, the table among them, the result is the same bit for bit.
#[test]
fn exact_rules_change_no_bit() {
    for (name, activation) in [
        ("timm_micro", Activation::Lut),
        ("timm_odd", Activation::Lut),
        ("cifar10", Activation::Lut),
        ("timm_odd", Activation::Relu),
    ] {
        let before = quantized(name, activation);
        let (after, report) = rewrite(&before, &exact_rules(), &Target::default(), Limits::default());
        after.verify().unwrap();
        assert!(report.applied.keys().any(|rule| rule.starts_with(if activation == Activation::Lut {
            "gelu-table"
        } else {
            "relu-clamp"
        })));
        assert!(!after.graph.op_counts().contains_key("gelu") && !after.graph.op_counts().contains_key("relu"));
        for input in noise(&before, 2) {
            let run = |m: &Module| interp::run(&m.graph, &m.weights, std::slice::from_ref(&input)).unwrap();
            assert_eq!(run(&before).data.to_bytes(), run(&after).data.to_bytes(), "{name}");
        }
    }
}

/// What was fused gives the very logits of what was not.
#[test]
fn fusion_changes_no_bit() {
    for (name, activation) in
        [("timm_micro", Activation::Lut), ("timm_odd", Activation::Relu), ("cifar10", Activation::Lut)]
    {
        let [fused, apart] = [true, false].map(|fuse| {
            let options = Options { precision: Precision::Int8, activation, fuse, ..Options::default() };
            compiled_with(name, &options)
        });
        assert!(fused.graph.nodes.len() * 4 < apart.graph.nodes.len(), "{name}: {}", fused.graph.nodes.len());
        for input in noise(&fused, 2) {
            let run = |m: &Module| interp::run(&m.graph, &m.weights, std::slice::from_ref(&input)).unwrap();
            assert_eq!(run(&fused), run(&apart), "{name}");
        }
    }
}

/// What `real` rules promise of each op holds in whole models: it is within a step of what floats give on the same operands.
#[test]
fn real_rules_stay_within_one_quantization_step() {
    for name in ["timm_micro", "timm_odd", "cifar10"] {
        let before = quantized(name, Activation::Lut);
        let unfused = rules(RuleSet { fuse: false, ..RuleSet::INTEGER });
        let (after, _) = rewrite(&before, &unfused, &Target::default(), Limits::default());
        for input in noise(&before, 2) {
            let steps = steps_from_float(&after, &[input]).unwrap();
            println!("{name}: {steps:?}");
            let kinds = [OpKind::QLinear, OpKind::Requantize, OpKind::QLayerNorm, OpKind::QSoftmax, OpKind::Add];
            assert!(kinds.iter().all(|kind| steps.get(kind).is_some_and(|&steps| steps <= 1)), "{name}: {steps:?}");
        }
    }
}
