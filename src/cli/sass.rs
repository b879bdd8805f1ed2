//! `swint sass`: what the kernels are in machine code.

use super::{print, print_json, source::read_module};
use miette::miette;
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};
use swint::{
    compiler::plan::{Choices, plan_for},
    ir::Module,
    runtime::sass::{Kernel, Target, Tools, Widths, report},
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// A compiled model, or an IR text.
    program: PathBuf,
    /// What to assemble for: sm_89, sm_90a (sm_90 is the same).
    #[arg(long, value_name = "TARGET", value_delimiter = ',', default_value = "sm_89,sm_90a",
          value_parser = Target::from_name)]
    target: Vec<Target>,
    /// Inputs at once: kernels depend on it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Fail where there is a floating-point instruction.
    #[arg(long)]
    fail_on_float: bool,
    /// Fail where a kernel spills registers to memory.
    #[arg(long)]
    fail_on_spill: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Most floating-point instructions of a kernel that the text lists.
const LISTED: usize = 8;

impl Args {
    /// Reports; an error where what must not be is there.
    pub fn run(mut self) -> miette::Result<ExitCode> {
        let Module { graph, weights } = read_module(&self.program)?;
        let graph = graph.with_batch(self.batch).map_err(|e| miette!("--batch {}: {e}", self.batch))?;
        let tools = Tools::find()?;
        let version = tools.version()?;
        self.target.sort_by_key(|target| target.name);
        self.target.dedup();
        let (mut machines, mut failures) = (Vec::new(), Vec::new());
        for &target in &self.target {
            let machine = Machine {
                target,
                kernels: report(
                    &plan_for(&graph, &weights, Some(target.sm.machine()), &Choices::new())?.1,
                    target,
                    &tools,
                )?,
            };
            let broken = [(self.fail_on_float, machine.floats()), (self.fail_on_spill, machine.spills())];
            failures.extend(broken.into_iter().filter_map(|(wanted, found)| found.filter(|_| wanted)));
            machines.push(machine);
        }
        if self.json {
            let targets: Vec<_> = machines.iter().map(Machine::json).collect();
            print_json(&json!({"program": &*graph.name, "ptxas": version, "targets": targets}))?;
        } else {
            print(format_args!("{}, ptxas {version}\n", graph.name))?;
            for machine in &machines {
                print(machine.text())?;
            }
        }
        if failures.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(miette!("{}", failures.join("; "))) }
    }
}

/// The kernels for a target.
struct Machine {
    target: Target,
    kernels: Vec<Kernel>,
}

impl Machine {
    /// How many floating-point instructions there are, in words, if there are any.
    fn floats(&self) -> Option<String> {
        let floats = self.kernels.iter().map(|k| k.code.float.len());
        self.found("floating-point instructions", &floats.collect::<Vec<_>>())
    }

    /// How many bytes are spilled, in words, if any are.
    fn spills(&self) -> Option<String> {
        let spills = self.kernels.iter().map(|k| (k.resources.spill_stores + k.resources.spill_loads) as usize);
        self.found("bytes of spills", &spills.collect::<Vec<_>>())
    }

    fn found(&self, what: &str, numbers: &[usize]) -> Option<String> {
        let kernels = numbers.iter().filter(|&&n| n > 0).count();
        let sum: usize = numbers.iter().sum();
        (sum > 0).then(|| format!("{}: {sum} {what} in {kernels} of {} kernels", self.target.name, numbers.len()))
    }

    fn json(&self) -> serde_json::Value {
        let sum = |of: fn(&Kernel) -> usize| self.kernels.iter().map(of).sum::<usize>();
        json!({
            "target": self.target.name, "kernels": self.kernels,
            "float_instructions": sum(|k| k.code.float.len()),
            "spill_bytes": sum(|k| (k.resources.spill_stores + k.resources.spill_loads) as usize),
        })
    }

    fn text(&self) -> String {
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(self.kernels.iter().map(row));
        let widths: Vec<usize> =
            (0..HEAD.len()).map(|c| rows.iter().map(|row| row[c].len()).max().unwrap_or(0)).collect();
        let mut text = format!("\n{}\n", self.target.name);
        for row in &rows {
            text += &format!("{:<1$}", row[0], widths[0]);
            text.extend(row.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}")));
            text.push('\n');
        }
        for kernel in self.kernels.iter().filter(|k| !k.code.float.is_empty()) {
            let float = &kernel.code.float;
            text += &format!("\n{}: {} floating-point instructions\n", kernel.entry, float.len());
            text.extend(float.iter().take(LISTED).map(|i| format!("  {:04x}  {}\n", i.address, i.text)));
            if float.len() > LISTED {
                text += &format!("  and {} more: --json lists them\n", float.len() - LISTED);
            }
        }
        text += "\n";
        let none = || format!("{}: no floating-point instruction in {} kernels", self.target.name, self.kernels.len());
        text += &self.spills().map_or_else(String::new, |spills| format!("{spills}\n"));
        text + &self.floats().unwrap_or_else(none) + "\n"
    }
}

const HEAD: [&str; 16] = [
    "kernel",
    "regs",
    "stack",
    "spill st/ld",
    "shared",
    "warps",
    "instr",
    "IMMA",
    "HMMA",
    "IDP",
    "LDL",
    "STL",
    "loads 8/16/32/64/128",
    "stores 8/16/32/64/128",
    "moved",
    "float",
];

fn row(kernel: &Kernel) -> [String; HEAD.len()] {
    let Kernel { entry, resources, occupancy, code, .. } = kernel;
    let accesses = |widths: &Widths| widths.map(|n| n.to_string()).join("/");
    let cell = |n: usize| n.to_string();
    [
        entry.clone(),
        resources.registers.to_string(),
        resources.stack.to_string(),
        format!("{}/{}", resources.spill_stores, resources.spill_loads),
        resources.shared.to_string(),
        format!("{}/{}", occupancy.warps, occupancy.max_warps),
        cell(code.instructions),
        cell(code.imma),
        cell(code.hmma),
        cell(code.idp),
        cell(code.ldl),
        cell(code.stl),
        accesses(&code.loads),
        accesses(&code.stores),
        cell(code.constants_moved + code.selects),
        cell(code.float.len()),
    ]
}
