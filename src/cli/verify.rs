//! `swint verify`: whether kernels compute what the interpreter does, shown without a GPU.

use super::{DeviceArg, data::resolve, print, print_json, say, source::read_artifact};
use miette::{IntoDiagnostic, miette};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use swint::{
    compiler::plan::Choices,
    ir::{Data, Elem, Tensor, Type, random::Rng},
    runtime::{
        artifact::Artifact,
        device::Device,
        inputs::{read_inputs, stack},
        offline::Sm,
        ptxsim::Stats,
        verify::{Mismatch, Simulated, run_on_device, simulate},
    },
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Compiled model.
    model: PathBuf,
    /// Whose PTX to run in the simulator: sm_89, sm_90.
    #[arg(long, value_name = "TARGET", value_delimiter = ',', default_value = "sm_89", value_parser = Sm::from_name)]
    target: Vec<Sm>,
    /// Run on this device (cpu, cuda or cuda:N) instead of the simulator, and compare each result all the same.
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["target", "stats", "ptx"])]
    device: Option<DeviceArg>,
    /// Inputs: `pixel_values` (f32, normalised), `pixels` (u8) or a picture, whichever the model takes; all together are a batch. [default: a batch
    /// of three: random values, the least, the largest]
    #[arg(long)]
    input: Option<PathBuf>,
    /// What the random values follow from.
    #[arg(long, default_value_t = 0, conflicts_with = "input")]
    seed: u64,
    /// Take the PTX of a kernel from DIR/ENTRY.ptx where there is such a file, instead of what it compiles to: to try a change by hand. See
    /// `swint compile --emit ptx`.
    #[arg(long, value_name = "DIR")]
    ptx: Option<PathBuf>,
    /// Print what each kernel counted: instructions, memory traffic and bank conflicts. These are counts, not times.
    #[arg(long)]
    stats: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What became of a kernel's launches, together.
#[derive(Default)]
struct Row {
    launches: usize,
    wrong: usize,
    stats: Stats,
    ideal: u64,
}

impl Args {
    /// Verifies; exit code 1 where a result differs or a kernel has faults.
    pub fn run(self) -> miette::Result<ExitCode> {
        let artifact = read_artifact(&self.model)?;
        if let Some(folder) = self.ptx.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(miette!("--ptx {}: there is no such folder", folder.display()));
        }
        let inputs = self.inputs(&artifact)?;
        let (batch, input) = (inputs.len(), stack(&inputs));
        let mut reports = Vec::new();
        let mut wrong = 0;
        if let Some(device) = self.device {
            let device = match device {
                DeviceArg::Cpu => Device::Cpu,
                DeviceArg::Cuda(number) => Device::Cuda(number),
                DeviceArg::Interp => return Err(miette!("--device interp is what results are compared with")),
            };
            let mut launches = 0;
            run_on_device(&artifact.module, &[input], batch, device, |launch, mismatch| {
                launches += 1;
                if let Some(mismatch) = mismatch {
                    wrong += 1;
                    say(format_args!("{} {}: {}", launch.node, launch.kernel, describe(&mismatch)));
                }
            })
            .map_err(|e| miette!("{e}"))?;
            reports.push(json!({"device": device.to_string(), "launches": launches, "wrong": wrong}));
            self.conclude(format_args!(
                "{device}: {} of {launches} launches give the interpreter's bits",
                launches - wrong
            ))?;
        } else {
            let mut seen = Vec::new();
            for &target in &self.target {
                if seen.contains(&target) {
                    continue;
                }
                seen.push(target);
                let (report, failures) = self.simulate(&artifact, &input, batch, target)?;
                reports.push(report);
                wrong += failures;
            }
        }
        if self.json {
            print_json(&Value::Array(reports))?;
        }
        Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn simulate(
        &self,
        artifact: &Artifact,
        input: &Tensor,
        batch: usize,
        target: Sm,
    ) -> miette::Result<(Value, usize)> {
        let (clock, mut rows, mut entries) = (Instant::now(), BTreeMap::<String, Row>::new(), Vec::new());
        let mut findings: Vec<String> = Vec::new();
        let (taken, folder) = (Cell::new(0), self.ptx.as_deref());
        let replaced = |entry: &str| match folder.map(|folder| replacement(folder, entry, target)) {
            None | Some(Ok(None)) => Ok(None),
            Some(text) => {
                taken.set(taken.get() + 1);
                text
            }
        };
        let (module, likely) = (&artifact.module, Choices::new());
        let result = simulate(module, std::slice::from_ref(input), batch, target, &likely, replaced, |run| {
            let row = rows.entry(run.ptx.entry.clone()).or_insert_with(|| {
                entries.push(run.ptx.entry.clone());
                Row::default()
            });
            row.launches += 1;
            row.stats.add(&run.stats);
            row.ideal += run.ideal;
            row.wrong += usize::from(!run.is_exact());
            for fault in faults(&run) {
                say(&fault);
                findings.push(fault);
            }
        });
        result.map_err(|e| miette!("{target}: {e}"))?;
        match (folder, taken.get()) {
            (Some(folder), 0) => {
                return Err(miette!("--ptx {}: no file there is named after a kernel, ENTRY.ptx", folder.display()));
            }
            (Some(_), n) => say(format_args!("{target}: {n} kernels replaced")),
            (None, _) => {}
        }
        let (seconds, mut all) = (clock.elapsed().as_secs_f64(), Row::default());
        for row in rows.values() {
            all.launches += row.launches;
            all.wrong += row.wrong;
            all.ideal += row.ideal;
            all.stats.add(&row.stats);
        }
        if self.stats && !self.json {
            print(table(&entries, &rows, &all))?;
        }
        let exact = all.launches - all.wrong;
        self.conclude(format_args!(
            "{target}: {exact} of {} launches of {} kernels give the interpreter's bits, without a race or another fault; {:.1} million \
             thread-instructions in {seconds:.1} s",
            all.launches,
            rows.len(),
            all.stats.instructions() as f64 / 1e6
        ))?;
        let kernels: Vec<Value> = entries.iter().map(|entry| in_json(entry, &rows[entry])).collect();
        let report = json!({
            "target": target.to_string(), "launches": all.launches, "wrong": all.wrong, "findings": findings, "seconds": seconds,
            "kernels": kernels, "total": in_json("total", &all),
        });
        Ok((report, all.wrong))
    }

