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
        egraph::{Class, Explainer, Explanation, Rule},
        pipeline::{Options, PASSES, Pass, rule_set},
        rules::rules,
    },
    ir::{Graph, Module, Node, NodeId, Value, diagnostic::did_you_mean, op::OpKind, random, verify_weights},
};

/// Arguments.
#[derive(clap::Args)]
#[command(mut_arg("precision", |arg| arg.default_value("int8")))]
pub struct Args {
    /// A model description or a published model's name: its program before the rewrites. Or an IR text.
    program: PathBuf,
    /// Explain what becomes of this node of the program before the rewrites: %12, or the module whose output it is,
    /// layers.0.blocks.1.
    #[arg(long, value_name = "NAME", required_unless_present = "removed")]
    node: Option<String>,
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

impl Args {
    /// Explains; exit code 1 where an op asked for is still there.
    pub fn run(self) -> miette::Result<ExitCode> {
        if self.json && self.pass_args.prints() {
            return Err(miette!("--json and --print-after would both go to stdout"));
        }
        let options = self.pass_args.choose(&self.model.options()?)?;
        let module = self.before_rewrites(&options)?;
        let graph = &module.graph;
        let nodes = match (&self.node, self.removed) {
            (Some(name), _) => named(graph, name)?,
            (None, Some(kind)) => graph.iter().filter(|(_, n)| n.op.kind() == kind).map(|(id, _)| id).collect(),
            (None, None) => Vec::new(),
        };
        if let (true, Some(kind)) = (nodes.is_empty(), self.removed) {
            return Err(miette!("the program before the rewrites has no {kind}"));
        }
        let table = rules(rule_set(&options));
        let found = Explainer::new(&module, &table, &options.target, options.limits).explain(&nodes);
        let left = |part: &Option<Explanation>| -> usize {
            let counts = part.as_ref().map(|part| &part.ops.1);
            self.removed.and_then(|kind| counts?.get(kind.name()).copied()).unwrap_or(0)
        };
        let staying: usize = found.iter().map(|(nodes, part)| left(part).min(nodes.len())).sum();
        if self.json {
            let all: Vec<_> = found.iter().map(|(nodes, part)| as_json(&module, nodes, part, &table)).collect();
            print_json(
                &json!({"program": &*graph.name, "target": options.target.name, "staying": staying, "explained": all}),
            )?;
        } else {
            for (nodes, part) in &found {
                print(as_text(&module, nodes, part, &table))?;
            }
            if let Some(kind) = self.removed {
                print(format_args!("{} of {} {kind} are gone\n", nodes.len() - staying, nodes.len()))?;
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

/// The nodes that a name means.
fn named(graph: &Graph, name: &str) -> miette::Result<Vec<NodeId>> {
    if let Some(number) = name.strip_prefix('%').unwrap_or(name).parse().ok().map(NodeId) {
        return match graph.nodes.get(number.index()) {
            Some(_) => Ok(vec![number]),
            None => Err(miette!("there is no {number}: the program has {} nodes", graph.nodes.len())),
        };
    }
    let has = |node: &Node| node.locs.iter().any(|loc| **loc == *name);
    let nodes: Vec<NodeId> = graph.iter().filter(|(_, node)| has(node)).map(|(id, _)| id).collect();
    if nodes.is_empty() {
        let known = graph.nodes.iter().flat_map(|node| &node.locs).map(|loc| &**loc);
        let hint = did_you_mean(name, known).map_or_else(String::new, |hint| format!("; {hint}"));
        return Err(miette!("no node is %N or a module's output of the name {name:?}{hint}"));
    }
    Ok(nodes)
}

/// `exact` or `real`, of a rule of the table.
fn class_of(rule: &str, table: &[Rule]) -> &'static str {
    match table.iter().find(|row| row.name == rule).map(|row| row.class) {
        Some(Class::Exact) => "exact",
        Some(Class::Real(_)) => "real",
        None => "",
    }
}

fn as_text(module: &Module, nodes: &[NodeId], part: &Option<Explanation>, table: &[Rule]) -> String {
    let graph = &module.graph;
    let mut text = String::new();
    for &node in nodes {
        let kind = graph.nodes[node.index()].op.kind();
        text += &format!("{node} = {kind} : {}\n", graph.ty(Value::Node(node)));
    }
    let Some(part) = part else { return text + "  is not needed: nothing reads it\n" };
    let loc = graph.nodes[part.root.index()].locs.first().map_or_else(String::new, |loc| format!(" ({loc})"));
    let (before, after) = (part.cost.0.micros(), part.cost.1.micros());
    text += &format!("part of {}{loc}; {before:.1} us before, {after:.1} us after\n    {}\n", part.root, part.written);
    for step in &part.steps {
        let back = if step.backward { ", backward" } else { "" };
        text += &format!("  {} ({}{back})\n", step.rule, class_of(&step.rule, table));
        text += &format!("    {}\n  = {}\n", step.before, step.after);
    }
    if let Some(last) = part.steps.last().filter(|last| last.after != last.term) {
        text += &format!("  in all\n  = {}\n", last.term);
    }
    text
}

fn as_json(module: &Module, nodes: &[NodeId], part: &Option<Explanation>, table: &[Rule]) -> serde_json::Value {
    let nodes: Vec<_> = (nodes.iter())
        .map(|node| json!({"node": node.to_string(), "op": module.graph.nodes[node.index()].op.kind().name()}))
        .collect();
    let Some(part) = part else { return json!({"nodes": nodes, "needed": false}) };
    let steps: Vec<_> = (part.steps.iter())
        .map(|s| {
            json!({
                "rule": s.rule, "class": class_of(&s.rule, table), "backward": s.backward,
                "before": s.before, "after": s.after, "term": s.term,
            })
        })
        .collect();
    json!({
        "nodes": nodes, "needed": true, "root": part.root.to_string(), "us": [part.cost.0.micros(), part.cost.1.micros()],
        "ops": [part.ops.0, part.ops.1], "written": part.written, "steps": steps,
    })
}
