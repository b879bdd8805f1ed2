//! One arena for all intermediate buffers.

use super::ALIGNMENT;

/// A buffer's size and the launches between which it lives, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lifetime {
    pub bytes: usize,
    pub first: usize,
    pub last: usize,
}

impl Lifetime {
    fn meets(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets such that buffers that live at once do not overlap, and the arena's size.
///
/// Greedy by size: the largest first, each at the lowest offset that fits. (Pisarchyk & Lee, *Efficient Memory
/// Management for Deep Neural Net Inference*, arXiv 2001.03288)
pub(super) fn allocate(buffers: &[Lifetime]) -> (Vec<usize>, usize) {
    let padded = |b: &Lifetime| b.bytes.next_multiple_of(ALIGNMENT);
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].bytes), i));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut size = 0;
    for i in order {
        // Those placed are in order of offset, so the first gap that is wide enough is the lowest.
        let mut offset = 0;
        for &j in placed.iter().filter(|&&j| buffers[j].meets(&buffers[i])) {
            if offsets[j] >= offset + padded(&buffers[i]) {
                break;
            }
            offset = offset.max(offsets[j] + padded(&buffers[j]));
        }
        offsets[i] = offset;
        size = size.max(offset + padded(&buffers[i]));
        let at = placed.partition_point(|&j| offsets[j] <= offset);
        placed.insert(at, i);
    }
    (offsets, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_live_at_once_do_not_overlap() {
        // A fixed pseudo-random sequence: sizes and lifetimes of all kinds.
        let mut state = 1u32;
        let mut next = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % n
        };
        for _ in 0..200 {
            let buffers: Vec<Lifetime> = (0..next(30))
                .map(|_| {
                    let first = next(20) as usize;
                    Lifetime { bytes: 1 + next(5000) as usize, first, last: first + next(8) as usize }
                })
                .collect();
            let (offsets, size) = allocate(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                assert!(offsets[i] % ALIGNMENT == 0 && offsets[i] + a.bytes <= size);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                    assert!(apart || !a.meets(b), "{a:?} at {} and {b:?} at {}", offsets[i], offsets[j]);
                }
            }
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let chain: Vec<Lifetime> = (0..10).map(|i| Lifetime { bytes: 1024, first: i, last: i + 1 }).collect();
        assert_eq!(allocate(&chain).1, 2048);
    }
}
