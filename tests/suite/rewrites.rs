//! Rewritten graphs against the graphs they came from, in the interpreter.

use crate::common::{calibration, compiled_with, imported, noise};
use std::collections::HashMap;
use swint_compiler::{
    egraph::{Class, Rule, Target, rewrite},
    pipeline::{Activation, Options, Precision, compile},
    rules::{RuleSet, rules},
};
use swint_ir::{Elem, Module, Tensor, Value, interp, op::OpKind};

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
    rules(RuleSet::ALL).into_iter().filter(|r| r.class == Class::Exact).collect()
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
        let (after, report) = rewrite(&before, &exact_rules(), &Target::default());
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

/// Where `real` rules replace float scaling by fixed point, each integer is within one step of what float scaling of the
/// same operands gives.
#[test]
fn real_rules_stay_within_one_quantization_step() {
    for name in ["timm_micro", "timm_odd", "cifar10"] {
        let before = quantized(name, Activation::Lut);
        // Unfused, so that every requantization's operand can be seen; fusing them is exact.
        let unfused = rules(RuleSet::ALL).into_iter().filter(|r| !r.name.starts_with("qlinear"));
        let (after, _) = rewrite(&before, &unfused.collect::<Vec<_>>(), &Target::default());
        let mut requantized = 0;
        for input in noise(&before, 2) {
            let mut results: HashMap<Value, Tensor> = HashMap::new();
            let mut id = 0;
            interp::run_with(&after.graph, &after.weights, &[input], |node, result| {
                if let OpKind::Requantize = node.op.kind() {
                    // The float route: dequantize the accumulator, divide by the new scale, round, clamp.
                    let operand = node.operands[0];
                    let real = results[&operand].to_real(after.graph.ty(operand), &after.weights);
                    let scale = node.ty.scale.factor.get();
                    let elem: Elem = node.ty.elem;
                    for (x, q) in real.iter().zip(result.data.to_i32().unwrap()) {
                        let float = swint_ir::arith::quantize(*x, scale, elem);
                        assert!((float - q).abs() <= 1, "{name}: {x} / {scale}: {float} and {q}");
                        requantized += 1;
                    }
                }
                results.insert(Value::Node(swint_ir::NodeId(id)), result.clone());
                id += 1;
            })
            .unwrap();
        }
        assert!(requantized > 10_000, "{requantized}");
    }
}
