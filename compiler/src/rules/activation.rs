//! Activations between integers.

use crate::egraph::{Class::Exact, Match, Rule};
use swint_ir::{Data, Scale, Type, arith, math};

/// GELU by its table, with whatever is added to every element on its way in or out.
#[rustfmt::skip]
pub fn gelu() -> Vec<Rule> {
    vec![
        Rule::new("gelu-table",        Exact, "(quantize (gelu (dequantize ?x)) ?e ?s)",                             "(lut ?x ?table)").when(gelu_table),
        Rule::new("gelu-table-in",     Exact, "(quantize (gelu (bias_add (dequantize ?x) ?a)) ?e ?s)",               "(lut ?x ?table)").when(gelu_table_in),
        Rule::new("gelu-table-out",    Exact, "(quantize (bias_add (gelu (dequantize ?x)) ?b) ?e ?s)",               "(lut ?x ?table)").when(gelu_table_out),
        Rule::new("gelu-table-in-out", Exact, "(quantize (bias_add (gelu (bias_add (dequantize ?x) ?a)) ?b) ?e ?s)", "(lut ?x ?table)").when(gelu_table_in_out),
    ]
}

/// ReLU is the clamp of an unsigned quantization.
#[rustfmt::skip]
pub fn relu() -> Vec<Rule> {
    vec![
        Rule::new("relu-clamp", Exact, "(quantize (relu ?x) u8 ?s)", "(quantize ?x u8 ?s)"),
    ]
}

fn gelu_table(m: &mut Match<'_>) -> bool {
    bind_table(m, math::gelu)
}

fn gelu_table_in(m: &mut Match<'_>) -> bool {
    uniform(m, "a").is_some_and(|a| bind_table(m, |x| math::gelu(x + a)))
}

fn gelu_table_out(m: &mut Match<'_>) -> bool {
    uniform(m, "b").is_some_and(|b| bind_table(m, |x| math::gelu(x) + b))
}

fn gelu_table_in_out(m: &mut Match<'_>) -> bool {
    let (Some(a), Some(b)) = (uniform(m, "a"), uniform(m, "b")) else { return false };
    bind_table(m, |x| math::gelu(x + a) + b)
}

/// The value that every element of a constant has.
fn uniform(m: &Match<'_>, name: &str) -> Option<f32> {
    let (_, constant) = m.constant(name)?;
    let (first, rest) = constant.as_f32()?.split_first()?;
    rest.iter().all(|x| x == first).then_some(*first)
}

/// Binds `table` to the 256 results of dequantize → f → quantize: a function of 8 bits *is* its table.
fn bind_table(m: &mut Match<'_>, f: impl Fn(f32) -> f32) -> bool {
    let (Some(x), Some(elem), Some(scale)) = (m.ty("x").cloned(), m.elem("e"), m.float("s")) else { return false };
    let Some((low, high)) = x.elem.range().filter(|_| x.elem.is_byte() && elem.is_byte()) else { return false };
    if x.scale.channels.is_some() {
        return false;
    }
    let entry = |q| arith::quantize(f(arith::dequantize(q, x.scale.factor.get())), scale.get(), elem);
    let data = Data::from_i32(elem, (low..=high).map(entry));
    let ty = Type::int(elem, Scale::tensor(scale.get()), [256]);
    m.bind_constant("table", &format!("gelu.{}-{elem}", x.elem), ty, data);
    true
}
