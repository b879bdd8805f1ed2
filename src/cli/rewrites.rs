//! `swint explain`: the rules that removed or fused an op.

use super::{
    check::op_kind,
    model::ModelArgs,
    passes::PassArgs,
    print, print_json,
    source::{read_constants, read_ir},
};
use miette::miette;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use swint::{
    compiler::{
        egraph::{Class, Explanation, Rule, explain},
        pipeline::{Options, PASSES, Pass, rule_set},
        rules::rules,
    },
    ir::{Module, NodeId, Value, op::OpKind, random, verify_weights},
};

/// Arguments.
#[derive(clap::Args)]
#[command(mut_arg("precision", |arg| arg.default_value("int8")))]
pub struct Args {
    /// A model description or a published model's name: its program before the rewrites. Or an IR text.
    program: PathBuf,
    /// Explain what becomes of this node of the program before the rewrites, %12.
    #[arg(long, value_name = "%N", value_parser = node_id, required_unless_present = "removed")]
    node: Option<NodeId>,
    /// Explain what becomes of every op of this name.
    #[arg(long, value_name = "OP", value_parser = op_kind, conflicts_with = "node")]
    removed: Option<OpKind>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    pass_args: PassArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn node_id(text: &str) -> Result<NodeId, String> {
    let number = text.strip_prefix('%').unwrap_or(text).parse();
    number.map(NodeId).map_err(|_| "wanted a node, as the IR text numbers it: %12".to_owned())
}

impl Args {
    /// Explains; exit code 1 where an op asked for is still there.
    pub fn run(self) -> miette::Result<ExitCode> {
        if self.json && self.pass_args.prints() {
            return Err(miette!("--json and --print-after would both go to stdout"));
        }
        let options = self.pass_args.choose(&self.model.options()?)?;
        let module = self.before_rewrites(&options)?;
        let graph = &module.graph;
        let nodes: Vec<NodeId> = match (self.node, self.removed) {
            (Some(node), _) if node.index() < graph.nodes.len() => vec![node],
            (Some(node), _) => return Err(miette!("there is no {node}: the program has {} nodes", graph.nodes.len())),
            (None, Some(kind)) => graph.iter().filter(|(_, n)| n.op.kind() == kind).map(|(id, _)| id).collect(),
            (None, None) => Vec::new(),
        };
        if let (true, Some(kind)) = (nodes.is_empty(), self.removed) {
            return Err(miette!("the program before the rewrites has no {kind}"));
        }
        let table = rules(rule_set(&options));
        let found: Vec<(NodeId, Explanation)> =
            nodes.iter().map(|&node| (node, explain(&module, node, &table, &options.target))).collect();
        let stays = |(_, e): &&(NodeId, Explanation)| self.removed.is_some_and(|k| e.ops.1.contains_key(k.name()));
        let staying = found.iter().filter(stays).count();
        if self.json {
            let all: Vec<_> = found.iter().map(|(node, e)| as_json(&module, *node, e, &table)).collect();
            print_json(
                &json!({"program": &*graph.name, "target": options.target.name, "staying": staying, "explained": all}),
            )?;
        } else {
            for (node, explanation) in &found {
                print(as_text(&module, *node, explanation, &table))?;
            }
            if let Some(kind) = self.removed {
                print(format_args!("{} of {} {kind} are gone\n", found.len() - staying, found.len()))?;
            }
        }
        Ok(if staying == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The program that the rewrites take.
    fn before_rewrites(&self, options: &Options<'_>) -> miette::Result<Module> {
        let is_text = self.program.extension().is_some_and(|e| e == "ir") || self.program == Path::new("-");
        if is_text {
            if self.model.calib.is_some() || self.model.calib_stats.is_some() || self.pass_args.shows_something() {
                return Err(miette!("{} is not compiled here: no pass runs on it", self.program.display()));
            }
            return self.text();
        }
        if self.program.extension().is_some_and(|e| e == "swint") {
            return Err(miette!(
                help = "give the description that it was compiled from, with the same arguments",
                "{} does not hold the program before the rewrites",
                self.program.display()
            ));
        }
        let (spec, imported) = self.model.load(&self.program)?;
        let calibration = self.model.calibration(&spec, &imported, true)?;
        let options = Options { calibration: calibration.as_ref(), ..options.clone() };
        let before = |pass: &&Pass| pass.name != "rewrite" && (pass.wanted)(&options);
        let passes = PASSES.iter().filter(before).collect();
        Ok(self.pass_args.run(passes, &imported, &options, &self.model.arguments()?)?.0)
    }

    /// An IR text with its constants' values, random ones where none are given.
    fn text(&self) -> miette::Result<Module> {
        let (graph, map) = read_ir(&self.program)?;
        let weights = match &self.model.weights {
            None => random::weights(&graph, self.model.random_weights.unwrap_or(0)),
            Some(path) => read_constants(path, &graph)?,
        };
        verify_weights(&graph, &weights).map_err(|error| map.report(&error))?;
        Ok(Module { graph, weights })
    }
}

/// The first line of an explanation: the node, what it is, what it is part of.
fn headline(module: &Module, node: NodeId, explanation: &Explanation) -> String {
    let graph = &module.graph;
    let loc = graph.nodes[explanation.root.index()].locs.first().map_or_else(String::new, |loc| format!(" ({loc})"));
    let (before, after) = (explanation.cost.0.micros(), explanation.cost.1.micros());
    format!(
        "{node} = {} : {}, part of {}{loc}; {before:.1} us before, {after:.1} us after",
        graph.nodes[node.index()].op.kind(),
        graph.ty(Value::Node(node)),
        explanation.root
    )
}

/// `exact` or `real`, of a rule of the table.
fn class_of(rule: &str, table: &[Rule]) -> &'static str {
    match table.iter().find(|row| row.name == rule).map(|row| row.class) {
        Some(Class::Exact) => "exact",
        Some(Class::Real(_)) => "real",
        None => "",
    }
}

fn as_text(module: &Module, node: NodeId, explanation: &Explanation, table: &[Rule]) -> String {
    let mut text = headline(module, node, explanation) + "\n";
    for step in &explanation.steps {
        if let Some(rule) = &step.rule {
            let back = if step.backward { ", backward" } else { "" };
            text += &format!("  = by {rule} ({}{back})\n", class_of(rule, table));
        }
        text += &format!("      {}\n", step.term);
    }
    text
}

fn as_json(module: &Module, node: NodeId, explanation: &Explanation, table: &[Rule]) -> serde_json::Value {
    let steps: Vec<_> = (explanation.steps.iter())
        .map(|s| {
            let class = s.rule.as_deref().map(|rule| class_of(rule, table));
            json!({"rule": s.rule, "class": class, "backward": s.backward, "term": s.term})
        })
        .collect();
    let (before, after) = (explanation.cost.0.micros(), explanation.cost.1.micros());
    json!({
        "node": node.to_string(), "op": module.graph.nodes[node.index()].op.kind().name(),
        "root": explanation.root.to_string(), "us": [before, after], "ops": [explanation.ops.0, explanation.ops.1],
        "steps": steps,
    })
}
