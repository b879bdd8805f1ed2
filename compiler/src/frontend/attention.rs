//! The constants of window attention: position biases, score scales and the shift mask.

use super::spec::Stage;
use swint_ir::Pair;

/// What the mask adds to the scores of tokens that are no neighbours in the image.
const MASKED: f32 = -100.0;

/// Largest logarithm of a score scale. (Liu et al., *Swin Transformer V2*, arXiv 2111.09883, section 3.2: τ is at least 0.01)
const MAX_LOG_SCALE: f32 = 4.605_170_2;

/// Largest bias that [`continuous_bias_table`] gives.
const MAX_BIAS: f64 = 16.0;

/// Entries of a table of biases: one for every two tokens' distance.
pub(super) fn distances(window: Pair<usize>) -> Pair<usize> {
    window.map(|side| 2 * side - 1)
}

/// The bias of every pair of tokens, `[heads,N,N]`, from a table [distances, heads].
///
/// Entry `(Δh + w₀−1)·(2w₁−1) + (Δw + w₁−1)` holds tokens Δh rows and Δw columns apart. (Swin, arXiv 2103.14030, eq. 4)
pub(super) fn relative_position_bias(table: &[f32], window: Pair<usize>, heads: usize) -> Vec<f32> {
    let (height, width) = (window.rows, window.columns);
    let tokens = height * width;
    let mut bias = Vec::with_capacity(heads * tokens * tokens);
    for head in 0..heads {
        for i in 0..tokens {
            for j in 0..tokens {
                let rows = i / width + height - 1 - j / width;
                let columns = i % width + width - 1 - j % width;
                bias.push(table[(rows * (2 * width - 1) + columns) * heads + head]);
            }
        }
    }
    bias
}

/// The coordinate of a distance Δ in tokens, entry `Δ + side−1` of a window's side: `sign(Δ)·log₂(1 + 8·|Δ|/(w−1)) / 3`, w being the
/// side, or that of the window in pretraining if there is one.
pub(super) fn coordinate(entry: usize, side: usize, pretrained: usize) -> f64 {
    let reference = if pretrained > 0 { pretrained } else { side };
    // A window of one token has no distance but 0.
    let distance = (entry as f64 - (side as f64 - 1.0)) / (reference as f64 - 1.0).max(1.0) * 8.0;
    distance.signum() * (distance.abs() + 1.0).log2() / 3.0
}

/// The MLP of Swin V2's continuous position bias: two linears, a ReLU between them.
pub(super) struct PositionMlp<'a> {
    /// Weights of the first, `[hidden,2]`.
    pub first: &'a [f32],
    /// Its bias, `[hidden]`.
    pub bias: &'a [f32],
    /// Weights of the second, `[heads,hidden]`.
    pub second: &'a [f32],
}

impl PositionMlp<'_> {
    /// A table for [`relative_position_bias`]: `16·sigmoid(MLP(g(Δh), g(Δw)))`, g being [`coordinate`]. (Swin V2, arXiv 2111.09883,
    /// eq. 3 and 4; the factors are those of its published code)
    pub(super) fn table(&self, window: Pair<usize>, pretrained: usize, heads: usize) -> Vec<f32> {
        let entries = distances(window);
        let mut table = Vec::with_capacity(entries.rows * entries.columns * heads);
        for entry in 0..entries.rows * entries.columns {
            let h = coordinate(entry / entries.columns, window.rows, pretrained);
            let w = coordinate(entry % entries.columns, window.columns, pretrained);
            let weights = self.first.chunks_exact(2).zip(self.bias);
            let hidden: Vec<f64> = weights
                .map(|(row, &b)| (f64::from(row[0]) * h + f64::from(row[1]) * w + f64::from(b)).max(0.0))
                .collect();
            table.extend(self.second.chunks_exact(hidden.len()).map(|row| {
                let y: f64 = row.iter().zip(&hidden).map(|(&a, b)| f64::from(a) * b).sum();
                (MAX_BIAS / (1.0 + (-y).exp())) as f32
            }));
        }
        table
    }
}

/// What the scores of each head are multiplied by, `exp(min(l, ln 100))`, from its logarithm l.
pub(super) fn score_scales(logarithms: &[f32]) -> Vec<f32> {
    logarithms.iter().map(|&l| f64::from(l.min(MAX_LOG_SCALE)).exp() as f32).collect()
}

/// The mask of every window of a padded and shifted grid, `[windows,N,N]`: 0 for tokens of one region, [`MASKED`] for others.
pub(super) fn shift_mask(stage: &Stage) -> Vec<f32> {
    let (grid, window) = (stage.padded(), stage.window);
    // In the shifted grid, the last window of a row holds tokens of two opposite borders.
    let band = |x: usize, side: usize, window: usize, shift: usize| {
        if shift == 0 || x < side - window {
            0
        } else if x < side - shift {
            1
        } else {
            2
        }
    };
    let tiles = grid.zip(window, |side, window| side / window);
    let (tokens, count) = (window.rows * window.columns, tiles.rows * tiles.columns);
    let mut mask = Vec::with_capacity(count * tokens * tokens);
    for tile in 0..count {
        let region = |token: usize| {
            let row = tile / tiles.columns * window.rows + token / window.columns;
            let column = tile % tiles.columns * window.columns + token % window.columns;
            let shift = stage.shift;
            (band(row, grid.rows, window.rows, shift.rows), band(column, grid.columns, window.columns, shift.columns))
        };
        for i in 0..tokens {
            for j in 0..tokens {
                mask.push(if region(i) == region(j) { 0.0 } else { MASKED });
            }
        }
    }
    mask
}
