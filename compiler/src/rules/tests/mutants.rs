//! Rules broken on purpose: the suite must catch each.

use super::{check, examples::examples};
use crate::{
    egraph::{
        Bound::Steps,
        Class::{Exact, Real},
        Match, Rule,
    },
    rules::{RuleSet, rules},
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use swint_ir::{Data, Type, op::Attr};

/// Whether some example shows that a rule is wrong.
fn is_caught(rule: &Rule) -> bool {
    let wrong = |example| catch_unwind(AssertUnwindSafe(|| check(rule, example))).is_err();
    examples().iter().any(wrong)
}

/// A rule of the tables.
fn rule(name: &str) -> Rule {
    rules(RuleSet::ALL).into_iter().find(|rule| rule.name == name).expect("a rule of this name")
}

/// A rule of the tables with another condition.
fn with(name: &str, when: fn(&mut Match<'_>) -> bool) -> Rule {
    rule(name).when(when)
}

/// A rule of the tables with another right side.
fn giving(name: &str, rhs: &str) -> Rule {
    Rule { rhs: rhs.to_owned(), ..rule(name) }
}

/// What the rule of that name binds, its constant changed.
fn changed(m: &mut Match<'_>, name: &str, variable: &str, change: fn(Vec<i32>) -> Vec<i32>) -> bool {
    if !(rule(name).when)(m) {
        return false;
    }
    let (stem, tensor) = m.constant(variable).expect("it binds a constant");
    let ty: Type = m.ty(variable).expect("of a type").clone();
    let values = change(tensor.data.to_i32().expect("integers"));
    m.bind_constant(variable, &format!("{stem}.changed"), ty.clone(), Data::from_i32(ty.elem, values.into_iter()));
    true
}

#[test]
fn broken_rules_are_caught() {
    let broken = [
        // An index map that forgets its shift, and shifts that add up to one too many.
        giving("norm-linear-shifted", "(norm_linear ?x ?g ?b ?w ?c ?eps ?n 0 0 0 ?p ?e ?s)"),
        // Padding taken for what is no zero: a bias, an entry of a table.
        Rule::new("pad-linear", Exact, "(pad (linear ?x ?w ?c) ?s)", "(linear (pad ?x ?s) ?w ?c)"),
        Rule::new("pad-lut", Exact, "(pad (lut ?x ?t) ?s)", "(lut (pad ?x ?s) ?t)"),
        // Padding after the shift that it came before.
        giving("norm-linear-pad-shift", "(norm_linear ?x ?g ?b ?w ?c ?eps ?n 0 ?r ?q ?p ?e ?s)"),
        with("roll-roll", |m| {
            let (Some(a), Some(b)) = (m.pair("a"), m.pair("b")) else { return false };
            let (a, b) = (a.rows, b.rows);
            m.bind_attr("c", Attr::Int(a + b + 1))
        }),
        // The clamp of a signed quantization is not at zero.
        Rule::new("relu-clamp-signed", Exact, "(quantize (relu ?x) i8 ?s)", "(quantize ?x i8 ?s)"),
        // Conversions that saturate, taken for ones that do not.
        with("requantize-widened", |_| true),
        // One entry of the table is off by one.
        with("gelu-table", |m| {
            changed(m, "gelu-table", "table", |mut values| {
                values[77] = if values[77] > 0 { values[77] - 1 } else { values[77] + 1 };
                values
            })
        }),
        // A bias rounded up, by more than half a step.
        with("bias-integer", |m| changed(m, "bias-integer", "q", |values| values.iter().map(|q| q + 1).collect())),
        // β forgotten.
        with("layer-norm-integer", |m| {
            changed(m, "layer-norm-integer", "bq", |values| values.iter().map(|_| 0).collect())
        }),
        // k and v in each other's place.
        with("window-attention", |m| {
            changed(m, "window-attention", "w", |mut rows| {
                let third = rows.len() / 3;
                rows[third..].rotate_left(third);
                rows
            })
        }),
    ];
    let missed: Vec<String> = broken.iter().filter(|rule| !is_caught(rule)).map(Rule::to_string).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    // The bounds are needed, and hold.
    let tighter = [
        ("requantize-twice", Exact),
        ("bias-integer", Exact),
        ("add-integer", Real(Steps(2))),
        ("softmax-integer", Real(Steps(1))),
        ("l2-norm-integer", Exact),
        ("scores-scale", Exact),
    ];
    for (name, class) in tighter {
        assert!(is_caught(&Rule { class, ..rule(name) }), "{name} is no better than its bound");
        assert!(!is_caught(&rule(name)), "{name} is within its bound");
    }
}

#[test]
#[should_panic(expected = "is wrong: values in")]
fn intervals_exclude_a_wrong_rule() {
    // No GELU is as small as this table says.
    let wrong = with("gelu-table", |m| changed(m, "gelu-table", "table", |values| vec![-128; values.len()]));
    for example in &examples() {
        check(&wrong, example);
    }
}
