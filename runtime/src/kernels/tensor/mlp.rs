//! A multilayer perceptron on tensor cores, its hidden layer on the chip.
//!
//! A cube takes a tile of rows, normalised onto the chip. Its warps make as many hidden columns as they hold sums of, keep them on
//! the chip as bytes, and all take them as the next steps of k of the second product, whose sums stay in registers to the end. Of the
//! hidden columns one chunk is written while the one before may still be read, so that a chunk costs one barrier.

use super::{
    epilogue::{Four, early_residual, finish, keep},
    fragment::{LANES, Words, to_every_bank, zeros},
    gemm::Product,
    rows::norm_rows,
    weights::{accumulate, first_weights, next_weights},
};
use cubecl::prelude::*;

/// `y = r + requantize(hidden · w2 + b2)` with `hidden = table[requantize(norm(x) · w1 + b1)]`, `r` x requantized: `up` says what the
/// first product is, `down` the second. A cube takes `16·row_frags` rows.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn mlp<A: Int, S: Size>(
    x: &[Words],
    gamma: &[Words],
    beta: &[Four],
    norm_mantissa: &[i32],
    norm_shift: &[i32],
    w1: &[Words],
    columns1: &[Four],
    table: &[u32],
    w2: &[Words],
    columns2: &[Four],
    r_columns: &[Four],
    y: &mut [Vector<u32, S>],
    epsilon: i64,
    rows: u32,
    passes: u32,
    chunks: u32,
    #[comptime] up: Product,
    #[comptime] down: Product,
) {
    let rows = rows as usize;
    let lane = (UNIT_POS % LANES) as usize;
    let warp = (UNIT_POS / LANES) as usize;
    let warps = comptime!(up.tiles.warps());
    let first = CUBE_POS * comptime!(up.tiles.rows());

    let mut chip = Shared::<[Words]>::new_aligned_slice(comptime!(up.on_chip()), 16usize);
    let buffer = comptime!(down.on_chip());
    let mut hidden = Shared::<[Words]>::new_aligned_slice(comptime!(2 * buffer), 16usize);
    let mut bytes = Shared::<[u32]>::new_aligned_slice(comptime!(if up.table { 64usize * 32 } else { 1 }), 16usize);
    if comptime!(up.table) {
        to_every_bank(table, &mut bytes, 64usize, warps);
    }

    // Steps of k, of a block of columns and of a chunk, and what they take of the weights.
    let (up_steps, up_pairs) = comptime!((up.steps(), up.tiles.column_frags / 2));
    let (down_steps, down_pairs) = comptime!((down.tiles.stage, down.tiles.column_frags / 2));
    let (up_step, down_step) = comptime!((up_pairs * 32, down_pairs * 32));
    let mut up_at = warp * comptime!(up_steps * up_step) + lane;
    let mut down_at = warp * comptime!(down.steps() * down_step) + lane;
    let up_end = up_at + (chunks as usize - 1) * comptime!(warps * up_steps * up_step);
    let down_last = down_at + comptime!((down.steps() - 1) * down_step);

    let mut held1 = first_weights(w1, up_at, up);
    let mut held2 = first_weights(w2, down_at, down);
    norm_rows(
        x,
        norm_mantissa,
        gamma,
        beta,
        norm_mantissa[0],
        norm_shift[0],
        epsilon,
        &mut chip,
        first,
        rows,
        passes,
        up,
    );
    sync_cube();

    let columns = comptime!(8 * down.tiles.column_frags);
    let column = warp * columns + lane % 4 * comptime!(2 * down.tiles.column_frags);
    let mut sums = zeros(comptime!(down.tiles.frags()));
    let up_base = lane / 4 * comptime!(up.pitch()) + lane % 4;
    let down_base = lane / 4 * comptime!(down.pitch()) + lane % 4;
    for chunk in 0..chunks {
        let chunk = chunk as usize;
        let constants = (chunk * warps + warp) * comptime!(8 * up.tiles.column_frags) + lane % 4;
        let mut made = zeros(comptime!(up.tiles.frags()));
        let up_last = up_at + comptime!((up_steps - 1) * up_step);
        accumulate::<i8>(&chip, up_base, w1, &mut held1, up_at + up_step, up_last, up_steps, &mut made, up);
        // The first weights of the next chunk, if there is one, are on their way while this one is used.
        up_at = min(up_at + comptime!(warps * up_steps * up_step), up_end);
        next_weights(w1, &mut held1, up_at, up);
        let half = chunk % 2 * buffer;
        keep(
            &made,
            columns1,
            &bytes,
            &mut hidden,
            half + down_base + warp * 4,
            constants,
            lane,
            comptime!(down.pitch()),
            up,
        );
        sync_cube();
        accumulate::<A>(
            &hidden,
            half + down_base,
            w2,
            &mut held2,
            down_at + down_step,
            down_last,
            down_steps,
            &mut sums,
            down,
        );
        down_at += comptime!(down_steps * down_step);
    }
    let early = early_residual(x, first + lane / 4, rows, column, down);
    let at = warp * columns + lane % 4;
    finish::<S>(&sums, columns2, &bytes, x, &early, r_columns, y, first + lane / 4, rows, column, at, lane, down);
}
