//! `swint tune`.

use super::{
    DeviceArg,
    bench::timings::{read_or_new, time_kernels},
    passes::{DEFAULT_TARGET, target_of},
    print, print_json, say,
    source::read_artifact,
    verify::random,
};
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use swint::compiler::plan::Blueprint;
use swint::runtime::{
    bench,
    device::Device,
    executor::Session,
    tune::{Settings, keep, tune},
};

/// How long the fastest kernels are timed for `--timings`.
const TIMING: bench::Settings =
    bench::Settings { warm_up: Duration::from_millis(200), min_time: Duration::from_secs(1), min_runs: 10 };

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Compiled model.
    model: PathBuf,
    /// Where to run: cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cuda")]
    device: DeviceArg,
    /// Images of an inference: kernels depend on it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Times of every launch, of which the median counts.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=10000))]
    samples: u32,
    /// Most ways of making a kernel that are tried.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    options: u32,
    /// Write the times of the fastest kernels here, for `swint compile --timings`.
    #[arg(short = 'o', long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// The device description whose estimates the times are set against.
    #[arg(long, value_name = "TARGET", default_value = DEFAULT_TARGET, requires = "timings")]
    target: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Tunes; exit code 1 where an option gives wrong results.
    pub fn run(self) -> miette::Result<ExitCode> {
        let artifact = read_artifact(&self.model)?;
        let (batch, device) = (
            self.batch as usize,
            match self.device {
                DeviceArg::Cuda(number) => Device::Cuda(number),
                DeviceArg::Cpu => return Err(miette!("--device cpu: there is one way of making each kernel for it")),
                DeviceArg::Interp => return Err(miette!("--device interp: the interpreter runs no kernels")),
            },
        );
        // What cannot be written is said before anything is timed.
        let target = target_of(&self.target)?;
        let timings = match &self.timings {
            Some(path) => Some((path, read_or_new(path, self.device, batch)?)),
            None => None,
        };
        // A pattern could hide that a kernel reads another picture or row than it should.
        let mut ty = artifact.module.graph.inputs[0].ty.clone();
        ty.shape[0] *= batch;
        let input = random(&ty, 1);
        let settings = Settings { samples: self.samples as usize, options: self.options as usize };
        let found =
            tune(&artifact.module, device, batch, std::slice::from_ref(&input), settings, |round, rounds, found| {
                say(format_args!("round {} of {rounds}", round + 1));
                // What was found stays when the rest is not waited for.
                keep(device, found)
            })
            .map_err(|e| miette!("{e}"))?;
        keep(device, &found).into_diagnostic()?;
        let wrong: usize = found.values().map(|m| m.wrong).sum();
        if self.json {
            let kernels: Vec<_> = (found.iter())
                .map(|(kernel, m)| {
                    let option = |&(blueprint, us): &(Blueprint, f64)| json!({"us": us, "blueprint": blueprint});
                    json!({
                        "kernel": kernel, "likely_us": m.likely_us, "best": m.best.as_ref().map(option), "tried": m.tried,
                        "wrong": m.wrong, "options": m.times.iter().map(option).collect::<Vec<_>>()
                    })
                })
                .collect();
            print_json(
                &json!({"device": Session::describe(device).into_diagnostic()?, "batch": batch, "kernels": kernels}),
            )?;
        } else {
            for (kernel, m) in &found {
                let best = m.best.map_or("none is right".to_owned(), |(b, us)| format!("{us:.2} us{b}"));
                let likely = m.likely_us.map_or("wrong".to_owned(), |us| format!("{us:.2} us"));
                let wrong = if m.wrong > 0 { format!(", {} WRONG", m.wrong) } else { String::new() };
                print(format_args!("{kernel}: {likely} -> {best}; {} tried{wrong}\n", m.tried))?;
            }
        }
        if let Some((path, timings)) = timings {
            let session = Session::new(&artifact.module, device, batch).into_diagnostic()?;
            time_kernels(&artifact.module, &session, &input, path, timings, &target, TIMING)?;
        }
        Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
