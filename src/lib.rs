//! swint compiles a Swin Transformer into integer kernels.
//!
//! This crate is the facade: [`ir`], [`compiler`] and [`runtime`] under one name, beside the command line tool. The
//! path of a model through them, as `examples/cifar10` takes it:
//!
//! 1. [`compiler::frontend::load`]: a model description and a checkpoint become a float graph;
//! 2. [`compiler::pipeline::compile`]: the passes quantize and rewrite it;
//! 3. [`runtime::executor::Session`]: its kernels run on a device.

pub use swint_compiler as compiler;
#[cfg(feature = "distill")]
pub use swint_distill as distill;
pub use swint_ir as ir;
pub use swint_report as report;
pub use swint_runtime as runtime;
