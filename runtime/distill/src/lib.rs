//! Distillation: retrains the very graph that swint rewrites, a GELU teacher's knowledge into a ReLU student.
//!
//! (Faster Inference of Integer SWIN Transformer by Removing the GELU Activation, arXiv 2402.01169; knowledge distillation after
//! Hinton, Vinyals and Dean, arXiv 1503.02531.)
//!
//! - [`exec`]: an IR graph on Burn tensors, differentiable; [`params`]: a checkpoint's tensors as parameters of its constants.
//! - [`plan`], [`loss`], [`optimizer`]: what is replaced when, what is learnt, and how; [`qat`]: integers in training.
//! - [`data`], [`loader`]: pictures and batches of them.
//! - [`train`]: a step; [`run`]: a whole run, with [`state`]s on disk.

mod curve;
pub mod data;
pub mod exec;
pub mod loader;
pub mod loss;
pub mod optimizer;
pub mod params;
pub mod plan;
pub mod qat;
pub mod run;
pub mod state;
pub mod train;
mod worker;

pub use burn::tensor::{Device, DeviceType};
