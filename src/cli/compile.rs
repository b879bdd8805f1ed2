//! `swint compile`.

use super::{
    model::ModelArgs,
    passes::{PassArgs, make_folder, write},
    print, say, value_name,
};
use clap::ValueEnum;
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};
use swint::{
    compiler::{
        egraph::Target,
        frontend,
        pipeline::{Activation, ActivationPolicy, FloatOps, Options, PASSES, Precision, Report},
        plan::{Choices, plan, plan_for},
    },
    ir::{Module, text},
    runtime::{
        artifact::{Artifact, Manifest},
        offline::{self, Sm},
    },
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a model as a hub has it, with config.json and model.safetensors; or a description: a TOML file, a config.json, or the
    /// name of a published model: swin_tiny_patch4_window7_224, …
    spec: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Write the compiled model here.
    #[arg(short, long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    pass_args: PassArgs,
    /// Write the IR, the plan or the kernels' PTX.
    #[arg(long, value_enum)]
    emit: Option<Emit>,
    /// Folder for what `--emit` writes; without it, IR and plan go to stdout.
    #[arg(long, requires = "emit")]
    emit_dir: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Emit {
    Ir,
    Plan,
    Ptx,
}

/// How often each rewrite rule fired.
fn applied(report: &Report) -> &BTreeMap<String, usize> {
    static NONE: BTreeMap<String, usize> = BTreeMap::new();
    report.rewrite.as_ref().map_or(&NONE, |rewrite| &rewrite.applied)
}

/// What the quantization chose, by what calibration measured.
fn quantization(report: &Report) -> String {
    let gain = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        let gains: Vec<f64> = pairs.map(|(before, after)| after - before).filter(|gain| gain.is_finite()).collect();
        // A sum of none is −0.
        gains.iter().sum::<f64>() / gains.len().max(1) as f64 + 0.0
    };
    let mut text = String::new();
    if !report.equalized.is_empty() {
        let mut ways: BTreeMap<String, usize> = BTreeMap::new();
        for equalized in &report.equalized {
            *ways.entry(equalized.way.to_string()).or_default() += 1;
        }
        let ways: Vec<String> = ways.iter().map(|(way, n)| format!("{way} {n}")).collect();
        let gain = gain(&mut report.equalized.iter().map(|e| e.sqnr_db));
        text += &format!("\nchannels of LayerNorms: {}; their linears gain {gain:.1} dB on average\n", ways.join(", "));
    }
    if !report.gelu_windows.is_empty() {
        let index = gain(&mut report.gelu_windows.iter().filter_map(|w| w.index.as_ref().map(|(_, db)| *db)));
        let result = gain(&mut report.gelu_windows.iter().filter_map(|w| w.result_db));
        text +=
            &format!("ranges of GELUs: shifts gain {index:.1} dB before and {result:.1} dB after them on average\n");
    }
    text
}

/// What PTX is made for: the target, where it is one.
fn sm(target: &Target) -> miette::Result<Sm> {
    Sm::from_name(&target.name).map_err(|e| miette!("--emit ptx: {e}"))
}

