//! Weights on their way to a warp, and the products that they are used for.
//!
//! They lie in memory in the order of fragments: a lane loads 16 bytes for two fragments of 8 columns and one step of k, and nobody else
//! in its cube needs those, but warps of other rows. They go straight to registers, some steps ahead, or by asynchronous copies to a
//! ring of slots on the chip, each a step's. A lane copies what itself will read, so that there it waits for its own copies, and for no
//! other's: a ring needs no barrier.

use super::{
    copies::{commit, copy, wait},
    fragment::{LANES, Sums, Words, multiply},
    gemm::Product,
};
use cubecl::prelude::*;

/// The weights of a warp for a step of k.
#[cube]
fn load_weights(w: &[Words], held: &mut Array<Words>, at: usize, #[comptime] pairs: usize) {
    #[unroll]
    for i in 0..pairs {
        held[i] = w[at + i * LANES as usize];
    }
}

/// The weights of a warp for the first steps of k that [`accumulate`] takes, as many as are on their way at a time.
#[cube]
pub(super) fn first_weights(w: &[Words], at: usize, #[comptime] p: Product) -> Sequence<Array<Words>> {
    let mut all = Sequence::<Array<Words>>::new();
    #[unroll]
    for _ in 0..comptime!(p.tiles.ahead) {
        all.push(Array::<Words>::new(comptime!(p.tiles.column_frags / 2)));
    }
    next_weights(w, &mut all, at, p);
    all
}

/// [`first_weights`] of other columns, in place of those that were used.
#[cube]
pub(super) fn next_weights(w: &[Words], all: &mut Sequence<Array<Words>>, at: usize, #[comptime] p: Product) {
    let pairs = comptime!(p.tiles.column_frags / 2);
    #[unroll]
    for step in 0..comptime!(p.tiles.ahead) {
        load_weights(w, all.index_mut(step), at + comptime!(step * pairs * 32), pairs);
    }
}

/// Adds the products of a step of k: of rows on the chip, the lane's first at `at`, and weights.
#[cube]
fn add_step<A: Int>(
    chip: &Shared<[Words]>,
    at: usize,
    b: &Array<Words>,
    sums: &mut Sequence<Sums>,
    #[comptime] p: Product,
) {
    let frags = comptime!(p.tiles.column_frags);
    #[unroll]
    for i in 0..comptime!(p.tiles.row_frags) {
        let a = chip[at + comptime!(i * 8 * p.pitch())];
        #[unroll]
        for j in 0..frags {
            let words = b[comptime!(j / 2)];
            let (b0, b1) = (words.extract(comptime!(j % 2 * 2)), words.extract(comptime!(j % 2 * 2 + 1)));
            multiply::<A>(a, b0, b1, sums.index_mut(comptime!(i * frags + j)));
        }
    }
}

/// Adds the products of `count` steps of k, a multiple of those that are on their way at a time: of rows on the chip, the lane's first
/// from `base` on, and of weights. `b` holds those of the first steps and then of each next ones, which are from `next` on, but not
/// beyond `last`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn accumulate<A: Int>(
    chip: &Shared<[Words]>,
    base: usize,
    w: &[Words],
    b: &mut Sequence<Array<Words>>,
    next: usize,
    last: usize,
    count: usize,
    sums: &mut Sequence<Sums>,
    #[comptime] p: Product,
) {
    let pairs = comptime!(p.tiles.column_frags / 2);
    let ahead = comptime!(p.tiles.ahead);
    let mut step = 0usize.runtime();
    // There are some: a loop that looks first has all sums in two places.
    loop {
        #[unroll]
        for own in 0..ahead {
            let step = step + own;
            let mut held = Array::<Words>::new(pairs);
            load_weights(w, &mut held, min(next + step * comptime!(pairs * 32), last), pairs);
            add_step::<A>(chip, base + step * 4, b.index(own), sums, p);
            let b = b.index_mut(own);
            #[unroll]
            for i in 0..pairs {
                b[i] = held[i];
            }
        }
        step += ahead;
        if step >= count {
            break;
        }
    }
}

/// Begins to copy a step's weights from `from` on to a slot of the ring: a group of copies.
#[cube]
fn copy_step(w: &[Words], ring: &mut Shared<[Words]>, from: usize, slot: usize, #[comptime] pairs: usize) {
    #[unroll]
    for i in 0..pairs {
        copy::<Words>(&w[from + i * LANES as usize], &mut ring[slot + i * LANES as usize]);
    }
}

/// Fills the ring, whose first slot of the lane is `slot`, with the weights of the first steps of k: each a group of copies, which the
/// first one may already have begun.
#[cube]
pub(super) fn first_copies(w: &[Words], ring: &mut Shared<[Words]>, at: usize, slot: usize, #[comptime] p: Product) {
    let pairs = comptime!(p.tiles.column_frags / 2);
    for own in 0..comptime!(p.tiles.ahead) {
        copy_step(w, ring, at + own * comptime!(pairs * 32), slot + own * comptime!(pairs * 32), pairs);
        commit();
    }
}

/// [`accumulate`], with weights from the ring, of which those of the first step are from `first` on. More are used `later`, or none.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn accumulate_copied<A: Int>(
    chip: &Shared<[Words]>,
    base: usize,
    w: &[Words],
    ring: &mut Shared<[Words]>,
    slot: usize,
    first: usize,
    later: bool,
    count: usize,
    sums: &mut Sequence<Sums>,
    #[comptime] p: Product,
) {
    let pairs = comptime!(p.tiles.column_frags / 2);
    // Steps that follow each other in the code.
    let ahead = comptime!(p.tiles.ahead);
    let together = comptime!(if p.is_whole() { (1..=4).rev().find(|n| ahead % n == 0).unwrap_or(1) } else { ahead });
    let mut step = 0usize.runtime();
    loop {
        let next = step + together;
        let refill = later || next < count;
        let from = first + next * comptime!(pairs * 32);
        #[unroll]
        for own in 0..together {
            let mut slot = slot + comptime!(own * pairs * 32);
            if comptime!(p.is_whole()) {
                slot += step * comptime!(pairs * 32);
            } else {
                wait(comptime!(ahead - 1));
            }
            let mut b = Array::<Words>::new(pairs);
            #[unroll]
            for i in 0..pairs {
                b[i] = ring[slot + i * LANES as usize];
            }
            add_step::<A>(chip, base + (step + own) * 4, &b, sums, p);
            if comptime!(!p.is_whole()) {
                if refill {
                    copy_step(w, ring, from + comptime!(own * pairs * 32), slot, pairs);
                }
                // Empty groups, too, so that the number of those that may be on their way stays the same.
                commit();
            }
        }
        step = next;
        if step >= count {
            break;
        }
    }
}
