//! Index maps commute with whatever works on one element at a time, so that bytes move and not floats.

use crate::egraph::{Class::Exact, Rule};

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

/// The table: for each index map M and elementwise f, `f(M(x)) = M(f(x))`, both ways. Channel scales that M would tear
/// apart fail the type check.
pub fn rules() -> Vec<Rule> {
    let mut rows = Vec::new();
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
