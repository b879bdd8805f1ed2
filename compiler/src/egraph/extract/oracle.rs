//! How far the extraction is from the cheapest program, which integer linear programming finds on small graphs.

use super::{Cost, ENode, Id, SwinGraph, Target, children_first, extract, own_cost};
use crate::{
    egraph::{Limits, saturate, to_egraph},
    frontend::{Spec, import, random_checkpoint},
    quantize::{FloatOps, GeluRange, Observer, Ranges, Statistics, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
};
use egg::Language;
use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, microlp, variable};
use std::collections::{HashMap, HashSet};
use swint_ir::{Module, random, text};

/// A chosen e-node: its class and its position there.
type Choice = (Id, usize);

/// The least cost of a program for `root`: a variable for each e-node, whose children's classes must each have one. Cycles, which
/// that does not exclude, are cut off when a solution has one.
fn optimum(egraph: &SwinGraph, root: Id, target: &Target) -> Cost {
    let root = egraph.find(root);
    if !is_op(egraph, root) {
        return Cost::default();
    }
    let classes: Vec<Id> = children_first(egraph, root).into_iter().filter(|&id| is_op(egraph, id)).collect();
    let mut problem = ProblemVariables::new();
    let mut choices: HashMap<Id, Vec<(usize, Variable)>> = HashMap::new();
    let mut cost = Expression::default();
    for &class in &classes {
        for (index, node) in egraph[class].nodes.iter().enumerate() {
            if children(egraph, node).any(|child| child == class) {
                continue;
            }
            let chosen = problem.add(variable().binary());
            cost += own_cost(egraph, class, node, target).micros() * chosen;
            choices.entry(class).or_default().push((index, chosen));
        }
    }
    let sum = |class: Id| choices[&class].iter().map(|(_, chosen)| Expression::from(*chosen)).sum::<Expression>();
    let mut constraints = vec![sum(root).geq(1)];
    for (&class, nodes) in &choices {
        for &(index, chosen) in nodes {
            constraints.extend(children(egraph, &egraph[class].nodes[index]).map(|child| sum(child).geq(chosen)));
        }
    }
    loop {
        let model = constraints.iter().cloned().fold(problem.clone().minimise(&cost).using(microlp), |m, c| m.with(c));
        let solution = model.solve().expect("there is a program");
        let chosen: HashMap<Id, Choice> = (choices.iter())
            .filter_map(|(&class, nodes)| {
                let index = nodes.iter().find(|(_, chosen)| solution.value(*chosen) > 0.5)?.0;
                Some((class, (class, index)))
            })
            .collect();
        let Some(cycle) = cycle(egraph, root, &chosen) else {
            return needed(egraph, root, &chosen).map(|(c, i)| own_cost(egraph, c, &egraph[c].nodes[i], target)).sum();
        };
        let variable = |(class, index): &Choice| choices[class].iter().find(|(i, _)| i == index).expect("chosen").1;
        let taken: Expression = cycle.iter().map(|choice| Expression::from(variable(choice))).sum();
        constraints.push(taken.leq(cycle.len() as f64 - 1.0));
    }
}

/// Whether ops make a class; what else is one costs nothing.
fn is_op(egraph: &SwinGraph, class: Id) -> bool {
    egraph[class].nodes.iter().all(|node| matches!(node, ENode::Op(..)))
}

/// The classes of a node's operands that ops make.
fn children<'a>(egraph: &'a SwinGraph, node: &'a ENode) -> impl Iterator<Item = Id> + 'a {
    node.children().iter().map(|&child| egraph.find(child)).filter(|&child| is_op(egraph, child))
}

/// The choices that the root needs.
fn needed(egraph: &SwinGraph, root: Id, chosen: &HashMap<Id, Choice>) -> impl Iterator<Item = Choice> {
    let (mut seen, mut open) = (HashSet::new(), vec![root]);
    while let Some(class) = open.pop() {
        let choice = chosen[&class];
        if seen.insert(choice) {
            open.extend(children(egraph, &egraph[class].nodes[choice.1]));
        }
    }
    seen.into_iter()
}

/// A cycle of choices below the root.
fn cycle(egraph: &SwinGraph, root: Id, chosen: &HashMap<Id, Choice>) -> Option<Vec<Choice>> {
    fn visit(
        egraph: &SwinGraph,
        class: Id,
        chosen: &HashMap<Id, Choice>,
        done: &mut HashSet<Id>,
        path: &mut Vec<Choice>,
    ) -> bool {
        if let Some(start) = path.iter().position(|choice| choice.0 == class) {
            path.drain(..start);
            return true;
        }
        if !done.insert(class) {
            return false;
        }
        path.push(chosen[&class]);
        let found = children(egraph, &egraph[class].nodes[chosen[&class].1])
            .any(|child| visit(egraph, child, chosen, done, path));
        if !found {
            path.pop();
        }
        found
    }
    let mut path = Vec::new();
    visit(egraph, root, chosen, &mut HashSet::new(), &mut path).then_some(path)
}

