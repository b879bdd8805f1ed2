//! Index maps.

use super::unit_items;
use cubecl::prelude::*;

/// Chunk `i` of an image is chunk `map[i]` of the source's; an item is a chunk of `vectors` vectors.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gather<E: Numeric, N: Size>(
    x: &[Vector<E, N>],
    map: &[i32],
    y: &mut [Vector<E, N>],
    items: u32,
    #[comptime] vectors: usize,
    #[comptime] period: usize,
    #[comptime] per_unit: u32,
) {
    let (first, end) = unit_items(items, per_unit);
    for item in first..end {
        let item = item as usize;
        let source = item / period * period + map[item % period] as usize;
        for i in 0..vectors {
            y[item * vectors + i] = x[source * vectors + i];
        }
    }
}
