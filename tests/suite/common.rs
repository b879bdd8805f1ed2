//! What the whole-program tests share.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use swint_compiler::{
    frontend::{Checkpoint, Spec, import},
    pipeline::{Activation, Calibration, Options, Precision, compile},
    plan::{Launch, plan},
};
use swint_ir::{Data, Module, Tensor, random};

/// A file of the repository.
pub fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder of a fixture, or of the bundled model.
pub fn model_dir(name: &str) -> PathBuf {
    repo(&if name == "cifar10" { "examples/cifar10".to_owned() } else { format!("tests/fixtures/{name}") })
}

/// The float module of a fixture or of the bundled model.
pub fn imported(name: &str) -> Module {
    let dir = model_dir(name);
    let text = std::fs::read_to_string(dir.join("swin.toml")).unwrap();
    let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
    import(&Spec::parse("swin.toml", &text).unwrap(), &Checkpoint::from_bytes(&bytes).unwrap()).unwrap()
}

/// Inputs of a model from a fixed pseudo-random sequence: `n` batches of one.
pub fn noise(module: &Module, n: usize) -> Vec<Tensor> {
    let ty = module.graph.inputs[0].ty.clone();
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    (0..n)
        .map(|_| {
            let bytes: Vec<u8> = (0..ty.elements()).map(|_| next() as u8).collect();
            let data = match ty.elem {
                swint_ir::Elem::U8 => Data::U8(bytes),
                _ => Data::F32(bytes.into_iter().map(|b| b as f32 / 64.0 - 2.0).collect()),
            };
            Tensor::new(ty.shape.clone(), data)
        })
        .collect()
}

/// Two inputs to calibrate a model with.
pub fn calibration(module: &Module) -> Calibration {
    Calibration::new(noise(module, 2).into_iter().map(|input| vec![input]).collect())
}

/// Compiles a model; int8 is calibrated on noise.
pub fn compiled(name: &str, precision: Precision, activation: Activation) -> Module {
    compiled_with(name, &Options { precision, activation, ..Options::default() })
}

/// Compiles a model with options; int8 is calibrated on noise.
pub fn compiled_with(name: &str, options: &Options<'_>) -> Module {
    let module = imported(name);
    let calibration = calibration(&module);
    compile(&module, &Options { calibration: Some(&calibration), ..options.clone() }, |_| {}).unwrap().0
}

/// Runs on random programs that have a plan: name, module, inputs. The names of their kernels.
pub fn random_programs(seeds: std::ops::Range<u64>, mut run: impl FnMut(&str, &Module, &[Tensor])) -> BTreeSet<String> {
    let mut kernels = BTreeSet::new();
    for seed in seeds {
        let graph = random::graph(seed, 10);
        let module = Module { weights: random::weights(&graph, seed), graph };
        let Ok(plan) = plan(&module.graph) else { continue };
        let name = |launch: &Launch| launch.kernel.to_string().split('[').next().unwrap().to_owned();
        kernels.extend(plan.launches.iter().map(name));
        let inputs = random::inputs(&module.graph, &mut random::Rng::with_seed(seed));
        run(&format!("seed {seed}"), &module, &inputs);
    }
    kernels
}

/// Attention of four windows and two heads of so many channels, as a text: by cosines or not; `masks` of 0 are none.
pub fn attention(tokens: usize, head: usize, masks: usize, cosine: bool) -> String {
    let (qkv, channels) = (6 * head, 2 * head);
    // Scores of vectors of length 1 are in units of 2^-14, by heads' scales of 2^-10.
    let (x, scores) = if cosine { ("i16<0.001>", "i32<5.9604645e-8>") } else { ("i8<0.05>", "i32<0.0005>") };
    let (mask, operand) = match masks {
        0 => (String::new(), ""),
        n => (format!("  const @mask : {scores}[{n},{tokens},{tokens}]\n"), ", @mask"),
    };
    let (scales, op, attrs) = match cosine {
        true => (
            "  const @scale : i16<0.0009765625>[2]\n",
            "cosine_attention %qkv, @scale, @bias",
            "unit = 0.0078125, value = 0.05, factor = 1.0",
        ),
        false => ("", "window_attention %qkv, @bias", "factor = 0.2"),
    };
    format!(
        "graph @attention(%qkv: {x}[4,{tokens},{qkv}]) -> i8<0.02>[4,{tokens},{channels}] {{
{scales}  const @bias : {scores}[2,{tokens},{tokens}]
{mask}  %0 = {op}{operand} {{heads = 2, {attrs}, elem = i8, scale = 0.02}} : i8<0.02>[4,{tokens},{channels}]
  return %0
}}
"
    )
}

