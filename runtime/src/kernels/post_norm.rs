//! Fused kernels of blocks whose norms come last, and whose attention is by cosines: Swin V2.
//!
//! As in [`super::fused`], extents come twice where they size a unit's own array.

use super::{
    fused::softmax,
    integer::{chunk_start, norm_of, normalised, requantize},
    unit::{head_norm, unit},
    unit_items,
};
use cubecl::prelude::*;
use swint_compiler::plan::Rows;
use swint_ir::infer::MAX_SCORE;

/// Queries of an item: a key is made for all of them.
pub(super) const QUERIES: usize = 4;

/// LayerNorm and the residual stream; an item is a row of results. `map` is any buffer where nothing is moved.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn norm_residual<X: Int, R: Int>(
    x: &[X],
    gamma: &[i16],
    beta: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    r: &[R],
    r_mantissas: &[i32],
    r_shifts: &[i32],
    map: &[i32],
    y: &mut [i16],
    epsilon: i64,
    items: u32,
    #[comptime] source: Rows,
    #[comptime] per_unit: u32,
) {
    let channels = comptime!(source.chunk);
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = chunk_start(item as usize, map, channels, source);
        let norm = norm_of(x, start, epsilon, channels);
        for c in 0..channels {
            let at = item as usize * channels + c;
            let acc = normalised(&norm, i32::cast_from(x[start + c]), gamma[c], beta[c], channels);
            let q = requantize(acc, mantissa[0], shift[0], -32768i32, 32767i32);
            let stream = requantize(i32::cast_from(r[at]), r_mantissas[c], r_shifts[c], -32768i32, 32767i32);
            y[at] = i16::cast_from(min(max(q + stream, -32768i32), 32767i32));
        }
    }
}

/// A head of a token at length 1, requantized to 8 bits, into `out` from `base` on.
#[cube]
fn unit_head<X: Int>(
    x: &[X],
    start: usize,
    mantissa: i32,
    shift: i32,
    out: &mut Array<i8>,
    base: usize,
    channels: usize,
) {
    let mut squares = 0i64;
    for c in 0..channels {
        let value = i32::cast_from(x[start + c]);
        squares += i64::cast_from(value * value);
    }
    let norm = head_norm(squares);
    for c in 0..channels {
        let value = unit(&norm, i32::cast_from(x[start + c]));
        out[base + c] = i8::cast_from(requantize(value, mantissa, shift, -128i32, 127i32));
    }
}

/// Cosine attention of [`QUERIES`] tokens in one head of a window, which is an item: q and k at length 1, scores, the head's scale, bias, mask,
/// softmax, values. `mask` is any buffer where `masks` is 0.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn cosine_attention<X: Int, Y: Int>(
    qkv: &[X],
    q_mantissa: &[i32],
    q_shift: &[i32],
    k_mantissa: &[i32],
    k_shift: &[i32],
    v_mantissa: &[i32],
    v_shift: &[i32],
    scales: &[i16],
    bias: &[i32],
    mask: &[i32],
    table: &[i32],
    exponent_mantissa: &[i32],
    exponent_shift: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [Y],
    tokens: u32,
    channels: u32,
    items: u32,
    #[comptime] heads: usize,
    #[comptime] longest: usize,
    #[comptime] widest: usize,
    #[comptime] masks: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let mut queries = Array::<i8>::new(comptime!(QUERIES * widest));
    let mut key = Array::<i8>::new(widest);
    let mut scores = Array::<i32>::new(comptime!(QUERIES * longest));
    let (tokens, channels) = (tokens as usize, channels as usize);
    let third = comptime!(heads * widest);
    let stride = comptime!(3 * heads * widest);
    let blocks = comptime!(longest.div_ceil(QUERIES));
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let (block, head) = (item / heads % blocks, item % heads);
        let window = item / comptime!(heads * blocks);
        let start = window * tokens * stride + head * channels;
        let mut largest = Array::<i32>::new(QUERIES);
        #[unroll]
        for q in 0..QUERIES {
            // Queries past the last are the last one.
            let i = min(block * QUERIES + q, tokens - 1);
            let at = comptime!(q * widest);
            unit_head::<X>(qkv, start + i * stride, q_mantissa[0], q_shift[0], &mut queries, at, channels);
            largest[q] = i32::MIN.runtime();
        }
        for j in 0..tokens {
            unit_head::<X>(qkv, start + j * stride + third, k_mantissa[0], k_shift[0], &mut key, 0usize, channels);
            #[unroll]
            for q in 0..QUERIES {
                let i = min(block * QUERIES + q, tokens - 1);
                let mut sum = 0i32;
                for c in 0..channels {
                    sum += i32::cast_from(queries[comptime!(q * widest) + c]) * i32::cast_from(key[c]);
                }
                sum = min(max(sum, comptime!(-MAX_SCORE)), MAX_SCORE);
                let mut score = sum * i32::cast_from(scales[head]) + bias[(head * tokens + i) * tokens + j];
                if masks > 0 {
                    score += mask[(window % masks * tokens + i) * tokens + j];
                }
                scores[comptime!(q * longest) + j] = score;
                largest[q] = max(largest[q], score);
            }
        }
        #[unroll]
        for q in 0..QUERIES {
            let from = comptime!(q * longest);
            softmax(&mut scores, from, tokens, largest[q], table, exponent_mantissa[0], exponent_shift[0]);
        }
        for c in 0..channels {
            let mut sums = Array::<i32>::new(QUERIES);
            #[unroll]
            for q in 0..QUERIES {
                sums[q] = 0i32;
            }
            for j in 0..tokens {
                let value = i32::cast_from(qkv[start + j * stride + comptime!(2 * third) + c]);
                let value = requantize(value, v_mantissa[0], v_shift[0], -128i32, 127i32);
                #[unroll]
                for q in 0..QUERIES {
                    sums[q] += scores[comptime!(q * longest) + j] * value;
                }
            }
            #[unroll]
            for q in 0..QUERIES {
                let i = block * QUERIES + q;
                if i < tokens {
                    let result = requantize(sums[q], mantissa[0], shift[0], low, high);
                    y[(window * tokens + i) * third + head * channels + c] = Y::cast_from(result);
                }
            }
        }
    }
}
