//! A compiled model as one page of HTML: what it is, what the rewrites made of it, its kernels, their places in time, in memory
//! and under the roofs of a device, and what was measured of it.
//!
//! A page needs nothing but itself: no script, no font, no picture from elsewhere, and its policy forbids any. Plots are SVG with a
//! title at every mark, colours follow the reader's choice of light and dark, and what is wide scrolls inside its box. The same
//! report is the same page, byte for byte. All names are escaped: they come from files.
//!
//! [`Report`] is what a page is made of, plain data that somebody else has read and measured; [`page()`] makes it.

mod launches;
mod page;
mod sections;
mod svg;
mod text;

pub use page::page;

use std::collections::BTreeMap;
use swint_compiler::{
    egraph::{History, Target},
    plan::Plan,
};
use swint_ir::{Graph, Module};

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What the model's file says of it.
    pub model: &'a Model,
    /// The compiled program and its constants, for a batch of one.
    pub module: &'a Module,
    /// What the rewrites did to make it.
    pub history: Option<&'a History>,
    /// The launches for [`Report::batch`] images.
    pub plan: &'a Plan,
    /// The graph whose nodes the plan's launches name.
    pub planned: &'a Graph,
    /// Images of an inference.
    pub batch: usize,
    /// The device whose roofs and estimates are shown.
    pub target: &'a Target,
    /// What the launches took, if they were measured.
    pub profile: Option<&'a Profile>,
    /// How far off the modules' results are, if they were compared.
    pub accuracy: Option<&'a Accuracy>,
    /// Times of whole inferences, of this model or of others.
    pub benches: &'a [Bench],
}

/// What a model's file says of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Its file's name.
    pub file: String,
    /// The file's size in bytes.
    pub bytes: u64,
    /// `f32` or `int8`.
    pub precision: String,
    /// What became of its GELUs: `lut`, `relu`, `gelu`, or some of each.
    pub activation: String,
    /// Activations replaced by an approximation.
    pub approximated: usize,
    /// How pictures become its input, in words.
    pub preprocess: Option<String>,
    /// Ops of the float model.
    pub imported: BTreeMap<String, usize>,
    /// How often each rewrite rule fired.
    pub rules: BTreeMap<String, usize>,
    /// Who made the page: `swint 0.1.0`.
    pub tool: String,
}

/// Measured times of a plan's launches.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    /// Where, and by which clock.
    pub device: String,
    /// Microseconds of each launch, in the plan's order.
    pub us: Vec<f64>,
}

/// The modules' results against those of a float model.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Accuracy {
    /// What they were compared with.
    pub reference: String,
    /// Inputs that were run.
    pub inputs: usize,
    /// The modules, in the network's order.
    pub modules: Vec<ModuleAccuracy>,
    /// Modules of the reference that the compiled model no longer has.
    pub missing: Vec<String>,
}

/// How far off a module's result is.
#[derive(Clone, PartialEq, Debug)]
pub struct ModuleAccuracy {
    /// Its name.
    pub name: String,
    /// Signal to quantization noise in decibels; infinite where they are equal.
    pub sqnr_db: f64,
    /// Cosine of the angle between them.
    pub cosine: f64,
    /// Largest absolute difference.
    pub max_abs: f64,
}

/// Times of whole inferences by one program.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bench {
    /// The program and its version.
    pub tool: String,
    /// The model: name, precision, variant.
    pub model: String,
    /// Where it ran.
    pub device: String,
    /// On which host.
    pub host: String,
    /// By which clock: `host` or `device`.
    pub clock: String,
    /// When.
    pub started: String,
    /// The command.
    pub command: String,
    /// Milliseconds of loading, compiling and the first inference, each where it is known.
    pub cold_ms: Vec<(String, f64)>,
    /// By batch.
    pub results: Vec<BenchResult>,
}

/// Times of inferences of one batch, in milliseconds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BenchResult {
    /// Images of an inference.
    pub batch: usize,
    /// Runs that were counted.
    pub runs: usize,
    /// The fastest.
    pub min: f64,
    /// Half are faster.
    pub median: f64,
    /// 90 % are faster.
    pub p90: f64,
    /// 99 % are faster.
    pub p99: f64,
    /// Images a second.
    pub images_per_s: f64,
    /// What is to be known of the measurement.
    pub warnings: Vec<String>,
}
