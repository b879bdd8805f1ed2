//! Index maps: ops that only move chunks of channels.

use crate::{
    infer::index_shape,
    op::{Op, Order},
    pair::Pair,
};

/// Stands for a chunk of zeros in an [`IndexMap`].
pub const NOTHING: u32 = u32::MAX;

/// An index map over the chunks of one image: chunk `i` of the result is chunk `source[i]` of the operand, or zeros where that is
/// [`NOTHING`]. Every image of a batch is moved alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexMap {
    /// Elements that stay together.
    pub chunk: usize,
    /// For each chunk of the result, the chunk of the operand, or [`NOTHING`].
    pub source: Vec<u32>,
    /// Chunks of an image of the operand.
    pub from: usize,
}

impl IndexMap {
    /// The map of an op of class [`crate::op::Class::Index`] on an operand's shape.
    ///
    /// # Panics
    /// When the op is no index map or does not take this shape; [`crate::infer()`] says so first.
    pub fn of(op: &Op, shape: &[usize]) -> IndexMap {
        let result = index_shape(op, shape).expect("an inferred op");
        let chunk = *shape.last().expect("an index map's operand has axes");
        let mut from = if shape.len() == 4 { shape[1] * shape[2] } else { 0 };
        let source = match *op {
            Op::SpaceToDepth { block, order } => {
                let (width, rows, columns) = (shape[2], result[1], result[2]);
                let position = |p: usize| match order {
                    Order::Row => (p / block, p % block),
                    Order::Column => (p % block, p / block),
                };
                chunks(rows * columns * block * block, |i| {
                    let (cell, (dh, dw)) = (i / (block * block), position(i % (block * block)));
                    ((cell / columns) * block + dh) * width + (cell % columns) * block + dw
                })
            }
            Op::Roll { shift } => {
                let (height, width) = (shape[1], shape[2]);
                let shifted =
                    |i: usize, shift: i64, extent: usize| (i + shift.rem_euclid(extent as i64) as usize) % extent;
                chunks(height * width, |i| {
                    shifted(i / width, shift.rows, height) * width + shifted(i % width, shift.columns, width)
                })
            }
            Op::Pad { sides } | Op::Crop { sides } => {
                let (height, width) = (shape[1], shape[2]);
                let source = |i: usize| match (i / sides.columns, i % sides.columns) {
                    (h, w) if h < height && w < width => (h * width + w) as u32,
                    _ => NOTHING,
                };
                (0..sides.rows * sides.columns).map(source).collect()
            }
            Op::WindowPartition { window } => {
                let width = shape[2];
                chunks(shape[1] * width, |i| windowed(i, window, width))
            }
            Op::WindowReverse { window, height, width } => {
                from = height * width;
                let mut source = vec![0; height * width];
                for i in 0..height * width {
                    source[windowed(i, window, width)] = i as u32;
                }
                source
            }
            _ => unreachable!("index_shape checked the op"),
        };
        IndexMap { chunk, source, from }
    }
}

fn chunks(n: usize, source: impl Fn(usize) -> usize) -> Vec<u32> {
    (0..n).map(|i| source(i) as u32).collect()
}

/// The token (row by row over the image) that is token `i` in window order.
fn windowed(i: usize, window: Pair<usize>, width: usize) -> usize {
    let area = window.rows * window.columns;
    let (tile, token) = (i / area, i % area);
    let columns = width / window.columns;
    let row = tile / columns * window.rows + token / window.columns;
    row * width + tile % columns * window.columns + token % window.columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_merging_takes_rows_of_a_block_first() {
        let map = IndexMap::of(&Op::SpaceToDepth { block: 2, order: Order::Column }, &[1, 2, 4, 8]);
        assert_eq!(map.chunk, 8);
        assert_eq!(map.source, [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn window_reverse_undoes_window_partition() {
        for window in [Pair::from(2), Pair::new(2, 3), Pair::new(4, 1)] {
            let tokens = window.rows * window.columns;
            let forth = IndexMap::of(&Op::WindowPartition { window }, &[1, 4, 6, 3]);
            let back = IndexMap::of(&Op::WindowReverse { window, height: 4, width: 6 }, &[24 / tokens, tokens, 3]);
            let both: Vec<u32> = back.source.iter().map(|&i| forth.source[i as usize]).collect();
            assert_eq!(both, (0..24).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn padding_is_at_the_bottom_and_right_and_cropped_again() {
        let map = IndexMap::of(&Op::Pad { sides: Pair::new(3, 4) }, &[1, 2, 3, 5]);
        let n = NOTHING;
        assert_eq!((map.chunk, map.from), (5, 6));
        assert_eq!(map.source, [0, 1, 2, n, 3, 4, 5, n, n, n, n, n]);
        let map = IndexMap::of(&Op::Crop { sides: Pair::new(2, 3) }, &[1, 3, 4, 5]);
        assert_eq!((map.source, map.from), (vec![0, 1, 2, 4, 5, 6], 12));
    }

    #[test]
    fn a_roll_has_a_shift_for_each_axis() {
        let map = IndexMap::of(&Op::Roll { shift: Pair::new(0, 1) }, &[1, 2, 3, 1]);
        assert_eq!(map.source, [1, 2, 0, 4, 5, 3]);
    }

    #[test]
    fn roll_is_cyclic_both_ways() {
        let map = IndexMap::of(&Op::Roll { shift: 1.into() }, &[1, 2, 3, 1]);
        assert_eq!(map.source, [4, 5, 3, 1, 2, 0]);
        let back = IndexMap::of(&Op::Roll { shift: Pair::from(-1) }, &[1, 2, 3, 1]);
        assert_eq!(back.source, [5, 3, 4, 2, 0, 1]);
    }
}
