//! Subcommands, one a file. Results go to stdout, progress and warnings to stderr.

mod bench;
mod check;
mod compare;
mod compile;
mod data;
#[cfg(feature = "distill")]
mod distill;
mod doctor;
mod eval;
mod explain;
mod inspect;
mod ir;
mod layerwise;
mod limits;
mod model;
mod opt;
mod passes;
mod quantize;
mod report;
mod rewrites;
mod run;
mod sass;
mod source;
mod tune;
mod verify;

use clap::{Parser, Subcommand, ValueEnum};
use miette::{IntoDiagnostic, miette};
use serde_json::Value as Json;
use std::{
    io::Write,
    process::ExitCode,
    slice,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
};
use swint::{
    ir::{Code, Module, Tensor, interp},
    runtime::{device::Device, executor::Session, warn},
};

/// Compiles a Swin Transformer into integer kernels.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    /// How to print errors and warnings, on stderr.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub error_format: ErrorFormat,
    #[command(subcommand)]
    command: Command,
}

/// `--error-format`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ErrorFormat {
    /// For people.
    Text,
    /// Every line a JSON object.
    Json,
}

/// The lower-case name of a command line value.
fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
}

/// The value of a `--tolerance`.
fn tolerance(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|t| (0.0..f64::INFINITY).contains(t)).ok_or("a finite number, at least 0".to_owned())
}

/// An error with a code.
fn coded(code: Code, message: impl std::fmt::Display) -> miette::Report {
    miette::MietteDiagnostic::new(message.to_string()).with_code(code.id()).into()
}

#[derive(Subcommand)]
enum Command {
    /// Compile a model description and its checkpoint.
    Compile(compile::Args),
    /// Classify pictures with a compiled model.
    Run(run::Args),
    /// Compare a compiled model with golden activations, or with the float model module by module; exit code 1 where it is
    /// further off than allowed.
    Compare(compare::Args),
    /// Time inferences of a compiled model.
    Bench(Box<bench::Args>),
    /// Find the fastest way of making every kernel on a device
    Tune(tune::Args),
    /// Classify a labelled data set and count the right answers.
    Eval(eval::Args),
    /// Retrain a model whose GELUs become ReLUs, with the model itself as teacher.
    #[cfg(feature = "distill")]
    Distill(Box<distill::Args>),
    /// Download a data set.
    Data(data::Args),
    /// Show what is in a checkpoint: tensors, statistics, oddities.
    Inspect(inspect::Args),
    /// Show a program's IR at any stage, as text, for Graphviz or as JSON.
    Ir(ir::Args),
    /// Run passes on an IR text and print what they make of it.
    Opt(opt::Args),
    /// Check assertions about a program's structure; exit code 1 where one does not hold.
    Check(check::Args),
    /// Run the kernels' PTX in a simulator, or the kernels on a device, and compare every result with the interpreter's, bit for bit; exit
    /// code 1 where one differs or a kernel has races or other faults.
    Verify(verify::Args),
    /// Report registers, spills, occupancy and floating-point instructions of the kernels' machine code.
    Sass(sass::Args),
    /// Write a page about a compiled model: its rewrites, kernels, memory, accuracy and times.
    Report(report::Args),
    /// Show the chain of rules that removed or fused an op.
    Explain(rewrites::Args),
    /// Look at what this machine has of what the commands need: processor, driver, GPUs, tools, cache.
    Doctor(doctor::Args),
    /// Explain the code of an error.
    ExplainError(explain::Args),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> miette::Result<ExitCode> {
        JSON_MESSAGES.store(self.error_format == ErrorFormat::Json, Ordering::Relaxed);
        warn::set_handler(|text| say(format_args!("warning: {text}")));
        match self.command {
            Command::Compile(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Tune(args) => args.run(),
            Command::Eval(args) => args.run(),
            #[cfg(feature = "distill")]
            Command::Distill(args) => args.run(),
            Command::Data(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Ir(args) => args.run(),
            Command::Opt(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Verify(args) => args.run(),
            Command::Sass(args) => args.run(),
            Command::Report(args) => args.run(),
            Command::Explain(args) => args.run(),
            Command::Doctor(args) => args.run(),
            Command::ExplainError(args) => args.run(),
        }
    }
}

/// `--device`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DeviceArg {
    /// The processor's cores.
    Cpu,
    /// The reference interpreter.
    Interp,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
}

impl FromStr for DeviceArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<DeviceArg, &'static str> {
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match text {
            "cpu" => Some(DeviceArg::Cpu),
            "interp" => Some(DeviceArg::Interp),
            "cuda" => Some(DeviceArg::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(number).map(DeviceArg::Cuda),
        }
        .ok_or("there are cpu, interp, cuda and cuda:N")
    }
}

impl std::fmt::Display for DeviceArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceArg::Cpu => f.write_str("cpu"),
            DeviceArg::Interp => f.write_str("interp"),
            DeviceArg::Cuda(0) => f.write_str("cuda"),
            DeviceArg::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl DeviceArg {
    /// The device, if kernels run on it.
    fn device(self) -> Option<Device> {
        match self {
            DeviceArg::Cpu => Some(Device::Cpu),
            DeviceArg::Cuda(number) => Some(Device::Cuda(number)),
            DeviceArg::Interp => None,
        }
    }
}

/// Sees a named result: its name, shape and real values.
type Observer<'a> = &'a mut dyn FnMut(&str, &[usize], Vec<f32>);

/// Something that runs a module: kernels on a device, or the interpreter.
enum Engine {
    Session(Box<Session>),
    Interpreter(Module),
}

impl Engine {
    /// For `batch` images at once.
    fn new(module: &Module, device: DeviceArg, batch: usize) -> miette::Result<Engine> {
        match device.device() {
            Some(device) => Session::new(module, device, batch).into_diagnostic().map(|s| Engine::Session(Box::new(s))),
            None => {
                let graph = module.graph.with_batch(batch).into_diagnostic()?;
                Ok(Engine::Interpreter(Module { graph, weights: module.weights.clone() }))
            }
        }
    }

