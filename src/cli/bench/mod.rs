//! `swint bench`: models, single kernels and the rewrites' baseline against the clock.

mod baseline;
mod kernel;
mod measure;
mod output;
mod table;
pub mod timings;
mod versus;

pub use measure::pattern;
pub use versus::read_reports;

use super::{
    DeviceArg, Engine, coded,
    passes::{DEFAULT_TARGET, target_of, write},
    print, say,
    source::read_artifact,
};
use clap::{ValueEnum, value_parser};
use measure::{Measured, command};
use miette::{IntoDiagnostic, miette};
use output::{OutputArgs, refuse_to_overwrite};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};
use swint::{
    compiler::egraph::Target,
    ir::Code,
    runtime::{
        bench::{
            Settings, environment,
            profile::profile,
            report::{Clock, Cold, DeviceInfo, Kind, Model, Report, Schema},
            trace::trace,
        },
        executor::Session,
    },
};

/// Arguments.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Time the kernels that an IR text of a few ops becomes, over shapes.
    Kernel(kernel::Args),
    /// Compile a model with and without fusion, with GELU, its table and ReLU, and time all of them in turns.
    Baseline(Box<baseline::Args>),
}

/// How long to measure.
#[derive(clap::Args)]
struct TimeArgs {
    /// Milliseconds of runs that do not count.
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = value_parser!(u64).range(..=3_600_000))]
    warmup_ms: u64,
    /// Seconds of runs that count, at least.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    min_time: Duration,
    /// Runs that count, at least.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=1_000_000))]
    iterations: u32,
}

impl TimeArgs {
    fn settings(&self) -> Settings {
        let warm_up = Duration::from_millis(self.warmup_ms);
        Settings { warm_up, min_time: self.min_time, min_runs: self.iterations as usize }
    }
}

/// A time from 0 seconds to an hour.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: Option<f64> = text.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    number.map(Duration::from_secs_f64).ok_or_else(|| "a number of seconds from 0 to 3600".to_owned())
}

/// `--clock`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClockArg {
    /// From before inputs are copied until results are there.
    Host,
    /// The device's events: copies and kernels alone. Only GPUs have them.
    Device,
}

impl ClockArg {
    /// The clock, if the device has it.
    fn on(self, device: DeviceArg) -> miette::Result<Clock> {
        match (self, device) {
            (ClockArg::Host, _) => Ok(Clock::Host),
            (ClockArg::Device, DeviceArg::Cuda(_)) => Ok(Clock::Device),
            (ClockArg::Device, _) => Err(miette!("--clock device: only a GPU has a clock of its own")),
        }
    }
}

/// Arguments to time a model.
#[derive(clap::Args)]
struct ModelArgs {
    /// Compiled model; or results of one, FILE.json, which --versus and --against then compare as they are.
    #[arg(required = true)]
    model: Option<PathBuf>,
    /// Where to run: cpu, interp (the reference interpreter), cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceArg,
    /// Images of an inference; several, 1,8,32, one after the other.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", value_parser = value_parser!(u32).range(1..=4096))]
    batch: Vec<u32>,
    #[command(flatten)]
    time: TimeArgs,
    /// Whose clock the times are by.
    #[arg(long, value_enum, default_value = "host")]
    clock: ClockArg,
    /// Time every kernel alone, too: time, share, operations, bytes, rates, and how far they are from the target's roofline.
    #[arg(long)]
    profile: bool,
    /// Write a trace for Perfetto (ui.perfetto.dev) or chrome://tracing, with the profile.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Time every kernel alone, too, and write the times here for `swint compile --timings`; what the file holds of the same
    /// device and batch stays.
    #[arg(long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// The device description that times of kernels are set against. [default: for --profile the device's own, for --timings
    /// sm_89]
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Print the results beside those of peers (docs/bench-schema.md), by batch.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    versus: Vec<PathBuf>,
    /// Compare with earlier results of the same model on the same device; exit code 1 where a batch is slower.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// A batch is slower if its median is longer by more than this, and its fastest run is longer, too.
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = versus::percent, requires = "against")]
    noise: f64,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    /// Times.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.command {
            Some(Command::Kernel(args)) => args.run(),
            Some(Command::Baseline(args)) => args.run(),
            None => self.model.run(),
        }
    }
}

