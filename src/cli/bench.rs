//! `swint bench`.

use super::{DeviceArg, Engine, print, print_json, say};
use miette::miette;
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};
use swint::{
    ir::{Data, Tensor},
    runtime::{
        artifact::Artifact,
        bench::{Settings, time},
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
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Times inferences.
    pub fn run(self) -> miette::Result<ExitCode> {
        let artifact = Artifact::load(&self.model).map_err(|e| miette!("{}: {e}", self.model.display()))?;
        let batch = self.batch as usize;
        let engine = Engine::new(&artifact.module, self.device, batch)?;
        let ty = &artifact.module.graph.inputs[0].ty;
        let mut shape = ty.shape.clone();
        shape[0] *= batch;
        // Times do not depend on the values; a fixed pattern of all bytes stands for pictures.
        let bytes: Vec<u8> = (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 256) as u8).collect();
        let input = match ty.elem {
            swint::ir::Elem::U8 => Tensor::new(shape, Data::U8(bytes)),
            _ => Tensor::f32(shape, bytes.into_iter().map(|b| b as f32 / 64.0 - 2.0).collect()),
        };
        let timing = time(batch, Settings::default(), || engine.run(&input, None).map(drop))?;
        if timing.p90_ms > timing.median_ms * 1.1 {
            say("warning: noisy: the 90th percentile is more than 10 % above the median");
        }
        let manifest = &artifact.manifest;
        if self.json {
            print_json(&json!({
                "model": manifest.name, "precision": manifest.precision, "activation": manifest.activation,
                "clock": "host", "timing": timing,
            }))?;
        } else {
            print(format_args!(
                "{} {} {}, batch {}, {} runs, host clock\nfirst {:.1} ms (kernels compiled), min {:.3} ms, median {:.3} ms, \
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
