//! Imported models against activations computed by timm in float64.

use std::path::PathBuf;
use swint_compiler::{
    approximate::gelu_to_relu,
    egraph::{Limits, Target, rewrite},
    frontend::{Checkpoint, Spec, import, preset, preset_names, random_checkpoint},
    pipeline::{Activation, Calibration, FloatOps, GeluRange, Observer, Options, Precision, compile},
    plan::plan,
    quantize::{Ranges, Statistics, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
};
use swint_ir::{Data, Module, Tensor, interp, text};

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
                let Some(wanted) = golden.0.get(&**loc) else { continue };
                let wanted = wanted.as_f32().unwrap();
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
fn timm_v2_micro_matches_timm() {
    assert_eq!(compare_with_goldens("timm_v2_micro"), 10);
}

/// Padding, odd sides and images that are not square, as each library has them.
#[test]
fn padded_models_match_their_libraries() {
    assert_eq!(compare_with_goldens("timm_pad"), 6);
    assert_eq!(compare_with_goldens("timm_v2_pad"), 6);
    assert_eq!(compare_with_goldens("torchvision_v2_pad"), 4);
    assert_eq!(compare_with_goldens("transformers_pad"), 1);
}

/// A padded model is integer-only and takes as many kernels as others; a V2, which has more, has no float either.
#[test]
fn padded_and_second_versions_become_integers() {
    for name in ["timm_pad", "transformers_pad", "timm_v2_pad", "torchvision_v2_pad", "timm_v2_micro"] {
        let module = imported(name);
        let inputs = inputs(name, &module);
        let calibration = Calibration::new(inputs.iter().map(|t| vec![t.clone()]).collect());
        let logits = |module: &Module, input: &Tensor| {
            let result = interp::run(&module.graph, &module.weights, std::slice::from_ref(input)).unwrap();
            result.to_real(module.graph.ty(module.graph.output), &module.weights)
        };
        for fuse in [true, false] {
            let options =
                Options { precision: Precision::Int8, calibration: Some(&calibration), fuse, ..Options::default() };
            let (compiled, report) = compile(&module, &options, |_| {}).unwrap();
            assert_eq!(report.rewrite.unwrap().stopped, None, "{name}");
            // Normalised pixels enter these, and are quantized.
            let floats: Vec<String> =
                compiled.graph.float_nodes().map(|id| compiled.graph.nodes[id.index()].op.kind().to_string()).collect();
            let quantized = floats.iter().all(|op| op == "quantize") && floats.len() <= 1;
            assert!(quantized, "{name}: {floats:?}\n{}", compiled.graph);
            let launches = plan(&compiled.graph).unwrap().launches.len();
            println!("{name} fuse {fuse}: {launches} launches {:?}", compiled.graph.op_counts());
            // Five a block or fewer; beside them the quantized pixels, the embedding, padding for the merging, it, and the head.
            let first_version = !name.contains("v2");
            assert!(!(fuse && first_version) || launches <= 5 * 4 + 5, "{name}: {launches}");
            for input in &inputs {
                let (a, b) = (logits(&module, input), logits(&compiled, input));
                let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| x * x).sum::<f32>().sqrt();
                let signal = norm(&mut a.iter().copied());
                let noise = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
                println!("{name} fuse {fuse}: noise {noise} of {signal}");
                assert!(noise < 0.1 * signal, "{name}: {a:?} and {b:?}");
            }
        }
    }
}

#[test]
fn every_precision_and_activation_compiles_and_plans() {
    for name in ["timm_micro", "timm_odd"] {
        let module = imported(name);
        let calibration = Calibration::new(inputs(name, &module).into_iter().map(|t| vec![t]).collect());
        for precision in [Precision::F32, Precision::Int8] {
            for activation in [Activation::Lut, Activation::Relu, Activation::Gelu] {
                let fuse = name == "timm_micro";
                let calibration = Some(&calibration);
                let options = Options { precision, activation, calibration, fuse, ..Options::default() };
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
                    assert_eq!(ops.contains_key("lut"), activation == Activation::Lut && !fuse);
                    assert_eq!(ops.contains_key("mlp"), activation != Activation::Gelu && fuse);
                }
                plan(&compiled.graph).unwrap();
            }
        }
    }
}

/// The published models become integer-only, five kernels a block or fewer: no float between pixels and logits, whatever
/// becomes of the GELU.
#[test]
fn presets_become_five_integer_kernels_a_block() {
    for (name, relu) in preset_names().flat_map(|name| [(name, false), (name, true)]) {
        // The structure is that of all blocks of a stage, however many there are.
        let full = preset(name).unwrap();
        let spec = Spec { depths: vec![2, 2, 4, 2], ..full };
        let mut module = fold_normalize(&import(&spec, &random_checkpoint(&spec, 1)).unwrap());
        if relu {
            module = gelu_to_relu(&module, None).unwrap().0;
        }
        let statistics = Statistics::assumed(&module, 4.0);
        let gelu = if relu { GeluRange::Symmetric } else { GeluRange::Auto };
        let ranges = Ranges { statistics: &statistics, observer: Observer::MinMax, gelu };
        let (quantized, _) = insert_quantization(&module, ranges, FloatOps::NONE).unwrap();
        // Without fusion they are all alike.
        for fuse in if name.contains("tiny") { &[false, true][..] } else { &[true] } {
            let table = rules(RuleSet { fuse: *fuse, ..RuleSet::ALL });
            let (compiled, report) = rewrite(&quantized, &table, &Target::default(), Limits::default());
            assert_eq!(report.stopped, None, "{name}");
            let graph = &compiled.graph;
            assert_eq!(graph.float_nodes().next(), None, "{name}");
            let (launches, blocks) = (plan(graph).unwrap().launches.len(), spec.depths.iter().sum::<usize>());
            println!("{name} relu {relu}: {blocks} blocks, fused {fuse}: {launches} launches");
            // Beside the blocks: the patch embedding, three mergings, the head.
            assert!(if *fuse { launches <= 5 * blocks + 5 } else { launches > 15 * blocks }, "{name}: {launches}");
        }
    }
}
