//! Why a program became another: the chain of rules from the part of a program around a node to what was chosen for it.

use super::{
    Cost, Rule, Target,
    convert::{Lowered, from_egraph, to_egraph_explained},
    cost::graph_cost,
    extract::{Extraction, extract},
    lang::{Constants, ENode, SwinGraph},
    saturate,
};
use egg::{FlatTerm, Id, Language, RecExpr};
use std::collections::{BTreeMap, HashMap};
use swint_ir::{Decl, Graph, InputId, Module, Node, NodeId, Value};

/// One step: a rule and the whole term after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The rule; `None` before the first.
    pub rule: Option<String>,
    /// Whether the rule was applied from right to left.
    pub backward: bool,
    /// The term, with the program's names.
    pub term: String,
}

/// How the part of a program around a node was rewritten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The node that the part gives.
    pub root: NodeId,
    /// From what the program says to what was chosen.
    pub steps: Vec<Step>,
    /// What both cost.
    pub cost: (Cost, Cost),
    /// The ops of both.
    pub ops: (BTreeMap<&'static str, usize>, BTreeMap<&'static str, usize>),
}

/// Most nodes of a part.
const PART: usize = 24;

/// Explains what becomes of a node: of the floats around it, from the integers that enter them to the integers that leave, or
/// as far as 24 nodes reach. The part is rewritten on its own, so that its explanation is short; what rules do
/// across its bounds is not seen.
///
/// # Panics
/// When a rule or the extraction is wrong, as [`super::rewrite`] does.
pub fn explain(module: &Module, node: NodeId, rules: &[Rule], target: &Target) -> Explanation {
    let (part, names, root) = part_around(module, node);
    let Lowered { egraph, root: class, nodes } = to_egraph_explained(&part);
    let mut egraph = saturate(egraph, rules).egraph;
    let chosen = extract(&egraph, class, target);
    let result = from_egraph(&egraph, class, &chosen, &nodes, &part);
    let (before, after) = (as_written(&part), as_chosen(&egraph, class, &chosen));
    let mut explanation = egraph.explain_equivalence(&before, &after);
    let flat = explanation.make_flat_explanation();
    let steps = flat.iter().map(|term| step(term, &egraph.analysis, &names)).collect();
    let cost = (graph_cost(&part.graph, target), graph_cost(&result.graph, target));
    Explanation { root, steps, cost, ops: (part.graph.op_counts(), result.graph.op_counts()) }
}

/// The part of a module around a node, the names of its inputs in the module, and the node that it gives.
fn part_around(module: &Module, node: NodeId) -> (Module, Vec<String>, NodeId) {
    let graph = &module.graph;
    let root = leaves_floats(graph, node);
    let mut inside: BTreeMap<NodeId, ()> = BTreeMap::from([(root, ())]);
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        for &operand in &graph.nodes[id.index()].operands {
            if let Value::Node(n) = operand
                && graph.ty(operand).is_float()
                && inside.len() < PART
                && inside.insert(n, ()).is_none()
            {
                open.push(n);
            }
        }
    }
    let mut part = Module { graph: Graph::new(graph.name.clone(), Vec::new()), weights: module.weights.clone() };
    part.graph.consts = graph.consts.clone();
    let (mut names, mut moved): (Vec<String>, HashMap<Value, Value>) = (Vec::new(), HashMap::new());
    for &id in inside.keys() {
        let Node { op, operands, .. } = &graph.nodes[id.index()];
        let mut move_operand = |value: Value| match value {
            Value::Const(_) => value,
            _ => *moved.entry(value).or_insert_with(|| {
                names.push(graph.value_name(value));
                part.graph.inputs.push(Decl { name: format!("v{}", names.len()).into(), ty: graph.ty(value).clone() });
                Value::Input(InputId(names.len() as u32 - 1))
            }),
        };
        let operands = operands.iter().map(|&v| move_operand(v)).collect();
        let value = part.graph.push(op.clone(), operands).expect("types do not change");
        moved.insert(Value::Node(id), value);
    }
    part.graph.output = moved[&Value::Node(root)];
    (part.without_dead_code(), names, root)
}

/// The node at which the floats that a node gives become integers again, or leave the program.
fn leaves_floats(graph: &Graph, mut node: NodeId) -> NodeId {
    for _ in 0..PART {
        let value = Value::Node(node);
        let reader = graph.iter().find(|(_, reader)| reader.operands.contains(&value));
        match reader {
            Some((reader, _)) if graph.ty(value).is_float() && graph.output != value => node = reader,
            _ => break,
        }
    }
    node
}

/// A graph as an expression.
fn as_written(module: &Module) -> RecExpr<ENode> {
    let mut expr = RecExpr::default();
    let mut ids: Vec<Id> = Vec::new();
    for node in &module.graph.nodes {
        let mut children: Vec<Id> = (node.operands.iter())
            .map(|value| match value {
                Value::Input(i) => expr.add(ENode::Input(i.0)),
                Value::Const(c) => expr.add(ENode::Const(*c)),
                Value::Node(n) => ids[n.index()],
            })
            .collect();
        children.extend(node.op.attrs().into_iter().map(|attr| expr.add(ENode::Attr(attr))));
        ids.push(expr.add(ENode::Op(node.op.kind(), children)));
    }
    expr
}

