//! Kernels for a processor's vector units. A unit is a thread of its own on a core of its own, and takes what it works on into
//! its own memory, as the vector units want it.

mod attention;
mod cosine;
mod dispatch;
mod embed;
mod fixed;
mod gemm;
mod norm;
mod ops;
mod pairs;
mod residual;
mod sums;
mod windows;

pub(super) use dispatch::{attention, gemm, residual};

use cubecl::prelude::*;

/// What vector units work on: 256 bits. Longer vectors are made of more of them, shorter units take it in parts.
pub(super) type Eight = Vector<i32, Const<8>>;
