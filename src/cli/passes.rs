//! What every command that runs passes can show of them.

use super::{coded, print, say};
use miette::{Context, IntoDiagnostic, miette};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use swint::{
    compiler::{
        egraph::{Limits, Target, Timings},
        pipeline::{IMPORT, Options, PASSES, Pass, PassFailure, Report, Stage, find, run_passes},
    },
    ir::{Code, Module, Tensor, text},
    runtime::{artifact::write_atomically, tensors::to_safetensors},
};

/// Arguments.
#[derive(clap::Args)]
pub struct PassArgs {
    /// Print the IR after this pass, after `all`, or after those that `changed` it.
    #[arg(long, value_name = "PASS", value_parser = printed_name)]
    print_after: Option<String>,
    /// Run no pass after this one.
    #[arg(long, value_name = "PASS", value_parser = stage_name)]
    stop_after: Option<String>,
    /// Print how long each pass took, to stderr.
    #[arg(long)]
    time_passes: bool,
    /// Write the IR after each pass into this folder, numbered: 00-import.ir, 01-fold-normalize.ir, …
    #[arg(long, value_name = "DIR")]
    dump_dir: Option<PathBuf>,
    /// Verify the IR after each pass, not only the last.
    #[arg(long)]
    verify: bool,
    /// The device whose cost decides between equal programs: sm_89, sm_90, sm_80, cpu, or a description (.toml).
    #[arg(long, value_name = "TARGET", default_value = DEFAULT_TARGET)]
    target: String,
    /// Times of ops on this device, which override its description: `swint bench --timings` measures them.
    #[arg(long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// Whether ops may be fused into one kernel where that is cheaper; `none` is a kernel an op.
    #[arg(long, default_value = "auto")]
    fuse: Fuse,
    /// Stop the rewrites at so many e-nodes; the best program found by then is taken. [default: 400000]
    #[arg(long, value_name = "N")]
    node_limit: Option<usize>,
    /// Stop the rewrites after so many iterations. [default: 60]
    #[arg(long, value_name = "N")]
    iteration_limit: Option<usize>,
    /// Stop the rewrites after so many seconds; without, the result does not depend on how busy the machine is.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    time_limit: Option<u64>,
}

/// Choices of --fuse.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Fuse {
    /// Where it is cheaper.
    Auto,
    /// Never.
    None,
}

/// The target where none is named.
pub const DEFAULT_TARGET: &str = "sm_89";

fn stages() -> impl Iterator<Item = &'static str> {
    [IMPORT].into_iter().chain(PASSES.iter().map(|pass| pass.name))
}

fn one_of<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Result<String, String> {
    let known: Vec<&str> = known.collect();
    if known.contains(&name) { Ok(name.to_owned()) } else { Err(format!("there are: {}", known.join(", "))) }
}

fn printed_name(name: &str) -> Result<String, String> {
    one_of(name, ["all", "changed"].into_iter().chain(stages()))
}

/// The name of a pass, or of the stage before the first.
pub fn stage_name(name: &str) -> Result<String, String> {
    one_of(name, stages())
}

/// The name of a pass.
pub fn pass_name(name: &str) -> Result<String, String> {
    one_of(name, PASSES.iter().map(|pass| pass.name))
}

impl PassArgs {
    /// Whether IR goes to stdout.
    pub fn prints(&self) -> bool {
        self.print_after.is_some()
    }

    /// Whether something is asked for that is worth running passes for.
    pub fn shows_something(&self) -> bool {
        self.prints() || self.dump_dir.is_some() || self.time_passes
    }

    /// Whether the passes end early.
    pub fn stops_early(&self) -> bool {
        self.stop_after.is_some()
    }

    /// Whether any of these arguments is given.
    pub fn given(&self) -> bool {
        self.shows_something() || self.stop_after.is_some() || self.verify || self.chooses()
    }

    /// Whether anything about the rewrites is not the default.
    fn chooses(&self) -> bool {
        self.target != DEFAULT_TARGET
            || self.timings.is_some()
            || self.fuse != Fuse::Auto
            || self.limits() != Limits::default()
    }

    fn limits(&self) -> Limits {
        let Limits { nodes, iterations, .. } = Limits::default();
        Limits {
            nodes: self.node_limit.unwrap_or(nodes),
            iterations: self.iteration_limit.unwrap_or(iterations),
            time: self.time_limit.map(Duration::from_secs),
        }
    }