impl Args {
    /// Compiles.
    pub fn run(self) -> miette::Result<ExitCode> {
        if self.output.is_none() && self.emit.is_none() && !self.pass_args.shows_something() {
            return Err(miette!(
                "nothing to do: give -o MODEL.swint, --emit, --print-after, --dump-dir or --time-passes"
            ));
        }
        if self.emit == Some(Emit::Ptx) && self.emit_dir.is_none() {
            return Err(miette!("--emit ptx writes a file for each kernel: give --emit-dir"));
        }
        let stdout_is_taken = self.pass_args.prints() || (self.emit.is_some() && self.emit_dir.is_none());
        if self.json && stdout_is_taken {
            return Err(miette!(
                "--json and the IR or plan would both go to stdout: give --emit-dir, or leave one out"
            ));
        }
        if self.output.is_some() && self.pass_args.stops_early() {
            return Err(miette!(
                "-o writes a compiled model, and --stop-after leaves it half compiled: give --dump-dir"
            ));
        }
        if !self.model.has_weights(&self.spec) {
            return Err(miette!(
                help = "a folder that holds description and checkpoint needs neither",
                "give --weights FILE, or --random-weights SEED to look at a program or to time it"
            ));
        }
        self.model.refuse_to_overwrite(&self.spec, self.output.as_deref())?;
        let options = self.pass_args.choose(&self.model.options()?)?;
        if self.emit == Some(Emit::Ptx) {
            sm(&options.target)?;
        }
        let activation = self.model.activation()?;
        let start = Instant::now();
        let (spec, imported) = self.model.load(&self.spec)?;
        let calibration = self.model.calibration(&spec, &imported, false)?;
        let history = self.output.is_some();
        let options = Options { calibration: calibration.as_ref(), history, ..options };
        let passes = PASSES.iter().filter(|pass| (pass.wanted)(&options)).collect();
        let arguments = self.model.arguments()?;
        let (module, mut report) = self.pass_args.run(passes, &imported, &options, &arguments)?;
        self.model.save_statistics(calibration.as_ref())?;
        self.warn_of_floats(&options, &module);
        if let Some(emit) = self.emit {
            self.emit(emit, &module, &options.target)?;
        }
        if let Some(path) = &self.output {
            let manifest = self.manifest(&spec, &report, &activation);
            let history = report.history.take();
            Artifact { manifest, module: module.clone(), history }.save(path).into_diagnostic()?;
        }
        let summary = self.summary(&module, &report, &options.target, start.elapsed().as_secs_f64())?;
        if stdout_is_taken {
            say(summary);
        } else {
            print(summary)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Says so where a program that should be integer-only is not: its values did not fit.
    fn warn_of_floats(&self, options: &Options<'_>, module: &Module) {
        let integer_only = options.precision == Precision::Int8
            && options.float_ops == FloatOps::NONE
            && options.activation != Activation::Gelu;
        let float = module.graph.float_nodes().count();
        if integer_only && float > 0 && !self.pass_args.stops_early() {
            say(format_args!(
                "warning: {float} ops still work on floats, because values beside them are too large for integers: `swint \
                 check --no-float` lists them"
            ));
        }
    }

    fn manifest(&self, spec: &frontend::Spec, report: &Report, activation: &ActivationPolicy) -> Manifest {
        let named = |ops: &BTreeMap<&'static str, usize>| ops.iter().map(|(&k, &n)| (k.to_owned(), n)).collect();
        Manifest {
            name: spec.name.clone(),
            precision: value_name(self.model.precision),
            activation: activation.to_string(),
            approximated: report.approximated,
            preprocess: spec.preprocess.clone(),
            ops_before: named(&report.ops.0),
            ops_after: named(&report.ops.1),
            rules: applied(report).clone(),
        }
    }

    fn emit(&self, emit: Emit, module: &Module, target: &Target) -> miette::Result<()> {
        let name = &module.graph.name;
        let files = match emit {
            Emit::Ir => vec![(format!("{name}.ir"), text::print(&module.graph))],
            Emit::Plan => vec![(format!("{name}.plan"), plan(&module.graph)?.to_string())],
            Emit::Ptx => {
                let sm = sm(target)?;
                let (_, plan) = plan_for(&module.graph, &module.weights, Some(sm.machine()), &Choices::new())?;
                let compiled = offline::compile(&plan, sm).map_err(|e| miette!("{e}"))?;
                compiled.into_iter().map(|ptx| (format!("{}.ptx", ptx.entry), ptx.text)).collect()
            }
        };
        let Some(folder) = &self.emit_dir else {
            return files.iter().try_for_each(|(_, text)| print(text));
        };
        make_folder(folder)?;
        for (file, text) in &files {
            write(&folder.join(file), text.as_bytes())?;
        }
        say(format_args!("{} files in {}", files.len(), folder.display()));
        Ok(())
    }

    fn summary(&self, module: &Module, report: &Report, target: &Target, seconds: f64) -> miette::Result<String> {
        let activation = self.model.activation()?;
        // A stage before the last may have none.
        let plan = plan(&module.graph);
        let (before, after) = &report.ops;
        let rewrite = report.rewrite.as_ref();
        let floats = module.graph.float_nodes().count();
        let conversions: usize = ["quantize", "dequantize"].iter().filter_map(|op| after.get(op)).sum();
        if self.json {
            let summary = json!({
                "name": &*module.graph.name, "precision": value_name(self.model.precision),
                "activation": activation.to_string(), "ops_imported": before,
                "ops_before_rewrites": report.before_rewrites, "ops_compiled": after, "rules": applied(report),
                "approximated_activations": report.approximated,
                "float_ops_left": floats, "conversions_left": conversions, "launches": plan.as_ref().ok().map(|p| p.launches.len()),
                "arena_bytes": plan.as_ref().ok().map(|p| p.arena), "target": target.name, "predicted_us": rewrite.map(|r| [r.cost.0.micros(), r.cost.1.micros()]),
                "equalized": report.equalized.iter().map(|e| json!({
                    "norm": e.norm, "way": e.way.to_string(), "sqnr_db_before": e.sqnr_db.0, "sqnr_db": e.sqnr_db.1,
                })).collect::<Vec<_>>(),
                "gelu_ranges": report.gelu_windows.iter().map(|w| json!({
                    "bias": w.index.as_ref().map(|(bias, _)| bias),
                    "index_sqnr_db_symmetric": w.index.as_ref().map(|(_, db)| db.0),
                    "index_sqnr_db": w.index.as_ref().map(|(_, db)| db.1),
                    "result_sqnr_db_symmetric": w.result_db.map(|db| db.0), "result_sqnr_db": w.result_db.map(|db| db.1),
                })).collect::<Vec<_>>(),
                "e_classes": rewrite.map(|r| r.size.0), "e_nodes": rewrite.map(|r| r.size.1), "seconds": seconds,
            });
            return Ok(format!("{summary:#}\n"));
        }
        let mut text = format!("{}: {} {}\n\n", module.graph.name, value_name(self.model.precision), activation);
        text += &format!("{:<18}{:>10}{:>12}{:>10}\n", "op", "imported", "quantized", "compiled");
        let ops: BTreeSet<&str> =
            before.keys().chain(report.before_rewrites.keys()).chain(after.keys()).copied().collect();
        for op in ops {
            let count = |ops: &BTreeMap<&'static str, usize>| ops.get(op).copied().unwrap_or(0);
            text +=
                &format!("{op:<18}{:>10}{:>12}{:>10}\n", count(before), count(&report.before_rewrites), count(after));
        }
        text += "\nrules fired\n";
        for (rule, count) in applied(report) {
            text += &format!("  {rule:<34}{count:>6}\n");
        }
        text += &quantization(report);
        if report.approximated > 0 {
            text += &format!(
                "\n{} GELUs replaced by ReLU, an approximation: weights that were not trained for it need distillation\n",
                report.approximated
            );
        }
        text += &format!("\nleft: {floats} ops on floats, {conversions} quantize or dequantize");
        text += &match plan {
            Ok(plan) => format!("\n{} launches, arena {} KiB; ", plan.launches.len(), plan.arena / 1024),
            Err(reason) => format!("\nno plan: {reason}; "),
        };
        if let Some(rewrite) = rewrite {
            let (before, after) = (rewrite.cost.0.micros(), rewrite.cost.1.micros());
            let device = &target.device;
            text += &format!("predicted {before:.0} us before the rewrites, {after:.0} us after on {device}; ");
        }
        text += &format!("compiled in {seconds:.2} s\n");
        Ok(text)
    }
}
