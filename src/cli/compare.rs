//! `swint compare`.

use super::{
    DeviceArg, Engine,
    data::resolve,
    layerwise::Layerwise,
    print, print_json,
    source::{read_artifact, read_tensors},
    tolerance,
};
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};
use swint::{
    compiler::frontend::{Limits, canonical_modules},
    runtime::{
        compare::{Difference, same_shape},
        inputs::{read_inputs, stack},
    },
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Compiled model.
    model: PathBuf,
    /// Inputs: `pixel_values` (f32, normalised) or `pixels` (u8), whichever the model takes.
    #[arg(long)]
    input: PathBuf,
    /// Golden activations, and `logits`, by the module names of timm, transformers, torchvision or microsoft/Swin-Transformer.
    #[arg(long, required_unless_present = "reference", conflicts_with = "reference")]
    golden: Option<PathBuf>,
    #[command(flatten)]
    layerwise: Layerwise,
    /// Largest absolute difference that passes.
    #[arg(long, default_value_t = 1e-4, value_parser = tolerance, conflicts_with = "reference")]
    tolerance: f64,
    /// Where to run: cpu, interp (the reference interpreter), cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceArg,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Compares.
    pub fn run(self) -> miette::Result<ExitCode> {
        let artifact = read_artifact(&self.model)?;
        let Some(golden_path) = &self.golden else {
            return self.layerwise.run(&artifact, &self.input, self.device, self.json);
        };
        let ty = &artifact.module.graph.inputs[0].ty;
        let inputs =
            read_inputs(&resolve(&self.input)?, ty, artifact.manifest.preprocess.as_ref()).into_diagnostic()?;
        let golden = read_tensors(golden_path, &Limits::default())?;
        let engine = Engine::new(&artifact.module, self.device, inputs.len())?;
        let mut found: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
        let mut observe = |name: &str, shape: &[usize], values: Vec<f32>| {
            found.insert(name.to_owned(), (shape.to_vec(), values));
        };
        engine.run(&stack(&inputs), Some(&mut observe))?;
        let mut rows = Vec::new();
        let mut failures = 0;
        let mut text = format!("{:<28}{:>12}{:>12}{:>10}\n", "tensor", "max abs", "cosine", "SQNR dB");
        let names = golden.0.keys().map(String::as_str);
        let canonical = canonical_modules(names, found.keys().map(String::as_str));
        for (name, tensor) in &golden.0 {
            let module = canonical.get(name.as_str()).copied().unwrap_or(name);
            let name = &name.escape_debug().to_string();
            let difference = match (tensor.as_f32(), found.get(module)) {
                (Some(wanted), Some((shape, values))) if same_shape(shape, &tensor.shape) => {
                    Ok(Difference::of(wanted, values))
                }
                (_, Some((shape, _))) => {
                    Err(format!("is f32{shape:?}, golden {}{:?}", tensor.data.elem(), tensor.shape))
                }
                (_, None) => Err("is not in the compiled model".to_owned()),
            };
            let passes = difference.as_ref().is_ok_and(|d| d.max_abs <= self.tolerance);
            failures += usize::from(!passes);
            let mark = if passes { "" } else { "  above the tolerance" };
            match &difference {
                Ok(d) => {
                    text += &format!("{name:<28}{:>12.2e}{:>12.8}{:>10.2}{mark}\n", d.max_abs, d.cosine, d.sqnr_db)
                }
                Err(message) => text += &format!("{name:<28}  {message}\n"),
            }
            rows.push(match difference {
                Ok(d) => json!({"tensor": name, "passes": passes, "max_abs": d.max_abs, "cosine": d.cosine, "sqnr_db": d.sqnr_db}),
                Err(message) => json!({"tensor": name, "passes": false, "error": message}),
            });
        }
        if self.json {
            print_json(&json!({"tolerance": self.tolerance, "failures": failures, "tensors": rows}))?;
        } else {
            text += &format!("{} of {} within {:e}\n", golden.0.len() - failures, golden.0.len(), self.tolerance);
            print(text)?;
        }
        if golden.0.is_empty() {
            return Err(miette!("{}: no tensors to compare with", golden_path.display()));
        }
        Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
