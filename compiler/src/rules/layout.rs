//! Index maps: composed, cancelled, and exchanged with whatever works on one element or one token at a time, so that bytes move
//! and not floats.

use crate::egraph::{Class::Exact, Match, Rule};
use swint_ir::{Pair, op::Op};

/// Index maps with the variables of their attributes.
const INDEX_MAPS: [(&str, &str); 5] = [
    ("roll", "?shift"),
    ("crop", "?sides"),
    ("window_partition", "?window"),
    ("window_reverse", "?window ?height ?width"),
    ("space_to_depth", "?block ?order"),
];

/// Elementwise ops with what follows their operand.
const ELEMENTWISE: [(&str, &str); 6] = [
    ("quantize", " ?e ?s"),
    ("dequantize", ""),
    ("requantize", " ?e ?s"),
    ("lut", " ?table"),
    ("gelu", ""),
    ("relu", ""),
];

/// Index maps that keep a token's channels together, with the variables of their attributes.
const TOKEN_MAPS: [(&str, &str); 4] = [INDEX_MAPS[0], INDEX_MAPS[1], INDEX_MAPS[2], INDEX_MAPS[3]];

/// Of [`ELEMENTWISE`], those that keep zeros: they are exchanged with `pad`, too.
const KEEP_ZEROS: [&str; 5] = ["quantize", "dequantize", "requantize", "gelu", "relu"];

/// Ops on each token's channels with what follows their operand.
const PER_TOKEN: [(&str, &str, &str); 7] = [
    ("linear", "linear", " ?w"),
    ("linear-bias", "linear", " ?w ?c"),
    ("qlinear", "qlinear", " ?w ?e ?s"),
    ("qlinear-bias", "qlinear", " ?w ?c ?e ?s"),
    ("bias_add", "bias_add", " ?c"),
    ("layer_norm", "layer_norm", " ?g ?c ?eps"),
    ("qlayer_norm", "qlayer_norm", " ?g ?c ?eps ?e ?s"),
];

/// Maps that are one map, or none. That what is left has the right shape is checked with the types.
#[rustfmt::skip]
fn composed() -> Vec<Rule> {
    vec![
        Rule::new("roll-roll",         Exact, "(roll (roll ?x ?a) ?b)",                                     "(roll ?x ?c)").when(sum_of_shifts),
        Rule::new("roll-whole",        Exact, "(roll ?x ?a)",                                               "?x").when(whole_turns),
        Rule::new("reverse-partition", Exact, "(window_reverse (window_partition ?x ?w) ?w ?h ?v)",         "?x"),
        Rule::new("partition-reverse", Exact, "(window_partition (window_reverse ?x ?w ?h ?v) ?w)",         "?x"),
        // That what is left has the sides that x had is checked with the types.
        Rule::new("crop-pad",          Exact, "(crop (pad ?x ?a) ?b)",                                      "?x"),
        Rule::new("pad-none",          Exact, "(pad ?x ?a)",                                                "?x"),
        Rule::new("crop-none",         Exact, "(crop ?x ?a)",                                               "?x"),
    ]
}

/// Binds `c` to the shift of both rolls, within one turn of each extent: without, a roll that is a whole turn would make ever longer
/// ones.
fn sum_of_shifts(m: &mut Match<'_>) -> bool {
    let (Some(a), Some(b), Some(x)) = (m.pair("a"), m.pair("b"), m.ty("x")) else { return false };
    let &[_, height, width, _] = &x.shape[..] else { return false };
    let sum = a.zip(b, |a, b| i128::from(a) + i128::from(b));
    let shift = sum.zip(Pair::new(height, width), |sum, extent| sum.rem_euclid(extent as i128) as i64);
    let shift = Op::Roll { shift }.attrs().remove(0);
    m.bind_attr("c", shift)
}

/// A roll by multiples of the extents moves nothing.
fn whole_turns(m: &mut Match<'_>) -> bool {
    let (Some(shift), Some(x)) = (m.pair("a"), m.ty("x")) else { return false };
    let &[_, height, width, _] = &x.shape[..] else { return false };
    shift.zip(Pair::new(height, width), |shift, extent| shift.rem_euclid(extent as i64)) == 0.into()
}

/// The table: compositions, and for each index map M and elementwise f, `f(M(x)) = M(f(x))`, both ways; so, too, for f on each
/// token's channels, and for a sum, `M(x) + M(y) = M(x + y)`. Channel scales that M would tear apart fail the type check. Padding is
/// exchanged only with what keeps zeros.
pub fn rules() -> Vec<Rule> {
    let mut rows = composed();
    let mut both_ways = |name: &str, map: &str, inside: String, outside: String| {
        rows.push(Rule::new(format!("{name}-below-{map}"), Exact, outside.clone(), inside.clone()));
        rows.push(Rule::new(format!("{name}-above-{map}"), Exact, inside, outside));
    };
    for (map, attrs) in INDEX_MAPS {
        for (f, rest) in ELEMENTWISE {
            both_ways(f, map, format!("({map} ({f} ?x{rest}) {attrs})"), format!("({f} ({map} ?x {attrs}){rest})"));
        }
    }
    for (f, rest) in ELEMENTWISE.into_iter().filter(|(f, _)| KEEP_ZEROS.contains(f)) {
        both_ways(f, "pad", format!("(pad ({f} ?x{rest}) ?sides)"), format!("({f} (pad ?x ?sides){rest})"));
    }
    both_ways("add", "pad", "(pad (add ?x ?y) ?s)".to_owned(), "(add (pad ?x ?s) (pad ?y ?s))".to_owned());
    for (map, attrs) in TOKEN_MAPS {
        for (name, f, rest) in PER_TOKEN {
            both_ways(name, map, format!("({map} ({f} ?x{rest}) {attrs})"), format!("({f} ({map} ?x {attrs}){rest})"));
        }
        let outside = format!("(add ({map} ?x {attrs}) ({map} ?y {attrs}))");
        both_ways("add", map, format!("({map} (add ?x ?y) {attrs})"), outside);
    }
    rows
}
