//! What a lane of a warp holds: see `swint_compiler::plan::pack` for which elements these are.

use cubecl::{cmma, prelude::*};

/// Lanes of a warp.
pub(super) const LANES: u32 = 32;

/// 16 bytes, as they are loaded.
pub(super) type Words = Vector<u32, Const<4>>;

/// Eight bytes of a row.
pub(super) type Eight = Vector<u32, Const<2>>;

/// Four sums of a tile of 16 rows and 8 columns: two in row g, two in row g + 8.
pub(super) type Sums = Array<Vector<i32, Const<2>>>;

/// `count` fragments of sums, all 0.
#[cube]
pub(super) fn zeros(#[comptime] count: usize) -> Sequence<Sums> {
    let mut all = Sequence::<Sums>::new();
    #[unroll]
    for _ in 0..count {
        let mut sums = Sums::new(2usize);
        sums[0] = Vector::new(0i32);
        sums[1] = Vector::new(0i32);
        all.push(sums);
    }
    all
}

/// What a lane holds of A from eight bytes of row g and eight of row g + 8: words of both in turn, as the hardware wants them. Made of two
/// loads they are moved by as many instructions; so on the chip they lie in this order.
#[cube]
pub(super) fn in_turn(upper: Eight, lower: Eight) -> Words {
    let mut words = Words::empty();
    #[unroll]
    for w in 0..2usize {
        words.insert(comptime!(2 * w), upper.extract(w));
        words.insert(comptime!(2 * w + 1), lower.extract(w));
    }
    words
}

/// Adds the product of 16 rows of 32 bytes and 32 rows of 8 columns: of A, what [`in_turn`] makes; of B, eight bytes of column g.
#[cube]
pub(super) fn multiply<A: Int>(words: Words, b0: u32, b1: u32, sums: &mut Sums) {
    let mut a = Array::<Vector<A, Const<4>>>::new(4usize);
    #[unroll]
    for w in 0..4usize {
        a[w] = Vector::reinterpret(words.extract(w));
    }
    let mut b = Array::<Vector<i8, Const<4>>>::new(2usize);
    b[0] = Vector::reinterpret(b0);
    b[1] = Vector::reinterpret(b1);
    let tile = cmma::MmaDefinition::<A, i8, i32>::new(16usize, 8usize, 32usize);
    tile.execute_inplace(&a, &b, sums);
}

/// Copies `count` words, a multiple of 32, to every bank of the chip: lane l finds word i at `32·i + l`, and lanes that look up
/// different words do not meet. One coalesced load for every 32 words of a warp.
#[cube]
pub(super) fn to_every_bank(
    words: &[u32],
    chip: &mut Shared<[u32]>,
    #[comptime] count: usize,
    #[comptime] warps: usize,
) {
    let lane = UNIT_POS % LANES;
    let warp = (UNIT_POS / LANES) as usize;
    for round in 0..comptime!((count / 32).div_ceil(warps)) {
        let first = (round * warps + warp) * 32;
        if first < count {
            let held = words[first + lane as usize];
            for i in 0..LANES {
                chip[(first + i as usize) * LANES as usize + lane as usize] = plane_shuffle(held, i);
            }
        }
    }
}

/// The two 16-bit values of a word.
#[cube]
pub(super) fn halves(w: u32) -> (i32, i32) {
    // Not by shifts of what was unsigned: cubecl takes those for unsigned, too.
    (i32::cast_from(i16::cast_from(w)), i32::cast_from(i16::cast_from(w >> 16u32)))
}
