//! Rows of integers: LayerNorm, softmax. Operation for operation as `swint_ir::arith::layer_norm` and `softmax`.

use super::unit_items;
use cubecl::prelude::*;
use swint_compiler::plan::Rows;
use swint_ir::arith::{layer_norm::NORM_BITS, softmax::EXPONENT_BITS};

/// `⌊v / 2^shift + 1/2⌋` for |v| ≤ 2^62 and a shift of at least 1.
///
/// As in `math::requantize`, v is raised by 2^62: shifts of signed integers are not the same on every backend.
#[cube]
pub(super) fn shift_rounded(v: i64, shift: u64) -> i64 {
    let raise = comptime!(1u64 << 62);
    let raised = u64::cast_from(v) + (1u64 << (shift - 1u64)) + raise;
    i64::cast_from((raised >> shift) - (raise >> shift))
}

/// `swint_ir::arith::Multiplier::requantize` of one value.
#[cube]
pub(super) fn requantize(acc: i32, mantissa: i32, shift: i32, #[comptime] low: i32, #[comptime] high: i32) -> i32 {
    let q = shift_rounded(i64::cast_from(acc) * i64::cast_from(mantissa), u64::cast_from(shift));
    i32::cast_from(min(max(q, comptime!(low as i64)), comptime!(high as i64)))
}

/// `⌊√v⌋` for v in `[2^60, 2^62)` and `min(⌊2^61 / ⌊√v⌋⌋, 2^31 − 1)`.
///
/// Newton's iteration `y ← y·(3 − m·y²)/2` towards `1/√m`, for `m = v/2^62`, then for each of the two one step from its exact
/// residual, which leaves an error of at most 1, and the exact residual again. (Integer division and root by Newton's iteration:
/// Brent & Zimmermann, *Modern Computer Arithmetic*, 1.5.) NVIDIA's machine code for `/` goes through a floating-point reciprocal.
#[cube]
pub(super) fn root_and_reciprocal(v: u64) -> (u64, i32) {
    // m with 32 bits of fraction; y in (1, 2] with 30. The line is off by less than 9 %, and three steps square that thrice.
    let m = u32::cast_from(v >> 30u64);
    let mut y = 2_287_070_085u32 - m.mul_hi(1_299_227_607u32);
    #[unroll]
    for _ in 0..3 {
        let rest = comptime!(3u32 << 28) - m.mul_hi(y.mul_hi(y));
        y = y.mul_hi(rest << 2u32) << 1u32;
    }
    let y = i32::cast_from(min(y, comptime!(i32::MAX as u32)));
    let mut root = i64::cast_from(m.mul_hi(u32::cast_from(y)) << 1u32);
    let wide = i64::cast_from(v);
    root += i64::cast_from(i32::cast_from((wide - root * root) >> 8i64).mul_hi(y) >> 22i32);
    if root * root > wide {
        root -= 1i64;
    }
    if (root + 1i64) * (root + 1i64) <= wide {
        root += 1i64;
    }
    let one = comptime!(1i64 << 61).runtime();
    let mut reciprocal = u32::cast_from(y);
    reciprocal += u32::cast_from(i32::cast_from((one - root * i64::cast_from(y)) >> 8i64).mul_hi(y) >> 21i32);
    let rest = one - root * i64::cast_from(reciprocal);
    if rest < 0i64 {
        reciprocal -= 1u32;
    }
    if rest >= root {
        reciprocal += 1u32;
    }
    (u64::cast_from(root), i32::cast_from(min(reciprocal, comptime!(i32::MAX as u32))))
}

