//! The compiler of swint.
//!
//! - [`frontend`]: model description and checkpoint → float IR.
//! - [`quantize`]: calibration and directed insertion of quantize/dequantize.
//! - [`plan`]: integer IR → kernels, launch order and buffers; [`pipeline`]: the flat list of passes.
//! - [`egraph`]: equality saturation; [`rules`]: its tables; [`approximate`]: what changes the function, apart.
//!
//! Dependencies point one way: `ir ← compiler ← runtime`.

pub mod approximate;
pub mod egraph;
pub mod frontend;
pub mod pipeline;
pub mod plan;
pub mod quantize;
pub mod rules;
