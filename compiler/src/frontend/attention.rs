//! The constants of window attention: relative-position bias and shift mask.

use super::spec::Stage;

/// What the mask adds to the scores of tokens that are no neighbours in the image.
const MASKED: f32 = -100.0;

/// The bias of every pair of tokens, `[heads,N,N]`, from a table [(2·window−1)², heads].
///
/// Entry `(Δh + w−1)·(2w−1) + (Δw + w−1)` holds tokens Δh rows and Δw columns apart. (Swin, arXiv 2103.14030, eq. 4)
pub(super) fn relative_position_bias(table: &[f32], window: usize, heads: usize) -> Vec<f32> {
    let tokens = window * window;
    let mut bias = Vec::with_capacity(heads * tokens * tokens);
    for head in 0..heads {
        for i in 0..tokens {
            for j in 0..tokens {
                let rows = i / window + window - 1 - j / window;
                let columns = i % window + window - 1 - j % window;
                bias.push(table[(rows * (2 * window - 1) + columns) * heads + head]);
            }
        }
    }
    bias
}

/// The mask of every window of a shifted grid, `[windows,N,N]`: 0 for tokens of one region, [`MASKED`] for others.
pub(super) fn shift_mask(stage: &Stage) -> Vec<f32> {
    let Stage { grid, window, shift, .. } = *stage;
    let (side, window, shift) = (grid.rows, window.rows, shift.rows);
    // In the shifted grid, the last window of a row holds tokens of two opposite borders.
    let band = |x: usize| {
        if x < side - window {
            0
        } else if x < side - shift {
            1
        } else {
            2
        }
    };
    let (tokens, columns) = (window * window, side / window);
    let mut mask = Vec::with_capacity(columns * columns * tokens * tokens);
    for tile in 0..columns * columns {
        let region = |token: usize| {
            let row = tile / columns * window + token / window;
            let column = tile % columns * window + token % window;
            (band(row), band(column))
        };
        for i in 0..tokens {
            for j in 0..tokens {
                mask.push(if region(i) == region(j) { 0.0 } else { MASKED });
            }
        }
    }
    mask
}
