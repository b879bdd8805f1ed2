//! `#[cube]` kernels, one concern a file, and the one place that chooses a kernel for a
//! [`swint_compiler::plan::Kernel`].
//!
//! Rules that keep every backend bit-exact with `swint_ir::interp`:
//!
//! - A float product that is added to something goes through [`math::mul`]: cubecl fuses a plain `a * b + c` into one
//!   rounding, on some hosts and not on others.
//! - Float sums run in the interpreter's order; integer sums may run in any.
//! - No barrier, no shared memory: each unit works alone, and how many items it takes is a matter of the target.

mod attention;
mod convert;
mod dispatch;
mod dispatch_fused;
mod fused;
mod integer;
mod linear;
mod math;
mod movement;
mod norm;
mod places;
mod pointwise;
mod post_norm;
mod simd;
mod tensor;
mod unit;

pub(crate) use dispatch::{Record, Target, Work, dispatch};

use cubecl::prelude::*;

/// The items of a unit: `[first, end)` of `items` when each takes `per_unit`.
#[cube]
pub(crate) fn unit_items(items: u32, #[comptime] per_unit: u32) -> (u32, u32) {
    let first = ABSOLUTE_POS as u32 * per_unit;
    let mut end = first + per_unit;
    if end > items {
        end = items;
    }
    (first, end)
}
