//! Linears on weights packed `[k,n]`.

use super::unit_items;
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
    items: u32,
    #[comptime] k: usize,
    #[comptime] vectors: usize,
    #[comptime] has_bias: bool,
    #[comptime] float: bool,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let column = item % vectors;
        let row = item / vectors * ROWS;
        let last = rows as usize - 1;
        let mut acc = Array::<Vector<A, N>>::new(ROWS);
        let mut start = Array::<usize>::new(ROWS);
        #[unroll]
        for r in 0..ROWS {
            acc[r] = Vector::new(A::from_int(0));
            // Rows past the end repeat the last: loads stay inside, and nothing is stored.
            start[r] = min(row + r, last) * k;
        }
        for i in 0..k {
            let weight = Vector::<A, N>::cast_from(w[i * vectors + column]);
            #[unroll]
            for r in 0..ROWS {
                let value = Vector::<A, N>::new(A::cast_from(x[start[r] + i]));
                acc[r] = mul_add::<A, N>(acc[r], value, weight, float);
            }
        }
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
