//! The runtime of swint: CubeCL kernels, and what launches, compiles, stores and times them.

pub mod device;
pub mod executor;
pub mod kernels;
pub mod offline;
