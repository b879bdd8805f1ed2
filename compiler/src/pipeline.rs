//! The flat, named list of passes.

use crate::{
    approximate::gelu_to_relu,
    egraph::{RewriteReport, Target, rewrite},
    quantize::{calibrate, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
};
use std::collections::BTreeMap;
use swint_ir::{Module, Tensor, VerifyError};

/// Numbers of a compiled model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// Everything stays `f32`.
    #[default]
    F32,
    /// Linears and attention products are 8-bit integers with 32-bit accumulators.
    Int8,
}

/// What becomes of the GELU between integers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Activation {
    /// Its table of 256 entries: exact.
    #[default]
    Lut,
    /// A ReLU, the clamp of a requantization: an approximation that needs distillation.
    Relu,
    /// It stays, in float: the baseline.
    Gelu,
}

/// What to compile to.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// Numbers.
    pub precision: Precision,
    /// Activation of the MLPs; for [`Precision::Int8`], and [`Activation::Relu`] for both.
    pub activation: Activation,
    /// Inputs whose activations set the scales; for [`Precision::Int8`].
    pub calibration: &'a [Tensor],
    /// The device whose cost decides between equal programs.
    pub target: Target,
}

/// What a compilation did.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Ops before the first and after the last pass.
    pub ops: (BTreeMap<&'static str, usize>, BTreeMap<&'static str, usize>),
    /// GELUs replaced by another function: the model needs distillation.
    pub approximated: usize,
    /// Ops of the float model with quantize/dequantize pairs, before the rewrites.
    pub quantized_ops: BTreeMap<&'static str, usize>,
    /// What the rewrites did.
    pub rewrite: RewriteReport,
}

/// Why a compilation failed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum PipelineError {
    /// int8 without calibration inputs.
    #[error("int8 needs calibration inputs: they set the scales of the activations")]
    NoCalibration,
    /// A calibration input does not fit, or drives an activation out of range.
    #[error("{0}")]
    Calibration(String),
    /// A pass gave an invalid graph: a defect of the pass.
    #[error("pass {pass} gave an invalid graph: {error}")]
    Invalid {
        /// The pass.
        pass: &'static str,
        /// What is wrong.
        error: VerifyError,
    },
}

/// The passes, in order.
pub const PASSES: [&str; 5] = ["import", "fold-normalize", "approximate", "quantize", "rewrite"];

/// Runs the passes that the options ask for on an imported float module. `snapshot` sees the module after each pass that
/// ran, verified.
///
/// # Errors
/// When calibration inputs are missing or do not fit, or a pass is defective.
pub fn compile(
    imported: &Module,
    options: &Options<'_>,
    mut snapshot: impl FnMut(&'static str, &Module),
) -> Result<(Module, Report), PipelineError> {
    let int8 = options.precision == Precision::Int8;
    if int8 && options.calibration.is_empty() {
        return Err(PipelineError::NoCalibration);
    }
    let mut after = |pass: &'static str, module: Module| match module.verify() {
        Ok(()) => {
            snapshot(pass, &module);
            Ok(module)
        }
        Err(error) => Err(PipelineError::Invalid { pass, error }),
    };
    let mut module = after("import", imported.clone())?;
    let mut approximated = 0;
    if int8 {
        module = after("fold-normalize", fold_normalize(&module))?;
    }
    if options.activation == Activation::Relu {
        let (relu, count) = gelu_to_relu(&module);
        module = after("approximate", relu)?;
        approximated = count;
    }
    if int8 {
        let ranges = calibrate(&module, options.calibration).map_err(PipelineError::Calibration)?;
        let quantized = insert_quantization(&module, &ranges).map_err(PipelineError::Calibration)?;
        module = after("quantize", quantized)?;
    }
    let quantized_ops = module.graph.op_counts();
    let rules = rules(RuleSet { gelu_table: options.activation == Activation::Lut });
    let (rewritten, rewrite) = rewrite(&module, &rules, &options.target);
    let module = after("rewrite", rewritten)?;
    let ops = (imported.graph.op_counts(), module.graph.op_counts());
    Ok((module, Report { ops, approximated, quantized_ops, rewrite }))
}
