//! Fused kernels: what is between their ops stays in a unit's own memory.
//!
//! Extents come twice where they size a unit's own array: loops over it take theirs from an argument (see
//! [`sums`] for why).

use super::{
    integer::{chunk_start, kept, normalised, requantize as requantize_one, row_norm, share, shift_rounded, term},
    linear::{ROWS, sums},
    math::requantize,
    unit_items,
};
use cubecl::prelude::*;
use swint_compiler::plan::Rows;

/// Normalises row `row` of a tensor into `out` from `base` on, in the range `low..=high`.
#[cube]
#[allow(clippy::too_many_arguments)]
fn norm_row<X: Int>(
    x: &[X],
    row: usize,
    map: &[i32],
    gamma: &[i16],
    beta: &[i32],
    mantissa: i32,
    shift: i32,
    epsilon: i64,
    out: &mut Array<i16>,
    base: usize,
    chunk: usize,
    parts: usize,
    #[comptime] rows: Rows,
    #[comptime] low: i32,
    #[comptime] high: i32,
) {
    let channels = comptime!(rows.len());
    let keep = kept(row, map, rows);
    let mut sum = 0i32;
    let mut squares = 0i64;
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            let value = i32::cast_from(x[start + c]);
            sum += value;
            squares += i64::cast_from(value * value);
        }
    }
    let norm = row_norm(sum, squares, epsilon, channels);
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            let i = p * chunk + c;
            let acc = normalised(&norm, i32::cast_from(x[start + c]), gamma[i], beta[i], channels);
            let mut q = requantize_one(acc, mantissa, shift, low, high);
            if comptime!(rows.padded) {
                q *= keep;
            }
            out[base + i] = i16::cast_from(q);
        }
    }
}

/// Requantizes row `row` of a tensor into `out` from `base` on, to 8 bits.
#[cube]
#[allow(clippy::too_many_arguments)]
fn cast_row<X: Int>(
    x: &[X],
    row: usize,
    map: &[i32],
    mantissa: i32,
    shift: i32,
    out: &mut Array<i16>,
    base: usize,
    chunk: usize,
    parts: usize,
    #[comptime] rows: Rows,
) {
    let keep = kept(row, map, rows);
    for p in 0..parts {
        let start = chunk_start(row * parts + p, map, chunk, rows);
        for c in 0..chunk {
            let mut q = requantize_one(i32::cast_from(x[start + c]), mantissa, shift, -128i32, 127i32);
            if comptime!(rows.padded) {
                q *= keep;
            }
            out[base + p * chunk + c] = i16::cast_from(q);
        }
    }
}

/// [`sums`] of [`ROWS`] rows that a unit holds.
#[cube]
fn own_sums<N: Size>(
    x: &Array<i16>,
    w: &[Vector<i8, N>],
    column: usize,
    k: usize,
    vectors: usize,
) -> Array<Vector<i32, N>> {
    let mut acc = Array::<Vector<i32, N>>::new(ROWS);
    #[unroll]
    for r in 0..ROWS {
        acc[r] = Vector::new(0i32);
    }
    for i in 0..k {
        let weight = Vector::<i32, N>::cast_from(w[i * vectors + column]);
        #[unroll]
        for r in 0..ROWS {
            acc[r] += Vector::<i32, N>::new(i32::cast_from(x[r * k + i])) * weight;
        }
    }
    acc
}

/// The elements of a vector, by a table if there is one; `table_low` is the value of its entry 0.
#[cube]
fn looked_up<Y: Int, N: Size>(
    q: Vector<i32, N>,
    table: &[Y],
    #[comptime] width: usize,
    #[comptime] has_table: bool,
    #[comptime] table_low: i32,
) -> Vector<Y, N> {
    let mut y = Vector::<Y, N>::cast_from(q);
    if comptime!(has_table) {
        #[unroll]
        for lane in 0..width {
            y.insert(lane, table[(q.extract(lane) - table_low) as usize]);
        }
    }
    y
}

