//! Equality saturation: the graph as an e-graph, rules from [`crate::rules`], extraction by cost.

mod convert;
mod cost;
mod explain;
mod extract;
mod facts;
mod lang;
mod rule;
mod target;
mod timings;

pub use cost::{Cost, estimate};
pub use explain::{Explainer, Explanation, Step};
pub use facts::{Facts, Range, Unary, uniform};
pub use lang::{Constants, ENode, SwinGraph};
pub use rule::{Bound, Class, Match, Rule};
pub use target::Target;
pub use timings::{Measured, Timings, signature};

pub(crate) use convert::to_egraph;

use convert::{Lowered, from_egraph};
use egg::{Runner, SimpleScheduler, StopReason};
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

/// Most e-nodes before saturation stops.
const NODE_LIMIT: usize = 400_000;
/// Most iterations before saturation stops: longer than any chain of rules through a block.
const ITERATION_LIMIT: usize = 60;
/// No limit of time: the program must not depend on how busy the machine is. (egg's own is 5 s.)
const TIME_LIMIT: Duration = Duration::from_secs(1 << 32);

/// Applies rules until nothing is new, or a limit is reached.
pub(crate) fn saturate(egraph: SwinGraph, rules: &[Rule]) -> Runner<ENode, Constants> {
    let rewrites: Vec<_> = rules.iter().map(Rule::to_rewrite).collect();
    Runner::default()
        .with_egraph(egraph)
        .with_scheduler(SimpleScheduler)
        .with_node_limit(NODE_LIMIT)
        .with_iter_limit(ITERATION_LIMIT)
        .with_time_limit(TIME_LIMIT)
        .run(&rewrites)
}

/// Rewrites a module with rules and takes the cheapest equal program.
///
/// # Panics
/// When a rule or the extraction is wrong: the result has another type, or costs more than was claimed.
pub fn rewrite(module: &Module, rules: &[Rule], target: &Target) -> (Module, RewriteReport) {
    let before = cost::graph_cost(&module.graph, target);
    let Lowered { egraph, root, nodes, written } = to_egraph(module);
    let runner = saturate(egraph, rules);
    let mut applied: BTreeMap<String, usize> = BTreeMap::new();
    for iteration in &runner.iterations {
        for (rule, count) in &iteration.applied {
            *applied.entry(rule.to_string()).or_default() += count;
        }
    }
    let stopped = match &runner.stop_reason {
        Some(StopReason::Saturated) | None => None,
        Some(other) => Some(format!("{other:?}")),
    };
    let chosen = extract::extract(&runner.egraph, root, &written, target);
    let result = from_egraph(&runner.egraph, root, &chosen, &nodes, module);
    assert_eq!(result.graph.ty(result.graph.output), module.graph.ty(module.graph.output), "the output's type changed");
    let after = cost::graph_cost(&result.graph, target);
    assert!(after <= chosen.cost, "extraction claims {:?} but the graph costs {after:?}", chosen.cost);
    let size = (runner.egraph.number_of_classes(), runner.egraph.total_size());
    (result, RewriteReport { applied, cost: (before, after), size, stopped })
}