    /// Options with what these arguments choose.
    ///
    /// # Errors
    /// When the target is none, or its times cannot be read.
    pub fn choose<'a>(&self, options: &Options<'a>) -> miette::Result<Options<'a>> {
        let (mut target, fuse) = (target_of(&self.target)?, self.fuse == Fuse::Auto);
        if let Some(path) = &self.timings {
            target.timings = Some(Arc::new(read_timings(path)?));
        }
        Ok(Options { verify: self.verify, target, fuse, limits: self.limits(), ..options.clone() })
    }

    /// Runs passes on a module and shows what was asked for. `arguments` are those of `swint opt` that made the options,
    /// for the command that reproduces a failure.
    pub fn run(
        &self,
        mut passes: Vec<&Pass>,
        module: &Module,
        options: &Options<'_>,
        arguments: &str,
    ) -> miette::Result<(Module, Report)> {
        let names: Vec<&str> = [IMPORT].into_iter().chain(passes.iter().map(|pass| pass.name)).collect();
        let printed = self.print_after.as_deref().filter(|name| !matches!(*name, "all" | "changed"));
        for (flag, name) in [("--print-after", printed), ("--stop-after", self.stop_after.as_deref())] {
            if let Some(name) = name.filter(|name| !names.contains(name)) {
                return Err(miette!("{flag} {name}: the stages here are {}", names.join(", ")));
            }
        }
        if let Some(last) = &self.stop_after {
            passes.truncate(passes.iter().position(|pass| pass.name == last).map_or(0, |i| i + 1));
        }
        if let Some(folder) = &self.dump_dir {
            make_folder(folder)?;
        }
        let (mut text, mut rows, mut dumped) = (String::new(), Vec::new(), Ok(()));
        let options = &self.choose(options)?;
        let arguments = &format!("{arguments}{}", self.arguments()?);
        let result = run_passes(&passes, module, options, |stage| {
            if self.is_printed(stage) {
                text += &format!("// after {}\n{}", stage.name, text::print(&stage.module.graph));
            }
            if let (Some(folder), Ok(())) = (&self.dump_dir, &dumped) {
                let file = folder.join(format!("{:02}-{}.ir", stage.number, stage.name));
                dumped = write(&file, text::print(&stage.module.graph).as_bytes());
            }
            rows.push((stage.name, stage.time, stage.verifying, stage.module.graph.nodes.len()));
        });
        // What failed first is said first, whatever becomes of the output.
        let result = result.map_err(|failure| self.reproducer(*failure, options, arguments));
        let shown = print(text).and(dumped);
        if self.time_passes {
            let total: f64 = rows.iter().map(|r| (r.1 + r.2).as_secs_f64()).sum();
            let mut table = format!("{:<18}{:>12}{:>12}{:>8}{:>8}\n", "pass", "ms", "verify ms", "%", "nodes");
            for (name, time, verifying, nodes) in rows {
                let percent = (time + verifying).as_secs_f64() / total * 100.0;
                let (time, verifying) = (time.as_secs_f64() * 1e3, verifying.as_secs_f64() * 1e3);
                table += &format!("{name:<18}{time:>12.3}{verifying:>12.3}{percent:>8.1}{nodes:>8}\n");
            }
            say(table.trim_end());
        }
        let (module, report) = result?;
        shown?;
        if let Some(reason) = report.rewrite.as_ref().and_then(|rewrite| rewrite.stopped.as_ref()) {
            say(format_args!(
                "warning: the rewrites stopped early ({reason}); the result is valid, but may not be the best"
            ));
        }
        Ok((module, report))
    }

    /// The arguments that make the same choices, wherever the command is run.
    fn arguments(&self) -> miette::Result<String> {
        let mut arguments = String::new();
        if self.target != DEFAULT_TARGET {
            let path = if Target::named(&self.target).is_some() {
                self.target.clone()
            } else {
                std::path::absolute(&self.target).into_diagnostic()?.display().to_string()
            };
            arguments += &format!(" --target {}", shlex::try_quote(&path).into_diagnostic()?);
        }
        if let Some(path) = &self.timings {
            let path = std::path::absolute(path).into_diagnostic()?.display().to_string();
            arguments += &format!(" --timings {}", shlex::try_quote(&path).into_diagnostic()?);
        }
        if self.fuse == Fuse::None {
            arguments += " --fuse none";
        }
        let limits = [("node", self.node_limit), ("iteration", self.iteration_limit)];
        for (name, limit) in limits.into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
            arguments += &format!(" --{name}-limit {limit}");
        }
        if let Some(seconds) = self.time_limit {
            arguments += &format!(" --time-limit {seconds}");
        }
        Ok(arguments)
    }

    fn is_printed(&self, stage: &Stage<'_>) -> bool {
        match self.print_after.as_deref() {
            None => false,
            Some("all") => true,
            Some("changed") => stage.changed,
            Some(name) => name == stage.name,
        }
    }

    /// Writes the program before a failed pass, and says how to run the pass on it again.
    fn reproducer(&self, failure: PassFailure, options: &Options<'_>, arguments: &str) -> miette::Report {
        let folder = match &self.dump_dir {
            Some(folder) => folder.join(format!("failed-{}", failure.pass)),
            None => std::env::temp_dir().join(format!("swint-failed-{}-{}", failure.pass, std::process::id())),
        };
        let help = match write_reproducer(&folder, &failure, options, arguments) {
            Ok(command) => format!("the program before the pass is in {}; again:\n{command}", folder.display()),
            Err(error) => format!("the program before the pass could not be written: {error}"),
        };
        let code = failure.code().id();
        miette::MietteDiagnostic::new(failure.to_string()).with_code(code).with_help(help).into()
    }
}

