//! Compiles the bundled Swin five ways, classifies the bundled pictures on the CPU, and times it.
//!
//! `cargo run --release --example cifar10`

use std::{error::Error, fs, path::Path, time::Duration};
use swint::{
    compiler::{
        frontend::{Checkpoint, Limits, Loaded, load},
        pipeline::{Activation, Calibration, FloatOps, GeluRange, Options, Precision, Report, compile},
    },
    ir::{Module, Tensor, interp},
    runtime::{
        bench::{Settings, Timing, time},
        device::Device,
        executor::Session,
        inputs::{image_files, read_image, stack},
    },
};

/// One way to compile the model, and what came of it.
struct Variant {
    name: &'static str,
    module: Module,
    report: Report,
    /// Logits of every picture.
    logits: Vec<Vec<f32>>,
    timings: Vec<Timing>,
}

const BATCHES: [usize; 2] = [1, 12];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cifar10");
    let Loaded { spec, module: imported, .. } =
        load(&folder.join("swin.toml"), &folder.join("model.safetensors"), &Limits::default())?;
    let preprocess = spec.preprocess.as_ref().ok_or("the description has a [preprocess]")?;
    let files = image_files(&folder.join("images"))?;
    let pictures: Vec<Tensor> =
        files.iter().map(|file| read_image(file, spec.height, preprocess)).collect::<Result<_, _>>()?;

    let calibration = Calibration::new(pictures.iter().map(|picture| vec![picture.clone()]).collect());
    let mut variants = Vec::new();
    for (name, precision, activation, float_ops) in [
        ("f32", Precision::F32, Activation::Gelu, FloatOps::ALL),
        ("int8 float", Precision::Int8, Activation::Gelu, FloatOps::ALL),
        ("int8 gelu", Precision::Int8, Activation::Gelu, FloatOps::NONE),
        ("int8 lut", Precision::Int8, Activation::Lut, FloatOps::NONE),
        ("int8 relu", Precision::Int8, Activation::Relu, FloatOps::NONE),
    ] {
        eprintln!("compiling and running: {name}");
        let options =
            Options { precision, activation, float_ops, calibration: Some(&calibration), ..Options::default() };
        let (module, report) = compile(&imported, &options, |_| {})?;
        variants.push(run(name, module, report, &pictures)?);
    }
    let [float, _, gelu, lut, relu] = &variants[..] else { unreachable!("five variants") };

    println!("What the rewrites removed (ops in the program: quantized float graph -> compiled)\n");
    println!("{:<11}{:>15}{:>15}{:>15}{:>15}{:>12}", "", "gelu", "quantize", "dequantize", "all ops", "launches");
    for v in &variants[1..] {
        let arrow = |names: &[&str]| {
            let count = |ops: &std::collections::BTreeMap<&str, usize>| -> usize {
                names.iter().filter_map(|op| ops.get(op)).sum()
            };
            format!("{} -> {}", count(&v.report.before_rewrites), count(&v.report.ops.1))
        };
        let all = format!("{} -> {}", v.report.before_rewrites.values().sum::<usize>(), v.module.graph.nodes.len());
        let (g, q, d) = (arrow(&["gelu", "float_gelu"]), arrow(&["quantize"]), arrow(&["dequantize"]));
        println!("{:<11}{g:>15}{q:>15}{d:>15}{all:>15}{:>12}", v.name, v.module.graph.nodes.len());
    }
    println!(
        "\nint8 relu replaced {} GELUs by ReLU, an approximation: it needs distillation.",
        relu.report.approximated
    );

    println!("\nPredictions\n");
    println!("{:<28}{:<12}{:<12}{:<12}int8 relu", "picture", "label", "f32", "int8 lut");
    let label = |logits: &Vec<f32>| preprocess.labels[top(logits)].as_str();
    let mut right = [0; 3];
    for (i, file) in files.iter().enumerate() {
        let stem = file.file_stem().and_then(|s| s.to_str()).ok_or("a file name")?;
        let truth = stem.rsplit('_').next().ok_or("a label")?;
        let found = [float, lut, relu].map(|v| label(&v.logits[i]));
        found.iter().zip(&mut right).for_each(|(found, right)| *right += usize::from(*found == truth));
        println!("{stem:<28}{truth:<12}{:<12}{:<12}{}", found[0], found[1], found[2]);
    }
    println!("{:<40}{:<12}{:<12}{}", "right", right[0], right[1], right[2]);

    println!("\nTime of an inference on the CPU, host clock\n");
    println!(
        "{:<11}{:>7}{:>12}{:>12}{:>12}{:>12}{:>11}",
        "", "batch", "first ms", "median ms", "p90 ms", "p99 ms", "images/s"
    );
    for v in &variants {
        for t in &v.timings {
            println!(
                "{:<11}{:>7}{:>12.1}{:>12.3}{:>12.3}{:>12.3}{:>11.0}",
                v.name,
                t.batch,
                t.first_ms,
                t.ms.median,
                t.ms.p90,
                t.ms.p99,
                t.images_per_second()
            );
        }
    }

    // What this example promises.
    let golden = Checkpoint::from_bytes(&fs::read(folder.join("golden_logits.safetensors"))?)?;
    let golden = golden.0["logits"].as_f32().ok_or("f32 logits")?.chunks(spec.classes);
    for ((wanted, float), file) in golden.zip(&float.logits).zip(&files) {
        let worst = wanted.iter().zip(float).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3 && top(wanted) == top(float), "{}: f32 logits are {worst} off PyTorch's", file.display());
    }
    let agreeing = float.logits.iter().zip(&lut.logits).filter(|(a, b)| top(a) == top(b)).count();
    assert!(agreeing >= 11, "int8 lut agrees with f32 on {agreeing} of {} pictures", files.len());
    // Shifted ranges are for tables only; with the same ranges a table is its GELU.
    let same_ranges = Options {
        precision: Precision::Int8,
        gelu_range: GeluRange::Symmetric,
        calibration: Some(&calibration),
        ..Options::default()
    };
    let table = logits(&compile(&imported, &same_ranges, |_| {})?.0, &pictures)?;
    assert_eq!(gelu.logits, table, "the table is the float GELU, bit for bit");
    for v in [lut, relu] {
        let float = v.module.graph.nodes.iter().filter(|node| node.ty.is_float()).count();
        assert_eq!(float, 0, "{}: no op gives a float", v.name);
    }
    println!("\nf32 equals PyTorch within 1e-3; int8 lut agrees with f32 on {agreeing} of {};", files.len());
    println!("with the same ranges lut = gelu bit for bit.");
    Ok(())
}

