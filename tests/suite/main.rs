//! Whole-program tests, one binary: linking LLVM once is enough.

mod bench;
mod bit_exact;
mod calibrate;
mod checkpoints;
mod cli;
mod common;
mod corpus;
#[cfg(target_os = "linux")]
mod cuda;
#[cfg(feature = "distill")]
mod distill;
#[cfg(target_os = "linux")]
mod doctor;
mod eval;
mod hub;
mod inspect;
mod preprocess;
mod report;
mod rewrites;
mod sass;
mod snapshots;
mod tensor;
mod verify;
