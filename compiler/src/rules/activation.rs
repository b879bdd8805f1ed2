//! Activations between integers.

use crate::egraph::{Class::Exact, Match, Rule};
use swint_ir::{Data, Scale, Type, arith, math};

/// GELU by its table.
#[rustfmt::skip]
pub fn gelu() -> Vec<Rule> {
    vec![
        Rule::new("gelu-table", Exact, "(quantize (gelu (dequantize ?x)) ?e ?s)", "(lut ?x ?table)").when(gelu_table),
    ]
}

/// ReLU is the clamp of an unsigned quantization.
#[rustfmt::skip]
pub fn relu() -> Vec<Rule> {
    vec![
        Rule::new("relu-clamp", Exact, "(quantize (relu ?x) u8 ?s)", "(quantize ?x u8 ?s)"),
    ]
}

/// Binds `table` to the 256 results of dequantize → gelu → quantize: a function of 8 bits *is* its table.
fn gelu_table(m: &mut Match<'_>) -> bool {
    let (Some(x), Some(elem), Some(scale)) = (m.ty("x").cloned(), m.elem("e"), m.float("s")) else { return false };
    let Some((low, high)) = x.elem.range().filter(|_| x.elem.is_byte() && elem.is_byte()) else { return false };
    if x.scale.channels.is_some() {
        return false;
    }
    let entry = |q| arith::quantize(math::gelu(arith::dequantize(q, x.scale.factor.get())), scale.get(), elem);
    let data = Data::from_i32(elem, (low..=high).map(entry));
    let ty = Type::int(elem, Scale::tensor(scale.get()), [256]);
    m.bind_constant("table", &format!("gelu.{}-{elem}", x.elem), ty, data);
    true
}
