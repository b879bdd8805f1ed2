//! Imported models against activations that their libraries computed in float64.

use std::{collections::BTreeSet, path::PathBuf};
use swint_compiler::{
    approximate::gelu_to_relu,
    egraph::{Limits, Target, rewrite},
    frontend::{
        Checkpoint, Spec, Version, canonical_modules, import, load_folder, preset, preset_names, random_checkpoint,
    },
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

/// Every activation that the fixture names, under the names of the library that made it, against the interpreter's.
fn compare_with_goldens(name: &str) -> (&'static str, usize) {
    let loaded = load_folder(&fixture(name)).unwrap();
    assert_eq!(loaded.notes, [""; 0]);
    let module = &loaded.module;
    let golden = checkpoint(name, "golden.safetensors");
    let locs: Vec<&str> = module.graph.nodes.iter().flat_map(|node| &node.locs).map(|loc| &**loc).collect();
    let canonical = canonical_modules(golden.0.keys().map(String::as_str), locs.iter().copied());
    let mut seen = BTreeSet::new();
    for (i, input) in inputs(name, module).into_iter().enumerate() {
        interp::run_with(&module.graph, &module.weights, &[input], |node, result| {
            let is_here = |wanted: &str| node.locs.iter().any(|loc| **loc == *wanted);
            for (golden_name, _) in canonical.iter().filter(|(_, loc)| is_here(loc)) {
                let tensor = &golden.0[*golden_name];
                // timm and torchvision have [N,H,W,C], transformers [N,tokens,C].
                let [_, shape @ ..] = &node.ty.shape[..] else { panic!("{}", node.ty) };
                let tokens = [shape[..shape.len() - 1].iter().product(), shape[shape.len() - 1]];
                assert!(tensor.shape[1..] == *shape || tensor.shape[1..] == tokens, "{golden_name} {:?}", tensor.shape);
                let (wanted, found) = (tensor.as_f32().unwrap(), result.as_f32().unwrap());
                let wanted = &wanted[i * found.len()..][..found.len()];
                let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                println!("{name} image {i} {golden_name}: {worst:e}");
                assert!(worst < 1e-4, "{name} image {i} {golden_name}: {worst}");
                seen.insert(golden_name.to_string());
            }
        })
        .unwrap();
    }
    assert_eq!(seen, golden.0.keys().cloned().collect());
    (loaded.layout.name, seen.len())
}

/// A test for each fixture: the library, and how many activations are compared.
macro_rules! goldens {
    ($( $test:ident $fixture:literal $library:literal $count:literal )*) => {$(
        #[test]
        fn $test() {
            assert_eq!(compare_with_goldens($fixture), ($library, $count));
        }
    )*};
}

goldens! {
    timm_micro_matches_timm "timm_micro" "timm" 10
    timm_odd_matches_timm "timm_odd" "timm" 14
    timm_v2_micro_matches_timm "timm_v2_micro" "timm" 10
    microsoft_micro_matches_timm "microsoft_micro" "microsoft/Swin-Transformer" 1
    hf_micro_matches_transformers "hf_micro" "transformers" 5
    hf_pad_matches_transformers "hf_pad" "transformers" 5
    torchvision_micro_matches_torchvision "torchvision_micro" "torchvision" 6
    // Padding, odd sides and images that are not square, as each library has them, under timm's names.
    timm_pad_matches_timm "timm_pad" "timm" 6
    timm_v2_pad_matches_timm "timm_v2_pad" "timm" 6
    torchvision_v2_pad_matches_torchvision "torchvision_v2_pad" "timm" 4
    transformers_pad_matches_transformers "transformers_pad" "timm" 1
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
                    assert_eq!(ops.contains_key("float_gelu"), activation == Activation::Gelu);
                    assert!(!ops.contains_key("gelu"));
                    assert_eq!(ops.contains_key("lut"), activation == Activation::Lut && !fuse);
                    assert_eq!(ops.contains_key("mlp"), activation != Activation::Gelu && fuse);
                }
                plan(&compiled.graph).unwrap();
            }
        }
    }
}

/// The published models become integer-only, five kernels a block or fewer, or seven of the second version: no float between pixels and logits,
/// whatever becomes of the GELU.
#[test]
fn presets_become_few_integer_kernels_a_block() {
    // Of the second version, the smallest and the largest, with all sizes of windows; what becomes of the GELU is alike in all.
    let wanted = |(name, relu): &(&str, bool)| {
        !name.starts_with("swinv2")
            || name.contains("tiny_window8")
            || !relu && (name.contains("tiny") || name.contains("large"))
    };
    for (name, relu) in preset_names().flat_map(|name| [(name, false), (name, true)]).filter(wanted) {
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
            let table = rules(RuleSet { fuse: *fuse, ..RuleSet::INTEGER });
            let (compiled, report) = rewrite(&quantized, &table, &Target::default(), Limits::default());
            assert_eq!(report.stopped, None, "{name}");
            let graph = &compiled.graph;
            assert_eq!(graph.float_nodes().next(), None, "{name}");
            let (launches, blocks) = (plan(graph).unwrap().launches.len(), spec.depths.iter().sum::<usize>());
            println!("{name} relu {relu}: {blocks} blocks, fused {fuse}: {launches} launches");
            // Beside the blocks: the patch embedding, three mergings, which are two kernels each in the second version, the head.
            let most = if spec.version == Version::V1 { 5 * blocks + 5 } else { 7 * blocks + 8 };
            assert!(if *fuse { launches <= most } else { launches > 15 * blocks }, "{name}: {launches}");
        }
    }
}
