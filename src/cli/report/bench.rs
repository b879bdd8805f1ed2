//! Files of the schema `swint-bench/1`, as far as a page shows them.

use crate::cli::coded;
use miette::miette;
use serde::Deserialize;
use std::{fs, path::Path};
use swint::{
    compiler::plan::Plan,
    ir::Code,
    report::{Bench, BenchResult, Profile},
};

/// The schema's name and version.
const SCHEMA: &str = "swint-bench/1";

/// Largest file that is read.
const MOST: u64 = 16 << 20;

/// What a file holds.
pub struct File {
    /// Times of whole inferences.
    pub bench: Bench,
    kernels: Vec<Kernel>,
}

#[derive(Deserialize)]
struct Raw {
    schema: String,
    tool: Tool,
    model: Named,
    device: Device,
    host: Host,
    clock: String,
    #[serde(default)]
    started: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    cold: Cold,
    results: Vec<Of>,
    #[serde(default)]
    kernels: Vec<Kernel>,
}

#[derive(Deserialize)]
struct Tool {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    precision: String,
    variant: String,
}

#[derive(Deserialize)]
struct Device {
    kind: String,
    name: String,
    #[serde(default)]
    threads: Option<usize>,
    #[serde(default)]
    driver: Option<String>,
}

#[derive(Deserialize)]
struct Host {
    cpu: String,
    os: String,
}

#[derive(Deserialize, Default)]
struct Cold {
    #[serde(default)]
    load_ms: Option<f64>,
    #[serde(default)]
    compile_ms: Option<f64>,
    #[serde(default)]
    first_ms: Option<f64>,
}

#[derive(Deserialize)]
struct Of {
    batch: usize,
    runs: usize,
    ms: Ms,
    images_per_s: f64,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Ms {
    min: f64,
    median: f64,
    p90: f64,
    p99: f64,
}

/// A launch, timed alone.
#[derive(Deserialize)]
struct Kernel {
    batch: usize,
    index: usize,
    kernel: String,
    us: f64,
}

/// Reads a file.
pub fn read(path: &Path) -> miette::Result<File> {
    let unreadable = |e: std::io::Error| coded(Code::Unreadable, format!("cannot read {}: {e}", path.display()));
    let bad = |what: String| miette!("--bench: {}: {what}", path.display());
    if fs::metadata(path).map_err(unreadable)?.len() > MOST {
        return Err(bad(format!("it has more than {} MiB", MOST >> 20)));
    }
    let raw: Raw = serde_json::from_slice(&fs::read(path).map_err(unreadable)?).map_err(|e| bad(e.to_string()))?;
    if raw.schema != SCHEMA {
        return Err(bad(format!("its schema is {:?}; this swint reads {SCHEMA:?}", raw.schema)));
    }
    let is_bad = |of: &Of| {
        let times = [of.ms.min, of.ms.median, of.ms.p90, of.ms.p99, of.images_per_s];
        of.batch == 0 || times.iter().any(|t| !(t.is_finite() && *t > 0.0))
    };
    if raw.results.is_empty() || raw.results.iter().any(is_bad) {
        return Err(bad("it has no results, or one that is no positive number".to_owned()));
    }
    let Raw { tool, model, device, host, cold, .. } = raw;
    let threads = device.threads.map(|n| format!(", {n} threads")).unwrap_or_default();
    let driver = device.driver.map(|driver| format!(", driver {driver}")).unwrap_or_default();
    let cold = [("load", cold.load_ms), ("compile", cold.compile_ms), ("first inference", cold.first_ms)];
    let result = |of: Of| BenchResult {
        batch: of.batch,
        runs: of.runs,
        min: of.ms.min,
        median: of.ms.median,
        p90: of.ms.p90,
        p99: of.ms.p99,
        images_per_s: of.images_per_s,
        warnings: of.warnings,
    };
    let bench = Bench {
        tool: format!("{} {}", tool.name, tool.version),
        model: [model.name, model.precision, model.variant].join(" "),
        device: format!("{}: {}{threads}{driver}", device.kind, device.name),
        host: format!("{}, {}", host.cpu, host.os),
        clock: raw.clock,
        started: raw.started,
        command: raw.command,
        cold_ms: cold.into_iter().filter_map(|(name, ms)| Some((name.to_owned(), ms?))).collect(),
        results: raw.results.into_iter().map(result).collect(),
    };
    Ok(File { bench, kernels: raw.kernels })
}

impl File {
    /// The times of a plan's launches, if the file has one of each: the same kernels, made in the same way.
    pub fn profile(&self, batch: usize, plan: &Plan) -> Option<Profile> {
        let mut kernels: Vec<&Kernel> = self.kernels.iter().filter(|k| k.batch == batch && k.us > 0.0).collect();
        kernels.sort_by_key(|kernel| kernel.index);
        let same = |(i, kernel): (usize, &&Kernel)| {
            let launch = &plan.launches[i];
            kernel.index == i && kernel.kernel == format!("{}{}", launch.kernel, launch.blueprint)
        };
        let fits = kernels.len() == plan.launches.len() && kernels.iter().enumerate().all(same);
        fits.then(|| Profile { device: self.bench.device.clone(), us: kernels.iter().map(|k| k.us).collect() })
    }
}
