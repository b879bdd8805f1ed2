//! `swint bench kernel`: the kernels of an IR text, over shapes.

use super::{
    super::{DeviceArg, coded, passes::target_of},
    TimeArgs, command,
    output::{OutputArgs, number, refuse_to_overwrite},
    own_target,
    table::Table,
};
use clap::value_parser;
use miette::{IntoDiagnostic, miette};
use serde::Serialize;
use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, str::FromStr, time::SystemTime};
use swint::{
    ir::{
        Code, Graph, Module, Tensor,
        random::{self, Rng},
        text,
    },
    runtime::{
        bench::{
            environment,
            profile::{KernelTime, profile},
            report::{DeviceInfo, Host, Tool},
        },
        device::Device,
        executor::Session,
    },
};

/// Most combinations of values.
const MAX_SHAPES: usize = 1000;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// An IR text, mostly of one op; `$NAME` in it stands for a value of --set. Constants and inputs are random.
    spec: PathBuf,
    /// Values of `$NAME`, each of which is timed with each of the others.
    #[arg(long, value_name = "NAME=V1,V2,…")]
    set: Vec<Values>,
    /// What the first extent of every input is multiplied by; several, one after the other.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", value_parser = value_parser!(u32).range(1..=4096))]
    batch: Vec<u32>,
    /// Where to run: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceArg,
    /// The device description whose roofline times are set against. [default: the device's own]
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// `--set`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Values {
    name: String,
    values: Vec<String>,
}

impl FromStr for Values {
    type Err = String;