/// A linear on the windows of a square of tokens, which become bytes first, as a text.
pub fn stream_linear(side: usize, k: usize, n: usize) -> String {
    let windows = side / 7 * (side / 7);
    format!(
        "graph @stream_linear(%x: i16<0.001>[1,{side},{side},{k}]) -> i16<0.001>[{windows},49,{n}] {{
  const @w : i8<0.01>[{n},{k}]
  const @c : i32<0.0004>[{n}]
  %0 = stream_linear %x, @w, @c {{cast = 0.04, block = 0, pad = 0, shift = 3, fill = 0, window = 7, elem = i16, scale = 0.001}} : i16<0.001>[{windows},49,{n}]
  return %0
}}
"
    )
}

/// A LayerNorm of the windows of a square of tokens, four by four, and the residual stream, as a text.
pub fn norm_residual(side: usize, k: usize) -> String {
    let windows = side / 4 * (side / 4);
    format!(
        "graph @norm_residual(%x: i16<0.001>[{windows},16,{k}], %r: i16<0.002>[1,{side},{side},{k}]) -> i16<0.004>[1,{side},{side},{k}] {{
  const @g : i16<0.0009765625>[{k}]
  const @b : i32<9.5367431640625e-7>[{k}]
  %0 = norm_residual %x, @g, @b, %r {{eps = 1e-5, window = 4, height = {side}, width = {side}, cut = 0, shift = -2, crop = 0, scale = 0.004}} : i16<0.004>[1,{side},{side},{k}]
  return %0
}}
"
    )
}

/// A LayerNorm of rows to a type, as a text.
pub fn layer_norm(rows: usize, k: usize, elem: &str) -> String {
    format!(
        "graph @layer_norm(%x: i16<0.001>[1,{rows},{k}]) -> {elem}<0.02>[1,{rows},{k}] {{
  const @g : i16<0.0009765625>[{k}]
  const @b : i32<9.5367431640625e-7>[{k}]
  %0 = qlayer_norm %x, @g, @b {{eps = 1e-5, elem = {elem}, scale = 0.02}} : {elem}<0.02>[1,{rows},{k}]
  return %0
}}
"
    )
}

/// A LayerNorm and a linear on the windows of a square of tokens, as a text.
pub fn norm_linear(side: usize, k: usize, n: usize) -> String {
    let windows = side / 7 * (side / 7);
    format!(
        "graph @norm_linear(%x: i16<0.001>[1,{side},{side},{k}]) -> i8<0.05>[{windows},49,{n}] {{
  const @g : i16<0.0009765625>[{k}]
  const @b : i32<9.5367431640625e-7>[{k}]
  const @w : i8<0.01>[{n},{k}]
  const @c : i32<0.0004>[{n}]
  %0 = norm_linear %x, @g, @b, @w, @c {{eps = 1e-5, norm = 0.04, pad = 0, shift = 3, fill = 0, window = 7, elem = i8, scale = 0.05}} : i8<0.05>[{windows},49,{n}]
  return %0
}}
"
    )
}

/// A patch embedding of a picture of three channels, as a text.
pub fn patch_embedding(n: usize, block: usize, height: usize, width: usize) -> String {
    let (rows, columns, k) = (height / block, width / block, block * block * 3);
    format!(
        "graph @embed(%x: u8<0.01>[1,{height},{width},3]) -> i16<0.001>[1,{rows},{columns},{n}] {{
  const @w : i8<0.01>[{n},{k}]
  const @c : i32<0.0001>[{n}]
  const @g : i16<0.0009765625>[{n}]
  const @b : i32<9.5367431640625e-7>[{n}]
  %0 = patch_embed %x, @w, @c, @g, @b {{block = {block}, linear = 0.001, eps = 1e-5, scale = 0.001}} : i16<0.001>[1,{rows},{columns},{n}]
  return %0
}}
"
    )
}
