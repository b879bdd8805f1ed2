//! Index maps.

use super::{
    integer::{chunk_start, kept},
    unit_items,
};
use cubecl::prelude::*;
use swint_compiler::plan::Rows;

/// Chunk `i` of an image is chunk `map[i]` of the source's, or zeros; an item is a chunk of `vectors` vectors.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gather<E: Numeric, N: Size>(
    x: &[Vector<E, N>],
    map: &[i32],
    y: &mut [Vector<E, N>],
    items: u32,
    #[comptime] vectors: usize,
    #[comptime] rows: Rows,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let start = chunk_start(item, map, vectors, rows);
        let keep = kept(item, map, rows);
        for i in 0..vectors {
            let mut value = x[start + i];
            if comptime!(rows.padded) {
                // Not by a product, which may be −0, or NaN.
                value = select(keep == 0i32, Vector::new(E::from_int(0)), value);
            }
            y[item * vectors + i] = value;
        }
    }
}
