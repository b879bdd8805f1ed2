//! Why a program became another: the chain of rules from a part of a program to the op that was chosen for it.

use super::{
    Class, Cost, Part, Rewriting,
    convert::{Lowered, from_egraph, to_egraph_explained},
    cost::graph_cost,
    extract::{Extraction, extract},
    facts::Range,
    lang::{Constants, ENode, SwinGraph},
    saturate,
};
use egg::{FlatTerm, Id, Language, RecExpr};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use swint_ir::{Decl, Graph, InputId, Module, Node, NodeId, Value};

/// One step: what a rule changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The rule.
    pub rule: String,
    /// Whether the rule keeps every bit; otherwise it is an identity over the reals.
    pub exact: bool,
    /// Whether the rule was applied from right to left.
    pub backward: bool,
    /// What it was applied to, with the program's names; of ops that it leaves as they are only their names.
    pub before: String,
    /// What that became.
    pub after: String,
    /// The whole term after the step.
    pub term: String,
}

/// How a part of a program was rewritten: what became one op of the chosen program, or stayed as it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The node whose result the part computes.
    #[serde(with = "super::history::node")]
    pub root: NodeId,
    /// The part as it was written, its names those of the program.
    pub written: String,
    /// From what was written to what was chosen.
    pub steps: Vec<Step>,
    /// What both cost.
    pub cost: (Cost, Cost),
    /// The ops of both.
    pub ops: (BTreeMap<String, usize>, BTreeMap<String, usize>),
}

/// Most nodes of a part.
const PART: usize = 64;

/// Most ops of a part written out as a term, what is read twice twice: a proof is about terms.
const TERM: usize = 400;

