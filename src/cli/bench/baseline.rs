//! `swint bench baseline`: what fusion, the table and the ReLU gain, each alone and together, in one run.

use super::{
    super::{
        DeviceArg, Engine,
        model::{ModelArgs, PrecisionArg},
        passes::{DEFAULT_TARGET, target_of},
        say,
    },
    ClockArg, TimeArgs, command,
    measure::{computing, pattern},
    output::{OutputArgs, number},
    table::Table,
};
use clap::value_parser;
use miette::miette;
use serde::Serialize;
use std::{
    path::PathBuf,
    process::ExitCode,
    slice,
    time::{Instant, SystemTime},
};
use swint::{
    compiler::pipeline::{Activation, ActivationPolicy, Options, Precision, compile},
    ir::Module,
    runtime::bench::{
        Paired, Ratio, Summary, environment, milliseconds, paired,
        report::{Clock, DeviceInfo, Host, Tool},
    },
};

/// Arguments.
#[derive(clap::Args)]
#[command(
    mut_arg("weights", |arg| arg.required_unless_present("random_weights")),
    mut_arg("precision", |arg| arg.hide(true).default_value("int8")),
    mut_arg("activation", |arg| arg.hide(true))
)]
pub struct Args {
    /// Model description, a TOML file, or the name of a published model: swin_tiny_patch4_window7_224, …
    spec: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Where to run: cpu, interp (the reference interpreter), cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceArg,
    /// Images of an inference; several, 1,8,32, one after the other.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", value_parser = value_parser!(u32).range(1..=4096))]
    batch: Vec<u32>,
    /// The device whose cost decides between equal programs: sm_89, sm_90, sm_80, cpu, or a description (.toml).
    #[arg(long, value_name = "TARGET", default_value = DEFAULT_TARGET)]
    target: String,
    #[command(flatten)]
    time: TimeArgs,
    /// Whose clock the times are by; the device's times its kernels alone, without the copies that all variants have alike.
    #[arg(long, value_enum, default_value = "host")]
    clock: ClockArg,
    #[command(flatten)]
    output: OutputArgs,
}

/// The variants: name, whether ops are fused, activation. What others are compared with comes first.
const VARIANTS: [(&str, bool, Activation); 5] = [
    ("unfused, float GELU", false, Activation::Gelu),
    ("unfused, ReLU", false, Activation::Relu),
    ("fused, float GELU", true, Activation::Gelu),
    ("fused, GELU table", true, Activation::Lut),
    ("fused, ReLU", true, Activation::Relu),
];

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    tool: Tool,
    model: String,
    device: Option<DeviceInfo>,
    host: Host,
    clock: Clock,
    started: String,
    command: String,
    variants: Vec<Variant>,
}

#[derive(Serialize)]
struct Variant {
    name: &'static str,
    fused: bool,
    activation: String,
    ops: usize,
    results: Vec<Row>,
}

/// A variant's times at a batch, and their ratio to the first variant's, round by round.
#[derive(Serialize)]
struct Row {
    batch: usize,
    launches: Option<usize>,
    arena_bytes: Option<usize>,
    rounds: usize,
    runs: usize,
    ms: Summary,
    images_per_s: f64,
    ratio: Ratio,
}

