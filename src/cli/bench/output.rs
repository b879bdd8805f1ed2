//! How results leave: as text, JSON, CSV or Markdown, to stdout or into a file.

use super::{
    super::{passes::write, print},
    table::Table,
};
use clap::ValueHint;
use miette::{IntoDiagnostic, miette};
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf, absolute},
};
use swint::runtime::bench::{
    profile::by_kind,
    report::{Clock, Kind, Report},
};

/// Arguments.
#[derive(clap::Args)]
pub struct OutputArgs {
    /// Print JSON (docs/bench-schema.md).
    #[arg(long, conflicts_with_all = ["csv", "markdown"])]
    json: bool,
    /// Print comma-separated values.
    #[arg(long, conflicts_with = "markdown")]
    csv: bool,
    /// Print a table of Markdown.
    #[arg(long)]
    markdown: bool,
    /// Write here, JSON if nothing else is asked for, and print text.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

impl OutputArgs {
    /// Whether JSON goes to stdout, which then has nothing else.
    pub fn is_json_on_stdout(&self) -> bool {
        self.json && self.output.is_none()
    }

    /// Whether text goes to stdout.
    pub fn is_text_on_stdout(&self) -> bool {
        self.output.is_some() || !(self.json || self.csv || self.markdown)
    }

    /// The file that is written.
    pub fn file(&self) -> Option<&Path> {
        self.output.as_deref()
    }

    /// Gives results out: `text` for people, `table` as the one table that CSV and Markdown are of, `json` for programs.
    pub fn give(&self, text: &str, table: &Table, json: &impl Serialize) -> miette::Result<()> {
        let formed = if self.csv {
            table.csv()
        } else if self.markdown {
            table.markdown()
        } else if self.json || self.output.is_some() {
            serde_json::to_string_pretty(json).into_diagnostic()? + "\n"
        } else {
            return print(text);
        };
        match &self.output {
            Some(path) => {
                write(path, formed.as_bytes())?;
                print(text)
            }
            None => print(formed),
        }
    }
}

/// Refuses to write over what is read, or twice over one file.
pub fn refuse_to_overwrite<'a>(
    written: impl IntoIterator<Item = (&'static str, Option<&'a Path>)>,
    read: impl IntoIterator<Item = &'a Path>,
) -> miette::Result<()> {
    let whole = |path: &Path| fs::canonicalize(path).or_else(|_| absolute(path)).ok();
    let read: Vec<_> = read.into_iter().filter_map(whole).collect();
    let mut seen = Vec::new();
    for (flag, path) in written {
        let Some((path, full)) = path.and_then(|path| Some((path, whole(path)?))) else { continue };
        if read.contains(&full) {
            return Err(miette!("{flag} {} would overwrite an input", path.display()));
        }
        if seen.contains(&full) {
            return Err(miette!("{flag} {}: another file goes there, too", path.display()));
        }
        seen.push(full);
    }
    Ok(())
}

