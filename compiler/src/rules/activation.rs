//! Activations between integers: functions of a byte are tables of 256.

use crate::egraph::{
    Bound::Zeros,
    Class::{Exact, Real},
    Match, Rule,
};
use swint_ir::Type;

/// GELU by its table, with whatever else happens to each element between the bytes.
#[rustfmt::skip]
pub fn gelu() -> Vec<Rule> {
    vec![
        Rule::new("gelu-table",       Exact, "(quantize ?y ?e ?s)",                 "(lut ?x ?table)").when(gelu_table),
    ]
}

/// A GELU that stays float, with the conversions around it.
#[rustfmt::skip]
pub fn float() -> Vec<Rule> {
    vec![
        Rule::new("gelu-float",       Exact, "(quantize (gelu (dequantize ?x)) ?e ?s)", "(float_gelu ?x ?e ?s)"),
    ]
}

/// ReLU is the clamp of an unsigned quantization; any chain of elementwise ops between bytes is a table.
#[rustfmt::skip]
pub fn relu() -> Vec<Rule> {
    vec![
        Rule::new("relu-clamp",       Exact, "(quantize (relu ?x) u8 ?s)",          "(quantize ?x u8 ?s)"),
        Rule::new("relu-clamp-i8",    Exact, "(quantize (relu ?x) i8 ?s)",          "(requantize (quantize ?x u8 ?s) i8 ?s)"),
        Rule::new("relu-positive",    Real(Zeros), "(relu ?x)",                     "?x").when(positive),
        Rule::new("quantize-table",   Exact, "(quantize ?y ?e ?s)",                 "(lut ?x ?table)").when(table),
        Rule::new("requantize-table", Exact, "(requantize ?y ?e ?s)",               "(lut ?x ?table)").when(requantized_table),
        Rule::new("table-table",      Exact, "(lut ?y ?t)",                         "(lut ?x ?table)").when(table_of_table),
    ]
}

fn gelu_table(m: &mut Match<'_>) -> bool {
    bind_table(m, 2, true)
}

/// Of at least one op between `dequantize` and `quantize`: without, it is a requantization.
fn table(m: &mut Match<'_>) -> bool {
    bind_table(m, 2, false)
}

/// Of at least one op before the requantization, which alone is as good.
fn requantized_table(m: &mut Match<'_>) -> bool {
    bind_table(m, 1, false)
}

/// A table after other ops.
fn table_of_table(m: &mut Match<'_>) -> bool {
    bind_table(m, 1, false)
}

/// Binds `x` to the bytes that the matched op's result is a function of, and `table` to that function, if `y` is made of at least
/// so many ops from them, a GELU among them or not.
fn bind_table(m: &mut Match<'_>, least: usize, gelu: bool) -> bool {
    let (Some(chain), Some(whole)) = (m.unary("y"), m.root_unary()) else { return false };
    let fits = chain.length >= least && gelu == chain.gelu && whole.of == chain.of;
    let Some(ty) = m.root_ty().filter(|ty| fits && ty.elem.is_byte() && ty.scale.channels.is_none()).cloned() else {
        return false;
    };
    let Some(from) = m.class_ty(chain.of).map(|ty| ty.elem) else { return false };
    let stem = match chain.gelu {
        true => format!("gelu.{from}-{}", ty.elem),
        false => format!("table.{from}-{}", ty.elem),
    };
    m.bind_class("x", chain.of);
    m.bind_constant("table", &stem, Type { shape: vec![256], ..ty }, whole.values.data.clone());
    true
}

/// What is never negative is its own ReLU, but for −0, which becomes 0.
fn positive(m: &mut Match<'_>) -> bool {
    m.range("x").is_some_and(|range| range.low >= 0.0)
}
