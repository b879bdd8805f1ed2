//! Kernels for tensor cores: `mma` on bytes, with 32-bit sums.
//!
//! Unlike the plain kernels these have barriers and shared memory, and their units work in warps of 32, so that they are for GPUs only.

mod attention;
mod copies;
mod cosine;
mod dispatch;
mod embed;
mod epilogue;
mod fixed;
mod fragment;
mod gemm;
mod head;
mod mlp;
mod norm;
mod packs;
mod rows;
mod tall;
mod weights;

pub(super) use dispatch::{attention, embed, gemm, head, mlp, norm};