/// LayerNorm or, if not `normed`, requantization, then linear and table; an item is [`ROWS`] rows of results. `bias`, `table`, `map`, γ and β
/// are any buffers where there is none.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn norm_linear<X: Int, Y: Int, N: Size>(
    x: &[X],
    gamma: &[i16],
    beta: &[i32],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    w: &[Vector<i8, N>],
    bias: &[Vector<i32, N>],
    mantissas: &[Vector<i32, N>],
    shifts: &[Vector<i32, N>],
    table: &[Y],
    map: &[i32],
    y: &mut [Vector<Y, N>],
    epsilon: i64,
    rows: u32,
    tile: u32,
    chunk: u32,
    parts: u32,
    vectors: u32,
    items: u32,
    #[comptime] source: Rows,
    #[comptime] normed: bool,
    #[comptime] width: usize,
    #[comptime] has_bias: bool,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] has_table: bool,
    #[comptime] table_low: i32,
    #[comptime] per_unit: u32,
) {
    let (chunk, parts, vectors) = (chunk as usize, parts as usize, vectors as usize);
    let k = comptime!(source.len());
    let mut own = Array::<i16>::new(comptime!(ROWS * k));
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let row = item as usize * ROWS;
        let last = rows as usize - 1;
        for r in 0..tile as usize {
            let from = min(row + r, last);
            let (mantissa, shift) = (norm_mantissa[0], norm_shift[0]);
            if normed {
                norm_row::<X>(
                    x,
                    from,
                    map,
                    gamma,
                    beta,
                    mantissa,
                    shift,
                    epsilon,
                    &mut own,
                    r * k,
                    chunk,
                    parts,
                    source,
                    -128i32,
                    127i32,
                );
            } else {
                cast_row::<X>(x, from, map, mantissa, shift, &mut own, r * k, chunk, parts, source);
            }
        }
        for column in 0..vectors {
            let acc = own_sums::<N>(&own, w, column, chunk * parts, vectors);
            #[unroll]
            for r in 0..ROWS {
                if row + r <= last {
                    let mut sum = acc[r];
                    if has_bias {
                        sum += bias[column];
                    }
                    let q = requantize::<N>(sum, mantissas[column], shifts[column], low, high);
                    y[(row + r) * vectors + column] = looked_up::<Y, N>(q, table, width, has_table, table_low);
                }
            }
        }
    }
}

/// `requantize(r) + y`, saturating at 16 bits.
#[cube]
fn residual<R: Int, N: Size>(
    r: Vector<R, N>,
    mantissa: Vector<i32, N>,
    shift: Vector<i32, N>,
    y: Vector<i32, N>,
) -> Vector<i16, N> {
    let r = requantize::<N>(Vector::cast_from(r), mantissa, shift, -32768i32, 32767i32);
    let sum = max(r + y, Vector::new(-32768i32));
    Vector::cast_from(min(sum, Vector::new(32767i32)))
}

/// A linear and the residual stream; an item is [`ROWS`] rows of one vector of results. `map` is any buffer where nothing
/// is moved.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn linear_residual<X: Int, R: Int, N: Size>(
    x: &[X],
    w: &[Vector<i8, N>],
    bias: &[Vector<i32, N>],
    mantissas: &[Vector<i32, N>],
    shifts: &[Vector<i32, N>],
    r: &[Vector<R, N>],
    r_mantissas: &[Vector<i32, N>],
    r_shifts: &[Vector<i32, N>],
    map: &[i32],
    y: &mut [Vector<i16, N>],
    rows: u32,
    k: u32,
    items: u32,
    #[comptime] source: Rows,
    #[comptime] vectors: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let (row, column) = (item as usize / vectors * ROWS, item as usize % vectors);
        let (last, k) = (rows as usize - 1, k as usize);
        let mut start = Array::<usize>::new(ROWS);
        #[unroll]
        for i in 0..ROWS {
            start[i] = chunk_start(min(row + i, last), map, k, source);
        }
        let acc = sums::<X, i8, i32, N>(x, w, &start, column, k, vectors, false);
        #[unroll]
        for i in 0..ROWS {
            if row + i <= last {
                let at = (row + i) * vectors + column;
                let q = requantize::<N>(acc[i] + bias[column], mantissas[column], shifts[column], -32768i32, 32767i32);
                y[at] = residual::<R, N>(r[at], r_mantissas[column], r_shifts[column], q);
            }
        }
    }
}

