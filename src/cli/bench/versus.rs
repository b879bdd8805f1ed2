//! `--versus` and `--against`: results beside those in files.

use super::{
    super::{coded, say},
    output::number,
    table::Table,
};
use miette::miette;
use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};
use swint::{
    ir::Code,
    runtime::bench::{
        report::{MAX_BYTES, Report},
        versus::{Verdict, against, differences, versus},
    },
};

/// Reads a file of results.
pub fn read_reports(path: &Path) -> miette::Result<Vec<Report>> {
    let unreadable =
        |what: &dyn std::fmt::Display| coded(Code::Unreadable, format!("cannot read {}: {what}", path.display()));
    if fs::metadata(path).map_err(|e| unreadable(&e))?.is_dir() {
        return Err(unreadable(&"it is a folder"));
    }
    let mut text = String::new();
    // A file may grow, or be endless.
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|e| unreadable(&e))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(coded(
            Code::BadResults,
            format!("{} has more than {} MiB, which no results have", path.display(), MAX_BYTES >> 20),
        ));
    }
    Ok(Report::parse_all(&path.display().to_string(), &text)?)
}

/// Everyone's results, and what to know of their ratios.
pub fn versus_table(ours: &Report, peers: &[Report]) -> (Table, Vec<String>) {
    let numbers = ["batch", "median ms", "min ms", "p99 ms", "spread %", "images/s", "times ours"];
    let mut table = Table::new(&["program"], &numbers, &["beside ours"]);
    let mut notes = Vec::new();
    for peer in peers {
        let differing = differences(ours, peer);
        if !differing.is_empty() {
            notes.push(format!("{} is of something else: {}", peer.title(), differing.join("; ")));
        }
        if ours.results.iter().all(|result| peer.of_batch(result.batch).is_none()) {
            notes.push(format!("{} has none of our batches", peer.title()));
        }
    }
    for (batch, rows) in versus(ours, peers) {
        for row in rows {
            let ms = &row.result.ms;
            let times = [number(ms.median, 3), number(ms.min, 3), number(ms.p99, 3), number(ms.spread_percent, 1)];
            let differs = if differences(ours, row.report).is_empty() { "" } else { "something else" };
            let noisy = row.result.warnings.iter().any(|warning| warning.starts_with("noisy"));
            let remarks: Vec<&str> =
                [differs, if noisy { "noisy" } else { "" }].into_iter().filter(|r| !r.is_empty()).collect();
            let first = [row.report.title(), batch.to_string()];
            let last = [number(row.result.images_per_s, 0), number(row.ratio, 2), remarks.join(", ")];
            table.push(first.into_iter().chain(times).chain(last).collect());
        }
    }
    (table, notes)
}

/// Compares with what a file has of the same program on the same device; whether anything is slower.
pub fn gate(now: &Report, file: &Path, noise: f64, then: &[Report]) -> miette::Result<(Table, bool)> {
    let mut refusals = Vec::new();
    for then in then {
        match against(now, then, noise) {
            Ok(verdicts) => {
                for result in now.results.iter().filter(|result| then.of_batch(result.batch).is_none()) {
                    say(format_args!("note: batch {} is not in {}", result.batch, file.display()));
                }
                return Ok((verdict_table(&verdicts), verdicts.iter().any(|verdict| verdict.slower)));
            }
            Err(refusal) => refusals.push(format!("{}: {refusal}", then.title())),
        }
    }
    Err(miette!("--against {}: it has no measurement that can be compared. {}", file.display(), refusals.join(". ")))
}

fn verdict_table(verdicts: &[Verdict]) -> Table {
    let numbers = ["batch", "median before", "median now", "ratio", "min before", "min now", "ratio of mins"];
    let mut table = Table::new(&[], &numbers, &["verdict"]);
    for verdict in verdicts {
        let pair = |(then, now): (f64, f64)| [number(then, 3), number(now, 3), number(now / then, 3)];
        let word = if verdict.slower { "SLOWER" } else { "ok" };
        let cells = pair(verdict.median).into_iter().chain(pair(verdict.min));
        table.push([verdict.batch.to_string()].into_iter().chain(cells).chain([word.to_owned()]).collect());
    }
    table
}

/// `5%` or `5` as a fraction.
pub fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    let percent = number.filter(|percent| (0.0..=1000.0).contains(percent));
    percent.map(|percent| percent / 100.0).ok_or_else(|| "a number of percent from 0 to 1000, as 5%".to_owned())
}
