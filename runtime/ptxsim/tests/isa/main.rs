//! The simulator against the ISA: instructions, control flow, matrices, faults, counts and texts; and a real kernel.

mod common;
mod control;
mod detectors;
mod gemm;
mod instructions;
mod matrix;
mod parse;
mod stats;
