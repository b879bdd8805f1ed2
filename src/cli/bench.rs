//! `swint bench`.

use super::{
    DeviceArg, Engine,
    passes::{DEFAULT_TARGET, read_timings, target_of, write},
    print, print_json, say, value_name,
};
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    slice,
    time::Instant,
};
use swint::{
    compiler::egraph::{Measured, Target, Timings, estimate, signature},
    ir::{Data, Module, Tensor, Type},
    runtime::{
        artifact::Artifact,
        bench::{Settings, time, time_launches},
        executor::Session,
    },
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Compiled model.
    model: PathBuf,
    /// Where to run.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceArg,
    /// Images of an inference.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Time every kernel alone, too, and write the times here for `swint compile --timings`; what the file holds of the same
    /// device and batch stays.
    #[arg(long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// The device description whose estimates the times are set against.
    #[arg(long, value_name = "TARGET", default_value = DEFAULT_TARGET, requires = "timings")]
    target: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Times inferences.
    pub fn run(self) -> miette::Result<ExitCode> {
        let artifact = Artifact::load(&self.model).map_err(|e| miette!("{}: {e}", self.model.display()))?;
        let batch = self.batch as usize;
        let loading = Instant::now();
        let engine = Engine::new(&artifact.module, self.device, batch)?;
        let load_ms = loading.elapsed().as_secs_f64() * 1e3;
        let input = pattern(&artifact.module, batch);
        // What cannot be written is said before anything is timed.
        let kernels = match (&self.timings, &engine) {
            (Some(_), Engine::Interpreter(_)) => return Err(miette!("--timings: the interpreter runs no kernels")),
            (Some(path), Engine::Session(session)) => {
                Some((path, session, read_or_new(path, self.device, batch)?, target_of(&self.target)?))
            }
            (None, _) => None,
        };
        let timing = time(batch, Settings::default(), || engine.run(&input, None).map(drop))?;
        if let Some((path, session, timings, target)) = kernels {
            time_kernels(&artifact.module, session, &input, path, timings, &target)?;
        }
        if timing.p90_ms > timing.median_ms * 1.1 {
            say("warning: noisy: the 90th percentile is more than 10 % above the median");
        }
        let manifest = &artifact.manifest;
        if self.json {
            print_json(&json!({
                "model": manifest.name, "precision": manifest.precision, "activation": manifest.activation,
                "clock": "host", "load_ms": load_ms, "timing": timing,
            }))?;
        } else {
            print(format_args!(
                "{} {} {}, batch {}, {} runs, host clock\nloaded in {load_ms:.1} ms, first {:.1} ms, min {:.3} ms, median {:.3} ms, \
                 p90 {:.3} ms, p99 {:.3} ms, {:.0} images/s\n",
                manifest.name,
                manifest.precision,
                manifest.activation,
                timing.batch,
                timing.runs,
                timing.first_ms,
                timing.min_ms,
                timing.median_ms,
                timing.p90_ms,
                timing.p99_ms,
                timing.images_per_second
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// An input of a module. Times do not depend on the values; a fixed pattern of all bytes stands for pictures.
pub fn pattern(module: &Module, batch: usize) -> Tensor {
    let ty = &module.graph.inputs[0].ty;
    let mut shape = ty.shape.clone();
    shape[0] *= batch;
    let bytes: Vec<u8> = (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 256) as u8).collect();
    match ty.elem {
        swint::ir::Elem::U8 => Tensor::new(shape, Data::U8(bytes)),
        _ => Tensor::f32(shape, bytes.into_iter().map(|b| b as f32 / 64.0 - 2.0).collect()),
    }
}

/// The times that a file has, if there is one; they must be of this device and batch.
pub fn read_or_new(path: &Path, device: DeviceArg, batch: usize) -> miette::Result<Timings> {
    let device = value_name(device);
    let timings = if path.exists() { read_timings(path)? } else { Timings::new(device.clone(), batch) };
    if (&timings.device, timings.batch) != (&device, batch) {
        return Err(miette!(
            "{} has times of {} for a batch of {}: give another file",
            path.display(),
            timings.device,
            timings.batch
        ));
    }
    Ok(timings)
}

/// Writes the time of every kernel, beside those that the file has.
pub fn time_kernels(
    module: &Module,
    session: &Session,
    input: &Tensor,
    path: &Path,
    mut timings: Timings,
    target: &Target,
) -> miette::Result<()> {
    let times = time_launches(session, slice::from_ref(input), Settings::default()).into_diagnostic()?;
    let graph = &module.graph;
    // A node may be several launches.
    let mut nodes: BTreeMap<usize, f64> = BTreeMap::new();
    for (launch, us) in session.plan().launches.iter().zip(times) {
        *nodes.entry(launch.source.index()).or_default() += us;
    }
    let mut sums: BTreeMap<String, (f64, usize, f64)> = BTreeMap::new();
    for (node, us) in nodes {
        let node = &graph.nodes[node];
        let operands: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
        let sum = sums.entry(signature(&node.op, &operands, &node.ty)).or_default();
        *sum = (sum.0 + us, sum.1 + 1, estimate(&node.op, &operands, &node.ty, target).micros());
    }
    let measured = |(sum, n, estimated_us): (f64, usize, f64)| Measured { us: sum / n as f64, estimated_us };
    timings.ops.extend(sums.into_iter().map(|(op, sum)| (op, measured(sum))));
    let text = serde_json::to_string_pretty(&timings).into_diagnostic()?;
    write(path, format!("{text}\n").as_bytes())?;
    say(format_args!("{} ops have times in {}", timings.ops.len(), path.display()));
    Ok(())
}
