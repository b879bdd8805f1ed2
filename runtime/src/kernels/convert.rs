//! Between floats and integers; an item is an element.

use super::{math, unit_items};
use cubecl::prelude::*;

/// f32 → 8 or 16 bits.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn quantize<Y: Int>(
    x: &[f32],
    y: &mut [Y],
    scale: f32,
    items: u32,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = Y::cast_from(math::quantize(x[i], scale, low, high));
    }
}

/// Integers → f32; element `i` has channel `i / stride mod channels`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn dequantize<X: Int>(
    x: &[X],
    scales: &[f32],
    y: &mut [f32],
    items: u32,
    #[comptime] channels: usize,
    #[comptime] stride: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = math::mul(f32::cast_from(i32::cast_from(x[i])), scales[i / stride % channels]);
    }
}

/// Integers → f32 → GELU → 8 or 16 bits; an item is a vector of elements, element `i` has channel `i / stride mod channels`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn float_gelu<X: Int, Y: Int, N: Size>(
    x: &[Vector<X, N>],
    scales: &[f32],
    y: &mut [Vector<Y, N>],
    scale: f32,
    items: u32,
    #[comptime] width: usize,
    #[comptime] channels: usize,
    #[comptime] stride: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        let whole = x[i];
        let mut all = Vector::<Y, N>::empty();
        #[unroll]
        for lane in 0..width {
            let q = i32::cast_from(whole.extract(lane));
            let real = math::mul(f32::cast_from(q), scales[(i * width + lane) / stride % channels]);
            all.insert(lane, Y::cast_from(math::quantize(math::gelu(real), scale, low, high)));
        }
        y[i] = all;
    }
}

/// Integers → 8 or 16 bits in fixed point; an item is a vector of channels, of `vectors` in a row.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn requantize<X: Int, Y: Int, N: Size>(
    x: &[Vector<X, N>],
    mantissas: &[Vector<i32, N>],
    shifts: &[Vector<i32, N>],
    y: &mut [Vector<Y, N>],
    items: u32,
    #[comptime] vectors: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        let c = i % vectors;
        let acc = Vector::<i32, N>::cast_from(x[i]);
        y[i] = Vector::cast_from(math::requantize::<N>(acc, mantissas[c], shifts[c], low, high));
    }
}
