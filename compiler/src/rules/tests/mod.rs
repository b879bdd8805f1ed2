//! Soundness: the tables are walked, and every rule must fire on some example and be right on all of them.

mod examples;
mod mutants;
mod prove;

use super::{RuleSet, rules};
use crate::egraph::{Bound, Class, Constants, ENode, Facts, Rule, SwinGraph, to_egraph};
use egg::{Id, Runner, SimpleScheduler};
use examples::{example, examples, int, push, weights};
use std::collections::{BTreeMap, HashSet};
use swint_ir::{
    Elem, Module, Node, Tensor, Type, interp,
    op::{Op, Order},
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
    evaluate(&egraph, &example.inputs, &mut values, |ty, node, wanted, found| {
        assert_within(rule, ty, &egraph, node, wanted, found);
    });
    runner.iterations.iter().flat_map(|i| i.applied.values()).sum()
}

/// Evaluates every tensor e-node whose children have values, until nothing is new. `seen` gets the class's type, the
/// node, the class's value and the node's own.
fn evaluate(
    egraph: &SwinGraph,
    inputs: &[Tensor],
    values: &mut BTreeMap<Id, Tensor>,
    mut seen: impl FnMut(&Type, &ENode, &Tensor, &Tensor),
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
                seen(ty, node, wanted, &found);
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

fn assert_within(rule: &Rule, ty: &Type, egraph: &SwinGraph, node: &ENode, wanted: &Tensor, found: &Tensor) {
    let weights = &egraph.analysis.weights;
    let bound = match rule.class {
        Class::Exact => {
            assert_eq!(wanted.data.to_bytes(), found.data.to_bytes(), "{rule}: {node} differs");
            return;
        }
        Class::Real(bound) => bound,
    };
    let (a, b) = (wanted.to_real(ty, weights), found.to_real(ty, weights));
    let largest = a.iter().fold(0f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let allowed = match bound {
            Bound::Steps(steps) | Bound::StepsUnsaturated(steps) | Bound::StepsOfScores(steps) => {
                steps as f32 * weights.scales(ty)[0] * 1.001
            }
            // Nothing here adds more than 9 products, and partial sums stay below 9 times the largest product.
            Bound::Accumulation => 2.0 * 9.0 * 2f32.powi(-24) * 9.0 * largest.max(300.0),
            // The largest γ of the examples is 2, their rows have 7 channels.
            Bound::Norm => weights.scales(ty)[0] * 1.001 + 2.0 / 1024.0 + 7f32.sqrt() * 2.0 / 32767.0 / 2.0,
            Bound::Zeros => 0.0,
            Bound::ScoreBias => 2.0 * 0.5 * (0.05 * 0.07 * 0.5) + largest * 2f32.powi(-22),
            Bound::HalfStep => 0.5 * 0.05 * (0.01 + 0.003 * (i % 3) as f32) + largest * 2f32.powi(-22),
        };
        assert!((a - b).abs() <= allowed, "{rule}: {node} element {i}: {a} and {b}, allowed {allowed}");
    }
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
