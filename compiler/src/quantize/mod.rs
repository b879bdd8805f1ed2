//! Post-training quantization: weights with a scale for each output channel, activations with one scale.

mod calibrate;
mod equalize;
mod fold_normalize;
mod gelu_range;
mod histogram;
mod insert;
mod observer;
mod statistics;

pub use calibrate::Calibration;
pub use equalize::{Equalize, Equalized, equalize};
pub use fold_normalize::fold_normalize;
pub use gelu_range::{GeluRange, GeluWindows};
pub use histogram::Histogram;
pub use insert::{Ranges, insert_quantization};
pub use observer::Observer;
pub use statistics::{Channels, MAX_INPUTS, Statistics};

/// Ops that stay float in an int8 model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FloatOps {
    /// LayerNorm, and what brings q and k to length 1.
    pub norm: bool,
    /// Softmax, with scale, bias and mask of the scores.
    pub softmax: bool,
    /// The residual stream, the mean pool and the result.
    pub residual: bool,
}

impl FloatOps {
    /// None: an integer-only model.
    pub const NONE: FloatOps = FloatOps { norm: false, softmax: false, residual: false };
    /// All of them, as in FasterTransformer's int8 models.
    pub const ALL: FloatOps = FloatOps { norm: true, softmax: true, residual: true };
}
