//! `swint check`: structural assertions about a program, for users' CI.

use super::{print, print_json, source::read_program};
use miette::miette;
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};
use swint::{
    compiler::plan::plan,
    ir::{Graph, Node, NodeId, diagnostic::did_you_mean, fused, op::OpKind},
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// A compiled model, or an IR text.
    program: PathBuf,
    /// No op of this name.
    #[arg(long, value_name = "OP", value_delimiter = ',', value_parser = op_kind)]
    no_op: Vec<OpKind>,
    /// No floating-point arithmetic: no op takes or gives `f32`.
    #[arg(long)]
    no_float: bool,
    /// So many ops of this name: OP=N, OP<=N or OP>=N.
    #[arg(long, value_name = "OP=N", value_delimiter = ',', value_parser = Count::parse)]
    count: Vec<Count>,
    /// Nothing was replaced by an approximation.
    #[arg(long)]
    exact: bool,
    /// At most so many kernel launches.
    #[arg(long, value_name = "N")]
    max_launches: Option<usize>,
    /// At most so many bytes for activations, at a batch of one.
    #[arg(long, value_name = "BYTES")]
    max_arena: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The op of a name.
pub fn op_kind(name: &str) -> Result<OpKind, String> {
    OpKind::from_name(name).ok_or_else(|| {
        let hint = did_you_mean(name, OpKind::ALL.iter().map(|k| k.name()));
        format!("no such op{}", hint.map_or_else(String::new, |hint| format!("; {hint}")))
    })
}

/// An assertion about the number of an op.
#[derive(Clone, Debug)]
struct Count {
    kind: OpKind,
    relation: &'static str,
    number: usize,
}

impl Count {
    fn parse(text: &str) -> Result<Count, String> {
        // `=` last: the others contain it.
        let split = ["<=", ">=", "="].into_iter().find_map(|r| text.split_once(r).map(|(op, n)| (op, r, n)));
        let (op, relation, number) = split.ok_or("wanted OP=N, OP<=N or OP>=N")?;
        let number = number.parse().map_err(|_| format!("{number:?} is not a number of ops"))?;
        Ok(Count { kind: op_kind(op)?, relation, number })
    }

    fn holds(&self, found: usize) -> bool {
        match self.relation {
            "<=" => found <= self.number,
            ">=" => found >= self.number,
            _ => found == self.number,
        }
    }
}

/// What came of an assertion.
struct Outcome {
    assertion: String,
    holds: bool,
    found: String,
    /// Nodes that break it.
    nodes: Vec<NodeId>,
}

/// Most nodes that the text lists of one assertion.
const LISTED: usize = 8;

impl Args {
    /// Checks the assertions; exit code 1 where one does not hold.
    pub fn run(self) -> miette::Result<ExitCode> {
        let graph = read_program(&self.program)?;
        let mut outcomes = self.structural(&graph);
        if self.exact {
            let nodes: Vec<NodeId> = graph.iter().filter(|(_, n)| n.approximates.is_some()).map(|(id, _)| id).collect();
            let found = format!("{} approximations", nodes.len());
            outcomes.push(Outcome { assertion: "exact".into(), holds: nodes.is_empty(), found, nodes });
        }
        if self.max_launches.is_some() || self.max_arena.is_some() {
            let plan = plan(&graph)?;
            let limits = [("launches", self.max_launches, plan.launches.len()), ("arena", self.max_arena, plan.arena)];
            for (what, limit, found) in limits {
                let Some(limit) = limit else { continue };
                let assertion = format!("max-{what} {limit}");
                outcomes.push(Outcome {
                    assertion,
                    holds: found <= limit,
                    found: found.to_string(),
                    nodes: Vec::new(),
                });
            }
        }
        if outcomes.is_empty() {
            return Err(miette!(
                "nothing to check: give --no-op, --no-float, --count, --exact, --max-launches or --max-arena"
            ));
        }
        let failed = outcomes.iter().filter(|o| !o.holds).count();
        if self.json {
            let outcomes: Vec<_> = outcomes.iter().map(|o| o.json(&graph)).collect();
            print_json(&json!({"program": &*graph.name, "failed": failed, "assertions": outcomes}))?;
        } else {
            print(outcomes.iter().map(|o| o.text(&graph)).collect::<String>())?;
            print(format_args!("{} of {} hold\n", outcomes.len() - failed, outcomes.len()))?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn structural(&self, graph: &Graph) -> Vec<Outcome> {
        let nodes = |fits: &dyn Fn(&Node) -> bool| -> Vec<NodeId> {
            graph.iter().filter(|(_, node)| fits(node)).map(|(id, _)| id).collect()
        };
        let without = |assertion: String, nodes: Vec<NodeId>| Outcome {
            assertion,
            holds: nodes.is_empty(),
            found: nodes.len().to_string(),
            nodes,
        };
        let mut outcomes = Vec::new();
        for kind in &self.no_op {
            // A GELU with its conversions in it is one all the same.
            let is = |node: &Node| fused::is_or_has(node.op.kind(), *kind);
            outcomes.push(without(format!("no-op {kind}"), nodes(&is)));
        }
        if self.no_float {
            outcomes.push(without("no-float".to_owned(), graph.float_nodes().collect()));
        }
        for count in &self.count {
            let nodes = nodes(&|node| node.op.kind() == count.kind);
            let assertion = format!("count {}{}{}", count.kind, count.relation, count.number);
            let (holds, found) = (count.holds(nodes.len()), nodes.len().to_string());
            outcomes.push(Outcome { assertion, holds, found, nodes: if holds { Vec::new() } else { nodes } });
        }
        outcomes
    }
}

impl Outcome {
    fn text(&self, graph: &Graph) -> String {
        let verdict = if self.holds { "ok    " } else { "FAILED" };
        let mut text = format!("{verdict}  {}: {}\n", self.assertion, self.found);
        for id in self.nodes.iter().take(LISTED) {
            let node = &graph.nodes[id.index()];
            let loc = node.locs.first().map_or_else(String::new, |loc| format!("  ({loc})"));
            text += &format!("          {id} = {} : {}{loc}\n", node.op.kind(), node.ty);
        }
        if self.nodes.len() > LISTED {
            text += &format!("          and {} more\n", self.nodes.len() - LISTED);
        }
        text
    }

    fn json(&self, graph: &Graph) -> serde_json::Value {
        let nodes: Vec<_> = (self.nodes.iter())
            .map(|id| {
                let node = &graph.nodes[id.index()];
                let locs: Vec<&str> = node.locs.iter().map(|l| &**l).collect();
                json!({"id": id.to_string(), "op": node.op.kind().name(), "type": node.ty.to_string(), "loc": locs})
            })
            .collect();
        json!({"assertion": self.assertion, "holds": self.holds, "found": self.found, "nodes": nodes})
    }
}