/// `⌊255·2^30 / sum⌋` for a sum in `[2^15, 2^31)`, by Newton's iteration `y ← y·(2 − m·y)` towards `1/m`, for m the sum as a
/// fraction in `[1/2, 1)`, and the exact residual.
#[cube]
pub(super) fn share(sum: u32) -> i32 {
    let zeros = sum.leading_zeros();
    let m = sum << zeros;
    // 48/17 − 32/17·m is off by at most 1/17.
    let mut y = 3_031_741_620u32 - m.mul_hi(2_021_161_080u32);
    #[unroll]
    for _ in 0..3 {
        y = y.mul_hi(comptime!(2u32 << 30) - m.mul_hi(y)) << 2u32;
    }
    let mut quotient = y.mul_hi(255u32 << zeros);
    let rest = comptime!(255i64 << 30) - i64::cast_from(quotient) * i64::cast_from(sum);
    if rest < 0i64 {
        quotient -= 1u32;
    }
    if rest >= i64::cast_from(sum) {
        quotient += 1u32;
    }
    i32::cast_from(quotient)
}

/// Where the rows of a kernel begin: chunk `c` of a tensor, or the one that an index map takes for it, which is any where it takes
/// nothing. `map` is any buffer where nothing is moved.
#[cube]
pub(super) fn chunk_start(c: usize, map: &[i32], chunk: usize, #[comptime] rows: Rows) -> usize {
    let mut source = c;
    if comptime!(rows.period > 0) {
        let mut moved = map[c % comptime!(rows.period)];
        if comptime!(rows.padded) {
            moved = max(moved, 0i32);
        }
        source = c / comptime!(rows.period) * comptime!(rows.from) + moved as usize;
    }
    source * chunk
}

/// What chunk `c` is multiplied by: 0 where an index map takes nothing for it, else 1.
#[cube]
pub(super) fn kept(c: usize, map: &[i32], #[comptime] rows: Rows) -> i32 {
    let mut keep = 1i32;
    if comptime!(rows.padded) {
        keep = select(map[c % comptime!(rows.period)] < 0i32, 0i32, 1i32);
    }
    keep
}

/// `swint_ir::arith::layer_norm::RowNorm`, for products of which only the upper 32 bits are taken.
#[derive(CubeType, Clone, Copy)]
pub(super) struct RowNorm {
    pub(super) sum: i32,
    pub(super) reciprocal: i32,
    pub(super) lift: i32,
    pub(super) shift: i32,
}

/// `v·2^(2·pairs)` in `[2^60, 2^62)`, and pairs: an even shift, so that the root is shifted by half as much. v is positive and below
/// 2^62.
#[cube]
pub(super) fn lifted(v: u64) -> (u64, u32) {
    let mut zeros = u32::cast_from(v >> 32u64).leading_zeros();
    if zeros == 32u32 {
        zeros += u32::cast_from(v).leading_zeros();
    }
    let pairs = (zeros - 2u32) >> 1u32;
    (v << u64::cast_from(pairs << 1u32), pairs)
}

/// `RowNorm::of` for a row from its sum and its sum of squares.
///
/// With `half` as there, the normalised value is `d·reciprocal / 2^(51 − half)`, and `V·2^(2·half) < 2^62` bounds
/// `|d| ≤ √(C·V) < 2^(38 − half)`: lifted by `half − 7` bits, d still fits in 32, and the product is shifted by at least 33.
#[cube]
pub(super) fn row_norm(sum: i32, squares: i64, epsilon: i64, #[comptime] channels: usize) -> RowNorm {
    let wide = i64::cast_from(sum);
    let variance = comptime!(channels as i64) * squares - wide * wide;
    let mut v = u64::cast_from(variance) + (u64::cast_from(epsilon) >> 16u64);
    let mut half = 0i32;
    if variance < comptime!(1i64 << 44) {
        v = (u64::cast_from(variance) << 16u64) + u64::cast_from(epsilon);
        half = 8i32;
    }
    let (v, pairs) = lifted(v);
    half += i32::cast_from(pairs);
    let (_, reciprocal) = root_and_reciprocal(v);
    let lift = max(half - 7i32, 0i32);
    RowNorm { sum, reciprocal, lift, shift: comptime!(29 - NORM_BITS as i32) - half + lift }
}

