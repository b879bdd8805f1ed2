//! The compiler of swint.
//!
//! - [`frontend`]: model description and checkpoint → float IR.
//! - [`quantize`]: calibration and directed insertion of quantize/dequantize.
//! - [`pipeline`]: the flat list of passes and its driver; [`validate`]: a program against what was made of it.
//! - [`plan`]: integer IR → kernels, launch order and buffers; [`emit`]: graphs for other tools.
//! - [`egraph`]: equality saturation; [`rules`]: its tables; [`approximate`]: what changes the function, apart.
//!
//! Dependencies point one way: `ir ← compiler ← runtime`.

pub mod approximate;
pub mod egraph;
pub mod emit;
pub mod frontend;
pub mod pipeline;
pub mod plan;
pub mod quantize;
pub mod rules;
pub mod validate;
