//! Conversions between float and integer.

use crate::egraph::{
    Bound::Steps,
    Class::{Exact, Real},
    Rule,
};

/// The table.
#[rustfmt::skip]
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::new("requantize",       Real(Steps(1)), "(quantize (dequantize ?x) ?e ?s)", "(requantize ?x ?e ?s)"),
        // ⌊(q·s)/s + 1/2⌋ = q for 16 bits, and quantize makes no more: the quotient of the rounded product is within
        // 2^-22·|q| < 1/2 of q. That the scales agree is checked with the types.
        Rule::new("quantize-inverse", Exact,          "(quantize (dequantize ?x) ?e ?s)", "?x"),
        // A factor of one is 2^30 · 2^-30. That the types are the same is checked.
        Rule::new("requantize-same",  Exact,          "(requantize ?x ?e ?s)",            "?x"),
    ]
}