/// `RowNorm::apply`, times γ, plus β.
///
/// A value is at most `√(C−1)` deviations from its row's mean, so that of fewer than 1024 channels none is beyond
/// `2^10·√1022 + 2 < 2^15` and must be clamped.
#[cube]
pub(super) fn normalised(norm: &RowNorm, x: i32, gamma: i16, beta: i32, #[comptime] channels: usize) -> i32 {
    // The lift is of what does not change along the row.
    let d = x * (comptime!(channels as i32) << norm.lift) - (norm.sum << norm.lift);
    let mut n = (d.mul_hi(norm.reciprocal) + (1i32 << (norm.shift - 1i32))) >> norm.shift;
    if comptime!(channels >= 1024) {
        n = min(max(n, -32767i32), 32767i32);
    }
    n * i32::cast_from(gamma) + beta
}

/// [`row_norm`] of so many channels from `start` on.
#[cube]
pub(super) fn norm_of<X: Int>(x: &[X], start: usize, epsilon: i64, #[comptime] channels: usize) -> RowNorm {
    let mut sum = 0i32;
    let mut squares = 0i64;
    for c in 0..channels {
        let value = i32::cast_from(x[start + c]);
        sum += value;
        squares += i64::cast_from(value * value);
    }
    row_norm(sum, squares, epsilon, channels)
}

/// An item is a row. The result is requantized to the range `low..=high`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn q_layer_norm<X: Int, Y: Int>(
    x: &[X],
    gamma: &[i16],
    beta: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [Y],
    epsilon: i64,
    items: u32,
    #[comptime] channels: usize,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = item as usize * channels;
        let norm = norm_of(x, start, epsilon, channels);
        for c in 0..channels {
            let acc = normalised(&norm, i32::cast_from(x[start + c]), gamma[c], beta[c], channels);
            y[start + c] = Y::cast_from(requantize(acc, mantissa[0], shift[0], low, high));
        }
    }
}

/// An item is a row of `n`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn q_softmax(
    x: &[i32],
    table: &[i32],
    mantissa: &[i32],
    shift: &[i32],
    y: &mut [u8],
    items: u32,
    #[comptime] n: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let start = item as usize * n;
        let mut largest = x[start];
        for i in 0..n {
            largest = max(largest, x[start + i]);
        }
        let mut sum = 0u64;
        for i in 0..n {
            sum += u64::cast_from(term(x[start + i], largest, table, mantissa[0], shift[0]));
        }
        // The largest term is 2^15, and a row has at most 2^15.
        let reciprocal = i64::cast_from(share(u32::cast_from(sum)));
        for i in 0..n {
            // The terms are made a second time rather than kept: 8 bits of the result do not hold them.
            let e = i64::cast_from(term(x[start + i], largest, table, mantissa[0], shift[0]));
            y[start + i] = u8::cast_from(shift_rounded(e * reciprocal, 30u64));
        }
    }
}

