//! Conversions between float and integer.

use crate::egraph::{
    Bound::Steps,
    Class::{Exact, Real},
    Match, Rule,
};

/// The table.
#[rustfmt::skip]
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::new("requantize",       Real(Steps(1)), "(quantize (dequantize ?x) ?e ?s)", "(requantize ?x ?e ?s)"),
        Rule::new("quantize-inverse", Exact,          "(quantize (dequantize ?x) ?e ?s)", "?x").when(eight_bits),
        // A factor of one is 2^30 · 2^-30. That the types are the same is checked.
        Rule::new("requantize-same",  Exact,          "(requantize ?x ?e ?s)",            "?x"),
    ]
}

/// `⌊(q·s)/s + 1/2⌋ = q` for |q| ≤ 255: the quotient of the rounded product is within 2^-22·|q| of q. That the scales
/// agree is checked with the types.
fn eight_bits(m: &mut Match<'_>) -> bool {
    m.ty("x").is_some_and(|ty| ty.elem.is_byte())
}
