//! `swint explain`: the rules that removed or fused an op.

use super::{
    check::op_kind,
    model::ModelArgs,
    passes::PassArgs,
    print, print_json,
    source::{read_artifact, read_constants, read_ir},
};
use miette::miette;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use swint::{
    compiler::{
        egraph::{Part, Rewriting, Step},
        pipeline::{Options, PASSES, Pass, rule_set},
        rules::rules,
    },
    ir::{Graph, Module, Node, NodeId, Value, diagnostic::did_you_mean, fused, op::OpKind, random, verify_weights},
    runtime::artifact::Artifact,
};

/// Arguments.
#[derive(clap::Args)]
#[command(mut_arg("precision", |arg| arg.default_value("int8")))]
pub struct Args {
    /// A compiled model. A model description or a published model's name: its program before the rewrites. Or an IR text.
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
        let is_compiled = self.program.extension().is_some_and(|e| e == "swint") || Artifact::is_one(&self.program);
        let (graph, target, nodes, found) = if is_compiled { self.recorded()? } else { self.computed()? };
        let left = |part: &Part| -> usize {
            let (Some(kind), Some(explanation)) = (self.removed, &part.explanation) else { return 0 };
            let is = |name: &str| OpKind::from_name(name).is_some_and(|op| fused::is_or_has(op, kind));
            explanation.ops.1.iter().filter(|(name, _)| is(name)).map(|(_, n)| n).sum()
        };
        let staying: usize = found.iter().map(|part| left(part).min(part.nodes.len())).sum();
        if self.json {
            let all: Vec<_> = found.iter().map(|part| as_json(&graph, part)).collect();
            print_json(&json!({"program": &*graph.name, "target": target, "staying": staying, "explained": all}))?;
        } else {
            for part in &found {
                print(as_text(&graph, part))?;
            }
            if let Some(kind) = self.removed {
                print(format_args!("{} of {nodes} {kind} are gone\n", nodes - staying))?;
            }
        }
        Ok(if staying == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The program before the rewrites, the target, how many nodes are asked for, and what became of them: as a compiled model has
    /// it on record.
    fn recorded(&self) -> miette::Result<(Graph, String, usize, Vec<Part>)> {
        if self.model.chooses() || self.pass_args.given() {
            return Err(miette!(
                help = "what it says is how it was compiled; give the description to see what other choices make",
                "{} is compiled: no pass runs on it, and it takes --node or --removed only",
                self.program.display()
            ));
        }
        let Some(history) = read_artifact(&self.program)?.history else {
            return Err(miette!("{} does not say how it was rewritten", self.program.display()));
        };
        let nodes = self.nodes(&history.before)?;
        let found = history.of(&nodes);
        Ok((history.before, history.target, nodes.len(), found))
    }

    /// The same, from a program that is rewritten for it.
    fn computed(&self) -> miette::Result<(Graph, String, usize, Vec<Part>)> {
        let options = self.pass_args.choose(&self.model.options()?)?;
        let module = self.before_rewrites(&options)?;
        let nodes = self.nodes(&module.graph)?;
        let (table, count) = (rules(rule_set(&options)), nodes.len());
        let found = Rewriting::new(&module, &table, &options.target, options.limits).explain(nodes);
        Ok((module.graph, options.target.name, count, found))
    }

    /// The nodes that are asked for.
    fn nodes(&self, graph: &Graph) -> miette::Result<Vec<NodeId>> {
        match (&self.node, self.removed) {
            (Some(name), _) => named(graph, name),
            (None, Some(kind)) => {
                let of_kind = graph.iter().filter(|(_, node)| node.op.kind() == kind);
                let nodes: Vec<NodeId> = of_kind.map(|(id, _)| id).collect();
                if nodes.is_empty() {
                    return Err(miette!("the program before the rewrites has no {kind}"));
                }
                Ok(nodes)
            }
            (None, None) => unreachable!("clap asks for one of them"),
        }
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
            Some(path) => read_constants(path, &graph, &self.model.limits.limits())?,
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

/// `exact` or `real`.
fn class_of(step: &Step) -> &'static str {
    if step.exact { "exact" } else { "real" }
}

fn as_text(graph: &Graph, Part { nodes, explanation }: &Part) -> String {
    let mut text = String::new();
    for &node in nodes {
        let kind = graph.nodes[node.index()].op.kind();
        text += &format!("{node} = {kind} : {}\n", graph.ty(Value::Node(node)));
    }
    let Some(part) = explanation else { return text + "  is not needed: nothing reads it\n" };
    let loc = graph.nodes[part.root.index()].locs.first().map_or_else(String::new, |loc| format!(" ({loc})"));
    let (before, after) = (part.cost.0.micros(), part.cost.1.micros());
    text += &format!("part of {}{loc}; {before:.1} us before, {after:.1} us after\n    {}\n", part.root, part.written);
    for step in &part.steps {
        let back = if step.backward { ", backward" } else { "" };
        text += &format!("  {} ({}{back})\n", step.rule, class_of(step));
        text += &format!("    {}\n  = {}\n", step.before, step.after);
    }
    if let Some(last) = part.steps.last().filter(|last| last.after != last.term) {
        text += &format!("  in all\n  = {}\n", last.term);
    }
    text
}

fn as_json(graph: &Graph, Part { nodes, explanation }: &Part) -> serde_json::Value {
    let nodes: Vec<_> = (nodes.iter())
        .map(|node| json!({"node": node.to_string(), "op": graph.nodes[node.index()].op.kind().name()}))
        .collect();
    let Some(part) = explanation else { return json!({"nodes": nodes, "needed": false}) };
    let steps: Vec<_> = (part.steps.iter())
        .map(|s| {
            json!({
                "rule": s.rule, "class": class_of(s), "backward": s.backward,
                "before": s.before, "after": s.after, "term": s.term,
            })
        })
        .collect();
    json!({
        "nodes": nodes, "needed": true, "root": part.root.to_string(), "us": [part.cost.0.micros(), part.cost.1.micros()],
        "ops": [part.ops.0, part.ops.1], "written": part.written, "steps": steps,
    })
}
