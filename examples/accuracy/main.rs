//! What integers cost in accuracy: the bundled model on the 10,000 test pictures of CIFAR-10, compiled in many ways.
//!
//! `swint data fetch cifar10`, then `cargo run --release --example accuracy`

use std::{error::Error, path::Path, time::Instant};
use swint::{
    compiler::{
        frontend::{Limits, Loaded, load},
        pipeline::{Activation, Calibration, Equalize, FloatOps, GeluRange, Observer, Options, Precision, compile},
    },
    ir::Module,
    runtime::{
        cache,
        compare::Difference,
        dataset::{Dataset, Score},
        device::Device,
        executor::Session,
        inputs::{Split, read_some},
    },
};

/// Pictures of an inference.
const BATCH: usize = 100;

/// Training pictures that an int8 model is calibrated with, if nothing else is said.
const IMAGES: usize = 256;

/// A way to compile the model to int8.
struct Way {
    name: String,
    images: usize,
    options: Options<'static>,
}

/// The ways, in groups.
fn ways() -> Vec<(&'static str, Vec<Way>)> {
    let int8 = Options { precision: Precision::Int8, ..Options::default() };
    let way = |name: &str, options: Options<'static>| Way { name: name.to_owned(), images: IMAGES, options };
    let float = Options { float_ops: FloatOps::ALL, ..int8.clone() };
    let observed = |observer| way(&format!("observer {observer}"), Options { observer, ..int8.clone() });
    let equalized = |equalize| way(&format!("equalize {equalize}"), Options { equalize, ..int8.clone() });
    let observers = ["min-max", "percentile", "percentile=99.9", "mse", "entropy"];
    vec![
        (
            "ops (min-max)",
            vec![
                way(
                    "float norm, softmax, residual and GELU",
                    Options { activation: Activation::Gelu, equalize: Equalize::None, ..float.clone() },
                ),
                way("float norm, softmax, residual; GELU table", float),
                way("integer-only, GELU table", int8.clone()),
                way("integer-only, ReLU without retraining", Options { activation: Activation::Relu, ..int8.clone() }),
            ],
        ),
        (
            "observers (integer-only, GELU table)",
            observers.iter().map(|name| observed(name.parse::<Observer>().expect("an observer"))).collect(),
        ),
        (
            "calibration pictures",
            [1, 4, 16, 64, 1024]
                .map(|images| Way { images, ..way(&format!("{images} pictures"), int8.clone()) })
                .into(),
        ),
        (
            "channels of LayerNorms, ranges of GELUs",
            Equalize::NAMES
                .map(|(_, way)| equalized(way))
                .into_iter()
                .chain([
                    way("symmetric GELU ranges", Options { gelu_range: GeluRange::Symmetric, ..int8.clone() }),
                    way(
                        "symmetric GELU ranges, equalize none",
                        Options { gelu_range: GeluRange::Symmetric, equalize: Equalize::None, ..int8 },
                    ),
                ])
                .collect(),
        ),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cifar10");
    let Loaded { spec, module: imported, .. } =
        load(&folder.join("swin.toml"), &folder.join("model.safetensors"), &Limits::default())?;
    let (ty, preprocess) = (&imported.graph.inputs[0].ty, spec.preprocess.as_ref());
    let file = cache::resolve(Path::new("cifar10"))?;
    let test = Dataset::open(&file, ty, preprocess, spec.classes, Split::Test)?;

    println!("{:<44}{:>9}{:>9}{:>9}{:>11}{:>12}", "", "pictures", "top-1 %", "top-5 %", "SQNR dB", "compiled s");
    let float = logits(&compile(&imported, &Options::default(), |_| {})?.0, &test)?;
    let (float_top1, float_top5) = accuracy(&float, &test.labels);
    println!("{:<44}{:>9}{float_top1:>9.2}{float_top5:>9.2}", "f32", "");
    let mut integer_only = Vec::new();
    for (group, ways) in ways() {
        println!("{group}");
        for Way { name, images, options } in ways {
            let inputs = read_some(&file, ty, preprocess, Split::Train, images)?;
            let calibration = Calibration::new(inputs.into_iter().map(|input| vec![input]).collect());
            let clock = Instant::now();
            let options = Options { calibration: Some(&calibration), ..options };
            let (module, _) = compile(&imported, &options, |_| {})?;
            let seconds = clock.elapsed().as_secs_f64();
            let found = logits(&module, &test)?;
            let (top1, top5) = accuracy(&found, &test.labels);
            let sqnr = Difference::of(&float, &found).sqnr_db;
            println!("  {name:<42}{images:>9}{top1:>9.2}{top5:>9.2}{sqnr:>11.1}{seconds:>12.1}");
            if name == "integer-only, GELU table" {
                integer_only.push(top1);
            }
        }
    }
    // What this example promises.
    assert!(integer_only.iter().all(|top1| float_top1 - top1 < 0.3), "{integer_only:?}");
    println!("integer-only with the GELU table is within 0.3 points of f32");
    Ok(())
}

/// The logits of every picture, on the CPU.
fn logits(module: &Module, data: &Dataset) -> Result<Vec<f32>, Box<dyn Error>> {
    let session = Session::new(module, Device::Cpu, BATCH)?;
    let Module { graph, weights } = session.module();
    let mut all = Vec::new();
    for start in (0..data.labels.len()).step_by(BATCH) {
        let output = session.run(&[data.batch(start..start + BATCH)?])?;
        all.extend(output.to_real(graph.ty(graph.output), weights));
    }
    Ok(all)
}

/// Top-1 and top-5 accuracy in percent.
fn accuracy(logits: &[f32], labels: &[usize]) -> (f64, f64) {
    let mut score = Score::default();
    let classes = logits.len() / labels.len();
    logits.chunks_exact(classes).zip(labels).for_each(|(logits, &label)| score.add(logits, label));
    score.percent()
}
