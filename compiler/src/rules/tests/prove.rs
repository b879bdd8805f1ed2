//! One line an equation: what the tables prove, and what they must not.

use crate::{
    egraph::{saturate, to_egraph},
    rules::{RuleSet, rules},
};
use egg::{Id, Pattern, Subst, Var};
use swint_ir::{Module, random, text};

/// Whether the tables prove two expressions equal, over declared inputs (`x: i8<0.1>[1,4,4,3]`) and constants (`@w: f32[3]`).
fn proves(decls: &[&str], left: &str, right: &str) -> bool {
    let (consts, inputs): (Vec<&str>, Vec<&str>) = decls.iter().partition(|decl| decl.starts_with('@'));
    let inputs_text: Vec<String> = inputs.iter().map(|decl| format!("%{decl}")).collect();
    let (first, ty) = inputs[0].split_once(": ").expect("a declaration");
    let consts: String = consts.iter().map(|decl| format!("  const {}\n", decl.replacen(": ", " : ", 1))).collect();
    let program = format!("graph @g({}) -> {ty} {{\n{consts}  return %{first}\n}}\n", inputs_text.join(", "));
    let (graph, _) = text::read("g", &program).unwrap_or_else(|e| panic!("{e:?}\n{program}"));
    let module = Module { weights: random::weights(&graph, 1), graph };
    let mut lowered = to_egraph(&module);
    let mut subst = Subst::default();
    let variable = |name: &str| -> Var { format!("?{name}").parse().expect("a name") };
    for (i, input) in module.graph.inputs.iter().enumerate() {
        let id = lowered.egraph.add(crate::egraph::ENode::Input(i as u32));
        subst.insert(variable(&input.name), id);
    }
    for (i, constant) in module.graph.consts.iter().enumerate() {
        let id = lowered.egraph.add(crate::egraph::ENode::Const(swint_ir::ConstId(i as u32)));
        subst.insert(variable(&constant.name), id);
    }
    let mut add = |side: &str| -> Id {
        let pattern: Pattern<_> = side.parse().unwrap_or_else(|e| panic!("{side}: {e:?}"));
        lowered.egraph.add_instantiation(&pattern.ast, &subst)
    };
    let (left, right) = (add(left), add(right));
    lowered.egraph.rebuild();
    let runner = saturate(lowered.egraph, &rules(RuleSet::ALL));
    runner.egraph.find(left) == runner.egraph.find(right)
}

macro_rules! lines {
    ($($name:ident: $holds:literal $decls:tt $left:literal == $right:literal;)*) => {
        $( #[test] fn $name() { assert_eq!(proves(&$decls, $left, $right), $holds); } )*
    };
}

#[rustfmt::skip]
lines! {
    rolls_add:                  true  ["x: i8<0.1>[1,4,4,3]"] "(roll (roll ?x 1) 2)" == "(roll ?x 3)";
    rolls_add_no_other:         false ["x: i8<0.1>[1,4,4,3]"] "(roll (roll ?x 1) 2)" == "(roll ?x 2)";
    a_roll_and_its_reverse:     true  ["x: i8<0.1>[1,4,4,3]"] "(roll (roll ?x 1) -1)" == "?x";
    a_turn_of_one_extent:       false ["x: i8<0.1>[1,4,6,3]"] "(roll ?x 4)" == "?x";
    windows_cancel:             true  ["x: i8<0.1>[1,4,4,3]"] "(window_reverse (window_partition ?x 2) 2 4 4)" == "?x";
}
