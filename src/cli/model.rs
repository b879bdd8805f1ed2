//! A model as the commands that compile take it: description, checkpoint, calibration inputs, and what to make of it.

use super::{ActivationArg, FloatOpArg, coded, say, value_name};
use clap::ValueEnum;
use miette::{IntoDiagnostic, WrapErr, miette};
use std::path::{Path, PathBuf};
use swint::{
    compiler::{
        frontend::{self, Spec},
        pipeline::{Activation, Precision},
    },
    ir::{Code, Module, Tensor, random},
    runtime::inputs,
};

/// Arguments.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// Checkpoint: safetensors with timm's tensor names.
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Calibration inputs for int8: a folder of pictures, or a safetensors file with `pixels` or `pixel_values`.
    #[arg(long)]
    pub calib: Option<PathBuf>,
    /// Numbers of the compiled model.
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: PrecisionArg,
    /// What becomes of the GELU: its exact table (int8 only, and the default there), a ReLU (needs distillation), or nothing.
    #[arg(long, value_enum)]
    pub activation: Option<ActivationArg>,
    /// What stays float in an int8 model.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "none")]
    pub float_ops: Vec<FloatOpArg>,
}

/// `--precision`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    F32,
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Precision {
        match arg {
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Int8 => Precision::Int8,
        }
    }
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

impl ModelArgs {
    /// Whether any of these arguments is given.
    pub fn given(&self) -> bool {
        self.weights.is_some()
            || self.calib.is_some()
            || self.precision != PrecisionArg::F32
            || self.activation.is_some()
            || self.float_ops != [FloatOpArg::None]
    }

    /// What becomes of the GELU, by default the best that changes no result.
    pub fn activation(&self) -> miette::Result<ActivationArg> {
        match (self.activation, self.precision) {
            (Some(ActivationArg::Lut), PrecisionArg::F32) => {
                Err(miette!("--activation lut is a table between 8-bit integers: it needs --precision int8"))
            }
            (Some(chosen), _) => Ok(chosen),
            (None, PrecisionArg::F32) => Ok(ActivationArg::Gelu),
            (None, PrecisionArg::Int8) => Ok(ActivationArg::Lut),
        }
    }

    /// The arguments of `swint opt` that choose the same passes and rules.
    pub fn arguments(&self) -> miette::Result<String> {
        let float: Vec<String> = self.float_ops.iter().map(|op| value_name(*op)).collect();
        Ok(format!(" --activation {} --float-ops {}", value_name(self.activation()?), float.join(",")))
    }

    /// The description and the float graph; with random weights where no checkpoint is given.
    pub fn load(&self, spec: &Path) -> miette::Result<(Spec, Module)> {
        if let Some(weights) = &self.weights {
            return Ok(frontend::load(spec, weights)?);
        }
        let description = frontend::load_spec(spec)?;
        say("note: no --weights, so they are random: scales and biases in the IR mean nothing");
        let module = frontend::import(&description, &frontend::random_checkpoint(&description, 0));
        Ok((description, module.map_err(|e| coded(Code::BadCheckpoint, e))?))
    }

    /// Calibration inputs, each one tensor for the model's one input; `random_if_none` makes some up.
    pub fn calibration(&self, spec: &Spec, module: &Module, random_if_none: bool) -> miette::Result<Vec<Vec<Tensor>>> {
        let inputs = match (&self.calib, self.precision) {
            (Some(path), PrecisionArg::Int8) => {
                let inputs = inputs::read_inputs(path, &module.graph.inputs[0].ty, spec.preprocess.as_ref());
                inputs.into_diagnostic().wrap_err("--calib")?
            }
            (None, PrecisionArg::Int8) if random_if_none => {
                say("note: no --calib, so the scales come from random inputs");
                let mut rng = random::Rng::with_seed(0);
                (0..2).map(|_| random::tensor(&module.graph.inputs[0].ty, &mut rng)).collect()
            }
            (None, PrecisionArg::Int8) => {
                return Err(miette!(
                    "--precision int8 needs --calib: a folder of pictures like those the model will see, or a \
                     safetensors file with `pixels` or `pixel_values`; they set the scales of the activations"
                ));
            }
            (calib, PrecisionArg::F32) => {
                if calib.is_some() {
                    say("warning: --calib is for --precision int8 and not used");
                }
                Vec::new()
            }
        };
        Ok(inputs.into_iter().map(|input| vec![input]).collect())
    }
}
