//! Index maps: composed, cancelled, and exchanged with whatever works on one element at a time, so that bytes move and not
//! floats.

use crate::egraph::{Class::Exact, Match, Rule};
use swint_ir::op::Attr;

/// Index maps with the variables of their attributes.
const INDEX_MAPS: [(&str, &str); 4] = [
    ("roll", "?shift"),
    ("window_partition", "?window"),
    ("window_reverse", "?window ?height ?width"),
    ("space_to_depth", "?block ?order"),
];

/// Elementwise ops with what follows their operand.
const ELEMENTWISE: [(&str, &str); 4] =
    [("quantize", " ?e ?s"), ("dequantize", ""), ("requantize", " ?e ?s"), ("lut", " ?table")];

/// Maps that are one map, or none. That what is left has the right shape is checked with the types.
#[rustfmt::skip]
fn composed() -> Vec<Rule> {
    vec![
        Rule::new("roll-roll",         Exact, "(roll (roll ?x ?a) ?b)",                                     "(roll ?x ?c)").when(sum_of_shifts),
        Rule::new("roll-whole",        Exact, "(roll ?x ?a)",                                               "?x").when(whole_turns),
        Rule::new("reverse-partition", Exact, "(window_reverse (window_partition ?x ?w) ?w ?h ?v)",         "?x"),
        Rule::new("partition-reverse", Exact, "(window_partition (window_reverse ?x ?w ?h ?v) ?w)",         "?x"),
    ]
}

/// Binds `c` to the shift of both rolls, within one turn of both extents: without, a roll that is a whole turn would make
/// ever longer ones.
fn sum_of_shifts(m: &mut Match<'_>) -> bool {
    let (Some(a), Some(b), Some(x)) = (m.int("a"), m.int("b"), m.ty("x")) else { return false };
    let &[_, height, width, _] = &x.shape[..] else { return false };
    let turn = (height / gcd(height, width)) as i128 * width as i128;
    i64::try_from((i128::from(a) + i128::from(b)).rem_euclid(turn)).is_ok_and(|c| m.bind_attr("c", Attr::Int(c)))
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A roll by a multiple of both extents moves nothing.
fn whole_turns(m: &mut Match<'_>) -> bool {
    let (Some(shift), Some(x)) = (m.int("a"), m.ty("x")) else { return false };
    x.rank() == 4 && x.shape[1..3].iter().all(|&extent| shift.rem_euclid(extent as i64) == 0)
}

/// The table: compositions, and for each index map M and elementwise f, `f(M(x)) = M(f(x))`, both ways. Channel scales that M
/// would tear apart fail the type check.
pub fn rules() -> Vec<Rule> {
    let mut rows = composed();
    for (map, attrs) in INDEX_MAPS {
        for (f, rest) in ELEMENTWISE {
            let (outside, inside) =
                (format!("({f} ({map} ?x {attrs}){rest})"), format!("({map} ({f} ?x{rest}) {attrs})"));
            rows.push(Rule::new(format!("{f}-below-{map}"), Exact, outside.clone(), inside.clone()));
            rows.push(Rule::new(format!("{f}-above-{map}"), Exact, inside, outside));
        }
    }
    rows
}
