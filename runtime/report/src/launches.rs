//! What is known of each launch of a plan.

use crate::Report;
use swint_compiler::{
    egraph::Work,
    plan::{Buffer, Launch, Plan},
};
use swint_ir::{Graph, Node, Type, Value};

/// A launch, with what the cost model says of it and what was measured.
pub struct Row<'a> {
    /// Its number, from 0.
    pub index: usize,
    /// The module that it is a part of, as far as names say.
    pub module: String,
    /// Its op's name.
    pub op: &'static str,
    /// The launch.
    pub launch: &'a Launch,
    /// Its operands that are computed, in words.
    pub from: String,
    /// Its result.
    pub to: &'a Type,
    /// What it does.
    pub work: Work,
    /// Microseconds by the cost model: the launch, and what follows it.
    pub estimated: f64,
    /// Microseconds that it took, if that was measured.
    pub measured: Option<f64>,
    /// What the cost model says it waits for most.
    pub bound: Bound,
}

/// What a launch waits for most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// To be launched.
    Launch,
    /// Memory.
    Memory,
    /// Arithmetic.
    Compute,
}

impl Bound {
    pub fn name(self) -> &'static str {
        match self {
            Bound::Launch => "launch",
            Bound::Memory => "memory",
            Bound::Compute => "arithmetic",
        }
    }
}

impl Row<'_> {
    /// Operations that are no multiply-adds of 8-bit integers.
    pub fn other(&self) -> f64 {
        (self.work.float + self.work.elementary) as f64
    }

    /// Microseconds: measured, or estimated.
    pub fn us(&self) -> f64 {
        self.measured.unwrap_or(self.estimated)
    }
}

/// Every launch, in order.
pub fn rows<'a>(report: &Report<'a>) -> Vec<Row<'a>> {
    let Report { plan, planned, target, profile, .. } = *report;
    let row = |(index, launch): (usize, &'a Launch)| {
        let node = &planned.nodes[launch.node.index()];
        let operands: Vec<&Type> = node.operands.iter().map(|&v| planned.ty(v)).collect();
        let work = Work::of(&node.op, &operands, &node.ty);
        let least = work.roofline(target);
        let moves = work.bytes as f64 / target.bandwidth;
        let bound = match (target.launch >= least, least > moves) {
            (true, _) => Bound::Launch,
            (false, true) => Bound::Compute,
            (false, false) => Bound::Memory,
        };
        let computed = node.operands.iter().filter(|v| !matches!(v, Value::Const(_)));
        Row {
            index,
            module: module(planned, node),
            op: node.op.kind().name(),
            launch,
            from: computed.map(|&v| shape(planned.ty(v))).collect::<Vec<_>>().join(", "),
            to: &node.ty,
            work,
            estimated: (target.launch + least) / 1e6,
            measured: profile.and_then(|p| p.us.get(index).copied()),
            bound,
        }
    };
    plan.launches.iter().enumerate().map(row).collect()
}

/// `i8[1,256,96]`: a type without its scale.
pub fn shape(ty: &Type) -> String {
    let extents: Vec<String> = ty.shape.iter().map(usize::to_string).collect();
    format!("{}[{}]", ty.elem, extents.join(","))
}

/// The module whose output a node is; else what the names of its constants begin with, all of them that begin alike.
fn module(graph: &Graph, node: &Node) -> String {
    if let Some(loc) = node.locs.first() {
        return loc.to_string();
    }
    let names = node.operands.iter().filter_map(|v| if let Value::Const(c) = v { Some(c) } else { None });
    let names: Vec<Vec<&str>> = names.map(|c| graph.consts[c.index()].name.split('.').collect()).collect();
    // Masks are a stage's, tables nobody's: what a block has for itself tells more.
    let of_block = |name: &&Vec<&str>| name.contains(&"blocks");
    let mut names = names.iter().filter(|name| of_block(name) || !names.iter().any(|n| of_block(&n)));
    let Some(first) = names.next() else { return String::new() };
    // Of one constant alone, what it is called in its module and its element type are no module.
    let mut common = first[..first.len().saturating_sub(2)].to_vec();
    for name in names.filter(|name| name[0] == first[0]) {
        let shared = common.iter().zip(name).take_while(|(a, b)| a == b).count();
        common.truncate(shared);
    }
    common.join(".")
}

/// A buffer of the arena, and how long it is needed.
pub struct Life {
    /// First byte.
    pub offset: usize,
    /// Its bytes.
    pub bytes: usize,
    /// The launch that writes it.
    pub first: usize,
    /// The last that reads it; for the result the last of all.
    pub last: usize,
}

/// Every launch's result in the arena.
pub fn lives(plan: &Plan) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    for (i, launch) in plan.launches.iter().enumerate() {
        for input in &launch.inputs {
            // What was written there last is what is read.
            if let Some(life) = lives.iter_mut().rev().find(|life| life.is(*input)) {
                life.last = i;
            }
        }
        if let Buffer::Arena { offset, bytes } = launch.output {
            lives.push(Life { offset, bytes, first: i, last: i });
        }
    }
    let end = plan.launches.len().saturating_sub(1);
    if let Some(life) = lives.iter_mut().rev().find(|life| life.is(plan.output)) {
        life.last = end;
    }
    lives
}

impl Life {
    fn is(&self, buffer: Buffer) -> bool {
        buffer == Buffer::Arena { offset: self.offset, bytes: self.bytes }
    }
}
