//! LayerNorm and the residual stream, a vector of channels at a time.

use super::{fixed::requantize_half, norm::norm_row, sums::Own};
use crate::kernels::unit_items;
use cubecl::prelude::*;
use swint_compiler::plan::Rows;

/// `add(requantize(r), qlayer_norm(x))`; an item is a row of results, which has `vectors` of N channels. `map` is any buffer where nothing is moved.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn norm_residual<N: Size>(
    x: &[Vector<i16, N>],
    gamma: &[Vector<i16, N>],
    beta: &[Vector<i32, N>],
    mantissa: &[i32],
    shift: &[i32],
    r: &[Vector<i16, N>],
    r_mantissas: &[Vector<i32, N>],
    r_shifts: &[Vector<i32, N>],
    map: &[i32],
    y: &mut [Vector<i16, N>],
    epsilon: i64,
    vectors: u32,
    items: u32,
    #[comptime] rows: Rows,
    #[comptime] narrow: bool,
    #[comptime] per_unit: u32,
) {
    let vectors = vectors as usize;
    let width = N::value();
    let mut own = Own::<i16, N>::new(comptime!(rows.chunk / width));
    let (mantissa, shift) = (Vector::new(mantissa[0]), Vector::new(shift[0]));
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let row = item as usize;
        norm_row::<i16, i16, N>(
            x,
            row,
            map,
            gamma,
            beta,
            mantissa,
            shift,
            epsilon,
            &mut own,
            0usize,
            vectors,
            1usize,
            rows,
            (-32768i32, 32767i32),
            0i32,
            narrow,
        );
        for v in 0..vectors {
            let at = row * vectors + v;
            let stream = Vector::<i32, N>::cast_from(r[at]);
            let sum =
                Vector::<i32, N>::cast_from(own[v]) + requantize_half(stream, r_mantissas[v], r_shifts[v], narrow);
            y[at] = Vector::cast_from(min(max(sum, Vector::new(-32768i32)), Vector::new(32767i32)));
        }
    }
}
