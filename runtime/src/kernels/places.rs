//! Where the buffers of matrix products are.

/// Where a specification has the buffers of a matrix product: its inputs in order, after x.
pub(super) struct Places {
    /// The next buffer.
    pub(super) next: usize,
    /// The norm's four.
    pub(super) norm: Option<usize>,
    /// Weights.
    pub(super) weights: usize,
    /// Bias.
    pub(super) bias: Option<usize>,
    /// Mantissas, then shifts.
    pub(super) mantissas: Option<usize>,
    /// A table.
    pub(super) table: Option<usize>,
    /// The residual stream, then its mantissas and shifts.
    pub(super) residual: Option<usize>,
    /// An index map.
    pub(super) map: Option<usize>,
}

impl Default for Places {
    fn default() -> Places {
        let none = None;
        Places { next: 1, norm: none, weights: 1, bias: none, mantissas: none, table: none, residual: none, map: none }
    }
}

impl Places {
    /// The first of the next `count`.
    pub(super) fn take(&mut self, count: usize) -> usize {
        self.next += count;
        self.next - count
    }

    /// What a linear has, with multipliers if its sums are `scaled`.
    pub(super) fn linear(&mut self, bias: bool, scaled: bool) {
        self.weights = self.take(1);
        self.bias = bias.then(|| self.take(1));
        self.mantissas = scaled.then(|| self.take(2));
    }
}
