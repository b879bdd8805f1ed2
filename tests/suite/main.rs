//! Whole-program tests, one binary: linking LLVM once is enough.

mod bench;
mod bit_exact;
mod calibrate;
mod cli;
mod common;
mod corpus;
#[cfg(target_os = "linux")]
mod cuda;
#[cfg(feature = "distill")]
mod distill;
mod eval;
mod inspect;
mod preprocess;
mod rewrites;
mod sass;
mod snapshots;
mod verify;