impl Args {
    /// Compiles all variants and times them in turns.
    pub fn run(self) -> miette::Result<ExitCode> {
        if self.model.precision != PrecisionArg::Int8 || self.model.activation.is_some() {
            return Err(miette!(
                "the variants are int8 models of every activation: leave --precision and --activation out"
            ));
        }
        let clock = self.clock.on(self.device)?;
        self.model.refuse_to_overwrite(&self.spec, self.output.file())?;
        let target = target_of(&self.target)?;
        let started = environment::utc(SystemTime::now());
        let (spec, imported) = self.model.load(&self.spec)?;
        let calibration = self.model.calibration(&spec, &imported, true)?;
        let mut modules = Vec::new();
        for (name, fuse, activation) in VARIANTS {
            say(format_args!("compiling: {name}"));
            let policy = ActivationPolicy { relu: Vec::new(), rest: Some(activation) };
            let options = Options {
                precision: Precision::Int8,
                fuse,
                target: target.clone(),
                calibration: calibration.as_ref(),
                ..self.model.quantize.options(&policy)
            };
            modules.push(compile(&imported, &options, |_| {}).map_err(|e| miette!("{name}: {e}"))?.0);
        }
        self.model.save_statistics(calibration.as_ref())?;
        let mut variants: Vec<Variant> = (VARIANTS.iter().zip(&modules))
            .map(|(&(name, fused, activation), module)| {
                let (activation, ops) = (activation.to_string(), module.graph.nodes.len());
                Variant { name, fused, activation, ops, results: Vec::new() }
            })
            .collect();
        let mut device = None;
        let mut batches = self.batch.clone();
        batches.sort_unstable();
        batches.dedup();
        for batch in batches.into_iter().map(|batch| batch as usize) {
            say(format_args!("timing: batch {batch}"));
            device = self.time_batch(batch, clock, &modules, &mut variants)?;
        }
        let report = Report {
            schema: "swint-bench-baseline/1",
            tool: environment::tool(),
            model: spec.name.clone(),
            device,
            host: environment::host(),
            clock,
            started,
            command: command(),
            variants,
        };
        let table = table(&report);
        let place = report.device.as_ref().map_or("the reference interpreter".to_owned(), |d| match d.threads {
            Some(threads) => format!("{}, {threads} threads", d.name),
            None => d.name.clone(),
        });
        let text = format!(
            "{} int8 on {place}, {} clock. Variants take turns; \"ratio\" is how many times as long as the first\none took in the \
             same round: the median of all rounds, and between which values half of them lie\n\n{}",
            report.model,
            report.clock.name(),
            table.text()
        );
        self.output.give(&text, &table, &report)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Times every variant at a batch; what it ran on, if that is a device.
    fn time_batch(
        &self,
        batch: usize,
        clock: Clock,
        modules: &[Module],
        variants: &mut [Variant],
    ) -> miette::Result<Option<DeviceInfo>> {
        let engines = modules.iter().map(|module| Engine::new(module, self.device, batch));
        let engines = engines.collect::<miette::Result<Vec<Engine>>>()?;
        let input = pattern(&modules[0], batch);
        let run = |i: usize| match (&engines[i], clock) {
            (Engine::Session(session), Clock::Device) => computing(session, slice::from_ref(&input)),
            (engine, _) => {
                let start = Instant::now();
                engine.run(&input, None)?;
                Ok(milliseconds(start))
            }
        };
        let Paired { rounds, times, ratios } = paired(self.time.settings(), engines.len(), run)?;
        for ((variant, engine), ((runs, ms), ratio)) in
            variants.iter_mut().zip(&engines).zip(times.into_iter().zip(ratios))
        {
            let plan = match engine {
                Engine::Session(session) => Some(session.plan()),
                Engine::Interpreter(_) => None,
            };
            variant.results.push(Row {
                batch,
                launches: plan.map(|plan| plan.launches.len()),
                arena_bytes: plan.map(|plan| plan.arena),
                rounds,
                runs,
                ms,
                images_per_s: batch as f64 / ms.median * 1e3,
                ratio,
            });
        }
        Ok(match &engines[0] {
            Engine::Session(session) => Some(session.device().clone()),
            Engine::Interpreter(_) => None,
        })
    }
}

/// A row a variant and batch.
fn table(report: &Report) -> Table {
    let numbers = ["batch", "ops", "launches", "rounds", "median ms", "images/s", "ratio", "from", "to"];
    let mut table = Table::new(&["variant"], &numbers, &[]);
    let rows = report.variants.first().map_or(0, |variant| variant.results.len());
    for i in 0..rows {
        for variant in &report.variants {
            let row = &variant.results[i];
            let counts = [row.batch.to_string(), variant.ops.to_string()];
            let launches = row.launches.map_or("-".to_owned(), |n| n.to_string());
            let Ratio { p25, median, p75 } = row.ratio;
            let times = [number(row.ms.median, 3), number(row.images_per_s, 0)];
            let ratios = [median, p25, p75].map(|ratio| number(ratio, 3));
            let cells = counts.into_iter().chain([launches, row.rounds.to_string()]).chain(times).chain(ratios);
            table.push([variant.name.to_owned()].into_iter().chain(cells).collect());
        }
    }
    table
}
