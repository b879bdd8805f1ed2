//! Imported models against activations computed by timm in float64.

use std::path::PathBuf;
use swint_compiler::{
    egraph::{Target, rewrite},
    frontend::{Checkpoint, Spec, import, preset, preset_names, random_checkpoint},
    pipeline::{Activation, Calibration, FloatOps, GeluRange, Observer, Options, Precision, compile},
    plan::plan,
    quantize::{Histogram, Ranges, Statistics, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
};
use swint_ir::{Data, Module, NodeId, Tensor, Value, interp, text};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn checkpoint(name: &str, file: &str) -> Checkpoint {
    Checkpoint::from_bytes(&std::fs::read(fixture(name).join(file)).unwrap()).unwrap()
}

fn imported(name: &str) -> Module {
    let text = std::fs::read_to_string(fixture(name).join("swin.toml")).unwrap();
    import(&Spec::parse("swin.toml", &text).unwrap(), &checkpoint(name, "model.safetensors")).unwrap()
}

/// The fixture's images, one a tensor, as the model takes them.
fn inputs(name: &str, module: &Module) -> Vec<Tensor> {
    let file = checkpoint(name, "input.safetensors");
    let shape = module.graph.inputs[0].ty.shape.clone();
    let (h, w, c) = (shape[1], shape[2], shape[3]);
    let elements = h * w * c;
    match &file.0[if &*module.graph.inputs[0].name == "image" { "pixels" } else { "pixel_values" }].data {
        Data::U8(v) => v.chunks(elements).map(|v| Tensor::new(shape.clone(), Data::U8(v.to_vec()))).collect(),
        Data::F32(v) => v
            .chunks(elements)
            .map(|v| Tensor::f32(shape.clone(), (0..elements).map(|i| v[i % c * h * w + i / c]).collect()))
            .collect(),
        other => panic!("{}", other.elem()),
    }
}

/// Every activation that the fixture names, against the interpreter's; returns how many were compared.
fn compare_with_goldens(name: &str) -> usize {
    let module = imported(name);
    let golden = checkpoint(name, "golden.safetensors");
    let mut seen = std::collections::BTreeSet::new();
    for (i, input) in inputs(name, &module).into_iter().enumerate() {
        interp::run_with(&module.graph, &module.weights, &[input], |node, result| {
            for loc in &node.locs {
                let wanted = golden.0[&**loc].as_f32().unwrap();
                let found = result.as_f32().unwrap();
                let worst = found
                    .iter()
                    .zip(&wanted[i * found.len()..][..found.len()])
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                println!("{name} image {i} {loc}: {worst:e}");
                assert!(worst < 1e-4, "{name} image {i} {loc}: {worst}");
                seen.insert(loc.to_string());
            }
        })
        .unwrap();
    }
    assert_eq!(seen, golden.0.keys().cloned().collect());
    seen.len()
}

#[test]
fn timm_micro_matches_timm() {
    assert_eq!(compare_with_goldens("timm_micro"), 10);
}

#[test]
fn timm_odd_matches_timm() {
    assert_eq!(compare_with_goldens("timm_odd"), 14);
}

#[test]
fn every_precision_and_activation_compiles_and_plans() {
    for name in ["timm_micro", "timm_odd"] {
        let module = imported(name);
        let calibration = Calibration::new(inputs(name, &module).into_iter().map(|t| vec![t]).collect());
        for precision in [Precision::F32, Precision::Int8] {
            for activation in [Activation::Lut, Activation::Relu, Activation::Gelu] {
                let options = Options { precision, activation, calibration: Some(&calibration), ..Options::default() };
                let mut snapshots = Vec::new();
                let (compiled, report) = compile(&module, &options, |stage| {
                    let graph = &stage.module.graph;
                    assert_eq!(text::read(stage.name, &graph.to_string()).unwrap().0, *graph, "{}", stage.name);
                    snapshots.push(stage.name);
                })
                .unwrap();
                let ops = &report.ops.1;
                println!("{name} {precision:?} {activation:?} {ops:?} {:?} {snapshots:?}", report.rewrite);
                assert_eq!(report.rewrite.unwrap().stopped, None);
                if precision == Precision::Int8 {
                    assert_eq!(ops.contains_key("gelu"), activation == Activation::Gelu);
                    assert_eq!(ops.contains_key("lut"), activation == Activation::Lut);
                }
                plan(&compiled.graph).unwrap();
            }
        }
    }
}

/// Statistics for a module that nobody ran: every value within ±4.
fn made_up(module: &Module) -> Statistics {
    let seen = Histogram::of(&[-4.0, 0.1, 0.2, 4.0]).unwrap();
    let values = (0..module.graph.nodes.len()).map(|i| (Value::Node(NodeId(i as u32)), seen.clone()));
    Statistics { inputs: 1, histograms: values.collect(), ..Statistics::default() }
}

/// The published models become integer-only: no float between pixels and logits.
#[test]
fn no_preset_has_a_float_op() {
    for name in preset_names() {
        // The structure is that of all blocks of a stage, however many there are.
        let full = preset(name).unwrap();
        let spec = Spec { depths: vec![2, 2, 4, 2], ..full };
        let module = fold_normalize(&import(&spec, &random_checkpoint(&spec, 1)).unwrap());
        let statistics = made_up(&module);
        let ranges = Ranges { statistics: &statistics, observer: Observer::MinMax, gelu: GeluRange::Auto };
        let (quantized, _) = insert_quantization(&module, ranges, FloatOps::NONE).unwrap();
        let table = rules(RuleSet { gelu_table: true, float_ops: FloatOps::NONE });
        let (compiled, report) = rewrite(&quantized, &table, &Target::default());
        assert_eq!(report.stopped, None, "{name}");
        let graph = &compiled.graph;
        let float = |value: &Value| graph.ty(*value).is_float();
        let found = graph.nodes.iter().find(|node| node.ty.is_float() || node.operands.iter().any(float));
        assert!(found.is_none(), "{name}: {:?}", found.map(|node| &node.op));
        plan(graph).unwrap();
    }
}