/// Classifies the pictures, checks the kernels against the interpreter, and times inferences.
fn run(name: &'static str, module: Module, report: Report, pictures: &[Tensor]) -> Result<Variant, Box<dyn Error>> {
    let all = stack(pictures);
    let mut timings = Vec::new();
    for batch in BATCHES {
        let session = Session::new(&module, Device::Cpu, batch)?;
        let input = if batch == 1 { pictures[0].clone() } else { all.clone() };
        let settings = Settings { min_time: Duration::from_millis(500), ..Settings::default() };
        timings.push(time(batch, settings, || session.run(std::slice::from_ref(&input)).map(drop))?);
    }
    let logits = logits(&module, pictures)?;
    Ok(Variant { name, module, report, logits, timings })
}

/// The logits of each picture, by the kernels, which give what the interpreter gives.
fn logits(module: &Module, pictures: &[Tensor]) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let session = Session::new(module, Device::Cpu, pictures.len())?;
    let Module { graph, weights } = session.module();
    let input = stack(pictures);
    let found = session.run(std::slice::from_ref(&input))?;
    assert_eq!(found, interp::run(graph, weights, &[input])?, "kernels equal the interpreter bit for bit");
    let real = found.to_real(graph.ty(graph.output), weights);
    Ok(real.chunks(real.len() / pictures.len()).map(<[f32]>::to_vec).collect())
}

/// The likeliest class.
fn top(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("logits")
}
