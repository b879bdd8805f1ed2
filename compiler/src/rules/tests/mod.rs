//! Soundness: the tables are walked, and every rule must fire on some example and be right on all of them.

mod examples;
mod mutants;
mod prove;

use super::{RuleSet, rules};
use crate::egraph::{
    Bound, Class, Constants, ENode, Facts, Limits, Range, Rule, SwinGraph, saturate, to_egraph, to_egraph_explained,
};
use egg::{Id, Runner, SimpleScheduler};
use examples::{example, examples, int, push, weights};
use std::collections::{BTreeMap, HashSet};
use swint_ir::{
    Elem, Module, Node, Tensor, Type, interp,
    op::{Op, OpKind, Order},
    random,
};

/// A small program and inputs for it.
struct Example {
    module: Module,
    inputs: Vec<Tensor>,
}

/// Applies one rule once to an example's e-graph and evaluates every e-node: each must give its class's value. Returns
/// how often the rule made two classes equal.
fn check(rule: &Rule, example: &Example) -> usize {
    let lowered = to_egraph(&example.module);
    let mut values: BTreeMap<Id, Tensor> = BTreeMap::new();
    evaluate(&lowered.egraph, &example.inputs, &mut values, |_, _, _, _| {});
    let runner = Runner::default()
        .with_egraph(lowered.egraph)
        .with_scheduler(SimpleScheduler)
        .with_iter_limit(1)
        .run(&[rule.to_rewrite()]);
    let egraph = runner.egraph;
    // Classes may have merged: the value of any node of the source stands for the class.
    let mut values: BTreeMap<Id, Tensor> = values.into_iter().map(|(id, v)| (egraph.find(id), v)).collect();
    // What the class's own node reads: bounds may depend on it.
    let operands = values.clone();
    evaluate(&egraph, &example.inputs, &mut values, |class, node, wanted, found| {
        assert_within(rule, &egraph, class, &operands, node, wanted, found);
    });
    runner.iterations.iter().flat_map(|i| i.applied.values()).sum()
}

/// Evaluates every tensor e-node whose children have values, until nothing is new. `seen` gets the class, the node, the
/// class's value and the node's own.
fn evaluate(
    egraph: &SwinGraph,
    inputs: &[Tensor],
    values: &mut BTreeMap<Id, Tensor>,
    mut seen: impl FnMut(Id, &ENode, &Tensor, &Tensor),
) {
    let mut done: HashSet<(Id, ENode)> = HashSet::new();
    loop {
        let mut progress = false;
        for class in egraph.classes() {
            let Facts::Tensor { ty, .. } = &class.data else { continue };
            for node in &class.nodes {
                if done.contains(&(class.id, node.clone())) {
                    continue;
                }
                let Some(found) = evaluate_node(egraph, node, ty, inputs, values) else { continue };
                let wanted = values.entry(class.id).or_insert_with(|| found.clone());
                seen(class.id, node, wanted, &found);
                done.insert((class.id, node.clone()));
                progress = true;
            }
        }
        if !progress {
            return;
        }
    }
}

fn evaluate_node(
    egraph: &SwinGraph,
    node: &ENode,
    ty: &Type,
    inputs: &[Tensor],
    values: &BTreeMap<Id, Tensor>,
) -> Option<Tensor> {
    let Constants { decls, weights, .. } = &egraph.analysis;
    match node {
        ENode::Input(i) => Some(inputs[*i as usize].clone()),
        ENode::Const(c) => Some((**weights.get(&decls[c.index()].name)?).clone()),
        ENode::Attr(_) => None,
        ENode::Op(kind, children) => {
            let mut operands = Vec::new();
            let mut attrs = Vec::new();
            for &child in children {
                match &egraph[child].data {
                    Facts::Attr(attr) => attrs.push(attr.clone()),
                    Facts::Tensor { ty, .. } => operands.push((values.get(&egraph.find(child))?, ty)),
                }
            }
            let op = Op::from_attrs(*kind, &attrs).unwrap();
            let node = Node { op, operands: Vec::new(), ty: ty.clone(), locs: Vec::new(), approximates: None };
            Some(interp::eval_op(&node, &operands, weights))
        }
    }
}

