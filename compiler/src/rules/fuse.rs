//! Fusion: what one kernel does better than two. A fused op is a node like any other, chosen by cost.

use crate::egraph::{Class::Exact, Rule};

/// The table.
#[rustfmt::skip]
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::new("qlinear",      Exact, "(requantize (linear ?x ?w) ?e ?s)",    "(qlinear ?x ?w ?e ?s)"),
        Rule::new("qlinear-bias", Exact, "(requantize (linear ?x ?w ?b) ?e ?s)", "(qlinear ?x ?w ?b ?e ?s)"),
    ]
}
