//! `swint compile`.

use super::{print, say};
use clap::ValueEnum;
use miette::{IntoDiagnostic, WrapErr, miette};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use swint::{
    compiler::{
        frontend,
        pipeline::{self, Activation, Options, PASSES, Precision, Report},
        plan::plan,
    },
    ir::{Module, text},
    runtime::{
        artifact::{Artifact, Manifest, write_atomically},
        inputs,
        offline::{self, Sm},
    },
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Model description, a TOML file.
    spec: PathBuf,
    /// Checkpoint: safetensors with timm's tensor names.
    #[arg(long)]
    weights: PathBuf,
    /// Calibration inputs for int8: a folder of pictures, or a safetensors file with `pixels` or `pixel_values`.
    #[arg(long)]
    calib: Option<PathBuf>,
    /// Numbers of the compiled model.
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    /// What becomes of the GELU: its exact table (int8 only, and the default there), a ReLU (needs distillation), or nothing.
    #[arg(long, value_enum)]
    activation: Option<ActivationArg>,
    /// Write the compiled model here.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Print the IR after this pass, or after all.
    #[arg(long, value_parser = pass_name)]
    print_after: Option<String>,
    /// Write the IR, the plan or the kernels' PTX.
    #[arg(long, value_enum)]
    emit: Option<Emit>,
    /// Target of the PTX: sm_89 or sm_90.
    #[arg(long, default_value = "sm_89", value_parser = Sm::from_name)]
    target: Sm,
    /// Folder for what `--emit` writes; without it, IR and plan go to stdout.
    #[arg(long, requires = "emit")]
    emit_dir: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArg {
    F32,
    Int8,
}

#[derive(Clone, Copy, ValueEnum)]
enum ActivationArg {
    Lut,
    Relu,
    Gelu,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Emit {
    Ir,
    Plan,
    Ptx,
}

impl From<ActivationArg> for Activation {
    fn from(arg: ActivationArg) -> Activation {
        match arg {
            ActivationArg::Lut => Activation::Lut,
            ActivationArg::Relu => Activation::Relu,
            ActivationArg::Gelu => Activation::Gelu,
        }
    }
}

fn pass_name(name: &str) -> Result<String, String> {
    if name == "all" || PASSES.contains(&name) {
        Ok(name.to_owned())
    } else {
        Err(format!("there are: all, {}", PASSES.join(", ")))
    }
}

/// The lower-case name of a command line value.
fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
}

impl Args {
    /// Compiles.
    pub fn run(self) -> miette::Result<ExitCode> {
        if self.output.is_none() && self.emit.is_none() && self.print_after.is_none() {
            return Err(miette!("nothing to do: give -o MODEL.swint, --emit or --print-after"));
        }
        if self.emit == Some(Emit::Ptx) && self.emit_dir.is_none() {
            return Err(miette!("--emit ptx writes a file for each kernel: give --emit-dir"));
        }
        let stdout_is_taken = self.print_after.is_some() || (self.emit.is_some() && self.emit_dir.is_none());
        if self.json && stdout_is_taken {
            return Err(miette!(
                "--json and the IR or plan would both go to stdout: give --emit-dir, or leave one out"
            ));
        }
        if let Some(output) = &self.output {
            self.refuse_to_overwrite_inputs(output)?;
        }
        let activation = self.activation()?;
        let start = Instant::now();
        let (spec, imported) = frontend::load(&self.spec, &self.weights)?;
        let precision = match self.precision {
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Int8 => Precision::Int8,
        };
        let calibration = match (&self.calib, precision) {
            (Some(path), Precision::Int8) => {
                let inputs = inputs::read_inputs(path, &imported.graph.inputs[0].ty, spec.preprocess.as_ref());
                inputs.into_diagnostic().wrap_err("--calib")?
            }
            (None, Precision::Int8) => {
                return Err(miette!(
                    "--precision int8 needs --calib: a folder of pictures like those the model will see, or a \
                     safetensors file with `pixels` or `pixel_values`; they set the scales of the activations"
                ));
            }
            (calib, Precision::F32) => {
                if calib.is_some() {
                    say("warning: --calib is for --precision int8 and not used");
                }
                Vec::new()
            }
        };
        let options =
            Options { precision, activation: activation.into(), calibration: &calibration, ..Options::default() };
        let mut dumps = String::new();
        let (module, report) = pipeline::compile(&imported, &options, |pass, module| {
            if self.print_after.as_deref().is_some_and(|wanted| wanted == "all" || wanted == pass) {
                dumps += &format!("// after {pass}\n{}", text::print(&module.graph));
            }
        })
        .into_diagnostic()?;
        print(dumps)?;
        if let Some(reason) = &report.rewrite.stopped {
            say(format_args!(
                "warning: the rewrites stopped early ({reason}); the result is valid, but may not be the best"
            ));
        }
        if let Some(emit) = self.emit {
            self.emit(emit, &module)?;
        }
        if let Some(path) = &self.output {
            let manifest = self.manifest(&spec, &report, activation);
            Artifact { manifest, module: module.clone() }.save(path).into_diagnostic()?;
        }
        let summary = self.summary(&module, &report, activation, start.elapsed().as_secs_f64())?;
        if stdout_is_taken {
            say(summary);
        } else {
            print(summary)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What becomes of the GELU, by default the best that changes no result.
    fn activation(&self) -> miette::Result<ActivationArg> {
        match (self.activation, self.precision) {
            (Some(ActivationArg::Lut), PrecisionArg::F32) => {
                Err(miette!("--activation lut is a table between 8-bit integers: it needs --precision int8"))
            }
            (Some(chosen), _) => Ok(chosen),
            (None, PrecisionArg::F32) => Ok(ActivationArg::Gelu),
            (None, PrecisionArg::Int8) => Ok(ActivationArg::Lut),
        }
    }

    fn refuse_to_overwrite_inputs(&self, output: &Path) -> miette::Result<()> {
        let same =
            |input: &Path| fs::canonicalize(input).ok().is_some_and(|i| fs::canonicalize(output).ok() == Some(i));
        match [Some(&self.spec), Some(&self.weights), self.calib.as_ref()].into_iter().flatten().find(|i| same(i)) {
            Some(input) => Err(miette!("-o {} would overwrite an input", input.display())),
            None => Ok(()),
        }
    }

    fn manifest(&self, spec: &frontend::Spec, report: &Report, activation: ActivationArg) -> Manifest {
        let named = |ops: &BTreeMap<&'static str, usize>| ops.iter().map(|(&k, &n)| (k.to_owned(), n)).collect();
        Manifest {
            name: spec.name.clone(),
            precision: value_name(self.precision),
            activation: value_name(activation),
            approximated: report.approximated,
            preprocess: spec.preprocess.clone(),
            ops_before: named(&report.ops.0),
            ops_after: named(&report.ops.1),
            rules: report.rewrite.applied.clone(),
        }
    }

    fn emit(&self, emit: Emit, module: &Module) -> miette::Result<()> {
        let name = &module.graph.name;
        let files = match emit {
            Emit::Ir => vec![(format!("{name}.ir"), text::print(&module.graph))],
            Emit::Plan => vec![(format!("{name}.plan"), plan(&module.graph).into_diagnostic()?.to_string())],
            Emit::Ptx => {
                let plan = plan(&module.graph).into_diagnostic()?;
                let compiled = offline::compile(&plan, self.target).map_err(|e| miette!("{e}"))?;
                compiled.into_iter().map(|ptx| (format!("{}.ptx", ptx.entry), ptx.text)).collect()
            }
        };
        let Some(folder) = &self.emit_dir else {
            return files.iter().try_for_each(|(_, text)| print(text));
        };
        fs::create_dir_all(folder).into_diagnostic().wrap_err_with(|| format!("cannot create {}", folder.display()))?;
        for (file, text) in &files {
            let path: PathBuf = Path::new(folder).join(file);
            let written = write_atomically(&path, text.as_bytes());
            written.into_diagnostic().wrap_err_with(|| format!("cannot write {}", path.display()))?;
        }
        say(format_args!("{} files in {}", files.len(), folder.display()));
        Ok(())
    }

    fn summary(
        &self,
        module: &Module,
        report: &Report,
        activation: ActivationArg,
        seconds: f64,
    ) -> miette::Result<String> {
        let plan = plan(&module.graph).into_diagnostic()?;
        let (before, after) = &report.ops;
        let (cost_before, cost_after) = report.rewrite.cost;
        if self.json {
            let summary = json!({
                "name": &*module.graph.name, "precision": value_name(self.precision),
                "activation": value_name(activation), "ops_imported": before,
                "ops_before_rewrites": report.quantized_ops, "ops_compiled": after, "rules": report.rewrite.applied,
                "approximated_activations": report.approximated, "launches": plan.launches.len(),
                "arena_bytes": plan.arena, "predicted_us": [cost_before.micros(), cost_after.micros()],
                "e_classes": report.rewrite.size.0, "e_nodes": report.rewrite.size.1, "seconds": seconds,
            });
            return Ok(format!("{summary:#}\n"));
        }
        let mut text = format!("{}: {} {}\n\n", module.graph.name, value_name(self.precision), value_name(activation));
        text += &format!("{:<18}{:>10}{:>12}{:>10}\n", "op", "imported", "quantized", "compiled");
        let ops: BTreeSet<&str> =
            before.keys().chain(report.quantized_ops.keys()).chain(after.keys()).copied().collect();
        for op in ops {
            let count = |ops: &BTreeMap<&'static str, usize>| ops.get(op).copied().unwrap_or(0);
            text += &format!("{op:<18}{:>10}{:>12}{:>10}\n", count(before), count(&report.quantized_ops), count(after));
        }
        text += "\nrules fired\n";
        for (rule, count) in &report.rewrite.applied {
            text += &format!("  {rule:<34}{count:>6}\n");
        }
        if report.approximated > 0 {
            text += &format!(
                "\n{} GELUs replaced by ReLU: an approximation, the model needs distillation\n",
                report.approximated
            );
        }
        text += &format!(
            "\n{} launches, arena {} KiB; predicted {:.0} us before the rewrites, {:.0} us after; compiled in {seconds:.2} s\n",
            plan.launches.len(),
            plan.arena / 1024,
            cost_before.micros(),
            cost_after.micros(),
        );
        Ok(text)
    }
}
