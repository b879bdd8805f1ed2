//! `swint doctor`: what this machine has of what the commands need, and what to do about what it has not.

mod checks;
mod gpu;

use super::{print, print_json};
use clap::value_parser;
use miette::miette;
use serde_json::json;
use std::{process::ExitCode, time::Duration};
use swint::runtime::cache;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Remove compiled kernels from the cache: those of --older-than days, then the oldest beyond --keep megabytes. What is needed again
    /// is compiled again.
    #[arg(long)]
    prune_cache: bool,
    /// Days after which a compiled kernel is removed.
    #[arg(long, value_name = "DAYS", default_value_t = 30, requires = "prune_cache", value_parser = value_parser!(u64).range(..=36_500))]
    older_than: u64,
    /// Megabytes of compiled kernels that may stay.
    #[arg(long, value_name = "MB", default_value_t = 256, requires = "prune_cache", value_parser = value_parser!(u64).range(..=1 << 30))]
    keep: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Ask the driver, and print what it says: the program runs itself so, since a broken driver can end a process.
    #[arg(long, hide = true)]
    ask_driver: bool,
}

/// How good something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Mark {
    /// As it should be.
    Ok,
    /// Some commands lack it.
    Warn,
    /// No command works without it.
    Bad,
}

impl Mark {
    fn name(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Warn => "warn",
            Mark::Bad => "bad",
        }
    }
}

/// Something that was looked at.
struct Check {
    /// What it is a part of.
    area: &'static str,
    name: &'static str,
    mark: Mark,
    /// What was found.
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Check {
    fn ok(area: &'static str, name: &'static str, found: impl Into<String>) -> Check {
        Check { area, name, mark: Mark::Ok, found: found.into(), advice: None }
    }

    fn warn(area: &'static str, name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { mark: Mark::Warn, advice: Some(advice.into()), ..Check::ok(area, name, found) }
    }

    fn bad(area: &'static str, name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { mark: Mark::Bad, ..Check::warn(area, name, found, advice) }
    }
}

impl Args {
    /// Looks at everything; exit code 1 where something is broken that every command needs.
    pub fn run(self) -> miette::Result<ExitCode> {
        if self.ask_driver {
            return gpu::answer();
        }
        if self.prune_cache {
            return self.prune();
        }
        let areas = [checks::build(), checks::processor(), gpu::checks(), checks::tools(), checks::cache()];
        let checks: Vec<Check> = areas.into_iter().flatten().collect();
        let worst = checks.iter().map(|check| check.mark).max().unwrap_or(Mark::Ok);
        if self.json {
            let rows: Vec<_> = (checks.iter())
                .map(|c| json!({"area": c.area, "name": c.name, "mark": c.mark.name(), "found": c.found, "advice": c.advice}))
                .collect();
            print_json(&json!({"version": env!("CARGO_PKG_VERSION"), "worst": worst.name(), "checks": rows}))?;
        } else {
            print(as_text(&checks, worst))?;
        }
        Ok(if worst == Mark::Bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn prune(&self) -> miette::Result<ExitCode> {
        let folder = cache::folder().map_err(|e| miette!("{e}"))?;
        let age = Duration::from_secs(self.older_than * 86_400);
        let pruned = cache::prune(&folder, age, self.keep.saturating_mul(1_000_000));
        let (removed, kept) = pruned.map_err(|e| miette!("{}: {e}", folder.display()))?;
        if self.json {
            let usage = |u: cache::Usage| json!({"files": u.files, "bytes": u.bytes});
            print_json(&json!({"removed": usage(removed), "kept": usage(kept)}))?;
        } else {
            print(format_args!(
                "removed {} compiled kernels, {}; {} stay, {}\n",
                removed.files,
                size(removed.bytes),
                kept.files,
                size(kept.bytes)
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn as_text(checks: &[Check], worst: Mark) -> String {
    let mut text = format!("swint {}\n", env!("CARGO_PKG_VERSION"));
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut area = "";
    for check in checks {
        if check.area != area {
            area = check.area;
            text += &format!("\n{area}\n");
        }
        // What programs and drivers say of themselves can hold anything.
        let found = plain(&check.found);
        text += &format!("  {:<4}  {:<width$}  {found}\n", check.mark.name(), check.name);
        if let Some(advice) = &check.advice {
            text += &format!("  {:<4}  {:<width$}  -> {}\n", "", "", plain(advice));
        }
    }
    let count = |mark| checks.iter().filter(|check| check.mark == mark).count();
    text += &format!("\n{} ok, {} to look at, {} broken\n", count(Mark::Ok), count(Mark::Warn), count(Mark::Bad));
    if worst == Mark::Bad {
        text += "what is bad keeps every command from working\n";
    }
    text
}

/// `1.5 MB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
