//! Index maps: ops that only move chunks of channels.

use crate::{
    infer::index_shape,
    op::{Op, Order},
};

/// An index map over the chunks of one image: chunk `i` of the result is chunk `source[i]` of the operand. Every image
/// of a batch is moved alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexMap {
    /// Elements that stay together.
    pub chunk: usize,
    /// For each chunk of the result, the chunk of the operand.
    pub source: Vec<u32>,
}

impl IndexMap {
    /// The map of an op of class [`crate::op::Class::Index`] on an operand's shape.
    ///
    /// # Panics
    /// When the op is no index map or does not take this shape; [`crate::infer()`] says so first.
    pub fn of(op: &Op, shape: &[usize]) -> IndexMap {
        let result = index_shape(op, shape).expect("an inferred op");
        let chunk = *shape.last().expect("an index map's operand has axes");
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
                let shifted = |i: usize, extent: usize| (i + shift.rem_euclid(extent as i64) as usize) % extent;
                chunks(height * width, |i| shifted(i / width, height) * width + shifted(i % width, width))
            }
            Op::WindowPartition { window } => {
                let width = shape[2];
                chunks(shape[1] * width, |i| windowed(i, window, width))
            }
            Op::WindowReverse { window, height, width } => {
                let mut source = vec![0; height * width];
                for i in 0..height * width {
                    source[windowed(i, window, width)] = i as u32;
                }
                source
            }
            _ => unreachable!("index_shape checked the op"),
        };
        IndexMap { chunk, source }
    }
}

fn chunks(n: usize, source: impl Fn(usize) -> usize) -> Vec<u32> {
    (0..n).map(|i| source(i) as u32).collect()
}

/// The token (row by row over the image) that is token `i` in window order.
fn windowed(i: usize, window: usize, width: usize) -> usize {
    let area = window * window;
    let (tile, token) = (i / area, i % area);
    let columns = width / window;
    ((tile / columns) * window + token / window) * width + (tile % columns) * window + token % window
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
        let forth = IndexMap::of(&Op::WindowPartition { window: 2 }, &[1, 4, 6, 3]);
        let back = IndexMap::of(&Op::WindowReverse { window: 2, height: 4, width: 6 }, &[6, 4, 3]);
        let both: Vec<u32> = back.source.iter().map(|&i| forth.source[i as usize]).collect();
        assert_eq!(both, (0..24).collect::<Vec<u32>>());
    }

    #[test]
    fn roll_is_cyclic_both_ways() {
        let map = IndexMap::of(&Op::Roll { shift: 1 }, &[1, 2, 3, 1]);
        assert_eq!(map.source, [4, 5, 3, 1, 2, 0]);
        let back = IndexMap::of(&Op::Roll { shift: -1 }, &[1, 2, 3, 1]);
        assert_eq!(back.source, [5, 3, 4, 2, 0, 1]);
    }
}