/// `swint_ir::arith::softmax::exp2` of the requantized distance from the maximum.
#[cube]
pub(super) fn term(x: i32, largest: i32, table: &[i32], mantissa: i32, shift: i32) -> i32 {
    let distance = min(i64::cast_from(largest) - i64::cast_from(x), comptime!(i32::MAX as i64));
    let u = shift_rounded(distance * i64::cast_from(mantissa), u64::cast_from(shift));
    let u = u32::cast_from(min(u, comptime!(16i64 << EXPONENT_BITS)));
    let entry = u32::cast_from(table[(u & 255u32) as usize]);
    i32::cast_from(entry >> (u >> comptime!(EXPONENT_BITS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cubecl::Device;
    use swint_ir::{
        arith::{layer_norm, softmax},
        random::Rng,
    };

    #[cube(launch_unchecked)]
    fn roots(v: &[u64], root: &mut [u64], reciprocal: &mut [i32], #[comptime] n: usize) {
        if ABSOLUTE_POS < n {
            let (a, b) = root_and_reciprocal(v[ABSOLUTE_POS]);
            root[ABSOLUTE_POS] = a;
            reciprocal[ABSOLUTE_POS] = b;
        }
    }

    #[cube(launch_unchecked)]
    fn shares(sums: &[u32], out: &mut [i32], #[comptime] n: usize) {
        if ABSOLUTE_POS < n {
            out[ABSOLUTE_POS] = share(sums[ABSOLUTE_POS]);
        }
    }

    /// Squares and their neighbours, the ends of the range, and anything between.
    #[test]
    fn roots_and_reciprocals_are_exact() {
        let mut rng = Rng::with_seed(5);
        let near = |r: u64| [r * r - 1, r * r, r * r + 1];
        let mut v: Vec<u64> = (0..20_000).flat_map(|_| near(rng.u64((1 << 30) + 1..1 << 31))).collect();
        v.extend((0..60_000).map(|_| rng.u64(1 << 60..1 << 62)));
        v.extend([1 << 60, (1 << 60) + 1, (1 << 61) - 1, 1 << 61, (1 << 62) - 1]);
        let (client, n) = (Device::cpu().unwrap().client(), v.len());
        let bytes: Vec<u8> = v.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (input, root) = (client.create_from_slice(&bytes), client.empty(8 * n));
        let reciprocal = client.empty(4 * n);
        let (count, dim) = (CubeCount::Static(n.div_ceil(2) as u32, 1, 1), CubeDim::new_1d(2));
        // SAFETY: the buffers have n elements each.
        let argument = |handle: &cubecl_core::server::Handle, bytes: usize| unsafe {
            BufferArg::from_raw_parts(handle.clone(), bytes)
        };
        unsafe {
            roots::launch_unchecked(
                &client,
                count,
                dim,
                argument(&input, 8 * n),
                argument(&root, 8 * n),
                argument(&reciprocal, 4 * n),
                n,
            );
        }
        let (root, reciprocal) = (client.read_one(root).unwrap(), client.read_one(reciprocal).unwrap());
        for (i, v) in v.into_iter().enumerate() {
            let found = u64::from_le_bytes(root[8 * i..8 * i + 8].try_into().unwrap());
            assert_eq!(found, layer_norm::root(v), "{v}");
            let found_reciprocal = i32::from_le_bytes(reciprocal[4 * i..4 * i + 4].try_into().unwrap());
            assert_eq!(found_reciprocal as u64, ((1 << 61) / found).min(i32::MAX as u64), "{v}");
        }
    }

    #[test]
    fn shares_are_exact() {
        let mut rng = Rng::with_seed(6);
        let mut sums: Vec<u32> = (0..40_000).map(|_| rng.u64(1 << 15..1 << 31) as u32 >> rng.u64(0..10)).collect();
        sums.extend((15..31).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        sums.retain(|&sum| sum >= 1 << 15);
        sums.push(i32::MAX as u32);
        let (client, n) = (Device::cpu().unwrap().client(), sums.len());
        let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let (input, out) = (client.create_from_slice(&bytes), client.empty(4 * n));
        let (count, dim) = (CubeCount::Static(n.div_ceil(2) as u32, 1, 1), CubeDim::new_1d(2));
        // SAFETY: the buffers have n elements each.
        unsafe {
            let (from, to) = (input.clone(), out.clone());
            let (from, to) = (BufferArg::from_raw_parts(from, 4 * n), BufferArg::from_raw_parts(to, 4 * n));
            shares::launch_unchecked(&client, count, dim, from, to, n);
        }
        let found = client.read_one(out).unwrap();
        assert!(softmax::MAX_ROW as u64 * (1 << 15) < 1 << 31, "no sum is larger");
        for (i, sum) in sums.into_iter().enumerate() {
            let found = i32::from_le_bytes(found[4 * i..4 * i + 4].try_into().unwrap());
            assert_eq!(found as u64, (255u64 << 30) / sum as u64, "{sum}");
        }
    }
}
