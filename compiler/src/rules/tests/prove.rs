//! One line an equation: what the tables prove, and what they must not.

use crate::{
    egraph::{Limits, saturate, to_egraph},
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
    let runner = saturate(lowered.egraph, &rules(RuleSet::ALL), Limits::default());
    runner.egraph.find(left) == runner.egraph.find(right)
}

macro_rules! lines {
    ($($name:ident: $holds:literal $decls:tt $left:literal == $right:literal;)*) => {
        $( #[test] fn $name() { assert_eq!(proves(&$decls, $left, $right), $holds); } )*
    };
}

const X: &str = "x: i8<0.1>[1,4,4,3]";
const F: &str = "x: f32[1,4,4,3]";
const ROW: &str = "x: i8<0.1>[2,8]";
const W: &str = "@w: i8<0.02>[5,3]";

#[rustfmt::skip]
lines! {
    // Index maps.
    rolls_add:                        true  [X] "(roll (roll ?x 1) 2)" == "(roll ?x 3)";
    rolls_add_no_other:               false [X] "(roll (roll ?x 1) 2)" == "(roll ?x 2)";
    a_roll_and_its_reverse:           true  [X] "(roll (roll ?x 1) -1)" == "?x";
    a_turn_of_both_extents:           true  ["x: i8<0.1>[1,4,6,3]"] "(roll ?x 12)" == "?x";
    a_turn_of_each_axis:              true  ["x: i8<0.1>[1,4,6,3]"] "(roll (roll ?x 2) 10)" == "?x";
    a_crop_of_its_padding:            true  [X] "(crop (pad ?x 6) 4)" == "?x";
    padding_of_a_conversion:          true  [X] "(pad (dequantize ?x) 6)" == "(dequantize (pad ?x 6))";
    padding_of_a_linear:              false [X, W] "(pad (linear ?x ?w) 6)" == "(linear (pad ?x 6) ?w)";
    a_turn_of_one_extent:             false ["x: i8<0.1>[1,4,6,3]"] "(roll ?x 4)" == "?x";
    windows_cancel:                   true  [X] "(window_reverse (window_partition ?x 2) 2 4 4)" == "?x";
    windows_of_a_shift:               false [X] "(window_partition (roll ?x 1) 2)" == "(window_partition ?x 2)";
    windows_do_not_commute_with_roll: false [X] "(roll (window_reverse (window_partition ?x 2) 2 4 4) 1)" == "?x";
    shift_linear_shift_back:          true  [X, W] "(roll (linear (roll ?x 2) ?w) -2)" == "(linear ?x ?w)";
    shift_linear_shift_on:            false [X, W] "(roll (linear (roll ?x 1) ?w) 1)" == "(linear ?x ?w)";
    windows_linear_windows_back:      true  [X, W] "(window_reverse (qlinear (window_partition ?x 2) ?w i8 0.5) 2 4 4)" == "(qlinear ?x ?w i8 0.5)";
    blocks_are_no_tokens:             false [X, "@u: i8<0.02>[5,12]"] "(linear (space_to_depth ?x 2 row) ?u)" == "(linear (space_to_depth ?x 2 column) ?u)";
    blocks_of_one:                    true  [X] "(space_to_depth ?x 1 row)" == "?x";
    a_sum_of_maps:                    true  [F, "y: f32[1,4,4,3]"] "(add (roll ?x 1) (roll ?y 1))" == "(roll (add ?x ?y) 1)";
    a_sum_of_other_maps:              false [F, "y: f32[1,4,4,3]"] "(add (roll ?x 1) (roll ?y 2))" == "(roll (add ?x ?y) 1)";
    norm_of_a_shift:                  true  [F, "@g: f32[3]", "@b: f32[3]"] "(layer_norm (roll ?x 1) ?g ?b 0.5)" == "(roll (layer_norm ?x ?g ?b 0.5) 1)";
    // Conversions.
    there_and_back:                   true  [ROW] "(quantize (dequantize ?x) i8 0.1)" == "?x";
    there_and_back_to_another_scale:  false [ROW] "(quantize (dequantize ?x) i8 0.2)" == "?x";
    there_and_elsewhere:              true  [ROW] "(quantize (dequantize ?x) i8 0.2)" == "(requantize ?x i8 0.2)";
    back_and_there:                   false ["x: f32[2,8]"] "(dequantize (quantize ?x i8 0.1))" == "?x";
    to_the_same_type:                 true  [ROW] "(requantize ?x i8 0.1)" == "?x";
    to_unsigned:                      false [ROW] "(requantize (requantize ?x u8 0.1) i8 0.1)" == "?x";
    through_16_bits:                  true  [ROW] "(requantize (requantize ?x i16 0.1) i8 0.3)" == "(requantize ?x i8 0.3)";
    through_a_finer_scale:            true  [ROW] "(requantize (requantize ?x i16 0.01) i8 0.3)" == "(requantize ?x i8 0.3)";
    through_a_saturating_scale:       false [ROW] "(requantize (requantize ?x i16 0.0001) i8 0.3)" == "(requantize ?x i8 0.3)";
    through_a_coarser_scale:          false [ROW] "(requantize (requantize ?x i16 0.9) i8 0.3)" == "(requantize ?x i8 0.3)";
    // Activations.
    relu_is_a_clamp:                  true  ["x: f32[2,8]"] "(quantize (relu ?x) u8 0.1)" == "(quantize ?x u8 0.1)";
    relu_is_no_signed_clamp:          false ["x: f32[2,8]"] "(quantize (relu ?x) i8 0.1)" == "(quantize ?x i8 0.1)";
    relu_twice:                       true  ["x: f32[2,8]"] "(relu (relu ?x))" == "(relu ?x)";
    relu_of_a_softmax:                true  ["x: i32<0.1>[2,8]"] "(relu (softmax (dequantize ?x)))" == "(softmax (dequantize ?x))";
    relu_of_what_may_be_nan:          false ["x: f32[2,8]"] "(relu (softmax ?x))" == "(softmax ?x)";
    relu_of_a_gelu:                   false ["x: f32[2,8]"] "(relu (gelu ?x))" == "(gelu ?x)";
    gelu_is_no_relu:                  false ["x: f32[2,8]"] "(gelu ?x)" == "(relu ?x)";
    // Zeros and order.
    sums_commute:                     true  ["x: f32[2,8]", "y: f32[2,8]"] "(add ?x ?y)" == "(add ?y ?x)";
    linears_do_not:                   false ["x: f32[8,8]", "y: f32[8,8]"] "(linear ?x ?y)" == "(linear ?y ?x)";
    a_bias_in_a_linear:               true  [F, "@w: f32[5,3]", "@b: f32[5]"] "(bias_add (linear ?x ?w) ?b)" == "(linear ?x ?w ?b)";
    a_bias_that_is_not_zero:          false ["x: f32[2,8]", "@b: f32[8]"] "(bias_add ?x ?b)" == "?x";
    // Integers.
    products_of_integers:             true  [X, W] "(linear (dequantize ?x) (dequantize ?w))" == "(dequantize (linear ?x ?w))";
    a_linear_requantized:             true  [X, W] "(quantize (linear (dequantize ?x) (dequantize ?w)) i8 0.5)" == "(qlinear ?x ?w i8 0.5)";
    a_linear_to_another_scale:        false [X, W] "(quantize (linear (dequantize ?x) (dequantize ?w)) i8 0.5)" == "(qlinear ?x ?w i8 0.6)";
    softmax_in_integers:              true  ["x: i32<0.001>[2,8]"] "(quantize (softmax (dequantize ?x)) u8 0.003921569)" == "(qsoftmax ?x)";
    means_in_integers:                true  ["x: i16<0.1>[1,4,4,3]"] "(mean_pool (dequantize ?x))" == "(dequantize (mean_pool ?x))";
}
