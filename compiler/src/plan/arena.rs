//! One arena for all intermediate buffers.

use super::ALIGNMENT;
use std::cmp::Reverse;

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

    /// The bytes up to where another buffer may begin.
    fn padded(&self) -> usize {
        self.bytes.next_multiple_of(ALIGNMENT)
    }
}

/// Arenas that are tried from each order to begin with.
const ROUNDS: usize = 8;

/// Offsets such that buffers that live at once do not overlap, and the arena's size.
///
/// Greedy by size: the largest first, each at the lowest offset that fits. Where that takes more than is alive at once,
/// other orders too, by breadth among them. (Pisarchyk & Lee, *Efficient Memory Management for Deep Neural Net
/// Inference*, arXiv 2001.03288) From each order follow others: what reached the arena's end goes first. (Joslin &
/// Clements, *"Squeaky Wheel" Optimization*, JAIR 10, 1999)
pub(super) fn allocate(buffers: &[Lifetime]) -> (Vec<usize>, usize) {
    let alive = alive(buffers);
    let least = alive.iter().copied().max().unwrap_or(0);
    // The greatest goes first.
    let size = |b: &Lifetime| (None, b.bytes);
    let breadth = |b: &Lifetime| (alive[b.first..=b.last].iter().copied().max(), b.bytes);
    let duration = |b: &Lifetime| (Some(b.last - b.first), b.bytes);
    let first_use = |b: &Lifetime| (Some(alive.len() - b.first), b.bytes);
    let keys: [&Key<'_>; 4] = [&size, &breadth, &duration, &first_use];
    let mut best = (Vec::new(), usize::MAX);
    for key in keys {
        let mut order: Vec<usize> = (0..buffers.len()).collect();
        order.sort_by_key(|&i| Reverse(key(&buffers[i])));
        for _ in 0..ROUNDS {
            let (offsets, size) = place(buffers, &order);
            order.sort_by_key(|&i| offsets[i] + buffers[i].padded() < size);
            if size < best.1 {
                best = (offsets, size);
            }
            if best.1 == least {
                return best;
            }
        }
    }
    best
}

/// What buffers are ordered by, the greatest first.
type Key<'a> = dyn Fn(&Lifetime) -> (Option<usize>, usize) + 'a;

/// Bytes that are alive at each launch: no arena is smaller than the most.
fn alive(buffers: &[Lifetime]) -> Vec<usize> {
    let launches = buffers.iter().map(|b| b.last + 1).max().unwrap_or(0);
    let mut alive = vec![0; launches];
    for buffer in buffers {
        alive[buffer.first..=buffer.last].iter_mut().for_each(|sum| *sum += buffer.padded());
    }
    alive
}

/// Places buffers in an order, each at the lowest offset that fits.
fn place(buffers: &[Lifetime], order: &[usize]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut size = 0;
    for &i in order {
        // Those placed are in order of offset, so the first gap that is wide enough is the lowest.
        let mut offset = 0;
        for &j in placed.iter().filter(|&&j| buffers[j].meets(&buffers[i])) {
            if offsets[j] >= offset + buffers[i].padded() {
                break;
            }
            offset = offset.max(offsets[j] + buffers[j].padded());
        }
        offsets[i] = offset;
        size = size.max(offset + buffers[i].padded());
        let at = placed.partition_point(|&j| offsets[j] <= offset);
        placed.insert(at, i);
    }
    (offsets, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed pseudo-random sequence.
    struct Sequence(u32);

    impl Sequence {
        fn next(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as usize % n
        }

        /// Sizes and lifetimes of all kinds.
        fn buffers(&mut self, count: usize, bytes: usize, launches: usize, longest: usize) -> Vec<Lifetime> {
            let mut buffer = || {
                let (bytes, first) = (1 + self.next(bytes), self.next(launches));
                Lifetime { bytes, first, last: first + self.next(longest) }
            };
            (0..count).map(|_| buffer()).collect()
        }
    }

    /// Whether there is a launch at which both live.
    fn together(a: &Lifetime, b: &Lifetime) -> bool {
        (a.first..=a.last).any(|launch| (b.first..=b.last).contains(&launch))
    }

    /// The smallest arena. Placed by offset, no buffer of it is higher than on top of those below it that it meets, so
    /// some order gives it; orders are tried as long as they are better than the best so far.
    fn smallest(buffers: &[Lifetime]) -> usize {
        fn search(buffers: &[Lifetime], below: &mut Vec<(usize, usize)>, size: usize, best: &mut usize) {
            if below.len() == buffers.len() {
                *best = size;
            }
            for (i, buffer) in buffers.iter().enumerate() {
                if below.iter().all(|&(j, _)| j != i) {
                    let met = below.iter().filter(|&&(j, _)| together(&buffers[j], buffer));
                    let top = met.map(|&(_, top)| top).max().unwrap_or(0) + buffer.padded();
                    if size.max(top) < *best {
                        below.push((i, top));
                        search(buffers, below, size.max(top), best);
                        below.pop();
                    }
                }
            }
        }
        let mut best = usize::MAX;
        search(buffers, &mut Vec::new(), 0, &mut best);
        best
    }

    #[test]
    fn buffers_that_live_at_once_do_not_overlap() {
        let mut sequence = Sequence(1);
        for _ in 0..200 {
            let count = sequence.next(30);
            let buffers = sequence.buffers(count, 5000, 20, 8);
            let (offsets, size) = allocate(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                assert!(offsets[i] % ALIGNMENT == 0 && offsets[i] + a.bytes <= size);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                    assert!(apart || !together(a, b), "{a:?} at {} and {b:?} at {}", offsets[i], offsets[j]);
                }
            }
        }
    }

    #[test]
    fn few_buffers_are_nearly_always_placed_best() {
        let mut sequence = Sequence(1);
        let (mut best, mut worst) = (0, 1.0_f64);
        for _ in 0..1000 {
            let buffers = sequence.buffers(7, 2000, 8, 5);
            let (size, smallest) = (allocate(&buffers).1, smallest(&buffers));
            let most = alive(&buffers).into_iter().max().unwrap();
            assert!(most <= smallest && smallest <= size, "{most}, {smallest}, {size}: {buffers:?}");
            best += usize::from(size == smallest);
            worst = worst.max(size as f64 / smallest as f64);
        }
        println!("{best} of 1000 are the smallest, the worst is {worst:.4} times as large");
        assert!(best >= 990 && worst <= 1.1, "{best}, {worst}");
    }

    #[test]
    fn many_buffers_need_hardly_more_than_is_alive() {
        let mut sequence = Sequence(1);
        for _ in 0..10 {
            let buffers = sequence.buffers(500, 5000, 400, 8);
            let most = alive(&buffers).into_iter().max().unwrap();
            let size = allocate(&buffers).1;
            println!("{size} / {most} = {:.4}", size as f64 / most as f64);
            assert!(most <= size && size as f64 <= 1.1 * most as f64, "{size}, {most}");
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let chain: Vec<Lifetime> = (0..10).map(|i| Lifetime { bytes: 1024, first: i, last: i + 1 }).collect();
        assert_eq!(allocate(&chain).1, 2048);
    }

    /// Largest first alone takes an eighth more.
    #[test]
    fn blocks_need_what_their_mlps_do() {
        let blocks = (0..6).flat_map(|block| {
            // The block's input, q k v, the heads' results, their sum with the input, the MLP's hidden results.
            let lives = [(2, 0, 3), (3, 1, 2), (1, 2, 3), (2, 3, 5), (4, 4, 5)];
            lives.map(|(kilobytes, first, last)| Lifetime {
                bytes: kilobytes << 10,
                first: 5 * block + first,
                last: 5 * block + last,
            })
        });
        assert_eq!(allocate(&blocks.collect::<Vec<_>>()).1, 8 << 10);
    }
}
