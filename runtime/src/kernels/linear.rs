//! Linears on weights packed `[k,n]`.

use super::{math::requantize, unit_items};
use cubecl::prelude::*;

/// `acc + a · b`. Floats: product and sum are rounded apart. Integers: exact, for bounds on the length of a sum exclude
/// overflow.
#[cube]
pub(crate) fn mul_add<A: Numeric, N: Size>(
    acc: Vector<A, N>,
    a: Vector<A, N>,
    b: Vector<A, N>,
    #[comptime] float: bool,
) -> Vector<A, N> {
    if comptime!(float) {
        // As `math::mul`.
        acc + fma(a, b, Vector::new(A::cast_from(-0.0f32)))
    } else {
        acc + a * b
    }
}

/// Rows that a unit computes at once: each weight that it loads serves as many.
pub(crate) const ROWS: usize = 4;

/// Where [`ROWS`] rows of `k` elements begin, from `row` on. Rows past the last repeat it.
#[cube]
fn starts(row: usize, last: usize, k: usize) -> Array<usize> {
    let mut start = Array::<usize>::new(ROWS);
    #[unroll]
    for r in 0..ROWS {
        start[r] = min(row + r, last) * k;
    }
    start
}

/// Sums of [`ROWS`] rows that begin at `start`, for one vector of results.
///
/// `k` is no constant of the code: cubecl has a loop of a constant number of steps over an array of a unit's own unrolled
/// completely, and thousands of steps take minutes to compile.
#[cube]
pub(super) fn sums<X: Numeric, W: Numeric, A: Numeric, N: Size>(
    x: &[X],
    w: &[Vector<W, N>],
    start: &Array<usize>,
    column: usize,
    k: usize,
    #[comptime] vectors: usize,
    #[comptime] float: bool,
) -> Array<Vector<A, N>> {
    let mut acc = Array::<Vector<A, N>>::new(ROWS);
    #[unroll]
    for r in 0..ROWS {
        acc[r] = Vector::new(A::from_int(0));
    }
    for i in 0..k {
        let weight = Vector::<A, N>::cast_from(w[i * vectors + column]);
        #[unroll]
        for r in 0..ROWS {
            let value = Vector::<A, N>::new(A::cast_from(x[start[r] + i]));
            acc[r] = mul_add::<A, N>(acc[r], value, weight, float);
        }
    }
    acc
}

/// `y[r,n] = Σₖ x[r,k]·w[k,n] (+ bias[n])`. An item is [`ROWS`] rows of one vector of results; `bias` is any buffer where
/// there is none.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn linear<X: Numeric, W: Numeric, A: Numeric, N: Size>(
    x: &[X],
    w: &[Vector<W, N>],
    bias: &[Vector<A, N>],
    y: &mut [Vector<A, N>],
    rows: u32,
    k: u32,
    items: u32,
    #[comptime] vectors: usize,
    #[comptime] has_bias: bool,
    #[comptime] float: bool,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let (row, column) = (item as usize / vectors * ROWS, item as usize % vectors);
        let (last, k) = (rows as usize - 1, k as usize);
        let acc = sums::<X, W, A, N>(x, w, &starts(row, last, k), column, k, vectors, float);
        #[unroll]
        for r in 0..ROWS {
            if row + r <= last {
                if has_bias {
                    y[(row + r) * vectors + column] = acc[r] + bias[column];
                } else {
                    y[(row + r) * vectors + column] = acc[r];
                }
            }
        }
    }
}

/// [`linear`] on integers, with its sums requantized.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn qlinear<X: Int, Y: Int, N: Size>(
    x: &[X],
    w: &[Vector<i8, N>],
    bias: &[Vector<i32, N>],
    mantissas: &[Vector<i32, N>],
    shifts: &[Vector<i32, N>],
    y: &mut [Vector<Y, N>],
    rows: u32,
    k: u32,
    items: u32,
    #[comptime] vectors: usize,
    #[comptime] has_bias: bool,
    #[comptime] low: i32,
    #[comptime] high: i32,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let (row, column) = (item as usize / vectors * ROWS, item as usize % vectors);
        let (last, k) = (rows as usize - 1, k as usize);
        let acc = sums::<X, i8, i32, N>(x, w, &starts(row, last, k), column, k, vectors, false);
        #[unroll]
        for r in 0..ROWS {
            if row + r <= last {
                let mut sum = acc[r];
                if has_bias {
                    sum += bias[column];
                }
                let q = requantize::<N>(sum, mantissas[column], shifts[column], low, high);
                y[(row + r) * vectors + column] = Vector::cast_from(q);
            }
        }
    }
}