/// What was chosen for a class, as an expression.
fn as_chosen(egraph: &SwinGraph, root: Id, chosen: &Extraction) -> RecExpr<ENode> {
    let mut expr = RecExpr::default();
    let mut done: HashMap<Id, Id> = HashMap::new();
    let mut stack = vec![(egraph.find(root), false)];
    while let Some((class, ready)) = stack.pop() {
        if done.contains_key(&class) {
            continue;
        }
        let node = chosen.node(class);
        let children: Vec<Id> = node.children().iter().map(|&c| egraph.find(c)).collect();
        if ready {
            let added = node.clone().map_children(|child| done[&egraph.find(child)]);
            done.insert(class, expr.add(added));
        } else {
            stack.push((class, true));
            stack.extend(children.into_iter().map(|child| (child, false)));
        }
    }
    expr
}

fn step(term: &FlatTerm<ENode>, constants: &Constants, names: &[String]) -> Step {
    let (rule, backward) = match rule_of(term) {
        Some((rule, backward)) => (Some(rule), backward),
        None => (None, false),
    };
    Step { rule, backward, term: render(term, constants, names) }
}

/// The rule that made a term from the one before, and whether it was applied backward.
fn rule_of(term: &FlatTerm<ENode>) -> Option<(String, bool)> {
    let own = term.forward_rule.map(|rule| (rule.to_string(), false));
    own.or_else(|| term.backward_rule.map(|rule| (rule.to_string(), true)))
        .or_else(|| term.children.iter().find_map(rule_of))
}

/// `op(operand, operand, attribute)`, inputs and constants by their names.
fn render(term: &FlatTerm<ENode>, constants: &Constants, names: &[String]) -> String {
    match &term.node {
        ENode::Input(i) => names[*i as usize].clone(),
        ENode::Const(c) => format!("@{}", constants.decls[c.index()].name),
        ENode::Attr(attr) => attr.to_string(),
        ENode::Op(kind, _) => {
            let children: Vec<String> = term.children.iter().map(|child| render(child, constants, names)).collect();
            format!("{kind}({})", children.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{RuleSet, rules};
    use swint_ir::{random, text};

    const MLP: &str = "graph @g(%x: i8<0.05>[4,8]) -> i8<0.03>[4,16] {
  const @s : f32[16]
  const @w : i8<@s:0>[16,8]
  const @b : f32[16]
  %0 = dequantize %x : f32[4,8]
  %1 = dequantize @w : f32[16,8]
  %2 = linear %0, %1, @b : f32[4,16]
  %3 = quantize %2 {elem = i8, scale = 0.07} : i8<0.07>[4,16]
  %4 = dequantize %3 : f32[4,16]
  %5 = gelu %4 : f32[4,16]
  %6 = quantize %5 {elem = i8, scale = 0.03} : i8<0.03>[4,16]
  return %6
}
";

    fn explained(node: u32) -> Explanation {
        let graph = text::read("g.ir", MLP).unwrap().0;
        let module = Module { weights: random::weights(&graph, 3), graph };
        let table = rules(RuleSet::ALL);
        explain(&module, NodeId(node), &table, &Target::default())
    }

    #[test]
    fn a_gelu_goes_in_one_step() {
        let found = explained(5);
        assert_eq!(found.root, NodeId(6));
        let steps: Vec<_> = found.steps.iter().map(|s| (s.rule.as_deref(), s.term.as_str())).collect();
        assert_eq!(
            steps,
            [(None, "quantize(gelu(dequantize(%3)), i8, 0.03)"), (Some("gelu-table"), "lut(%3, @gelu.i8-i8)")]
        );
        assert!(found.cost.1 < found.cost.0 && !found.ops.1.contains_key("gelu"));
        // The same part, whichever of its nodes is asked for.
        assert_eq!(explained(4), found);
    }

    #[test]
    fn every_step_is_one_rule_and_the_last_is_what_was_chosen() {
        let found = explained(2);
        let rules: Vec<_> = found.steps.iter().map(|s| s.rule.as_deref().unwrap_or("")).collect();
        for rule in ["bias-split", "linear-integer", "bias-integer", "requantize", "qlinear-bias"] {
            assert!(rules.contains(&rule), "{rules:?}");
        }
        assert!(found.steps[0].term.starts_with("quantize(linear(dequantize(%x), dequantize(@w), @b)"));
        assert_eq!(found.steps.last().unwrap().term, "qlinear(%x, @w, @b.i32, i8, 0.07)");
        assert!(found.steps.windows(2).all(|pair| pair[1].rule.is_some() && pair[0].term != pair[1].term));
    }
}