    fn conclude(&self, line: std::fmt::Arguments<'_>) -> miette::Result<()> {
        if self.json { Ok(()) } else { print(format_args!("{line}\n")) }
    }

    fn inputs(&self, artifact: &Artifact) -> miette::Result<Vec<Tensor>> {
        let ty = &artifact.module.graph.inputs[0].ty;
        match &self.input {
            Some(path) => read_inputs(&resolve(path)?, ty, artifact.manifest.preprocess.as_ref()).into_diagnostic(),
            None => Ok(vec![random(ty, self.seed), extreme(ty, false), extreme(ty, true)]),
        }
    }
}

/// Random pictures.
pub fn random(ty: &Type, seed: u64) -> Tensor {
    let mut rng = Rng::with_seed(seed);
    let n = ty.elements();
    match ty.elem {
        Elem::U8 => Tensor::new(ty.shape.clone(), Data::U8((0..n).map(|_| rng.u8(..)).collect())),
        _ => Tensor::f32(ty.shape.clone(), (0..n).map(|_| rng.f32() * 4.0 - 2.0).collect()),
    }
}

/// The least or the largest of all pictures; normalised pixels rarely lie beyond ±3.
fn extreme(ty: &Type, largest: bool) -> Tensor {
    let n = ty.elements();
    match ty.elem {
        Elem::U8 => Tensor::new(ty.shape.clone(), Data::U8(vec![if largest { 255 } else { 0 }; n])),
        _ => Tensor::f32(ty.shape.clone(), vec![if largest { 3.0 } else { -3.0 }; n]),
    }
}

fn describe(mismatch: &Mismatch) -> String {
    let Mismatch { elements, first, found, wanted } = mismatch;
    format!("{elements} elements differ from the interpreter's, the first is {first}: {found}, not {wanted}")
}

/// The text that replaces a kernel's, if there is one.
fn replacement(folder: &Path, entry: &str, target: Sm) -> Result<Option<String>, String> {
    let path = folder.join(format!("{entry}.ptx"));
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| format!("cannot read {}: {error}", path.display()))?,
    };
    // Hopper's kernels are for sm_90a.
    let name = target.to_string();
    let is_for = |line: &str| line.trim().strip_prefix(".target").is_some_and(|of| of.trim().starts_with(&name));
    match text.lines().any(is_for) {
        true => Ok(Some(text)),
        false => Err(format!("{}: its .target is not {name}", path.display())),
    }
}

