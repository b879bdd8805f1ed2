//! `swint inspect`: what is in a checkpoint.

use super::{limits::LimitArgs, print, print_json, source::checkpoint_error};
use clap::ValueEnum;
use miette::miette;
use serde_json::{Value as Json, json};
use std::{fs, path::PathBuf, process::ExitCode};
use swint::{
    compiler::frontend::{
        checkpoint::{Entry, Problem, Statistics, Survey, printable, survey},
        recognised,
    },
    runtime::artifact::Artifact,
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint, a safetensors file.
    file: PathBuf,
    /// Only tensors whose names have this in them; with `*` (any text) or `?` (a character): whose names are this.
    #[arg(long, value_name = "PATTERN")]
    filter: Option<String>,
    /// Order of the tensors.
    #[arg(long, value_enum, default_value = "file")]
    sort: Sort,
    /// Read the header only: no statistics and no problems.
    #[arg(long)]
    no_stats: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// `--sort`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// As the file has them.
    File,
    /// By name.
    Name,
    /// The largest first.
    Size,
}

/// What is shown of a tensor.
#[derive(Clone, Copy)]
struct Row<'a> {
    entry: &'a Entry,
    statistics: Option<&'a Statistics>,
    problems: &'a [Problem],
}

impl Args {
    /// Looks into the file.
    pub fn run(self) -> miette::Result<ExitCode> {
        let file = self.file.display();
        if Artifact::is_one(&self.file) {
            return Err(miette!("{file} is a compiled model, not a checkpoint: `swint ir` shows its program"));
        }
        let wanted = |name: &str| self.filter.as_deref().is_none_or(|pattern| matches(pattern, name));
        let survey = survey(&self.file, &self.limits.limits(), |name| !self.no_stats && wanted(name));
        let survey = survey.map_err(|error| checkpoint_error(&self.file, error))?;
        let rows = survey.header.tensors.iter().zip(&survey.statistics).zip(&survey.problems);
        let mut rows: Vec<Row<'_>> = rows
            .map(|((entry, statistics), problems)| Row { entry, statistics: statistics.as_ref(), problems })
            .filter(|row| wanted(&row.entry.name))
            .collect();
        match self.sort {
            Sort::File => {}
            Sort::Name => rows.sort_by_key(|row| &row.entry.name),
            Sort::Size => rows.sort_by_key(|row| std::cmp::Reverse(row.entry.end - row.entry.begin)),
        }
        if self.json {
            print_json(&self.report(&survey, &rows))?;
        } else {
            print(table(&rows, !self.no_stats) + &summary(&survey, &rows))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn report(&self, survey: &Survey, rows: &[Row<'_>]) -> Json {
        let (parameters, bytes) = sums(rows.iter().map(|row| row.entry));
        json!({
            "file": self.file.display().to_string(),
            "bytes": fs::metadata(&self.file).map(|data| data.len()).ok(),
            "header_bytes": survey.header.data - 8,
            "layout": layout(survey),
            "metadata": survey.header.metadata,
            "tensors": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "parameters": parameters,
            "tensor_bytes": bytes,
            "problems": rows.iter().map(|row| row.problems.len()).sum::<usize>(),
        })
    }
}

impl Row<'_> {
    fn json(&self) -> Json {
        let Entry { name, dtype, shape, begin, end } = self.entry;
        let statistics = self.statistics.map(|s| {
            // JSON has no NaN: what is of no element is null.
            json!({"min": s.min, "max": s.max, "mean": s.mean, "std": s.std, "zeros": s.zeros})
        });
        let problems: Vec<Json> =
            self.problems.iter().map(|p| json!({"kind": p.kind(), "text": p.to_string()})).collect();
        json!({
            "name": name, "dtype": dtype.to_string(), "shape": shape, "elements": self.entry.elements(),
            "offset": begin, "bytes": end - begin, "statistics": statistics, "problems": problems,
        })
    }

    /// The columns of its line.
    fn columns(&self, statistics: bool) -> Vec<String> {
        let shape: Vec<String> = self.entry.shape.iter().map(usize::to_string).collect();
        let (name, dtype) = (printable(&self.entry.name), self.entry.dtype.to_string());
        let mut columns = vec![name, dtype, format!("[{}]", shape.join(","))];
        match self.statistics {
            _ if !statistics => {}
            None => columns.extend(["-"; 5].map(str::to_owned)),
            Some(s) => {
                columns.extend([s.min, s.max, s.mean, s.std].map(number));
                let share = 100.0 * s.zeros as f64 / self.entry.elements().max(1) as f64;
                columns.push(format!("{share:.1} %"));
            }
        }
        columns
    }
}

/// Whether a name fits a pattern.
fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return name.contains(pattern);
    }
    // Which parts of the pattern's start fit the name so far.
    let pattern: Vec<char> = pattern.chars().collect();
    let mut fits = vec![false; pattern.len() + 1];
    fits[0] = true;
    let skip_stars = |fits: &mut [bool]| (0..pattern.len()).for_each(|i| fits[i + 1] |= fits[i] && pattern[i] == '*');
    skip_stars(&mut fits);
    for c in name.chars() {
        for i in (0..pattern.len()).rev() {
            fits[i + 1] = match pattern[i] {
                '*' => fits[i + 1],
                '?' => fits[i],
                wanted => fits[i] && wanted == c,
            };
        }
        fits[0] = false;
        skip_stars(&mut fits);
    }
    fits[pattern.len()]
}

