//! Post-training quantization: symmetric, per-channel weights, per-tensor activations, min-max.

mod calibrate;
mod fold_normalize;
mod insert;

pub use calibrate::{Ranges, calibrate};
pub use fold_normalize::fold_normalize;
pub use insert::insert_quantization;