/// Most findings of a launch that are told.
const TOLD: usize = 5;

/// What is wrong with a launch, with the lines of PTX that take part.
fn faults(run: &Simulated<'_>) -> Vec<String> {
    let line = |n: u32| match n.checked_sub(1).and_then(|n| run.ptx.text.lines().nth(n as usize)) {
        Some(text) => format!("\n  {n}: {}", text.trim()),
        None => String::new(),
    };
    let place = run.launch.locs.first().map(|loc| format!(" ({loc})")).unwrap_or_default();
    let launch = format!("launch {}{place}: ", run.index);
    let shown = run.findings.iter().take(TOLD);
    let shown = shown.map(|f| format!("{launch}{f}{}{}", line(f.line), f.other.map(line).unwrap_or_default()));
    let more = run.findings.len().saturating_sub(TOLD);
    let more = (more > 0).then(|| format!("{launch}{}: {more} findings more", run.ptx.entry));
    let unwritten = run.unwritten;
    let unwritten =
        (unwritten > 0).then(|| format!("{launch}{}: {unwritten} bytes of the result are not written", run.ptx.entry));
    let mismatch = run.mismatch.iter().map(|m| format!("{launch}{}: {}", run.ptx.entry, describe(m)));
    shown.chain(more).chain(unwritten).chain(mismatch).collect()
}

fn table(entries: &[String], rows: &BTreeMap<String, Row>, all: &Row) -> String {
    let mut text = format!(
        "{:<48}{:>9}{:>12}{:>8}{:>12}{:>12}{:>12}{:>10}{:>12}{:>11}{:>11}\n",
        "kernel",
        "launches",
        "thread-inst",
        "mma",
        "L2 KB",
        "DRAM KB",
        "ideal KB",
        "L2/ideal",
        "DRAM/ideal",
        "coalesced",
        "conflicts"
    );
    for (name, row) in entries.iter().map(|entry| (&**entry, &rows[entry])).chain([("total", all)]) {
        let Stats { mma, conflicts, .. } = row.stats;
        let bytes = |loaded: u64, stored: u64| (32 * (loaded + stored)) as f64;
        let l2 = bytes(row.stats.loaded_sectors, row.stats.stored_sectors);
        let dram = bytes(row.stats.distinct_loaded_sectors, row.stats.distinct_stored_sectors);
        let ideal = row.ideal as f64;
        let coalesced = row.stats.coalescing().map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share));
        text += &format!(
            "{name:<48}{:>9}{:>12}{mma:>8}{:>12.1}{:>12.1}{:>12.1}{:>10.2}{:>12.2}{coalesced:>11}{conflicts:>11}\n",
            row.launches,
            row.stats.instructions(),
            l2 / 1024.0,
            dram / 1024.0,
            ideal / 1024.0,
            l2 / ideal,
            dram / ideal,
        );
    }
    let mut classes: Vec<String> = Vec::new();
    for (class, n) in &all.stats.threads {
        classes.push(format!("{} {n}", class.name()));
    }
    text += &format!(
        "thread-instructions: {}\n\
         L2: sectors of 32 bytes that warps touch, as if L1 kept nothing\n\
         DRAM: different sectors that a launch loads, and that it stores, as if L2 kept all of them\n\
         ideal: every input and result once\n",
        classes.join(", ")
    );
    text
}

fn in_json(name: &str, row: &Row) -> Value {
    let stats = &row.stats;
    let by_class = |counts: &BTreeMap<_, u64>| -> BTreeMap<&str, u64> {
        counts.iter().map(|(class, n): (&swint::runtime::ptxsim::Class, _)| (class.name(), *n)).collect()
    };
    json!({
        "kernel": name, "launches": row.launches, "wrong": row.wrong, "thread_instructions": by_class(&stats.threads),
        "warp_instructions": by_class(&stats.warps), "mma": stats.mma, "loaded_sectors": stats.loaded_sectors,
        "loaded_bytes": stats.loaded_bytes, "stored_sectors": stats.stored_sectors, "stored_bytes": stats.stored_bytes,
        "distinct_loaded_sectors": stats.distinct_loaded_sectors,
        "distinct_stored_sectors": stats.distinct_stored_sectors, "bank_conflicts": stats.conflicts,
        "coalescing": stats.coalescing(), "ideal_bytes": row.ideal,
    })
}