/// A whole MLP; an item is [`ROWS`] rows. `H` is as wide a vector as divides the hidden width. `table` is any buffer where
/// there is none.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn mlp<X: Int, T: Int, H: Size, N: Size>(
    x: &[X],
    gamma: &[i16],
    beta: &[i32],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    w1: &[Vector<i8, H>],
    bias1: &[Vector<i32, H>],
    mantissas1: &[Vector<i32, H>],
    shifts1: &[Vector<i32, H>],
    table: &[T],
    w2: &[Vector<i8, N>],
    bias2: &[Vector<i32, N>],
    mantissas2: &[Vector<i32, N>],
    shifts2: &[Vector<i32, N>],
    r: &[Vector<X, N>],
    r_mantissas: &[Vector<i32, N>],
    r_shifts: &[Vector<i32, N>],
    y: &mut [Vector<i16, N>],
    epsilon: i64,
    rows: u32,
    tile: u32,
    channels: u32,
    vectors: u32,
    hidden_channels: u32,
    hidden_vectors: u32,
    items: u32,
    #[comptime] k: usize,
    #[comptime] hidden: usize,
    #[comptime] hidden_width: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] has_table: bool,
    #[comptime] per_unit: u32,
) {
    let (channels, vectors) = (channels as usize, vectors as usize);
    let (hidden_channels, hidden_vectors) = (hidden_channels as usize, hidden_vectors as usize);
    let mut own = Array::<i16>::new(comptime!(ROWS * k));
    let mut activations = Array::<i16>::new(comptime!(ROWS * hidden));
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let row = item as usize * ROWS;
        let last = rows as usize - 1;
        for i in 0..tile as usize {
            norm_row::<X>(
                x,
                min(row + i, last),
                // There is no map.
                beta,
                gamma,
                beta,
                norm_mantissa[0],
                norm_shift[0],
                epsilon,
                &mut own,
                i * k,
                channels,
                1usize,
                comptime!(Rows::plain(k)),
                -128i32,
                127i32,
            );
        }
        for column in 0..hidden_vectors {
            let acc = own_sums::<H>(&own, w1, column, channels, hidden_vectors);
            #[unroll]
            for i in 0..ROWS {
                let q = requantize::<H>(acc[i] + bias1[column], mantissas1[column], shifts1[column], low, high);
                #[unroll]
                for lane in 0..hidden_width {
                    let mut value = i16::cast_from(q.extract(lane));
                    if has_table {
                        value = i16::cast_from(table[(q.extract(lane) - low) as usize]);
                    }
                    activations[i * hidden + column * hidden_width + lane] = value;
                }
            }
        }
        for column in 0..vectors {
            let acc = own_sums::<N>(&activations, w2, column, hidden_channels, vectors);
            #[unroll]
            for i in 0..ROWS {
                if row + i <= last {
                    let at = (row + i) * vectors + column;
                    let sum = acc[i] + bias2[column];
                    let q = requantize::<N>(sum, mantissas2[column], shifts2[column], -32768i32, 32767i32);
                    y[at] = residual::<X, N>(r[at], r_mantissas[column], r_shifts[column], q);
                }
            }
        }
    }
}