impl ModelArgs {
    /// Whether each kernel is timed.
    fn profiles(&self) -> bool {
        self.profile || self.trace.is_some()
    }

    fn run(self) -> miette::Result<ExitCode> {
        let model = self.model.as_deref().ok_or_else(|| miette!("a compiled model is needed"))?;
        // What cannot be read or written is said before anything is timed.
        let written =
            [("-o", self.output.file()), ("--trace", self.trace.as_deref()), ("--timings", self.timings.as_deref())];
        let read = [model].into_iter().chain(self.versus.iter().map(PathBuf::as_path)).chain(self.against.as_deref());
        refuse_to_overwrite(written, read)?;
        if !self.versus.is_empty() && self.output.is_json_on_stdout() {
            return Err(miette!("--versus prints a table: give -o FILE for the JSON, or leave --json out"));
        }
        let mut peers = Vec::new();
        for path in &self.versus {
            peers.extend(read_reports(path)?);
        }
        let before = self.against.as_deref().map(|path| read_reports(path).map(|reports| (path, reports)));
        let before = before.transpose()?;
        let report = if model.extension().is_some_and(|e| e == "json") {
            self.read_results(model)?
        } else {
            self.measure(model)?
        };
        for result in &report.results {
            for warning in &result.warnings {
                say(format_args!("warning: batch {}: {warning}", result.batch));
            }
        }
        if let Some(path) = &self.trace {
            write(path, format!("{}\n", trace(&report)).as_bytes())?;
        }
        if peers.is_empty() {
            self.output.give(&output::text(&report), &output::full_table(&report), &report)?;
        } else {
            let (table, notes) = versus::versus_table(&report, &peers);
            self.output.give(&table.text(), &table, &report)?;
            notes.iter().for_each(|note| say(format_args!("note: {note}")));
        }
        let Some((path, before)) = before else { return Ok(ExitCode::SUCCESS) };
        let (table, slower) = versus::gate(&report, path, self.noise, &before)?;
        let text = format!("\nagainst {}, noise {} %\n{}", path.display(), self.noise * 100.0, table.text());
        if self.output.is_text_on_stdout() {
            print(text)?
        } else {
            say(text.trim_end())
        }
        Ok(if slower { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Results of a file in place of a model.
    fn read_results(&self, path: &Path) -> miette::Result<Report> {
        if self.profiles() || self.timings.is_some() {
            return Err(miette!("{} holds results: --profile, --trace and --timings need a model", path.display()));
        }
        if self.versus.is_empty() && self.against.is_none() {
            return Err(miette!("{} holds results: give --versus or --against", path.display()));
        }
        let mut reports = read_reports(path)?;
        match (reports.pop(), reports.len()) {
            (Some(report), 0) => Ok(report),
            (_, more) => Err(coded(
                Code::BadResults,
                format!("{} holds {} results: one is compared with others", path.display(), more + 1),
            )),
        }
    }

    fn measure(&self, path: &Path) -> miette::Result<Report> {
        if self.target.is_some() && !self.profiles() && self.timings.is_none() {
            return Err(miette!("--target is what kernels are set against: give --profile, --trace or --timings"));
        }
        if (self.profiles() || self.timings.is_some()) && self.device.device().is_none() {
            let flag = if self.timings.is_some() { "--timings" } else { "--profile" };
            return Err(miette!("{flag}: the interpreter runs no kernels"));
        }
        let clock = self.clock.on(self.device)?;
        let timings = match (&self.timings, &self.batch[..]) {
            (Some(path), &[batch]) => {
                let target = target_of(self.target.as_deref().unwrap_or(DEFAULT_TARGET))?;
                Some((path, timings::read_or_new(path, self.device, batch as usize)?, target))
            }
            (Some(_), _) => return Err(miette!("--timings are of one batch")),
            (None, _) => None,
        };
        let started = environment::utc(SystemTime::now());
        let reading = Instant::now();
        let artifact = read_artifact(path)?;
        let read_ms = reading.elapsed().as_secs_f64() * 1e3;
        let (module, mut batches) = (&artifact.module, self.batch.clone());
        batches.sort_unstable();
        batches.dedup();
        let mut first = None;
        let (mut results, mut kernels) = (Vec::new(), Vec::new());
        for batch in batches.into_iter().map(|batch| batch as usize) {
            let loading = Instant::now();
            let engine = Engine::new(module, self.device, batch)?;
            let load_ms = loading.elapsed().as_secs_f64() * 1e3;
            let input = pattern(module, batch);
            let Measured { first_ms, result } = measure::measure(&engine, &input, batch, self.time.settings(), clock)?;
            results.push(result);
            if let Engine::Session(session) = &engine {
                if self.profiles() {
                    let target = self.roofline(session)?;
                    let inputs = std::slice::from_ref(&input);
                    kernels.extend(profile(session, batch, inputs, self.time.settings(), &target).into_diagnostic()?);
                }
                if let Some((path, timings, target)) = &timings {
                    let settings = self.time.settings();
                    timings::time_kernels(module, session, &input, path, timings.clone(), target, settings)?;
                }
            }
            if first.is_none() {
                let compile_ms = match &engine {
                    Engine::Session(session) => session.compile_time().map(|time| time.as_secs_f64() * 1e3),
                    Engine::Interpreter(_) => Some(0.0),
                };
                let load_ms = Some((read_ms + load_ms - compile_ms.unwrap_or(0.0)).max(0.0));
                first = Some((engine, Cold { load_ms, compile_ms, first_ms: Some(first_ms) }));
            }
        }
        let (engine, cold) = first.ok_or_else(|| miette!("--batch names no batch"))?;
        let manifest = &artifact.manifest;
        let mut model = Model {
            name: manifest.name.clone(),
            precision: manifest.precision.clone(),
            variant: manifest.activation.clone(),
            file: Some(path.display().to_string()),
            launches: None,
            arena_bytes: None,
            tuned: None,
        };
        let host = environment::host();
        let device = match &engine {
            Engine::Session(session) => {
                model.launches = Some(session.plan().launches.len());
                model.arena_bytes = Some(session.plan().arena);
                model.tuned = Some(session.tuned());
                session.device().clone()
            }
            Engine::Interpreter(_) => interpreter(),
        };
        let (schema, tool, command) = (Schema, environment::tool(), command());
        Ok(Report { schema, tool, model, device, host, clock, started, command, cold, results, kernels })
    }

    /// What the profile is set against.
    fn roofline(&self, session: &Session) -> miette::Result<Target> {
        let own = own_target(session.device());
        match &self.target {
            Some(name) => target_of(name),
            None => target_of(own).map_err(|e| miette!("--profile needs a description of {own}: {e}")),
        }
    }
}

/// The reference interpreter as a device: a processor's single thread.
fn interpreter() -> DeviceInfo {
    DeviceInfo {
        kind: Kind::Cpu,
        name: "reference interpreter".to_owned(),
        threads: Some(1),
        driver: None,
        target: None,
        processors: None,
        clock_mhz: None,
        memory_clock_mhz: None,
    }
}

/// The target that describes a device.
fn own_target(device: &DeviceInfo) -> &str {
    match device.kind {
        Kind::Cpu => "cpu",
        Kind::Cuda => device.target.as_deref().unwrap_or(DEFAULT_TARGET),
    }
}
