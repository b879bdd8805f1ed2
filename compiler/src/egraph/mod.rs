//! Equality saturation: the graph as an e-graph, rules from [`crate::rules`], extraction by cost.

mod convert;
mod cost;
mod explain;
mod extract;
mod facts;
mod history;
mod lang;
mod rule;
mod target;
mod timings;

pub use cost::{Cost, Work, estimate};
pub use explain::{Explanation, Step};
pub use facts::{Facts, Range, Unary, uniform};
pub use history::{History, Part};
pub use lang::{Constants, ENode, SwinGraph};
pub use rule::{Bound, Class, Match, Rule};
pub use target::Target;
pub use timings::{Measured, Timings, signature};

pub(crate) use convert::to_egraph;
#[cfg(test)]
pub(crate) use convert::to_egraph_explained;

use convert::{Lowered, from_egraph};
use egg::{Id, Runner, SimpleScheduler, StopReason};
use extract::Extraction;
use std::{collections::BTreeMap, time::Duration};
use swint_ir::Module;

/// What a rewrite did.
#[derive(Clone, PartialEq, Debug)]
pub struct RewriteReport {
    /// How often each rule added something, for rules that did.
    pub applied: BTreeMap<String, usize>,
    /// Estimated time on the target, before and after.
    pub cost: (Cost, Cost),
    /// E-classes and e-nodes at the end.
    pub size: (usize, usize),
    /// Why saturation ended early, if it did; the result is valid all the same.
    pub stopped: Option<String>,
}

/// When saturation stops, though rules could still add something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most e-nodes.
    pub nodes: usize,
    /// Most iterations.
    pub iterations: usize,
    /// Longest time. `None` by default: the program must not depend on how busy the machine is. (egg's own is 5 s.)
    pub time: Option<Duration>,
}

impl Default for Limits {
    /// 400,000 e-nodes (Swin-L makes 14,000) and 60 iterations, longer than any chain of rules through a block.
    fn default() -> Limits {
        Limits { nodes: 400_000, iterations: 60, time: None }
    }
}

/// Applies rules until nothing is new, or a limit is reached.
pub(crate) fn saturate(egraph: SwinGraph, rules: &[Rule], limits: Limits) -> Runner<ENode, Constants> {
    let rewrites: Vec<_> = rules.iter().map(Rule::to_rewrite).collect();
    Runner::default()
        .with_egraph(egraph)
        .with_scheduler(SimpleScheduler)
        .with_node_limit(limits.nodes)
        .with_iter_limit(limits.iterations)
        .with_time_limit(limits.time.unwrap_or(Duration::from_secs(1 << 32)))
        .run(&rewrites)
}

/// Rewrites a module with rules and takes the cheapest equal program of those that were found within limits.
///
/// # Panics
/// When a rule or the extraction is wrong: the result has another type, or costs more than was claimed.
pub fn rewrite(module: &Module, rules: &[Rule], target: &Target, limits: Limits) -> (Module, RewriteReport) {
    Rewriting::new(module, rules, target, limits).result()
}

/// A program with all that rules found equal to it, and the cheapest of that.
pub struct Rewriting<'a> {
    module: &'a Module,
    rules: &'a [Rule],
    target: &'a Target,
    limits: Limits,
    runner: Runner<ENode, Constants>,
    root: Id,
    /// The class of each node.
    nodes: Vec<Id>,
    chosen: Extraction,
}

impl<'a> Rewriting<'a> {
    /// Applies the rules and chooses.
    pub fn new(module: &'a Module, rules: &'a [Rule], target: &'a Target, limits: Limits) -> Rewriting<'a> {
        let Lowered { egraph, root, nodes, written } = to_egraph(module);
        let runner = saturate(egraph, rules, limits);
        let chosen = extract::extract(&runner.egraph, root, &written, target);
        Rewriting { module, rules, target, limits, runner, root, nodes, chosen }
    }

    /// The chosen program.
    ///
    /// # Panics
    /// As [`rewrite`].
    pub fn result(&self) -> (Module, RewriteReport) {
        let Rewriting { module, target, limits, runner, root, nodes, chosen, .. } = self;
        let mut applied: BTreeMap<String, usize> = BTreeMap::new();
        for iteration in &runner.iterations {
            for (rule, count) in &iteration.applied {
                *applied.entry(rule.to_string()).or_default() += count;
            }
        }
        let stopped = match &runner.stop_reason {
            Some(StopReason::Saturated) | None => None,
            Some(StopReason::NodeLimit(n)) => Some(format!("{n} e-nodes, more than --node-limit {}", limits.nodes)),
            Some(StopReason::IterationLimit(n)) => Some(format!("{n} iterations, the --iteration-limit")),
            Some(StopReason::TimeLimit(seconds)) => Some(format!("{seconds:.1} s, more than --time-limit")),
            Some(StopReason::Other(reason)) => Some(reason.clone()),
        };
        let result = from_egraph(&runner.egraph, *root, chosen, nodes, module);
        let (before, after) = (module.graph.ty(module.graph.output), result.graph.ty(result.graph.output));
        assert_eq!(after, before, "the output's type changed");
        let cost = (cost::graph_cost(&module.graph, target), cost::graph_cost(&result.graph, target));
        assert!(cost.1 <= chosen.cost, "extraction claims {:?} but the graph costs {:?}", chosen.cost, cost.1);
        let size = (runner.egraph.number_of_classes(), runner.egraph.total_size());
        (result, RewriteReport { applied, cost, size, stopped })
    }
}
