//! Post-training quantization: symmetric, per-channel weights, per-tensor activations, min-max.

mod calibrate;
mod fold_normalize;
mod insert;

pub use calibrate::{Ranges, calibrate};
pub use fold_normalize::fold_normalize;
pub use insert::insert_quantization;

/// Ops that stay float in an int8 model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FloatOps {
    /// LayerNorm.
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
