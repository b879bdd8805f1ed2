//! The two products of attention, and what is between them.

use super::{linear::mul_add, math::mul, unit_items};
use cubecl::prelude::*;
use swint_ir::infer::MAX_SCORE;

/// `y[w,h,i,j] = Σ_d q[w,i,h,d]·k[w,j,h,d]` of floats, which are added one by one; an item is a row (w,h,i).
#[cube(launch_unchecked)]
pub(crate) fn scores(
    q: &[f32],
    k: &[f32],
    y: &mut [f32],
    items: u32,
    #[comptime] heads: usize,
    #[comptime] tokens: usize,
    #[comptime] channels: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let head_dim = comptime!(channels / heads);
        let (window, head, i) = (item / (heads * tokens), item / tokens % heads, item % tokens);
        let q_start = (window * tokens + i) * channels + head * head_dim;
        for j in 0..tokens {
            let k_start = (window * tokens + j) * channels + head * head_dim;
            let mut sum = 0.0f32;
            for d in 0..head_dim {
                sum += mul(q[q_start + d], k[k_start + d]);
            }
            y[item * tokens + j] = sum;
        }
    }
}

/// The same of integers, an item being a score (w,h,i,j). A head's channels are `vectors` vectors.
#[cube(launch_unchecked)]
pub(crate) fn int_scores<X: Int, Y: Int, N: Size>(
    q: &[Vector<X, N>],
    k: &[Vector<Y, N>],
    y: &mut [i32],
    items: u32,
    #[comptime] heads: usize,
    #[comptime] tokens: usize,
    #[comptime] vectors: usize,
    #[comptime] width: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let (row, j) = (item / tokens, item % tokens);
        let (window, head, i) = (row / comptime!(heads * tokens), row / tokens % heads, row % tokens);
        let q_start = ((window * tokens + i) * heads + head) * vectors;
        let k_start = ((window * tokens + j) * heads + head) * vectors;
        let mut sums = Vector::<i32, N>::new(0i32);
        for d in 0..vectors {
            sums += Vector::<i32, N>::cast_from(q[q_start + d]) * Vector::<i32, N>::cast_from(k[k_start + d]);
        }
        let mut sum = 0i32;
        #[unroll]
        for lane in 0..width {
            sum += sums.extract(lane);
        }
        y[item] = sum;
    }
}

/// The head of score i.
#[cube]
fn head_of(i: usize, #[comptime] heads: usize, #[comptime] area: usize) -> usize {
    i / area % heads
}

/// `y = x·s[h]`; an item is a score (w,h,i,j).
#[cube(launch_unchecked)]
pub(crate) fn scaled(
    x: &[f32],
    s: &[f32],
    y: &mut [f32],
    items: u32,
    #[comptime] heads: usize,
    #[comptime] area: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = x[i] * s[head_of(i, heads, area)];
    }
}

/// `y = x·s[h]` of integers, x saturated first; an item is a score (w,h,i,j).
#[cube(launch_unchecked)]
pub(crate) fn int_scaled(
    x: &[i32],
    s: &[i16],
    y: &mut [i32],
    items: u32,
    #[comptime] heads: usize,
    #[comptime] area: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        let score = min(max(x[i], -MAX_SCORE), MAX_SCORE);
        y[i] = score * i32::cast_from(s[head_of(i, heads, area)]);
    }
}

/// `y = x·scale + bias (+ mask)`; an item is a score (w,h,i,j). `mask` is any buffer where `masks` is 0.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn bias(
    x: &[f32],
    bias: &[f32],
    mask: &[f32],
    y: &mut [f32],
    scale: f32,
    items: u32,
    #[comptime] heads: usize,
    #[comptime] tokens: usize,
    #[comptime] masks: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = biased(mul(x[i], scale), i, bias, mask, heads, tokens, masks);
    }
}

/// Score i with its bias and its mask, in this order.
#[cube]
fn biased<T: Numeric>(
    score: T,
    i: usize,
    bias: &[T],
    mask: &[T],
    #[comptime] heads: usize,
    #[comptime] tokens: usize,
    #[comptime] masks: usize,
) -> T {
    let area = comptime!(tokens * tokens);
    let all_heads = comptime!(heads * tokens * tokens);
    let mut sum = score + bias[i % all_heads];
    if masks > 0 {
        sum += mask[i / all_heads % masks * area + i % area];
    }
    sum
}

/// `y = x + bias (+ mask)` of integers; an item is a score (w,h,i,j). `mask` is any buffer where `masks` is 0.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn int_bias(
    x: &[i32],
    bias: &[i32],
    mask: &[i32],
    y: &mut [i32],
    items: u32,
    #[comptime] heads: usize,
    #[comptime] tokens: usize,
    #[comptime] masks: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let i = item as usize;
        y[i] = biased(x[i], i, bias, mask, heads, tokens, masks);
    }
}

/// `y[w,i,h,d] = Σ_j p[w,h,i,j]·v[w,j,h,d]`; an item is a vector of channels of a token.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn values<P: Numeric, V: Numeric, A: Numeric, N: Size>(
    p: &[P],
    v: &[Vector<V, N>],
    y: &mut [Vector<A, N>],
    items: u32,
    #[comptime] heads: usize,
    #[comptime] tokens: usize,
    #[comptime] vectors: usize,
    #[comptime] float: bool,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let (token, column) = (item / vectors, item % vectors);
        let (window, i) = (token / tokens, token % tokens);
        let head = column / comptime!(vectors / heads);
        let p_start = ((window * heads + head) * tokens + i) * tokens;
        let v_start = window * tokens * vectors + column;
        let mut acc = Vector::<A, N>::new(A::from_int(0));
        for j in 0..tokens {
            let probability = Vector::<A, N>::new(A::cast_from(p[p_start + j]));
            acc = mul_add::<A, N>(acc, probability, Vector::<A, N>::cast_from(v[v_start + j * vectors]), float);
        }
        y[item] = acc;
    }
}
