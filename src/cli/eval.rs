//! `swint eval`.

use super::{DeviceArg, Engine, data::resolve, print, print_json, run::gives_features, source::read_artifact};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};
use swint::runtime::{
    dataset::{Dataset, Score},
    inputs::Split,
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Compiled model.
    model: PathBuf,
    /// Labelled pictures: `cifar10` (see `swint data fetch`), a folder with a folder for each class, or a safetensors file with
    /// `labels` beside `pixels` or `pixel_values`.
    #[arg(long)]
    data: PathBuf,
    /// The part, of a file that has parts: train.pixels, train.labels, test.pixels, …
    #[arg(long, value_enum, default_value = "test")]
    split: SplitArg,
    /// Use the first so many only.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Images of an inference.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Where to run: cpu, interp (the reference interpreter), cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceArg,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// `--split`.
#[derive(Clone, Copy, ValueEnum)]
enum SplitArg {
    Train,
    Test,
}

impl Args {
    /// Classifies a data set.
    pub fn run(self) -> miette::Result<ExitCode> {
        let artifact = read_artifact(&self.model)?;
        if gives_features(&artifact) {
            return Err(miette!("{}: a model without a head has no classes to be right about", self.model.display()));
        }
        let graph = &artifact.module.graph;
        let classes = graph.ty(graph.output).last();
        let preprocess = artifact.manifest.preprocess.as_ref();
        let split = match self.split {
            SplitArg::Train => Split::Train,
            SplitArg::Test => Split::Test,
        };
        let path = resolve(&self.data)?;
        let data = Dataset::open(&path, &graph.inputs[0].ty, preprocess, classes, split).into_diagnostic()?;
        let n = self.limit.map_or(data.labels.len(), |limit| (limit as usize).min(data.labels.len()));
        let batch = (self.batch as usize).min(n);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {msg}").into_diagnostic()?;
        // Drawn on a terminal only.
        let bar = ProgressBar::new(n as u64).with_style(style);
        let (mut score, mut running) = (Score::default(), Duration::ZERO);
        let mut engine = Engine::new(&artifact.module, self.device, batch)?;
        for start in (0..n).step_by(batch) {
            let range = start..(start + batch).min(n);
            if range.len() < batch {
                engine = Engine::new(&artifact.module, self.device, range.len())?;
            }
            let input = data.batch(range.clone()).into_diagnostic()?;
            let clock = Instant::now();
            let logits = engine.run(&input, None)?;
            running += clock.elapsed();
            for (logits, &label) in logits.chunks_exact(classes).zip(&data.labels[range.clone()]) {
                if logits.iter().any(|x| !x.is_finite()) {
                    return Err(miette!("the model's logits are not finite on one of inputs {range:?}"));
                }
                score.add(logits, label);
            }
            bar.inc(range.len() as u64);
            bar.set_message(format!("top-1 {:.2} %", score.percent().0));
        }
        bar.finish_and_clear();
        let per_second = score.images as f64 / running.as_secs_f64();
        let (top1, top5) = score.percent();
        let manifest = &artifact.manifest;
        if self.json {
            print_json(&json!({
                "model": manifest.name, "precision": manifest.precision, "activation": manifest.activation,
                "images": score.images, "top1": top1, "top5": top5, "images_per_second": per_second, "batch": batch,
            }))?;
        } else {
            print(format_args!(
                "{} {} {}: top-1 {top1:.2} %, top-5 {top5:.2} % of {} images, {per_second:.0} images/s\n",
                manifest.name, manifest.precision, manifest.activation, score.images
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
