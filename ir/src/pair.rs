//! Two numbers, one for each axis of an image.

use std::fmt;

/// A number for the rows of an image (its first axis) and one for its columns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Pair<T> {
    /// Along the height.
    pub rows: T,
    /// Along the width.
    pub columns: T,
}

impl<T> Pair<T> {
    /// `rows` along the height, `columns` along the width.
    pub const fn new(rows: T, columns: T) -> Pair<T> {
        Pair { rows, columns }
    }

    /// A function of each number.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Pair<U> {
        Pair { rows: f(self.rows), columns: f(self.columns) }
    }

    /// A function of the numbers of two pairs, axis by axis.
    pub fn zip<U, V>(self, other: Pair<U>, mut f: impl FnMut(T, U) -> V) -> Pair<V> {
        Pair { rows: f(self.rows, other.rows), columns: f(self.columns, other.columns) }
    }
}

impl<T: Copy> From<T> for Pair<T> {
    /// The same for both axes.
    fn from(both: T) -> Pair<T> {
        Pair { rows: both, columns: both }
    }
}

impl Pair<usize> {
    /// The product: elements of a grid with these sides. `None` where it is too large.
    pub fn area(self) -> Option<usize> {
        self.rows.checked_mul(self.columns)
    }
}

/// As the text form has it: one number where both are equal, else a list.
impl<T: fmt::Display + PartialEq> fmt::Display for Pair<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows == self.columns { self.rows.fmt(f) } else { write!(f, "[{}, {}]", self.rows, self.columns) }
    }
}
