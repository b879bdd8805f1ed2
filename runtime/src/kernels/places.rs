//! Where the buffers of matrix products are.

/// Where a specification has the buffers of a matrix product: its inputs in order, after x.
pub(super) struct Places {
    /// The next buffer.
    pub(super) next: usize,
    /// The norm's four.
    pub(super) norm: Option<usize>,
    /// Mantissa and shift of what is requantized to bytes in the norm's place.
    pub(super) cast: Option<usize>,
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
        Places {
            next: 1,
            norm: none,
            cast: none,
            weights: 1,
            bias: none,
            mantissas: none,
            table: none,
            residual: none,
            map: none,
        }
    }
}

impl Places {
    /// The first of the next `count`.
    pub(super) fn take(&mut self, count: usize) -> usize {
        self.next += count;
        self.next - count
    }

    /// What is before a linear: a norm, or else a requantization.
    pub(super) fn before(&mut self, norm: bool) {
        if norm {
            self.norm = Some(self.take(4));
        } else {
            self.cast = Some(self.take(2));
        }
    }

    /// Where mantissa and shift are of what is before a linear.
    pub(super) fn multiplier(&self) -> Option<usize> {
        self.norm.map(|norm| norm + 2).or(self.cast)
    }

    /// What a linear has, with multipliers if its sums are `scaled`.
    pub(super) fn linear(&mut self, bias: bool, scaled: bool) {
        self.weights = self.take(1);
        self.bias = bias.then(|| self.take(1));
        self.mantissas = scaled.then(|| self.take(2));
    }
}
