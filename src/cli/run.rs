//! `swint run`.

use super::{DeviceArg, Engine, print, print_json};
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};
use swint::{
    ir::Pair,
    runtime::{artifact::Artifact, inputs::read_image},
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Compiled model.
    model: PathBuf,
    /// PNG, JPEG or WebP pictures, turned as their EXIF data say.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Where to run: cpu, interp (the reference interpreter), cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceArg,
    /// How many classes, or features of a model without a head, to print.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Classifies.
    pub fn run(self) -> miette::Result<ExitCode> {
        let artifact = Artifact::load(&self.model).map_err(|e| miette!("{}: {e}", self.model.display()))?;
        let Some(preprocess) = &artifact.manifest.preprocess else {
            return Err(miette!("this model takes normalised pixel_values: its description has no [preprocess]"));
        };
        let shape = &artifact.module.graph.inputs[0].ty.shape;
        let sides = Pair::new(shape[1], shape[2]);
        // Every picture is read before the first is classified: a bad one stops the run with nothing printed.
        let pictures: Vec<_> =
            self.images.iter().map(|p| read_image(p, sides, preprocess)).collect::<Result<_, _>>().into_diagnostic()?;
        let engine = Engine::new(&artifact.module, self.device, 1)?;
        let features = gives_features(&artifact);
        let mut rows = Vec::new();
        for (path, picture) in self.images.iter().zip(pictures) {
            let logits = engine.run(&picture, None)?;
            if logits.iter().any(|x| !x.is_finite()) {
                return Err(miette!("{}: the model's logits are not finite", path.display()));
            }
            if features {
                if !self.json {
                    let first: Vec<String> = logits.iter().take(self.top as usize).map(|x| format!("{x:.4}")).collect();
                    let more = if first.len() < logits.len() { ", …" } else { "" };
                    let all = logits.len();
                    print(format_args!("{}: {all} features: {}{more}\n", path.display(), first.join(", ")))?;
                }
                rows.push(json!({"image": path.display().to_string(), "features": logits}));
                continue;
            }
            let label = |class: usize| match preprocess.labels.get(class) {
                // A model file may come from anywhere: no control characters reach the terminal.
                Some(label) => label.escape_debug().to_string(),
                None => class.to_string(),
            };
            let best: Vec<_> = ranked(&logits).into_iter().take(self.top as usize).collect();
            if !self.json {
                let classes: Vec<String> =
                    best.iter().map(|(c, p)| format!("{} {:.1} %", label(*c), p * 100.0)).collect();
                print(format_args!("{}: {}\n", path.display(), classes.join(", ")))?;
            }
            let classes: Vec<_> = best
                .iter()
                .map(|(c, p)| json!({"class": c, "label": label(*c), "probability": p, "logit": logits[*c]}))
                .collect();
            rows.push(json!({"image": path.display().to_string(), "top": classes}));
        }
        if self.json {
            print_json(&json!(rows))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether a model has no head: its result is named so.
pub fn gives_features(artifact: &Artifact) -> bool {
    let graph = &artifact.module.graph;
    graph.node(graph.output).is_some_and(|node| node.locs.iter().any(|loc| &**loc == "features"))
}

/// Classes with their probabilities, the likeliest first.
fn ranked(logits: &[f32]) -> Vec<(usize, f64)> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let exps: Vec<f64> = logits.iter().map(|&x| (x as f64 - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    let mut all: Vec<(usize, f64)> = exps.into_iter().map(|e| e / sum).enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}
