//! `swint compare --layerwise`: a compiled model against the float one, module by module.

use super::{DeviceArg, Engine, data::resolve, print, print_json, source::read_artifact};
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};
use swint::runtime::{
    artifact::Artifact,
    compare::{Difference, Sums},
    inputs::{Split, read_some, stack},
};

/// Arguments.
#[derive(clap::Args)]
pub struct Layerwise {
    /// Compare every module's result with --reference's, and list the worst first.
    #[arg(long, requires = "reference")]
    layerwise: bool,
    /// The model to compare with: the same description, compiled with --precision f32.
    #[arg(long, value_name = "MODEL", requires = "layerwise")]
    reference: Option<PathBuf>,
    /// Exit with 1 where a module is worse than this: sqnr_db=LEAST, cosine=LEAST or max_abs=MOST.
    #[arg(long, value_name = "METRIC=LIMIT", value_delimiter = ',', requires = "layerwise", value_parser = Limit::parse)]
    fail_over: Vec<Limit>,
    /// Use at most so many inputs, evenly spaced among them all.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "layerwise", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// How bad a module may be.
#[derive(Clone, Debug)]
struct Limit {
    metric: &'static str,
    value: f64,
}

impl Limit {
    fn parse(text: &str) -> Result<Limit, String> {
        let (metric, value) = text.split_once('=').ok_or("wanted METRIC=LIMIT")?;
        let known = ["sqnr_db", "cosine", "max_abs"];
        let metric =
            known.into_iter().find(|m| *m == metric).ok_or_else(|| format!("there are: {}", known.join(", ")))?;
        let value: f64 = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
        if value.is_finite() { Ok(Limit { metric, value }) } else { Err(format!("{value} is not finite")) }
    }

    /// Whether a difference exceeds it; one that is no number does.
    fn fails(&self, d: &Difference) -> bool {
        match self.metric {
            "sqnr_db" => d.sqnr_db.is_nan() || d.sqnr_db < self.value,
            "cosine" => d.cosine.is_nan() || d.cosine < self.value,
            _ => d.max_abs.is_nan() || d.max_abs > self.value,
        }
    }
}

/// Inputs of an inference.
const BATCH: usize = 8;

impl Layerwise {
    /// Compares; exit code 1 where a limit is exceeded.
    pub fn run(&self, model: &Artifact, input: &Path, device: DeviceArg, as_json: bool) -> miette::Result<ExitCode> {
        let path = self.reference.as_ref().ok_or_else(|| miette!("--layerwise needs --reference"))?;
        let reference = read_artifact(path)?;
        let Compared { mut modules, missing, inputs } =
            compare(model, path, &reference, &resolve(input)?, self.limit as usize, device)?;
        modules.sort_by(|a, b| a.1.sqnr_db.total_cmp(&b.1.sqnr_db));
        self.show(&modules, &missing, inputs, as_json)
    }

