//! How an int8 model is quantized, as the commands that run passes take it.

use super::value_name;
use clap::ValueEnum;
use swint::compiler::pipeline::{ActivationPolicy, Equalize, FloatOps, GeluRange, Observer, Options};

/// Arguments.
#[derive(clap::Args, PartialEq)]
pub struct QuantizeArgs {
    /// What stays float in an int8 model.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "none")]
    float_ops: Vec<FloatOpArg>,
    /// How much of an activation's observed range 8 bits represent: min-max, percentile (of 99.99 %), percentile=P, mse or
    /// entropy.
    #[arg(long, value_name = "OBSERVER", default_value_t)]
    observer: Observer,
    /// What may be done to the channels between a LayerNorm and its linears: auto (whatever gives least noise), none, affine
    /// (γ and β into the weights), pow2 or half-pow2 (scales that are powers of two).
    #[arg(long, value_name = "WAY", default_value_t)]
    equalize: Equalize,
    /// Whether the ranges on either side of a GELU's table may be shifted.
    #[arg(long, value_enum, default_value = "auto")]
    gelu_range: GeluRangeArg,
}

/// `--float-ops`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FloatOpArg {
    /// None: an integer-only model.
    None,
    /// LayerNorm.
    Norm,
    /// Softmax, with scale, bias and mask of the scores.
    Softmax,
    /// The residual stream, the mean pool and the logits.
    Residual,
    /// All of them.
    All,
}

/// `--gelu-range`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GeluRangeArg {
    /// Where that gives less noise.
    Auto,
    /// Never: plain symmetric i8.
    Symmetric,
}

impl QuantizeArgs {
    /// Whether any of these arguments is given.
    pub fn given(&self) -> bool {
        *self != QuantizeArgs::default()
    }

    /// Options with these choices.
    pub fn options<'a>(&self, activation: &ActivationPolicy) -> Options<'a> {
        Options {
            activation: activation.rest.unwrap_or_default(),
            relu: activation.relu.clone(),
            float_ops: self.float_ops(),
            observer: self.observer,
            equalize: self.equalize,
            gelu_range: match self.gelu_range {
                GeluRangeArg::Auto => GeluRange::Auto,
                GeluRangeArg::Symmetric => GeluRange::Symmetric,
            },
            ..Options::default()
        }
    }

    fn float_ops(&self) -> FloatOps {
        let names = |op| self.float_ops.contains(&op) || self.float_ops.contains(&FloatOpArg::All);
        FloatOps {
            norm: names(FloatOpArg::Norm),
            softmax: names(FloatOpArg::Softmax),
            residual: names(FloatOpArg::Residual),
        }
    }

    /// The arguments of `swint opt` that make the same choices.
    pub fn arguments(&self, activation: &ActivationPolicy) -> String {
        let float: Vec<String> = self.float_ops.iter().map(|op| value_name(*op)).collect();
        format!(
            " --activation {activation} --float-ops {} --observer {} --equalize {} --gelu-range {}",
            float.join(","),
            self.observer,
            self.equalize,
            value_name(self.gelu_range)
        )
    }
}

impl Default for QuantizeArgs {
    fn default() -> QuantizeArgs {
        QuantizeArgs {
            float_ops: vec![FloatOpArg::None],
            observer: Observer::default(),
            equalize: Equalize::default(),
            gelu_range: GeluRangeArg::Auto,
        }
    }
}