/// A number in at most 10 characters.
fn number(x: f64) -> String {
    let magnitude = x.abs();
    if x.is_nan() {
        "-".to_owned()
    } else if x == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e5).contains(&magnitude) {
        format!("{x:.4}")
    } else {
        format!("{x:.2e}")
    }
}

/// Elements and bytes of tensors.
fn sums<'a>(entries: impl Iterator<Item = &'a Entry>) -> (u64, u64) {
    entries
        .fold((0, 0), |(elements, bytes), entry| (elements + entry.elements() as u64, bytes + entry.end - entry.begin))
}

/// A line for each tensor, under headings.
fn table(rows: &[Row<'_>], statistics: bool) -> String {
    let headings = ["tensor", "dtype", "shape", "min", "max", "mean", "std", "zeros"];
    let headings = &headings[..if statistics { 8 } else { 3 }];
    let mut lines = vec![headings.iter().map(|&heading| heading.to_owned()).collect::<Vec<String>>()];
    lines.extend(rows.iter().map(|row| row.columns(statistics)));
    let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded =
            line.iter().zip(&widths).enumerate().map(|(i, (column, &width))| {
                if i < 3 { format!("{column:<width$}") } else { format!("{column:>width$}") }
            });
        text += padded.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Whose names the tensors have.
fn layout(survey: &Survey) -> Option<&'static str> {
    recognised(survey.header.tensors.iter().map(|tensor| tensor.name.as_str())).map(|layout| layout.name)
}

/// What is to be said of the whole file.
fn summary(survey: &Survey, rows: &[Row<'_>]) -> String {
    let (parameters, bytes) = sums(rows.iter().map(|row| row.entry));
    let (all, header) = (survey.header.tensors.len(), survey.header.data - 8);
    let of = if rows.len() < all { format!(" of {all}") } else { String::new() };
    let mut text =
        format!("\ntensors {}{of}, parameters {parameters}, bytes {bytes}; header {header} bytes\n", rows.len());
    if let Some(layout) = layout(survey) {
        text += &format!("layout    {layout}\n");
    }
    for (key, value) in &survey.header.metadata {
        text += &format!("metadata  {}: {}\n", printable(key), printable(value));
    }
    for row in rows {
        for problem in row.problems {
            text += &format!("problem   {}: {problem}\n", printable(&row.entry.name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names_unless_they_are_plain() {
        let fits = [
            ("blocks", "layers.0.blocks.1", true),
            ("x", "layers", false),
            ("*.bias", "norm.bias", true),
            ("*.bias", "norm.bias.x", false),
            ("layers.?.norm*", "layers.3.norm1.weight", true),
            ("layers.?.norm*", "layers.13.norm1.weight", false),
            ("*a*b*", "xaxxb", true),
            ("*a*b*", "xbxxa", false),
            ("?", "é", true),
            ("**", "", true),
        ];
        for (pattern, name, wanted) in fits {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
        // Stars do not make it slow.
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, -0.0, 1.0, -12345.67891, 1e-9, -1e300, f64::NAN, f64::from(f32::MAX)].map(number);
        assert_eq!(texts, ["0", "0", "1.0000", "-12345.6789", "1.00e-9", "-1.00e300", "-", "3.40e38"]);
    }
}
