//! The machine code (SASS) that NVIDIA's assembler makes of the kernels, read and counted. No device is needed, but two of
//! its tools are: [`Tools`].

mod occupancy;
mod parse;
mod tools;

pub use occupancy::{Limits, Occupancy};
pub use parse::{Code, Instruction, Resources, Widths, code, resources, threads};
pub use tools::{INSTALL, Tools};

use crate::offline::{self, Ptx, Sm};
use rayon::prelude::*;
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};
use swint_compiler::plan::Plan;

/// What machine code is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// As the assembler calls it: the PTX of `sm_90` says `.target sm_90a`.
    pub name: &'static str,
    /// What a multiprocessor has room for.
    pub limits: Limits,
    /// What its PTX is compiled for.
    pub sm: Sm,
}

impl Target {
    /// The target of a name; `sm_90` and `sm_90a` are the same.
    ///
    /// # Errors
    /// When there is no such target; the message lists those there are.
    pub fn from_name(name: &str) -> Result<Target, String> {
        let (name, sm, limits) = match name {
            "sm_89" => ("sm_89", "sm_89", Limits::SM_89),
            "sm_90" | "sm_90a" => ("sm_90a", "sm_90", Limits::SM_90),
            _ => return Err(format!("unknown target {name:?}; there are sm_89, sm_90a")),
        };
        Ok(Target { name, limits, sm: Sm::from_name(sm)? })
    }
}

/// A kernel's machine code.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Kernel {
    /// Name of the entry.
    pub entry: String,
    /// Threads of a block.
    pub threads: u32,
    /// What it takes.
    #[serde(flatten)]
    pub resources: Resources,
    /// How many of it fit.
    #[serde(flatten)]
    pub occupancy: Occupancy,
    /// What it is made of.
    #[serde(flatten)]
    pub code: Code,
}

/// Why there is no machine code to look at.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SassError {
    /// A tool is not there.
    #[error("{0}")]
    #[diagnostic(help("{INSTALL}"))]
    NoTool(String),
    /// A kernel does not become PTX.
    #[error("{0}")]
    Compile(String),
    /// A tool refused a kernel.
    #[error("{} failed on {entry}: {said}", tool.display())]
    #[diagnostic(help("SWINT_PTXAS and SWINT_NVDISASM choose other tools. {INSTALL}"))]
    Tool {
        /// The tool.
        tool: PathBuf,
        /// The kernel, or what was asked.
        entry: String,
        /// What it said.
        said: String,
    },
    /// A tool's output is not what is known of it.
    #[error("{entry}: {reason}")]
    Output {
        /// The kernel.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// No temporary file could be written.
    #[error("cannot write a temporary file: {0}")]
    Io(#[from] std::io::Error),
}

/// Compiles every kernel of a plan to machine code and reads it.
///
/// # Errors
/// At the first kernel that a tool refuses, by name.
pub fn report(plan: &Plan, target: Target, tools: &Tools) -> Result<Vec<Kernel>, SassError> {
    let kernels = offline::compile(plan, target.sm).map_err(SassError::Compile)?;
    let folder = tempfile::tempdir()?;
    // A tool runs on one core for tenths of a second, so all cores run one.
    let assembled: Vec<_> = kernels.par_iter().map(|ptx| assemble(ptx, target, tools, folder.path())).collect();
    let mut assembled = assembled.into_iter().collect::<Result<Vec<_>, _>>()?;
    assembled.sort_by(|a, b| a.entry.cmp(&b.entry));
    Ok(assembled)
}

fn assemble(ptx: &Ptx, target: Target, tools: &Tools, folder: &Path) -> Result<Kernel, SassError> {
    let entry = &ptx.entry;
    let output = |reason: String| SassError::Output { entry: entry.clone(), reason };
    let [source, cubin] = ["ptx", "cubin"].map(|ending| folder.join(format!("{entry}.{ending}")));
    fs::write(&source, &ptx.text)?;
    let said = tools.assemble(entry, target.name, &source, &cubin)?;
    let listing = tools.disassemble(entry, &cubin)?;
    let mut resources = resources(&said).ok_or_else(|| output(format!("ptxas says nothing of registers: {said}")))?;
    // What the launch asks for ptxas does not know.
    resources.shared += ptx.shared as u32;
    let threads = threads(&ptx.text).ok_or_else(|| output("its PTX does not say how large a block is".to_owned()))?;
    Ok(Kernel {
        entry: entry.clone(),
        threads,
        resources,
        occupancy: target.limits.occupancy(threads, resources.registers, resources.shared),
        code: code(&listing).map_err(output)?,
    })
}
