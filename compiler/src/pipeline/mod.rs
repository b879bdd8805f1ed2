//! Passes: the flat, named list of them, and the driver that runs them.

mod activation;
mod driver;
mod list;

pub use activation::{Activation, ActivationPolicy};
pub use driver::{Cause, PassFailure, Stage, run_passes};
pub use list::{IMPORT, PASSES, Pass, find, rule_set};

pub use crate::approximate::Blocks;
pub use crate::quantize::{Calibration, Equalize, FloatOps, GeluRange, Observer};

use crate::{
    egraph::{History, Limits, RewriteReport, Target},
    quantize::{Equalized, GeluWindows},
};
use std::collections::{BTreeMap, BTreeSet};
use swint_ir::Module;

/// Numbers of a compiled model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// Everything stays `f32`.
    #[default]
    F32,
    /// Linears and attention products are 8-bit integers with 32-bit accumulators.
    Int8,
}

/// What to compile to, and how.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Numbers.
    pub precision: Precision,
    /// Activation of the MLPs; for [`Precision::Int8`], and [`Activation::Relu`] for both.
    pub activation: Activation,
    /// Blocks whose GELU becomes a ReLU, whatever becomes of the others.
    pub relu: Vec<Blocks>,
    /// Ops that stay float; for [`Precision::Int8`].
    pub float_ops: FloatOps,
    /// What sets the scales; for [`Precision::Int8`], which needs it.
    pub calibration: Option<&'a Calibration>,
    /// How much of an activation's range 8 bits represent; for [`Precision::Int8`].
    pub observer: Observer,
    /// What may be done to a LayerNorm's channels; for [`Precision::Int8`].
    pub equalize: Equalize,
    /// Whether ranges around a GELU may be shifted; for [`Precision::Int8`] and [`Activation::Lut`], where it costs nothing.
    pub gelu_range: GeluRange,
    /// The device whose cost decides between equal programs.
    pub target: Target,
    /// Whether ops may be fused into one kernel where that is cheaper.
    pub fuse: bool,
    /// When the rewrites stop.
    pub limits: Limits,
    /// Explain what the rewrites did, in the report.
    pub history: bool,
    /// Use these rewrite rules only, whatever the activation.
    pub rules: Option<BTreeSet<String>>,
    /// Verify after every pass, and not only the first and the last program. Always so with debug assertions.
    pub verify: bool,
}

impl Default for Options<'_> {
    /// An f32 model for the default target, fused.
    fn default() -> Self {
        Options {
            precision: Precision::default(),
            activation: Activation::default(),
            relu: Vec::new(),
            float_ops: FloatOps::default(),
            calibration: None,
            observer: Observer::default(),
            equalize: Equalize::default(),
            gelu_range: GeluRange::default(),
            target: Target::default(),
            fuse: true,
            limits: Limits::default(),
            history: false,
            rules: None,
            verify: false,
        }
    }
}

/// What a compilation did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Ops before the first and after the last pass.
    pub ops: (BTreeMap<&'static str, usize>, BTreeMap<&'static str, usize>),
    /// GELUs replaced by another function: the model needs distillation.
    pub approximated: usize,
    /// LayerNorms whose channels may have been rescaled.
    pub equalized: Vec<Equalized>,
    /// GELUs whose ranges may have been shifted.
    pub gelu_windows: Vec<GeluWindows>,
    /// Ops before the rewrites: of the float model, with quantize/dequantize pairs for int8.
    pub before_rewrites: BTreeMap<&'static str, usize>,
    /// What the rewrites did, if they ran.
    pub rewrite: Option<RewriteReport>,
    /// The program before the rewrites and what became of its parts, where [`Options::history`] asks for it.
    pub history: Option<History>,
}

/// Runs the passes that the options ask for on an imported float module. `observe` sees the module before the first pass
/// and after each.
///
/// # Errors
/// When a pass cannot do its work, or is defective.
pub fn compile(
    imported: &Module,
    options: &Options<'_>,
    observe: impl FnMut(&Stage<'_>),
) -> Result<(Module, Report), Box<PassFailure>> {
    let passes: Vec<&Pass> = PASSES.iter().filter(|pass| (pass.wanted)(options)).collect();
    run_passes(&passes, imported, options, observe)
}
