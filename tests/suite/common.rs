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