/// Asserts that a node's value is as far from its class's as a rule allows. `operands` are the values of classes before.
fn assert_within(
    rule: &Rule,
    egraph: &SwinGraph,
    class: Id,
    operands: &BTreeMap<Id, Tensor>,
    node: &ENode,
    wanted: &Tensor,
    found: &Tensor,
) {
    let weights = &egraph.analysis.weights;
    let bound = match rule.class {
        Class::Exact => {
            assert_eq!(wanted.data.to_bytes(), found.data.to_bytes(), "{rule}: {node} differs");
            return;
        }
        Class::Real(bound) => bound,
    };
    let ty = egraph[class].data.ty().unwrap();
    let (a, b) = (wanted.to_real(ty, weights), found.to_real(ty, weights));
    let largest = a.iter().fold(0f32, |m, x| m.max(x.abs()));
    let step = weights.scales(ty)[0];
    // The floats that the class quantizes the sum, or the softmax, of.
    let floats = |kind: OpKind| -> Vec<Vec<f32>> {
        let quantized = child(egraph, class, OpKind::Quantize, 0).into_iter();
        let sources = quantized.flat_map(|y| (0..kind.arity().0).filter_map(move |i| child(egraph, y, kind, i)));
        sources.map(|x| operands[&x].as_f32().unwrap().to_vec()).collect()
    };
    let (terms, scores) = (floats(OpKind::Add), floats(OpKind::Softmax));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let allowed = match bound {
            Bound::Steps(steps) => steps as f32 * step * 1.001,
            Bound::Residual => {
                let excess = |x: &Vec<f32>| (x[i].abs() - 32767.0 * step).max(0.0);
                2.0 * step * 1.001 + terms.iter().map(excess).sum::<f32>() * 1.001
            }
            Bound::Scores => {
                // Of classes that are not that softmax the bound is not asked.
                let scores: &[f32] = scores.first().map_or(&[], |scores| scores);
                let largest = scores.iter().fold(0f32, |m, x| m.max(x.abs()));
                let unit = scale_of_scores(egraph, class).unwrap_or(1.0);
                let apart =
                    scores.iter().fold(f32::MIN, |m, &x| m.max(x)) - scores.iter().fold(f32::MAX, |m, &x| m.min(x));
                let far = if apart >= 2f32.powi(31) * unit { (-(2f32.powi(31)) * unit).exp() } else { 0.0 };
                step * 1.001 + ty.last() as f32 * 2f32.powi(-15) + (largest * 2f32.powi(-20)).exp_m1() + far
            }
            // Nothing here adds more than 9 products, and partial sums stay below 9 times the largest product.
            Bound::Accumulation => (2.0 * 9.0 + 4.0) * 2f32.powi(-24) * 9.0 * largest.max(300.0),
            // The largest γ of the examples is 2, their rows have 7 channels.
            Bound::Norm => step * 1.001 + 2.0 / 1024.0 + 7f32.sqrt() * 2.0 / 32767.0 / 2.0,
            Bound::Zeros => 0.0,
            Bound::ScoreBias => 2.0 * 0.5 * (0.05 * 0.07 * 0.5) + largest * 2f32.powi(-22),
            Bound::Unit => step * 1.001 + 2f32.powi(-15),
            // A head's scale is rounded to half a unit of the largest, 30, in 16 bits, or of what leaves room for biases; scores of the
            // examples are sums of two products of bytes.
            Bound::HeadScale => {
                let score = 0.05 * 0.07 * f32::from(i16::MAX);
                let unit = (30.0f32 / 32767.0).max(128.0 * 2f32.powi(-29) / (0.05 * 0.07));
                let excess = 0.05 * 0.07 * (2.0 * 16384.0 - f32::from(i16::MAX));
                score * unit * 0.5 + excess * 30.0 + largest * 2f32.powi(-22)
            }
            Bound::HalfStep => 0.5 * 0.05 * (0.01 + 0.003 * (i % 3) as f32) + largest * 2f32.powi(-22),
        };
        assert!((a - b).abs() <= allowed, "{rule}: {node} element {i}: {a} and {b}, allowed {allowed}");
    }
}

