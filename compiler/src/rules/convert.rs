//! Conversions between float and integer, and between integers.

use crate::egraph::{
    Bound::Steps,
    Class::{Exact, Real},
    Match, Rule,
};
use swint_ir::arith::Multiplier;

/// The table.
#[rustfmt::skip]
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::new("requantize",         Real(Steps(1)), "(quantize (dequantize ?x) ?e ?s)",         "(requantize ?x ?e ?s)"),
        // ⌊(q·s)/s + 1/2⌋ = q for 16 bits, and quantize makes no more: the quotient of the rounded product is within
        // 2^-22·|q| < 1/2 of q. That the scales agree is checked with the types.
        Rule::new("quantize-inverse",   Exact,          "(quantize (dequantize ?x) ?e ?s)",         "?x"),
        // A factor of one is 2^30 · 2^-30. That the types are the same is checked.
        Rule::new("requantize-same",    Exact,          "(requantize ?x ?e ?s)",                    "?x"),
        // A conversion to the same scale that saturates nothing changes no number.
        Rule::new("requantize-widened", Exact,          "(requantize (requantize ?x ?e ?s) ?f ?t)", "(requantize ?x ?f ?t)").when(widened),
        // Rounded once instead of twice: half a step of the first is at most half a step of the second.
        Rule::new("requantize-twice",   Real(Steps(1)), "(requantize (requantize ?x ?e ?s) ?f ?t)", "(requantize ?x ?f ?t)").when(unsaturated),
    ]
}

/// Whether the inner requantization keeps the scale, and the values' range shows that none saturates.
fn widened(m: &mut Match<'_>) -> bool {
    let (Some(x), Some(elem), Some(scale), Some(range)) = (m.ty("x"), m.elem("e"), m.float("s"), m.range("x")) else {
        return false;
    };
    x.scale.channels.is_none() && x.scale.factor == scale && range.fits(elem)
}

/// Whether the values' range shows that the inner requantization saturates none, and it rounds no coarser than the outer: what is
/// lost by several in a row would add up.
fn unsaturated(m: &mut Match<'_>) -> bool {
    let (Some(x), Some(elem), Some(range)) = (m.ty("x"), m.elem("e"), m.range("x")) else { return false };
    let (Some(inner), Some(outer), Some((low, high))) = (m.float("s"), m.float("t"), elem.range()) else {
        return false;
    };
    let multipliers = m.weights().multipliers(x, inner.get());
    let within = |factor: &Multiplier| {
        [range.low, range.high].iter().all(|&q| (i64::from(low)..=i64::from(high)).contains(&factor.apply(q as i32)))
    };
    inner.get() <= outer.get() && multipliers.iter().all(within)
}