/// Probabilities in the place of so many scores from `from` on.
#[cube]
pub(super) fn softmax(
    scores: &mut Array<i32>,
    from: usize,
    tokens: usize,
    largest: i32,
    table: &[i32],
    mantissa: i32,
    shift: i32,
) {
    let mut sum = 0u64;
    for j in 0..tokens {
        let e = term(scores[from + j], largest, table, mantissa, shift);
        scores[from + j] = e;
        sum += u64::cast_from(e);
    }
    let reciprocal = i64::cast_from(share(u32::cast_from(sum)));
    for j in 0..tokens {
        let e = i64::cast_from(scores[from + j]);
        scores[from + j] = i32::cast_from(shift_rounded(e * reciprocal, 30u64));
    }
}

/// Attention of one token in one head of a window: scores, bias, mask, softmax, values. `N` divides a head's channels; `mask`
/// is any buffer where `masks` is 0.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn window_attention<Y: Int, N: Size>(
    qkv: &[Vector<i8, N>],
    bias: &[i32],
    mask: &[i32],
    table: &[i32],
    exponent_mantissa: &[i32],
    exponent_shift: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [Vector<Y, N>],
    tokens: u32,
    items: u32,
    #[comptime] heads: usize,
    #[comptime] longest: usize,
    #[comptime] width: usize,
    #[comptime] head_vectors: usize,
    #[comptime] masks: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let mut scores = Array::<i32>::new(longest);
    let tokens = tokens as usize;
    // Vectors of one of q, k and v, and of all three.
    let third = comptime!(heads * head_vectors);
    let stride = comptime!(3 * heads * head_vectors);
    let area = tokens * tokens;
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        // Heads of a token follow each other, so that a unit writes what follows, too.
        let (token, head) = (item / heads, item % heads);
        // `longest` is `tokens`: where a divisor is not known at compile time, NVIDIA's code takes a float reciprocal.
        let (window, i) = (token / longest, token % longest);
        let q_start = token * stride + head * head_vectors;
        let k_start = window * tokens * stride + third + head * head_vectors;
        let bias_start = (head * tokens + i) * tokens;
        let mut largest = i32::MIN.runtime();
        for j in 0..tokens {
            let mut acc = Vector::<i32, N>::new(0i32);
            for d in 0..head_vectors {
                let key = Vector::<i32, N>::cast_from(qkv[k_start + j * stride + d]);
                acc += Vector::<i32, N>::cast_from(qkv[q_start + d]) * key;
            }
            let mut score = bias[bias_start + j];
            #[unroll]
            for lane in 0..width {
                score += acc.extract(lane);
            }
            if masks > 0 {
                score += mask[window % masks * area + i * tokens + j];
            }
            scores[j] = score;
            largest = max(largest, score);
        }
        softmax(&mut scores, 0usize, tokens, largest, table, exponent_mantissa[0], exponent_shift[0]);
        let v_start = k_start + third;
        for d in 0..head_vectors {
            let mut acc = Vector::<i32, N>::new(0i32);
            for j in 0..tokens {
                let value = Vector::<i32, N>::cast_from(qkv[v_start + j * stride + d]);
                acc += Vector::<i32, N>::new(scores[j]) * value;
            }
            let q = requantize::<N>(acc, Vector::new(mantissa[0]), Vector::new(shift[0]), low, high);
            y[token * third + head * head_vectors + d] = Vector::cast_from(q);
        }
    }
}

