//! Files of the schema `swint-bench/1`, as a page shows them.

use crate::cli::bench::read_reports;
use std::path::Path;
use swint::{
    compiler::plan::Plan,
    report::{Bench, BenchResult, Profile},
    runtime::bench::{
        profile::KernelTime,
        report::{BatchResult, Kind, Report},
    },
};

/// A program's results.
#[derive(Clone)]
pub struct File {
    /// Times of whole inferences.
    pub bench: Bench,
    kernels: Vec<KernelTime>,
}

/// Reads a file: a report, or a list of them.
pub fn read(path: &Path) -> miette::Result<Vec<File>> {
    Ok(read_reports(path)?.into_iter().map(File::of).collect())
}

impl File {
    fn of(report: Report) -> File {
        let Report { tool, model, device, host, clock, started, command, cold, results, kernels, .. } = report;
        let kind = if device.kind == Kind::Cpu { "cpu" } else { "cuda" };
        let threads = device.threads.map(|n| format!(", {n} threads")).unwrap_or_default();
        let driver = device.driver.map(|driver| format!(", driver {driver}")).unwrap_or_default();
        let cold = [("load", cold.load_ms), ("compile", cold.compile_ms), ("first inference", cold.first_ms)];
        let result = |of: BatchResult| BenchResult {
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
            device: format!("{kind}: {}{threads}{driver}", device.name),
            host: format!("{}, {}", host.cpu, host.os),
            clock: clock.name().to_owned(),
            started,
            command,
            cold_ms: cold.into_iter().filter_map(|(name, ms)| Some((name.to_owned(), ms?))).collect(),
            results: results.into_iter().map(result).collect(),
        };
        File { bench, kernels }
    }

    /// The times of a plan's launches, if the file has one of each: the same kernels, made in the same way.
    pub fn profile(&self, batch: usize, plan: &Plan) -> Option<Profile> {
        let mut kernels: Vec<&KernelTime> = self.kernels.iter().filter(|k| k.batch == batch && k.us > 0.0).collect();
        kernels.sort_by_key(|kernel| kernel.index);
        let same = |(i, kernel): (usize, &&KernelTime)| {
            let launch = &plan.launches[i];
            kernel.index == i && kernel.kernel == format!("{}{}", launch.kernel, launch.blueprint)
        };
        let fits = kernels.len() == plan.launches.len() && kernels.iter().enumerate().all(same);
        fits.then(|| Profile { device: self.bench.device.clone(), us: kernels.iter().map(|k| k.us).collect() })
    }
}