/// The scale of the integers that a class of quantized probabilities is made of.
fn scale_of_scores(egraph: &SwinGraph, class: Id) -> Option<f32> {
    let p = child(egraph, class, OpKind::Quantize, 0)?;
    let scores = child(egraph, child(egraph, p, OpKind::Softmax, 0)?, OpKind::Dequantize, 0)?;
    Some(egraph[scores].data.ty()?.scale.factor.get())
}

/// A child of a node of this kind in a class.
fn child(egraph: &SwinGraph, class: Id, kind: OpKind, i: usize) -> Option<Id> {
    egraph[class].nodes.iter().find_map(|node| match node {
        ENode::Op(found, children) if *found == kind => Some(egraph.find(children[i])),
        _ => None,
    })
}

/// Applies every rule for as long as there is something new, and evaluates every e-node: each value must be where its class's
/// interval says. Returns how many intervals say more than the type does.
fn check_intervals(module: &Module, inputs: &[Tensor], explained: bool) -> usize {
    let lowered = if explained { to_egraph_explained(module, Vec::new()) } else { to_egraph(module) };
    let egraph = saturate(lowered.egraph, &rules(RuleSet::ALL), Limits::default()).egraph;
    let mut telling = HashSet::new();
    evaluate(&egraph, inputs, &mut BTreeMap::new(), |class, node, _, found| {
        let Facts::Tensor { ty, range, .. } = &egraph[class].data else { return };
        if *range != Range::of_elem(ty.elem) {
            telling.insert(class);
        }
        let values: Vec<f64> = match found.as_f32() {
            Some(values) => values.iter().map(|&x| x.into()).collect(),
            None => found.data.to_i32().into_iter().flatten().map(f64::from).collect(),
        };
        // Where it may be NaN, nothing is known.
        let known = |x: &f64| (range.low..=range.high).contains(x) || x.is_nan() && *range == Range::of_elem(ty.elem);
        let outside = values.iter().find(|x| !known(x));
        assert_eq!(outside, None, "{node} : {ty} leaves {range:?}\n{}", module.graph);
    });
    telling.len()
}

#[test]
fn values_are_where_intervals_say() {
    let of_example = |example: &Example| {
        check_intervals(&example.module, &example.inputs, true)
            + check_intervals(&example.module, &example.inputs, false)
    };
    let of_examples: usize = examples().iter().map(of_example).sum();
    let of_random = |seed| {
        let graph = random::graph(seed, 12);
        let module = Module { weights: random::weights(&graph, seed), graph };
        let inputs = random::inputs(&module.graph, &mut random::Rng::with_seed(seed));
        check_intervals(&module, &inputs, false)
    };
    let of_random: usize = (0..300).map(of_random).sum();
    assert!(of_examples > 100 && of_random > 1000, "{of_examples} and {of_random} intervals say something");
}

#[test]
fn every_rule_fires_and_is_sound() {
    let examples = examples();
    let table = rules(RuleSet::ALL);
    let fired = |rule: &Rule| examples.iter().map(|example| check(rule, example)).sum::<usize>();
    let idle: Vec<String> = table.iter().filter(|rule| fired(rule) == 0).map(Rule::to_string).collect();
    assert!(idle.is_empty(), "rules that fire on no example:\n{}", idle.join("\n"));
}

#[test]
fn names_are_unique() {
    let table = rules(RuleSet::ALL);
    let names: HashSet<_> = table.iter().map(|r| &r.name).collect();
    assert_eq!(names.len(), table.len());
}

#[test]
fn channel_scales_keep_a_rule_from_tearing_them_apart() {
    // Moving blocks into channels would break the scales of the accumulator: the rule must not fire.
    let input = int(Elem::I8, 0.1, &[1, 4, 4, 7]);
    let torn = example(&[input], |m, x| {
        let w = weights(m, 3, 7);
        let acc = push(m, Op::Linear {}, &[x[0], w]);
        let y = push(m, Op::Dequantize {}, &[acc]);
        push(m, Op::SpaceToDepth { block: 2, order: Order::Row }, &[y])
    });
    for rule in rules(RuleSet::ALL) {
        if rule.name.ends_with("space_to_depth") {
            assert_eq!(check(&rule, &torn), 0, "{rule}");
        }
    }
}
