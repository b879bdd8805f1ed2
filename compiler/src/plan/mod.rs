//! Graph → kernels, launch order, buffers. A plan is plain data: what to run, not how.

mod arena;
mod blueprint;
mod fused;
mod kernel;
mod lower;
mod options;
pub mod pack;
mod split;
mod tiles;

pub use blueprint::{Attention, Blueprint, Channels, Dots, Embed, Gemm, Head, Machine, Mlp, Norm, NormShare, Windows};
pub use kernel::{AttentionPlaces, ConstSource, Kernel, Rows};
pub use lower::{Choices, PlanError, plan, plan_for};
pub use pack::PAIRS;
pub use tiles::{ON_CHIP, OVERLAPPING};

use std::{fmt, slice, sync::Arc};
use swint_ir::{NodeId, Type};

/// Everything needed to run a graph: constants to upload, one arena, launches in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The graph's name.
    pub name: Arc<str>,
    /// Types of the inputs.
    pub inputs: Vec<Type>,
    /// Constants, each uploaded once.
    pub consts: Vec<ConstSource>,
    /// Bytes of the arena.
    pub arena: usize,
    /// Kernel launches, in order.
    pub launches: Vec<Launch>,
    /// What might be made as one kernel as well as by its parts, whichever it is.
    pub wholes: Vec<Whole>,
    /// Where the result is.
    pub output: Buffer,
    /// The result's type.
    pub output_type: Type,
}

/// Where a kernel reads or writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Buffer {
    /// An input of the graph.
    Input(usize),
    /// A constant of the plan.
    Const(usize),
    /// Bytes of the arena.
    Arena {
        /// First byte.
        offset: usize,
        /// Number of bytes.
        bytes: usize,
    },
}

/// One kernel launch.
#[derive(Clone, PartialEq, Debug)]
pub struct Launch {
    /// What it computes.
    pub kernel: Kernel,
    /// How.
    pub blueprint: Blueprint,
    /// Every way that would do, the likely one first.
    pub options: Vec<Blueprint>,
    /// Units of work: what one is, the kernel says.
    pub items: usize,
    /// What it reads, in the kernel's order.
    pub inputs: Vec<Buffer>,
    /// What it writes.
    pub output: Buffer,
    /// The node whose result it is.
    pub node: NodeId,
    /// The node of the graph that was planned of which this node is all or a part.
    pub source: NodeId,
    /// The source's modules whose output this is.
    pub locs: Vec<Arc<str>>,
}

/// A node of the graph that was planned that may be one launch or those of its parts.
#[derive(Clone, PartialEq, Debug)]
pub struct Whole {
    /// The node.
    pub source: NodeId,
    /// What [`Choices`] know it by.
    pub key: String,
    /// Every way that would do, the likely one first; one is [`Blueprint::Parts`].
    pub options: Vec<Blueprint>,
}

/// Where buffers start: enough for every vector width and device.
pub const ALIGNMENT: usize = 256;

impl Launch {
    /// What [`Choices`] know it by.
    pub fn key(&self) -> String {
        lower::key(&self.kernel, self.items, slice::from_ref(&self.blueprint))
    }
}

impl Plan {
    /// Every different kernel, in order of first use.
    pub fn kernels(&self) -> Vec<&Kernel> {
        let mut seen = std::collections::HashSet::new();
        self.launches.iter().map(|l| &l.kernel).filter(|k| seen.insert(*k)).collect()
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Buffer::Input(i) => write!(f, "input{i}"),
            Buffer::Const(c) => write!(f, "const{c}"),
            Buffer::Arena { offset, bytes } => write!(f, "arena[{offset}..{}]", offset + bytes),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan @{}: {} launches, arena {} bytes", self.name, self.launches.len(), self.arena)?;
        for (i, c) in self.consts.iter().enumerate() {
            writeln!(f, "  const{i} = {c}")?;
        }
        for (i, launch) in self.launches.iter().enumerate() {
            write!(f, "  {i:>3} {}{} x{} (", launch.kernel, launch.blueprint, launch.items)?;
            for (j, input) in launch.inputs.iter().enumerate() {
                write!(f, "{}{input}", if j > 0 { ", " } else { "" })?;
            }
            write!(f, ") -> {}", launch.output)?;
            if let Some(loc) = launch.locs.first() {
                write!(f, "  // {loc}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "  return {} : {}", self.output, self.output_type)
    }
}