/// A number with so many digits after the point; a dash for none.
pub fn number(value: impl Into<Option<f64>>, digits: usize) -> String {
    value.into().map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// `cpu, AMD EPYC, 2 threads, 2600 MHz`.
pub fn device(report: &Report) -> String {
    let device = &report.device;
    let mhz = |what: &str, value: Option<f64>| value.map(|mhz| format!("{what}{mhz:.0} MHz"));
    let words = [
        Some(match device.kind {
            Kind::Cpu => "cpu".to_owned(),
            Kind::Cuda => "cuda".to_owned(),
        }),
        Some(device.name.clone()),
        device.target.clone(),
        device.processors.map(|n| format!("{n} processors")),
        device.threads.map(|n| format!("{n} threads")),
        mhz("", device.clock_mhz),
        mhz("memory ", device.memory_clock_mhz),
        device.driver.clone(),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A report for people.
pub fn text(report: &Report) -> String {
    let Report { tool, model, host, cold, .. } = report;
    let libraries: Vec<String> = tool.libraries.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut text = format!("{} {} {}, {} clock\n", model.name, model.precision, model.variant, report.clock.name());
    text += &format!("{}; {}; {} {}", device(report), host.os, tool.name, tool.version);
    text += &libraries.iter().map(|library| format!(", {library}")).collect::<String>();
    text += &format!("\nfeatures: {}\n", host.features.join(" "));
    if let (Some(launches), Some(bytes)) = (model.launches, model.arena_bytes) {
        let tuned = model.tuned.filter(|&n| n > 0).map_or_else(String::new, |n| format!(", {n} of them tuned"));
        text += &format!("{launches} launches{tuned}, arena {} KiB\n", bytes / 1024);
    }
    let compiled = match cold.compile_ms {
        Some(ms) => format!("kernels compiled in {ms:.1} ms, "),
        None => String::new(),
    };
    let kernels = if cold.compile_ms.is_none() { ", kernels compiled in it" } else { "" };
    text += &format!(
        "cold: loaded in {} ms, {compiled}first inference {} ms{kernels}\n\n",
        number(cold.load_ms, 1),
        number(cold.first_ms, 1)
    );
    text += &table(report).text();
    if report.results.iter().any(|result| result.split_ms.total().is_some()) {
        let clock = report.results.iter().find_map(|result| result.split_clock).map_or("their", Clock::name);
        text += &format!("\nparts of an inference, medians in ms by the {clock} clock, each waited for\n");
        let mut parts = Table::new(&[], &["batch", "enqueue", "copy in", "compute", "copy out"], &[]);
        for result in &report.results {
            let split = &result.split_ms;
            let cells = [split.enqueue, split.copy_in, split.compute, split.copy_out];
            let cells = cells.into_iter().map(|ms| number(ms, 3));
            parts.push([result.batch.to_string()].into_iter().chain(cells).collect());
        }
        text += &parts.text();
    }
    text + &kernels_text(report)
}

/// Results, a row a batch.
fn table(report: &Report) -> Table {
    let numbers = ["batch", "runs", "min ms", "median", "mean", "p90", "p95", "p99", "max", "spread %", "images/s"];
    let mut table = Table::new(&[], &numbers, &[]);
    for result in &report.results {
        let ms = &result.ms;
        let times = [ms.min, ms.median, ms.mean, ms.p90, ms.p95, ms.p99, ms.max].map(|ms| number(ms, 3));
        let last = [number(ms.spread_percent, 1), number(result.images_per_s, 0)];
        table.push([result.batch, result.runs].map(|n| n.to_string()).into_iter().chain(times).chain(last).collect());
    }
    table
}

/// Everything that a report says of its results, for CSV and Markdown.
pub fn full_table(report: &Report) -> Table {
    let words = ["model", "precision", "variant", "device", "clock"];
    let numbers = [
        "batch",
        "runs",
        "min_ms",
        "median_ms",
        "mean_ms",
        "p90_ms",
        "p95_ms",
        "p99_ms",
        "max_ms",
        "spread_percent",
        "images_per_s",
        "enqueue_ms",
        "copy_in_ms",
        "compute_ms",
        "copy_out_ms",
    ];
    let mut table = Table::new(&words, &numbers, &["warnings"]);
    let Report { model, .. } = report;
    for result in &report.results {
        let (ms, split) = (&result.ms, &result.split_ms);
        let words = [&model.name, &model.precision, &model.variant, &report.device.name].map(Clone::clone);
        let times = [ms.min, ms.median, ms.mean, ms.p90, ms.p95, ms.p99, ms.max].map(|ms| number(ms, 4));
        let rates = [number(ms.spread_percent, 2), number(result.images_per_s, 1)];
        let parts = [split.enqueue, split.copy_in, split.compute, split.copy_out];
        let parts = parts.map(|ms| ms.map_or_else(String::new, |ms| number(ms, 4)));
        let row = (words.into_iter().chain([report.clock.name().to_owned()]))
            .chain([result.batch.to_string(), result.runs.to_string()])
            .chain(times)
            .chain(rates)
            .chain(parts)
            .chain([result.warnings.join("; ")]);
        table.push(row.collect());
    }
    table
}

/// Kernels by their op and one by one, where they were timed.
fn kernels_text(report: &Report) -> String {
    let mut text = String::new();
    for result in &report.results {
        let kernels: Vec<_> = report.kernels.iter().filter(|k| k.batch == result.batch).cloned().collect();
        if kernels.is_empty() {
            continue;
        }
        let sum: f64 = kernels.iter().map(|k| k.us).sum();
        text += &format!(
            "\nkernels of batch {}, each timed alone: {:.3} ms together, an inference takes {:.3} ms\n",
            result.batch,
            sum / 1e3,
            result.ms.median
        );
        let rates = ["us", "share %", "GOP/s", "GB/s", "% of roofline"];
        let mut kinds = Table::new(&["kind"], &[&["launches"], &rates[..]].concat(), &[]);
        for k in by_kind(&kernels) {
            let rates = cells(k.us, k.share_percent, k.gop_per_s, k.gb_per_s, k.roofline_percent);
            kinds.push([k.kind, k.launches.to_string()].into_iter().chain(rates).collect());
        }
        let mut each = Table::new(&["launch"], &rates, &["kernel", "module"]);
        for k in &kernels {
            let rates = cells(k.us, k.share_percent, k.gop_per_s, k.gb_per_s, k.roofline_percent);
            let last = [k.kernel.clone(), k.loc.clone().unwrap_or_default()];
            each.push([format!("{:>3}", k.index)].into_iter().chain(rates).chain(last).collect());
        }
        text += &format!("{}\n{}", kinds.text(), each.text());
    }
    text
}

fn cells(us: f64, share: f64, gop: f64, gb: f64, roofline: f64) -> [String; 5] {
    [number(us, 1), number(share, 1), number(gop, 1), number(gb, 2), number(roofline, 1)]
}