impl Rewriting<'_> {
    /// Explains what becomes of some nodes, each part once: the part that a node is in and what else became the same op of the
    /// chosen program. `None` for nodes that the output does not need.
    ///
    /// A part is rewritten on its own, so that its explanation is short; what rules do across its bounds is not seen.
    ///
    /// # Panics
    /// When a rule or the extraction is wrong, as [`super::rewrite`] does.
    pub fn explain(&self, nodes: impl IntoIterator<Item = NodeId>) -> Vec<Part> {
        let readers = self.readers();
        let mut parts: Vec<(Vec<NodeId>, Option<NodeId>)> = Vec::new();
        let mut of_root: HashMap<NodeId, usize> = HashMap::new();
        for node in nodes {
            let root = self.root_of(node, &readers);
            match root.and_then(|root| of_root.get(&root)) {
                Some(&part) => parts[part].0.push(node),
                None => {
                    of_root.extend(root.map(|root| (root, parts.len())));
                    parts.push((vec![node], root));
                }
            }
        }
        let part =
            |(nodes, root): (_, Option<NodeId>)| Part { nodes, explanation: root.map(|r| self.part_explained(r)) };
        parts.into_iter().map(part).collect()
    }

    /// The nodes that read each node.
    fn readers(&self) -> Vec<Vec<NodeId>> {
        let mut readers = vec![Vec::new(); self.module.graph.nodes.len()];
        for (reader, node) in self.module.graph.iter() {
            for operand in &node.operands {
                if let Value::Node(n) = operand {
                    readers[n.index()].push(reader);
                }
            }
        }
        readers
    }

    /// The first node that a node's result goes into and whose own result the chosen program computes.
    fn root_of(&self, node: NodeId, readers: &[Vec<NodeId>]) -> Option<NodeId> {
        let (mut seen, mut queue) = (HashSet::from([node]), VecDeque::from([node]));
        while let Some(node) = queue.pop_front() {
            if self.is_chosen(node) {
                return Some(node);
            }
            queue.extend(readers[node.index()].iter().copied().filter(|&reader| seen.insert(reader)));
        }
        None
    }

    fn is_chosen(&self, node: NodeId) -> bool {
        self.chosen.has(self.class(node))
    }

    fn class(&self, node: NodeId) -> Id {
        self.runner.egraph.find(self.nodes[node.index()])
    }

    fn part_explained(&self, root: NodeId) -> Explanation {
        let (part, names, ranges) = self.part(root);
        let Lowered { egraph, root: class, nodes, written } = to_egraph_explained(&part, ranges);
        let mut egraph = saturate(egraph, self.rules, self.limits).egraph;
        let chosen = extract(&egraph, class, &written, self.target);
        let result = from_egraph(&egraph, class, &chosen, &nodes, &part);
        let (before, after) = (as_written(&part), as_chosen(&egraph, class, &chosen));
        let mut explanation = egraph.explain_equivalence(&before, &after);
        let flat = explanation.make_flat_explanation();
        let names = Names { inputs: &names, constants: &egraph.analysis };
        let steps = flat.windows(2).map(|pair| self.step(&pair[0], &pair[1], &names)).collect();
        Explanation {
            root,
            written: names.render(&flat[0], &HashSet::new()),
            steps,
            cost: (graph_cost(&part.graph, self.target), graph_cost(&result.graph, self.target)),
            ops: (op_counts(&part.graph), op_counts(&result.graph)),
        }
    }

    /// From one term to the next.
    fn step(&self, before: &FlatTerm<ENode>, after: &FlatTerm<ENode>, names: &Names<'_>) -> Step {
        let (old, new) = changed(before, after).expect("a term differs from the next by a rule");
        let backward = new.forward_rule.is_none();
        let rule = new.forward_rule.or(new.backward_rule).expect("found by it").to_string();
        let exact = self.rules.iter().any(|row| row.name == rule && row.class == Class::Exact);
        let mut kept = names.ops(new);
        kept.retain(|term| names.ops(old).contains(term));
        let [old, new] = [old, new].map(|term| names.render(term, &kept));
        Step { rule, exact, backward, before: old, after: new, term: names.render(after, &HashSet::new()) }
    }

    /// How many ops the last of some nodes is as a term of them.
    fn term_size(&self, inside: &BTreeSet<NodeId>) -> usize {
        let mut sizes: HashMap<NodeId, usize> = HashMap::new();
        let mut size = 0;
        for &id in inside {
            let operands = self.module.graph.nodes[id.index()].operands.iter();
            let below = operands.filter_map(|value| if let Value::Node(n) = value { sizes.get(n) } else { None });
            size = below.fold(1usize, |sum, size| sum.saturating_add(*size));
            sizes.insert(id, size);
        }
        size
    }

    /// The part of the program that gives a node, from results that the chosen program has, too. Its inputs' names in the program
    /// come with it, and where their values lie.
    fn part(&self, root: NodeId) -> (Module, Vec<String>, Vec<Range>) {
        let graph = &self.module.graph;
        let (mut inside, mut open) = (BTreeSet::from([root]), VecDeque::from([root]));
        while let Some(id) = open.pop_front() {
            for &operand in &graph.nodes[id.index()].operands {
                if let Value::Node(n) = operand
                    && (!self.is_chosen(n) || self.class(n) == self.class(root))
                    && inside.len() < PART
                    && inside.insert(n)
                {
                    if self.term_size(&inside) > TERM {
                        inside.remove(&n);
                    } else {
                        open.push_back(n);
                    }
                }
            }
        }
        let mut part =
            Module { graph: Graph::new(graph.name.clone(), Vec::new()), weights: self.module.weights.clone() };
        part.graph.consts = graph.consts.clone();
        let (mut names, mut ranges): (Vec<String>, Vec<Range>) = Default::default();
        let mut moved: HashMap<Value, Value> = HashMap::new();
        for &id in &inside {
            let Node { op, operands, .. } = &graph.nodes[id.index()];
            let mut move_operand = |value: Value| match value {
                Value::Const(_) => value,
                _ => *moved.entry(value).or_insert_with(|| {
                    names.push(graph.value_name(value));
                    ranges.push(match value {
                        Value::Node(n) => self.runner.egraph[self.class(n)].data.range().expect("nodes are tensors"),
                        _ => Range::of_elem(graph.ty(value).elem),
                    });
                    let name = format!("v{}", names.len()).into();
                    part.graph.inputs.push(Decl { name, ty: graph.ty(value).clone() });
                    Value::Input(InputId(names.len() as u32 - 1))
                }),
            };
            let operands = operands.iter().map(|&v| move_operand(v)).collect();
            let value = part.graph.push(op.clone(), operands).expect("types do not change");
            moved.insert(Value::Node(id), value);
        }
        part.graph.output = moved[&Value::Node(root)];
        (part.without_dead_code(), names, ranges)
    }
}