/// A linear and a LayerNorm of its results; an item is [`ROWS`] rows. `map` is any buffer where nothing is moved.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn linear_norm<X: Int, N: Size>(
    x: &[X],
    w: &[Vector<i8, N>],
    bias: &[Vector<i32, N>],
    mantissas: &[Vector<i32, N>],
    shifts: &[Vector<i32, N>],
    gamma: &[i16],
    beta: &[i32],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    map: &[i32],
    y: &mut [i16],
    epsilon: i64,
    rows: u32,
    tile: u32,
    chunk: u32,
    parts: u32,
    vectors: u32,
    items: u32,
    #[comptime] source: Rows,
    #[comptime] n: usize,
    #[comptime] width: usize,
    #[comptime] per_unit: u32,
) {
    let (chunk, parts, vectors) = (chunk as usize, parts as usize, vectors as usize);
    let tile = tile as usize;
    let k = comptime!(source.len());
    let mut own = Array::<i16>::new(comptime!(ROWS * k));
    let mut results = Array::<i32>::new(comptime!(ROWS * n));
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let row = item as usize * ROWS;
        let last = rows as usize - 1;
        for r in 0..tile {
            for p in 0..parts {
                let start = chunk_start(min(row + r, last) * parts + p, map, chunk, source);
                for c in 0..chunk {
                    own[r * k + p * chunk + c] = i16::cast_from(x[start + c]);
                }
            }
        }
        for column in 0..vectors {
            let acc = own_sums::<N>(&own, w, column, chunk * parts, vectors);
            #[unroll]
            for r in 0..ROWS {
                let sum = acc[r] + bias[column];
                let q = requantize::<N>(sum, mantissas[column], shifts[column], -32768i32, 32767i32);
                #[unroll]
                for lane in 0..width {
                    results[r * n + column * width + lane] = q.extract(lane);
                }
            }
        }
        for r in 0..tile {
            if row + r <= last {
                let mut sum = 0i32;
                let mut squares = 0i64;
                for c in 0..vectors * width {
                    let value = results[r * n + c];
                    sum += value;
                    squares += i64::cast_from(value * value);
                }
                let norm = row_norm(sum, squares, epsilon, n);
                for c in 0..vectors * width {
                    let acc = normalised(&norm, results[r * n + c], gamma[c], beta[c], n);
                    let q = requantize_one(acc, norm_mantissa[0], norm_shift[0], -32768i32, 32767i32);
                    y[(row + r) * n + c] = i16::cast_from(q);
                }
            }
        }
    }
}

/// LayerNorm of every token, their mean, a linear; an item is an image.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn head<X: Int, Y: Int, N: Size>(
    x: &[X],
    gamma: &[i16],
    beta: &[i32],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    mean_mantissa: &[i32],
    mean_shift: &[i32],
    w: &[Vector<i8, N>],
    bias: &[Vector<i32, N>],
    mantissas: &[Vector<i32, N>],
    shifts: &[Vector<i32, N>],
    y: &mut [Vector<Y, N>],
    epsilon: i64,
    tokens: u32,
    channels: u32,
    vectors: u32,
    items: u32,
    #[comptime] k: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let (tokens, channels, vectors) = (tokens as usize, channels as usize, vectors as usize);
    let mut own = Array::<i16>::new(k);
    let mut sums = Array::<i32>::new(k);
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        for c in 0..channels {
            sums[c] = 0i32;
        }
        for t in 0..tokens {
            norm_row::<X>(
                x,
                item as usize * tokens + t,
                // There is no map.
                beta,
                gamma,
                beta,
                norm_mantissa[0],
                norm_shift[0],
                epsilon,
                &mut own,
                0usize,
                channels,
                1usize,
                comptime!(Rows::plain(k)),
                -32768i32,
                32767i32,
            );
            for c in 0..channels {
                sums[c] += i32::cast_from(own[c]);
            }
        }
        for c in 0..channels {
            sums[c] = requantize_one(sums[c], mean_mantissa[0], mean_shift[0], -128i32, 127i32);
        }
        for column in 0..vectors {
            let mut acc = bias[column];
            for i in 0..channels {
                acc += Vector::<i32, N>::new(sums[i]) * Vector::<i32, N>::cast_from(w[i * vectors + column]);
            }
            let q = requantize::<N>(acc, mantissas[column], shifts[column], low, high);
            y[item as usize * vectors + column] = Vector::cast_from(q);
        }
    }
}