/// What the extraction's program costs, and the cheapest.
fn costs(module: &Module, set: RuleSet, target: &Target) -> (Cost, Cost) {
    let lowered = to_egraph(module);
    let egraph = saturate(lowered.egraph, &rules(set), Limits::default()).egraph;
    (extract(&egraph, lowered.root, &lowered.written, target).cost, optimum(&egraph, lowered.root, target))
}

/// A network of one stage, in float or with quantize/dequantize pairs.
fn network(blocks: usize, quantized: bool) -> Module {
    let text = format!(
        "[model]\nname = \"small\"\nimage = 16\nchannels = 3\npatch = 2\nwindow = 4\nembed = 8\ndepths = [{blocks}]\nheads = [2]\n\
         classes = 5\n[preprocess]\nresize = \"exact\"\ninterpolation = \"bicubic\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
    );
    let spec = Spec::parse("swin.toml", &text).unwrap();
    let module = import(&spec, &random_checkpoint(&spec, 1)).unwrap();
    if !quantized {
        return module;
    }
    let module = fold_normalize(&module);
    let statistics = Statistics::assumed(&module, 4.0);
    let ranges = Ranges { statistics: &statistics, observer: Observer::MinMax, gelu: GeluRange::Auto };
    insert_quantization(&module, ranges, FloatOps::NONE).unwrap().0
}

/// On random programs and on networks of a few blocks, every rule applied.
#[test]
fn the_extraction_is_optimal_on_small_programs() {
    let target = Target::default();
    for seed in 0..150 {
        let graph = random::graph(seed, 10);
        let module = Module { weights: random::weights(&graph, seed), graph };
        let (found, best) = costs(&module, RuleSet::ALL, &target);
        assert_eq!(found, best, "seed {seed}");
    }
    let apart = RuleSet { fuse: false, ..RuleSet::ALL };
    let float_gelu = RuleSet { gelu_table: false, ..RuleSet::INTEGER };
    for (blocks, quantized, set, name) in [
        (1, true, RuleSet::ALL, "sm_89"),
        (1, true, RuleSet::ALL, "cpu"),
        (1, true, apart, "sm_89"),
        (1, true, float_gelu, "sm_89"),
        (2, true, RuleSet::ALL, "sm_89"),
        (1, false, RuleSet::ALL, "sm_89"),
        (2, false, RuleSet::ALL, "sm_89"),
    ] {
        let (found, best) = costs(&network(blocks, quantized), set, &Target::named(name).unwrap());
        assert_eq!(found, best, "{blocks} blocks on {name}, quantized {quantized}, {set:?}");
    }
}

/// Two GELUs that three readers could share cost more than what any one of them saves: only together they pay.
#[test]
fn what_pays_only_for_several_readers_together_is_found() {
    let text = "graph @g(%x: f32[1,2,2,4]) -> f32[1,2,2,4] {
  %a = relu %x : f32[1,2,2,4]
  %b = relu %a : f32[1,2,2,4]
  %c = softmax %x : f32[1,2,2,4]
  %d = softmax %c : f32[1,2,2,4]
  %e = roll %x {shift = 1} : f32[1,2,2,4]
  %f = roll %e {shift = 1} : f32[1,2,2,4]
  %g = gelu %x : f32[1,2,2,4]
  %h = gelu %g : f32[1,2,2,4]
  %i = relu %h : f32[1,2,2,4]
  %j = softmax %h : f32[1,2,2,4]
  %k = roll %h {shift = 1} : f32[1,2,2,4]
  %l = add %b, %d : f32[1,2,2,4]
  %m = add %l, %f : f32[1,2,2,4]
  return %m
}
";
    let graph = text::read("g.ir", text).unwrap().0;
    let mut lowered = to_egraph(&Module { graph, weights: Default::default() });
    for (a, b) in [(1, 8), (3, 9), (5, 10)] {
        lowered.egraph.union(lowered.nodes[a], lowered.nodes[b]);
    }
    lowered.egraph.rebuild();
    let target = Target::default();
    let (found, best) = (
        extract(&lowered.egraph, lowered.root, &lowered.written, &target).cost,
        optimum(&lowered.egraph, lowered.root, &target),
    );
    let launches = |cost: Cost| cost.micros() / (target.launch / 1e6);
    assert_eq!((launches(found).floor(), launches(best).floor()), (7.0, 7.0), "{found:?} {best:?}");
}
