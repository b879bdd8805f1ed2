//! Sums of products: to integers, and biases into the accumulator.

use crate::egraph::{
    Bound::{Accumulation, HalfStep},
    Class::{Exact, Real},
    Match, Rule,
};
use swint_ir::{Data, Elem, Type, infer, infer::MAX_BIAS, op::Op};

/// The table.
#[rustfmt::skip]
pub fn rules() -> Vec<Rule> {
    vec![
        Rule::new("bias-split",      Exact,              "(linear ?x ?w ?b)",                           "(bias_add (linear ?x ?w) ?b)"),
        Rule::new("bias-join",       Exact,              "(bias_add (linear ?x ?w) ?b)",                "(linear ?x ?w ?b)"),
        Rule::new("linear-integer",  Real(Accumulation), "(linear (dequantize ?x) (dequantize ?w))",    "(dequantize (linear ?x ?w))"),
        Rule::new("bias-integer",    Real(HalfStep),     "(bias_add (dequantize (linear ?x ?w)) ?b)",   "(dequantize (bias_add (linear ?x ?w) ?q))").when(integer_bias),
        Rule::new("scores-integer",  Real(Accumulation), "(attn_scores (dequantize ?x) (dequantize ?y) ?h)", "(dequantize (attn_scores ?x ?y ?h))"),
        Rule::new("values-integer",  Real(Accumulation), "(attn_values (dequantize ?x) (dequantize ?y))",    "(dequantize (attn_values ?x ?y))"),
    ]
}

/// Binds `q` to the constant `b` in the units of the sums: `round(b / s)`, within the bound that excludes overflow. The
/// sums have no bias yet: the bound holds for one.
fn integer_bias(m: &mut Match<'_>) -> bool {
    let (Some(x), Some(w), Some((name, bias))) = (m.ty("x"), m.ty("w"), m.constant("b")) else { return false };
    let Some(sums) = infer(&Op::Linear {}, &[x, w]).ok().filter(|ty| ty.elem == Elem::I32) else { return false };
    let Some(bias) = bias.as_f32() else { return false };
    let scales = m.weights().scales(&sums);
    let integers: Vec<f64> =
        bias.iter().enumerate().map(|(i, &b)| (b as f64 / scales[i % scales.len()] as f64).round()).collect();
    if integers.iter().any(|q| q.abs() > MAX_BIAS as f64) {
        return false;
    }
    let ty = Type::int(Elem::I32, sums.scale.on_axis(0), [bias.len()]);
    m.bind_constant("q", &format!("{name}.i32"), ty, Data::I32(integers.into_iter().map(|q| q as i32).collect()));
    true
}