    fn from_str(text: &str) -> Result<Values, String> {
        let wanted = || format!("{text:?}: wanted NAME=VALUE,VALUE, as K=96,192");
        let (name, values) = text.split_once('=').ok_or_else(wanted)?;
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(in_name);
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        let is_value = |value: &String| !value.is_empty() && value.chars().all(|c| in_name(c) || "+-.".contains(c));
        if is_name && values.iter().all(is_value) {
            Ok(Values { name: name.to_owned(), values })
        } else {
            Err(wanted())
        }
    }
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A choice of a value for every name.
type Choice = BTreeMap<String, String>;

/// A kernel with certain values.
#[derive(Serialize)]
struct Row {
    set: Choice,
    #[serde(flatten)]
    time: KernelTime,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    tool: Tool,
    spec: String,
    device: DeviceInfo,
    host: Host,
    target: String,
    started: String,
    command: String,
    rows: Vec<Row>,
}

impl Args {
    /// Times kernels.
    pub fn run(self) -> miette::Result<ExitCode> {
        let device = self.device.device().ok_or_else(|| miette!("--device interp: the interpreter runs no kernels"))?;
        refuse_to_overwrite([("-o", self.output.file())], [self.spec.as_path()])?;
        let name = self.spec.display().to_string();
        let template =
            fs::read_to_string(&self.spec).map_err(|e| coded(Code::Unreadable, format!("cannot read {name}: {e}")))?;
        let mut graphs = Vec::new();
        for choice in choices(&self.set, &template)? {
            let title: String = choice.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            // All of them are read before anything is timed.
            let (graph, _) = text::read(&format!("{name}{title}"), &filled(&template, &choice))?;
            graphs.push((choice, graph));
        }
        let started = environment::utc(SystemTime::now());
        let (mut rows, mut place) = (Vec::new(), None);
        for (choice, graph) in &graphs {
            for &batch in &self.batch {
                let (session, inputs) = load(graph, device, batch as usize)?;
                let target = target_of(self.target.as_deref().unwrap_or(own_target(session.device())))?;
                let times =
                    profile(&session, batch as usize, &inputs, self.time.settings(), &target).into_diagnostic()?;
                rows.extend(times.into_iter().map(|time| Row { set: choice.clone(), time }));
                place = Some((session.device().clone(), target.name));
            }
        }
        let (device, target) = place.ok_or_else(|| miette!("there is nothing to time"))?;
        let (tool, host, command) = (environment::tool(), environment::host(), command());
        let schema = "swint-bench-kernels/1";
        let report = Report { schema, tool, spec: name, device, host, target, started, command, rows };
        let table = table(&report);
        let text = format!(
            "{} on {}, roofline of {}; each kernel timed alone\n\n{}",
            report.spec,
            report.device.name,
            report.target,
            table.text()
        );
        self.output.give(&text, &table, &report)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A graph of random constants on a device, and random inputs.
fn load(graph: &Graph, device: Device, batch: usize) -> miette::Result<(Session, Vec<Tensor>)> {
    let module = Module { weights: random::weights(graph, 1), graph: graph.clone() };
    let session = Session::new(&module, device, batch).into_diagnostic()?;
    let inputs = random::inputs(&session.module().graph, &mut Rng::with_seed(1));
    Ok((session, inputs))
}

/// Every combination of values, the first name's changing last.
fn choices(sets: &[Values], template: &str) -> miette::Result<Vec<Choice>> {
    let mut all = vec![Choice::new()];
    for (i, set) in sets.iter().enumerate() {
        if sets[..i].iter().any(|other| other.name == set.name) {
            return Err(miette!("--set {}: it is set twice", set.name));
        }
        let known = Choice::from([(set.name.clone(), String::new())]);
        if filled(template, &known) == template {
            return Err(miette!("--set {name}: there is no ${name} in the text", name = set.name));
        }
        let with = |choice: &Choice| -> Vec<Choice> {
            let with = |value: &String| {
                let mut choice = choice.clone();
                choice.insert(set.name.clone(), value.clone());
                choice
            };
            set.values.iter().map(with).collect()
        };
        all = all.iter().flat_map(with).collect();
        if all.len() > MAX_SHAPES {
            return Err(miette!("--set: these are more than {MAX_SHAPES} combinations"));
        }
    }
    Ok(all)
}

/// The text with values in the places of their names. What has no value stays, and the parser points at it.
fn filled(template: &str, choice: &Choice) -> String {
    let mut parts = template.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c| !in_name(c)).unwrap_or(part.len());
        match choice.get(&part[..end]) {
            Some(value) => text.extend([value, &part[end..]]),
            None => text.extend(["$", part]),
        }
    }
    text
}

fn table(report: &Report) -> Table {
    let numbers = ["batch", "us", "min us", "spread %", "GOP/s", "GB/s", "% of roofline"];
    let mut table = Table::new(&["set"], &numbers, &["kernel"]);
    for Row { set, time } in &report.rows {
        let set: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let numbers = [
            time.batch.to_string(),
            number(time.us, 2),
            number(time.min_us, 2),
            number(time.spread_percent, 1),
            number(time.gop_per_s, 1),
            number(time.gb_per_s, 2),
            number(time.roofline_percent, 1),
        ];
        table.push([set.join(" ")].into_iter().chain(numbers).chain([time.kernel.clone()]).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_values_and_what_has_none_stays() {
        let choice = Choice::from([("K".into(), "96".into()), ("KN".into(), "7".into())]);
        assert_eq!(filled("[$K,$KN,$X] $", &choice), "[96,7,$X] $");
    }

    #[test]
    fn every_value_meets_every_other() {
        let sets: Vec<Values> = ["K=1,2", "N=x"].map(|set| set.parse().unwrap()).into();
        let all = choices(&sets, "$K $N").unwrap();
        assert_eq!(all.iter().map(|choice| filled("$K $N", choice)).collect::<Vec<_>>(), ["1 x", "2 x"]);
        assert!(choices(&sets, "$K").unwrap_err().to_string().contains("there is no $N"));
        let twice = [sets[0].clone(), sets[0].clone()];
        assert!(choices(&twice, "$K").unwrap_err().to_string().contains("set twice"));
        for bad in ["K", "K=", "=1", "1=1", "K=1,", "K=a b", "K={"] {
            assert!(bad.parse::<Values>().is_err(), "{bad}");
        }
    }
}
