//! Rows that need all of themselves: LayerNorm, softmax, mean pool.

use super::{
    math::{exp, mul},
    unit_items,
};
use cubecl::prelude::*;

/// An item is a row.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn layer_norm(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
    eps: f32,
    items: u32,
    #[comptime] channels: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = item as usize * channels;
        let count = comptime!(channels as f32);
        let mut sum = 0.0f32;
        for c in 0..channels {
            sum += x[start + c];
        }
        let mean = sum / count;
        let mut squares = 0.0f32;
        for c in 0..channels {
            let deviation = x[start + c] - mean;
            squares += mul(deviation, deviation);
        }
        let deviation = (squares / count + eps).sqrt();
        for c in 0..channels {
            y[start + c] = mul((x[start + c] - mean) / deviation, gamma[c]) + beta[c];
        }
    }
}

/// An item is a row of `n`.
#[cube(launch_unchecked)]
pub(crate) fn softmax(x: &[f32], y: &mut [f32], items: u32, #[comptime] n: usize, #[comptime] per_unit: u32) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = item as usize * n;
        let mut largest = x[start];
        for i in 0..n {
            largest = max(largest, x[start + i]);
        }
        let mut sum = 0.0f32;
        for i in 0..n {
            let e = exp(x[start + i] - largest);
            y[start + i] = e;
            sum += e;
        }
        for i in 0..n {
            y[start + i] /= sum;
        }
    }
}

/// Where the first token of a channel of an image is; the next is `channels` further.
#[cube]
fn first_of_channel(item: usize, #[comptime] tokens: usize, #[comptime] channels: usize) -> usize {
    item / channels * (tokens * channels) + item % channels
}

/// An item is a channel of an image.
#[cube(launch_unchecked)]
pub(crate) fn mean_pool(
    x: &[f32],
    y: &mut [f32],
    items: u32,
    #[comptime] tokens: usize,
    #[comptime] channels: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let start = first_of_channel(item, tokens, channels);
        let mut sum = 0.0f32;
        for t in 0..tokens {
            sum += x[start + t * channels];
        }
        y[item] = sum / comptime!(tokens as f32);
    }
}

/// The sums of a mean of integers; an item is a channel of an image.
#[cube(launch_unchecked)]
pub(crate) fn sum_pool<X: Int>(
    x: &[X],
    y: &mut [i32],
    items: u32,
    #[comptime] tokens: usize,
    #[comptime] channels: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let start = first_of_channel(item, tokens, channels);
        let mut sum = 0i32;
        for t in 0..tokens {
            sum += i32::cast_from(x[start + t * channels]);
        }
        y[item] = sum;
    }
}
