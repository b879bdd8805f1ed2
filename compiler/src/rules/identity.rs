//! Zeros, identities, commutation.

use crate::egraph::{
    Bound::Zeros,
    Class::{Exact, Real},
    Match, Rule,
};

/// The table. Dead code needs no row: what the result does not need is not extracted.
#[rustfmt::skip]
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::new("add-commute",       Exact,       "(add ?x ?y)",                      "(add ?y ?x)"),
        // −0 + 0 is 0.
        Rule::new("bias-zero-float",   Real(Zeros), "(bias_add ?x ?b)",                 "?x").when(zero_bias),
        Rule::new("bias-zero",         Exact,       "(bias_add ?x ?b)",                 "?x").when(zero_integer_bias),
        Rule::new("linear-bias-zero",  Exact,       "(linear ?x ?w ?b)",                "(linear ?x ?w)").when(zero_integer_bias),
        Rule::new("qlinear-bias-zero", Exact,       "(qlinear ?x ?w ?b ?e ?s)",         "(qlinear ?x ?w ?e ?s)").when(zero_integer_bias),
        Rule::new("mask-zero",         Exact,       "(attn_bias ?x ?c ?b ?s)",          "(attn_bias ?x ?c ?s)").when(zero_integer_bias),
        Rule::new("block-of-one",      Exact,       "(space_to_depth ?x 1 ?o)",         "?x"),
    ]
}

/// Whether `b` is zeros.
fn zeros(m: &Match<'_>, float: bool) -> bool {
    let Some((_, tensor)) = m.constant("b") else { return false };
    match tensor.as_f32() {
        Some(values) => float && values.iter().all(|&x| x == 0.0),
        None => !float && tensor.data.to_i32().is_some_and(|values| values.iter().all(|&q| q == 0)),
    }
}

fn zero_bias(m: &mut Match<'_>) -> bool {
    zeros(m, true)
}

fn zero_integer_bias(m: &mut Match<'_>) -> bool {
    zeros(m, false)
}