/// The device that a --target names or describes.
pub fn target_of(name: &str) -> miette::Result<Target> {
    if let Some(target) = Target::named(name) {
        return Ok(target);
    }
    if !name.ends_with(".toml") {
        let known: Vec<&str> = Target::names().collect();
        return Err(miette!("--target {}: there are {}, and descriptions, NAME.toml", name, known.join(", ")));
    }
    let text = fs::read_to_string(name).map_err(|e| coded(Code::Unreadable, format!("cannot read {}: {e}", name)))?;
    Ok(Target::parse(name, &text)?)
}

/// Reads measured times.
pub fn read_timings(path: &Path) -> miette::Result<Timings> {
    let text = fs::read_to_string(path)
        .map_err(|e| coded(Code::Unreadable, format!("cannot read {}: {e}", path.display())))?;
    Ok(Timings::parse(&path.display().to_string(), &text)?)
}

/// Writes the files that `swint opt` needs to run a pass again; the command.
fn write_reproducer(
    folder: &Path,
    failure: &PassFailure,
    options: &Options<'_>,
    arguments: &str,
) -> miette::Result<String> {
    make_folder(folder)?;
    let folder = std::path::absolute(folder).into_diagnostic()?;
    let file = |name: &str| folder.join(name);
    let quoted = |name: &str| {
        let path = file(name).display().to_string();
        shlex::try_quote(&path).map(|quoted| quoted.into_owned()).into_diagnostic()
    };
    let graph = &failure.before.graph;
    write(&file("before.ir"), text::print(graph).as_bytes())?;
    let weights = failure.before.weights.0.iter().map(|(name, tensor)| (&**name, &**tensor));
    write(&file("before.safetensors"), &to_safetensors(weights).map_err(|e| miette!("{e}"))?)?;
    let mut command = format!("swint opt {} --weights {}", quoted("before.ir")?, quoted("before.safetensors")?);
    if failure.pass != IMPORT {
        command += &format!(" --passes {}{arguments}", failure.pass);
    }
    let calibrated = find(failure.pass).is_some_and(|pass| pass.calibrated);
    if let Some(calibration) = options.calibration.filter(|_| calibrated) {
        let (bytes, flag) = match calibration.inputs() {
            [] => (calibration.to_bytes().map_err(|e| miette!("{e}"))?, "--calib-stats"),
            samples => (calibration_bytes(graph.inputs.iter().map(|i| &*i.name), samples)?, "--calib"),
        };
        write(&file("calibration.safetensors"), &bytes)?;
        command += &format!(" {flag} {}", quoted("calibration.safetensors")?);
    }
    write(&file("command.txt"), format!("{command}\n").as_bytes())?;
    Ok(command)
}

/// Calibration inputs as `swint opt --calib` reads them: tensors `0.NAME`, `1.NAME`, … for each input of the graph.
fn calibration_bytes<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    samples: &[Vec<Tensor>],
) -> miette::Result<Vec<u8>> {
    let tensors: Vec<(String, &Tensor)> = (samples.iter().enumerate())
        .flat_map(|(i, sample)| names.clone().zip(sample).map(move |(name, tensor)| (format!("{i}.{name}"), tensor)))
        .collect();
    to_safetensors(tensors.iter().map(|(name, tensor)| (name.as_str(), *tensor))).map_err(|e| miette!("{e}"))
}

/// Creates a folder and those above it.
pub fn make_folder(folder: &Path) -> miette::Result<()> {
    fs::create_dir_all(folder).into_diagnostic().wrap_err_with(|| format!("cannot create {}", folder.display()))
}

/// Writes a file, whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> miette::Result<()> {
    write_atomically(path, bytes).into_diagnostic().wrap_err_with(|| format!("cannot write {}", path.display()))
}
