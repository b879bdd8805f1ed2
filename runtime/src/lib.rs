//! The runtime of swint: CubeCL kernels, and what launches, compiles, stores and times them.
//!
//! - `kernels`: `#[cube]` kernels, bit-exact with the interpreter; [`offline`]: the same as PTX, without a device.
//! - [`sass`]: the machine code that NVIDIA's assembler makes of that.
//! - [`device`], [`executor`]: plans on a device. [`mod@bench`], [`compare`]: how fast, and how far off.
//! - [`probe`]: what NVIDIA's driver says of itself.
//! - [`tune`]: which way of making a kernel is the fastest on a device.
//! - [`artifact`]: compiled models as files; [`inputs`]: pictures and tensors for them ([`picture`]: decoded and resized), [`dataset`] with labels; [`tensors`]: named
//!   tensors as files; [`cache`]: where data sets are, and
//!   [`mod@cifar10`]: one of them from its package.

pub mod artifact;
mod backend;
pub mod bench;
pub mod cache;
mod checked;
pub mod cifar10;
pub mod compare;
pub mod dataset;
pub mod device;
pub mod executor;
mod host;
pub mod inputs;
mod kernels;
pub mod offline;
pub mod picture;
pub mod probe;
mod ptx_cache;
mod ptx_text;
pub mod sass;
pub mod tensors;
pub mod tune;
pub mod verify;
pub mod warn;

pub use swint_ptxsim as ptxsim;