    fn show(
        &self,
        rows: &[(String, Difference)],
        missing: &[String],
        inputs: usize,
        as_json: bool,
    ) -> miette::Result<ExitCode> {
        let failed = |d: &Difference| self.fail_over.iter().find(|limit| limit.fails(d));
        // What cannot be judged does not pass.
        let unjudged = if self.fail_over.is_empty() { 0 } else { missing.len() };
        let failures = unjudged + rows.iter().filter(|(_, d)| failed(d).is_some()).count();
        if as_json {
            let rows: Vec<_> = (rows.iter())
                .map(|(name, d)| {
                    json!({
                        "module": name, "sqnr_db": d.sqnr_db, "cosine": d.cosine, "max_abs": d.max_abs,
                        "equal": d.max_abs == 0.0, "passes": failed(d).is_none(),
                    })
                })
                .collect();
            print_json(&json!({"inputs": inputs, "failures": failures, "modules": rows, "missing": missing}))?;
        } else {
            let mut text = format!("{:<28}{:>10}{:>12}{:>12}\n", "module", "SQNR dB", "cosine", "max abs");
            for (name, d) in rows {
                let name = name.escape_debug().to_string();
                text += &format!("{name:<28}{:>10.2}{:>12.6}{:>12.4}", d.sqnr_db, d.cosine, d.max_abs);
                text += &failed(d).map_or_else(String::new, |l| format!("  worse than {}={}", l.metric, l.value));
                text += "\n";
            }
            for name in missing {
                text += &format!(
                    "{:<28}  is not in the model: compile it with --fuse none, where kernels hide it\n",
                    name.escape_debug().to_string()
                );
            }
            text += &format!("{} modules on {inputs} inputs", rows.len());
            text += &if self.fail_over.is_empty() { "\n".to_owned() } else { format!(", {failures} too bad\n") };
            print(text)?;
        }
        Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A compiled model's modules beside the float model's.
pub struct Compared {
    /// How far off each module is that both have, by name.
    pub modules: Vec<(String, Difference)>,
    /// Modules that the compiled model does not have.
    pub missing: Vec<String>,
    /// Inputs that were run.
    pub inputs: usize,
}

/// Compares every module's result with a float model's, of which `path` is the file, on at most so many inputs.
pub fn compare(
    model: &Artifact,
    path: &Path,
    reference: &Artifact,
    input: &Path,
    limit: usize,
    device: DeviceArg,
) -> miette::Result<Compared> {
    let (ty, reference_ty) = (&model.module.graph.inputs[0].ty, &reference.module.graph.inputs[0].ty);
    if ty != reference_ty {
        return Err(miette!("the model takes {ty}, {} takes {reference_ty}", path.display()));
    }
    let precision = &reference.manifest.precision;
    if precision != "f32" {
        return Err(miette!("{} is {precision}, no float model", path.display()));
    }
    let preprocess = model.manifest.preprocess.as_ref();
    let inputs = read_some(input, ty, preprocess, Split::Test, limit).into_diagnostic()?;
    let named = |artifact: &Artifact| -> BTreeSet<String> {
        artifact.module.graph.nodes.iter().flat_map(|node| &node.locs).map(|loc| loc.to_string()).collect()
    };
    let (wanted, found) = (named(reference), named(model));
    let missing: Vec<String> = wanted.difference(&found).cloned().collect();
    if wanted.len() == missing.len() {
        return Err(miette!("the models have no named module in common"));
    }
    let mut modules: BTreeMap<String, Sums> = BTreeMap::new();
    let mut engines: Option<(usize, Engine, Engine)> = None;
    for batch in inputs.chunks(BATCH) {
        let engine = |artifact: &Artifact| Engine::new(&artifact.module, device, batch.len());
        let (_, reference, model) = match engines.take().filter(|(size, ..)| *size == batch.len()) {
            Some(made) => engines.insert(made),
            None => engines.insert((batch.len(), engine(reference)?, engine(model)?)),
        };
        let batched = stack(batch);
        let mut golden: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
        let mut keep = |name: &str, shape: &[usize], values: Vec<f32>| {
            golden.insert(name.to_owned(), (shape.to_vec(), values));
        };
        reference.run(&batched, Some(&mut keep))?;
        let mut misshaped = None;
        let mut compare = |name: &str, shape: &[usize], values: Vec<f32>| match golden.get(name) {
            Some((wanted, golden)) if wanted == shape => {
                modules.entry(name.to_owned()).or_default().add(golden, &values);
            }
            Some((wanted, _)) => misshaped = Some(format!("{name} is {shape:?}, in the reference {wanted:?}")),
            None => {}
        };
        model.run(&batched, Some(&mut compare))?;
        if let Some(message) = misshaped {
            return Err(miette!("{message}"));
        }
    }
    let modules = modules.iter().map(|(name, sums)| (name.clone(), sums.difference())).collect();
    Ok(Compared { modules, missing, inputs: inputs.len() })
}