fn op_counts(graph: &Graph) -> BTreeMap<String, usize> {
    graph.op_counts().into_iter().map(|(op, n)| (op.to_owned(), n)).collect()
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

/// What a rule was applied to, and what it became.
fn changed<'a>(
    before: &'a FlatTerm<ENode>,
    after: &'a FlatTerm<ENode>,
) -> Option<(&'a FlatTerm<ENode>, &'a FlatTerm<ENode>)> {
    if after.forward_rule.is_some() || after.backward_rule.is_some() {
        return Some((before, after));
    }
    before.children.iter().zip(&after.children).find_map(|(before, after)| changed(before, after))
}

/// The program's names of what a part reads.
struct Names<'a> {
    inputs: &'a [String],
    constants: &'a Constants,
}

impl Names<'_> {
    /// `op(operand, operand, attribute)`, inputs and constants by their names; of ops that are `kept`, `op(…)`.
    fn render(&self, term: &FlatTerm<ENode>, kept: &HashSet<String>) -> String {
        match &term.node {
            ENode::Input(i) => self.inputs[*i as usize].clone(),
            ENode::Const(c) => format!("@{}", self.constants.decls[c.index()].name),
            ENode::Attr(attr) => attr.to_string(),
            ENode::Op(kind, _) => {
                if !kept.is_empty() && kept.contains(&self.render(term, &HashSet::new())) {
                    return format!("{kind}(…)");
                }
                let children: Vec<String> = term.children.iter().map(|child| self.render(child, kept)).collect();
                format!("{kind}({})", children.join(", "))
            }
        }
    }

    /// Every op of a term with what it is made of.
    fn ops(&self, term: &FlatTerm<ENode>) -> HashSet<String> {
        let (mut ops, mut open) = (HashSet::new(), vec![term]);
        while let Some(term) = open.pop() {
            if let ENode::Op(..) = term.node {
                ops.insert(self.render(term, &HashSet::new()));
                open.extend(&term.children);
            }
        }
        ops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        egraph::{Limits, Target},
        rules::{RuleSet, rules},
    };
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

    fn explained(text: &str, nodes: &[u32]) -> Vec<Part> {
        let graph = text::read("g.ir", text).unwrap().0;
        let module = Module { weights: random::weights(&graph, 3), graph };
        let (table, target) = (rules(RuleSet::INTEGER), Target::default());
        Rewriting::new(&module, &table, &target, Limits::default()).explain(nodes.iter().copied().map(NodeId))
    }

    fn only(mut found: Vec<Part>) -> Explanation {
        assert_eq!(found.len(), 1);
        found.remove(0).explanation.unwrap()
    }

    #[test]
    fn a_gelu_goes_in_one_step() {
        let found = only(explained(MLP, &[5]));
        assert_eq!((found.root, &*found.written), (NodeId(6), "quantize(gelu(dequantize(%3)), i8, 0.03)"));
        let steps: Vec<_> = found.steps.iter().map(|s| (&*s.rule, &*s.before, &*s.after)).collect();
        assert_eq!(steps, [("gelu-table", &*found.written, "lut(%3, @gelu.i8-i8)")]);
        assert!(found.cost.1 < found.cost.0 && !found.ops.1.contains_key("gelu"));
        // The same part, whichever of its nodes is asked for, and once for both.
        assert_eq!(explained(MLP, &[4, 5]), [Part { nodes: vec![NodeId(4), NodeId(5)], explanation: Some(found) }]);
    }

    #[test]
    fn every_step_is_one_rule_and_the_last_is_what_was_chosen() {
        let found = only(explained(MLP, &[2]));
        let rules: Vec<_> = found.steps.iter().map(|s| &*s.rule).collect();
        for rule in ["bias-split", "linear-integer", "bias-integer", "requantize", "qlinear-bias"] {
            assert!(rules.contains(&rule), "{rules:?}");
        }
        assert!(found.written.starts_with("quantize(linear(dequantize(%x), dequantize(@w), @b)"));
        assert_eq!(found.steps.last().unwrap().term, "qlinear(%x, @w, @b.i32, i8, 0.07)");
        assert!(found.steps.iter().all(|step| step.before != step.after));
    }

    #[test]
    fn a_fused_kernel_is_explained_as_a_whole() {
        let text = "graph @g(%x: i16<0.001>[1,3,3,8]) -> i16<0.002>[1,3,3,8] {
  const @g : i16<0.0009765625>[8]
  const @b : i32<9.536743e-7>[8]
  const @w : i8<0.01>[16,8]
  const @v : i8<0.01>[8,16]
  %0 = qlayer_norm %x, @g, @b {eps = 1e-5, elem = i8, scale = 0.03} : i8<0.03>[1,3,3,8]
  %1 = linear %0, @w : i32<0.00029999999>[1,3,3,16]
  %2 = requantize %1 {elem = i8, scale = 0.05} : i8<0.05>[1,3,3,16]
  %3 = dequantize %2 : f32[1,3,3,16]
  %4 = gelu %3 : f32[1,3,3,16]
  %5 = quantize %4 {elem = u8, scale = 0.02} : u8<0.02>[1,3,3,16]
  %6 = linear %5, @v : i32<0.0002>[1,3,3,8]
  %7 = requantize %6 {elem = i16, scale = 0.002} : i16<0.002>[1,3,3,8]
  %8 = requantize %x {elem = i16, scale = 0.002} : i16<0.002>[1,3,3,8]
  %9 = add %8, %7 : i16<0.002>[1,3,3,8]
  %10 = gelu %3 : f32[1,3,3,16]
  return %9
}
";
        let found = explained(text, &[0, 4, 10]);
        assert_eq!(found[0].nodes, [NodeId(0), NodeId(4)]);
        let part = found[0].explanation.as_ref().unwrap();
        assert!(part.steps.last().unwrap().term.starts_with("mlp(%x, @g, @b, @w, "), "{part:?}");
        for rule in ["gelu-table", "norm-linear", "linear-residual", "mlp-table"] {
            assert!(part.steps.iter().any(|step| step.rule == rule), "{rule}: {part:?}");
        }
        assert!(part.steps.iter().any(|step| step.before.contains('…')), "{part:?}");
        // The second GELU is the same value as the first.
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Part { nodes: vec![NodeId(10)], explanation: None });
    }

    /// What is read twice is twice in a term: without a bound this proof would have 2^30 ops.
    #[test]
    fn shared_values_do_not_make_a_proof_explode() {
        let mut text =
            "graph @g(%x: f32[1,4,4,2]) -> f32[1,4,4,2] {\n  %0 = roll %x {shift = 1} : f32[1,4,4,2]\n".to_owned();
        for i in 1..31 {
            text += &format!("  %{i} = add %{0}, %{0} : f32[1,4,4,2]\n", i - 1);
        }
        text += "  %31 = roll %30 {shift = -1} : f32[1,4,4,2]\n  return %31\n}\n";
        let found = only(explained(&text, &[0]));
        assert!(found.written.len() < 100_000 && found.steps.iter().all(|step| step.term.len() < 100_000));
    }

    /// A rule that needs what came before the part: the softmax is never negative.
    #[test]
    fn what_is_known_of_a_parts_inputs_is_used() {
        let text = "graph @g(%x: i32<0.1>[4,8]) -> f32[4,8] {
  %0 = dequantize %x : f32[4,8]
  %1 = softmax %0 : f32[4,8]
  %2 = quantize %1 {elem = i8, scale = 0.01} : i8<0.01>[4,8]
  %3 = dequantize %2 : f32[4,8]
  %4 = relu %3 : f32[4,8]
  return %4
}
";
        let found = only(explained(text, &[4]));
        assert_eq!(found.steps.iter().map(|step| &*step.rule).collect::<Vec<_>>(), ["relu-positive"], "{found:?}");
    }
}