    /// The output as real numbers; `observe` sees the module's named results as real numbers, if asked for.
    fn run(&self, input: &Tensor, observe: Option<Observer<'_>>) -> miette::Result<Vec<f32>> {
        let module = match self {
            Engine::Session(session) => session.module(),
            Engine::Interpreter(module) => module,
        };
        let output = match (self, observe) {
            (Engine::Session(session), None) => session.run(slice::from_ref(input)).into_diagnostic()?,
            (Engine::Session(session), Some(observe)) => session
                .run_with(slice::from_ref(input), |launch, result| {
                    let ty = &module.graph.nodes[launch.node.index()].ty;
                    launch.locs.iter().for_each(|l| observe(l, &ty.shape, result.to_real(ty, &module.weights)));
                })
                .into_diagnostic()?,
            (Engine::Interpreter(_), observe) => {
                let mut observe = observe;
                interp::run_with(&module.graph, &module.weights, slice::from_ref(input), |node, result| {
                    if let Some(observe) = observe.as_mut() {
                        let real = || result.to_real(&node.ty, &module.weights);
                        node.locs.iter().for_each(|l| observe(l, &node.ty.shape, real()));
                    }
                })
                .into_diagnostic()?
            }
        };
        Ok(output.to_real(module.graph.ty(module.graph.output), &module.weights))
    }
}

/// Writes to stdout; a closed pipe is no error.
fn print(text: impl std::fmt::Display) -> miette::Result<()> {
    match write!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(miette!("cannot write to stdout: {e}")),
        _ => Ok(()),
    }
}

/// Whether every line on stderr is to be JSON.
static JSON_MESSAGES: AtomicBool = AtomicBool::new(false);

/// Says something on stderr, if anybody listens.
fn say(text: impl std::fmt::Display) {
    let _ = if JSON_MESSAGES.load(Ordering::Relaxed) {
        writeln!(std::io::stderr(), "{}", serde_json::json!({"note": text.to_string()}))
    } else {
        writeln!(std::io::stderr(), "{text}")
    };
}

fn print_json(value: &Json) -> miette::Result<()> {
    print(format_args!("{value:#}\n"))
}
