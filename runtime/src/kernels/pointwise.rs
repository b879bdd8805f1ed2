//! One element of the result from one of each operand; an item is an element.

use super::{math, unit_items};
use cubecl::prelude::*;

/// Pixels to floats.
#[cube(launch_unchecked)]
pub(crate) fn normalize(
    x: &[u8],
    mean: &[f32],
    std: &[f32],
    y: &mut [f32],
    items: u32,
    #[comptime] channels: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        let c = i % channels;
        y[i] = (f32::cast_from(x[i]) / 255.0f32 - mean[c]) / std[c];
    }
}

/// Adds a bias of `n` values.
#[cube(launch_unchecked)]
pub(crate) fn bias_add<A: Numeric>(
    x: &[A],
    bias: &[A],
    y: &mut [A],
    items: u32,
    #[comptime] n: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = x[i] + bias[i % n];
    }
}

/// Adds two tensors.
#[cube(launch_unchecked)]
pub(crate) fn add(a: &[f32], b: &[f32], y: &mut [f32], items: u32, #[comptime] per_unit: u32) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = a[i] + b[i];
    }
}

/// Adds two tensors of `i16`, saturating.
#[cube(launch_unchecked)]
pub(crate) fn int_add(a: &[i16], b: &[i16], y: &mut [i16], items: u32, #[comptime] per_unit: u32) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        let sum = i32::cast_from(a[i]) + i32::cast_from(b[i]);
        y[i] = i16::cast_from(min(max(sum, -32768i32), 32767i32));
    }
}

/// GELU in float.
#[cube(launch_unchecked)]
pub(crate) fn gelu(x: &[f32], y: &mut [f32], items: u32, #[comptime] per_unit: u32) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = math::gelu(x[i]);
    }
}

/// ReLU in float.
#[cube(launch_unchecked)]
pub(crate) fn relu(x: &[f32], y: &mut [f32], items: u32, #[comptime] per_unit: u32) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        let value = x[i];
        y[i] = select(value > 0.0f32, value, 0.0f32);
    }
}

/// A table look-up; `low` is the value of entry 0.
#[cube(launch_unchecked)]
pub(crate) fn lut<X: Int, Y: Int>(
    x: &[X],
    table: &[Y],
    y: &mut [Y],
    items: u32,
    #[comptime] low: i32,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = table[(i32::cast_from(x[i]) - low) as usize];
    }
}
