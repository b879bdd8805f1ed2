//! Results as files hold them: the schema `swint-bench/1`, which docs/bench-schema.md explains and peers write, too.

use super::{Summary, profile::KernelTime, stats::MAX_SPREAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{collections::BTreeMap, sync::Arc};
use swint_ir::{Code, SourceError, SourceErrors, diagnostic::Source};

/// The schema's name and version.
pub const SCHEMA: &str = "swint-bench/1";

/// Longest file that is read.
pub const MAX_BYTES: u64 = 16 << 20;

/// The mark of a file of this schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Schema;

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(SCHEMA)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Schema, D::Error> {
        match String::deserialize(from)? {
            name if name == SCHEMA => Ok(Schema),
            other => Err(D::Error::custom(format!("the schema is {other:?}, and this program reads {SCHEMA:?}"))),
        }
    }
}

/// A program timed on a device.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// `swint-bench/1`.
    pub schema: Schema,
    /// What ran the model.
    pub tool: Tool,
    /// What was run.
    pub model: Model,
    /// Where.
    pub device: DeviceInfo,
    /// The machine that the device is in.
    pub host: Host,
    /// The clock of `results[].ms`.
    pub clock: Clock,
    /// When it began, UTC: `2026-01-31T23:59:59Z`.
    #[serde(deserialize_with = "line")]
    pub started: String,
    /// How to do it again.
    #[serde(deserialize_with = "line")]
    pub command: String,
    /// What happens once.
    pub cold: Cold,
    /// What happens again and again; each batch once.
    #[serde(deserialize_with = "batches")]
    pub results: Vec<BatchResult>,
    /// Kernels one by one, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelTime>,
}

/// A program that runs models, and its version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    #[serde(deserialize_with = "line")]
    pub name: String,
    /// Its version.
    #[serde(deserialize_with = "line")]
    pub version: String,
    /// Versions of what it is made of.
    #[serde(default)]
    pub libraries: BTreeMap<String, String>,
}

/// A model, compiled in some way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Model {
    /// Its name.
    #[serde(deserialize_with = "line")]
    pub name: String,
    /// `f32`, `int8`, …
    #[serde(deserialize_with = "line")]
    pub precision: String,
    /// What was made of it beside that: of swint's models, of the GELU.
    #[serde(deserialize_with = "line")]
    pub variant: String,
    /// Its file.
    #[serde(default)]
    pub file: Option<String>,
    /// Kernel launches of an inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launches: Option<usize>,
    /// Bytes of activations that are allocated, for the first batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arena_bytes: Option<usize>,
    /// Launches that are made in the way that `swint tune` found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<usize>,
}

/// What kind of device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// A device.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Of what kind.
    pub kind: Kind,
    /// Its name.
    #[serde(deserialize_with = "line")]
    pub name: String,
    /// Threads that compute, on the CPU.
    #[serde(default)]
    pub threads: Option<usize>,
    /// The driver's version, as the driver says it.
    #[serde(default)]
    pub driver: Option<String>,
    /// Of GPUs `sm_` and the compute capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// A GPU's multiprocessors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<usize>,
    /// Of a CPU the first core's clock when the measurement began, of a GPU the highest that it has, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<f64>,
    /// A GPU's memory's highest clock, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_clock_mhz: Option<f64>,
}

/// A machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Host {
    /// The processor's name.
    #[serde(deserialize_with = "line")]
    pub cpu: String,
    /// The system.
    #[serde(deserialize_with = "line")]
    pub os: String,
    /// Features of the processor that kernels can use.
    #[serde(default)]
    pub features: Vec<String>,
}

/// Whose clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The host's: from before the copy in until the results are there.
    Host,
    /// The device's events.
    Device,
}

impl Clock {
    /// `host` or `device`.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Host => "host",
            Clock::Device => "device",
        }
    }
}

/// Milliseconds of what happens once; `null` where it is a part of what comes after it.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Cold {
    /// The file read and checked, the plan made, constants uploaded.
    #[serde(default)]
    pub load_ms: Option<f64>,
    /// Kernels compiled.
    #[serde(default)]
    pub compile_ms: Option<f64>,
    /// The first inference.
    #[serde(default)]
    pub first_ms: Option<f64>,
}

/// Times of a batch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BatchResult {
    /// Images of an inference.
    pub batch: usize,
    /// Counted runs.
    pub runs: usize,
    /// Milliseconds of an inference.
    #[serde(deserialize_with = "Summary::checked")]
    pub ms: Summary,
    /// Batch over the median.
    pub images_per_s: f64,
    /// Medians of its parts.
    #[serde(default)]
    pub split_ms: Split,
    /// The clock of the parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_clock: Option<Clock>,
    /// What to know before believing it.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Milliseconds of the parts of an inference; `null` where they cannot be told apart.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Split {
    /// The host's time to start what the device then does; a part of none of the others.
    #[serde(default)]
    pub enqueue: Option<f64>,
    /// Inputs to the device.
    #[serde(default)]
    pub copy_in: Option<f64>,
    /// All kernels.
    #[serde(default)]
    pub compute: Option<f64>,
    /// Results to the host.
    #[serde(default)]
    pub copy_out: Option<f64>,
}

impl Split {
    /// The device's parts together, where all are known.
    pub fn total(&self) -> Option<f64> {
        Some(self.copy_in? + self.compute? + self.copy_out?)
    }

    /// The median of each part, of those where it is known.
    pub fn median(all: &[Split]) -> Split {
        let part = |part: fn(&Split) -> Option<f64>| {
            let mut known: Vec<f64> = all.iter().filter_map(part).collect();
            (!known.is_empty()).then(|| Summary::of(&mut known).median)
        };
        Split {
            enqueue: part(|s| s.enqueue),
            copy_in: part(|s| s.copy_in),
            compute: part(|s| s.compute),
            copy_out: part(|s| s.copy_out),
        }
    }

    /// Whether starting the work takes the host as long as the work takes the device: then it is the host that was timed.
    pub fn is_launch_bound(&self) -> bool {
        matches!((self.enqueue, self.compute), (Some(enqueue), Some(compute)) if enqueue >= compute)
    }
}

/// What to know of a measurement before believing it.
pub fn warnings(ms: &Summary, split: &Split) -> Vec<String> {
    let mut warnings = Vec::new();
    if ms.spread_percent > MAX_SPREAD {
        warnings.push(format!(
            "noisy: the middle half of the runs spreads over {:.1} % of the median, more than {MAX_SPREAD} %",
            ms.spread_percent
        ));
    }
    if let (true, Some(enqueue), Some(compute)) = (split.is_launch_bound(), split.enqueue, split.compute) {
        warnings.push(format!(
            "launch-bound: to start the kernels takes the host {enqueue:.3} ms, to run them the device {compute:.3} ms"
        ));
    }
    warnings
}

/// A text of one line that a terminal can be given.
fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(D::Error::custom(format!("a control character, {c:?}, in a text"))),
        None => Ok(text),
    }
}

/// At least one result, no batch twice, none of nothing.
fn batches<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BatchResult>, D::Error> {
    let results = Vec::<BatchResult>::deserialize(from)?;
    let positive = |value: f64| value.is_finite() && value > 0.0;
    let mut seen: Vec<usize> = Vec::new();
    for result in &results {
        let batch = result.batch;
        if batch == 0 || result.runs == 0 || !positive(result.images_per_s) {
            return Err(D::Error::custom("`batch`, `runs` and `images_per_s` are above 0"));
        }
        if seen.contains(&batch) {
            return Err(D::Error::custom(format!("two results are of batch {batch}")));
        }
        seen.push(batch);
    }
    if results.is_empty() { Err(D::Error::custom("`results` is empty")) } else { Ok(results) }
}

impl Report {
    /// Reads a file's text, a report or a list of them; `file` names it in errors.
    ///
    /// # Errors
    /// When it is of another schema or makes no sense, with the place in the text.
    pub fn parse_all(file: &str, text: &str) -> Result<Vec<Report>, SourceErrors> {
        let parsed: serde_json::Result<Vec<Report>> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text)
        } else {
            serde_json::from_str(text).map(|report| vec![report])
        };
        let source = || Arc::new(Source::new(file, text));
        let error = |source: Arc<Source>, at: usize, message: String| {
            SourceErrors::new(&source, vec![SourceError::new(&source, Code::BadResults, at..at, message, "here")])
        };
        match parsed {
            Ok(reports) if reports.is_empty() => Err(error(source(), 0, "there are no results in it".to_owned())),
            Ok(reports) => Ok(reports),
            Err(e) => {
                let source = source();
                let at = source.offset(e.line(), e.column());
                // The place is the label's.
                let message = e.to_string();
                let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
                Err(error(source, at, message))
            }
        }
    }

    /// The result of a batch.
    pub fn of_batch(&self, batch: usize) -> Option<&BatchResult> {
        self.results.iter().find(|result| result.batch == batch)
    }

    /// `swint 0.1.0 int8 lut`.
    pub fn title(&self) -> String {
        let words = [&self.tool.name, &self.tool.version, &self.model.precision, &self.model.variant];
        let words: Vec<&str> = words.into_iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        words.join(" ")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::environment;

    /// A report with a time for each batch.
    pub fn example(batches: &[(usize, f64)]) -> Report {
        let result = |&(batch, ms): &(usize, f64)| BatchResult {
            batch,
            runs: 4,
            ms: Summary::of(&mut [ms * 0.99, ms, ms * 1.01, ms * 1.2]),
            images_per_s: batch as f64 / ms * 1e3,
            split_ms: Split { enqueue: None, copy_in: Some(0.01), compute: Some(ms), copy_out: Some(0.02) },
            split_clock: Some(Clock::Host),
            warnings: Vec::new(),
        };
        Report {
            schema: Schema,
            tool: environment::tool(),
            model: Model {
                name: "swin".into(),
                precision: "int8".into(),
                variant: "lut".into(),
                file: Some("m.swint".into()),
                launches: Some(44),
                arena_bytes: None,
                tuned: None,
            },
            device: DeviceInfo {
                kind: Kind::Cpu,
                name: "A processor".into(),
                threads: Some(2),
                driver: None,
                target: None,
                processors: None,
                clock_mhz: Some(2600.0),
                memory_clock_mhz: None,
            },
            host: Host { cpu: "A processor".into(), os: "Linux".into(), features: vec!["avx2".into()] },
            clock: Clock::Host,
            started: "2026-01-31T23:59:59Z".into(),
            command: "swint bench m.swint".into(),
            cold: Cold { load_ms: Some(1.5), compile_ms: None, first_ms: Some(800.0) },
            results: batches.iter().map(result).collect(),
            kernels: Vec::new(),
        }
    }

    #[test]
    fn reports_are_read_back_alone_and_in_lists() {
        let reports = [example(&[(1, 1.25), (8, 7.5)]), example(&[(1, 2.0)])];
        let text = serde_json::to_string_pretty(&reports[0]).unwrap();
        assert_eq!(Report::parse_all("r.json", &text).unwrap(), reports[..1]);
        let text = serde_json::to_string(&reports).unwrap();
        assert_eq!(Report::parse_all("r.json", &format!(" \n{text}")).unwrap(), reports);
    }

    /// The outline that peers were given, as they write it.
    #[test]
    fn a_peer_need_not_say_more_than_the_outline() {
        let text = r#"{"schema":"swint-bench/1","tool":{"name":"onnxruntime","version":"1.32.0"},
            "model":{"name":"swin","precision":"fp32","variant":"default","file":null},
            "device":{"kind":"cuda","name":"H100","threads":null,"driver":"12.8"},
            "host":{"cpu":"x","os":"y","features":[]},"clock":"device","started":"2026-01-31T23:59:59Z","command":"python x.py",
            "cold":{"load_ms":1.0,"compile_ms":null,"first_ms":2},
            "results":[{"batch":1,"runs":12,"ms":{"min":1,"median":1,"mean":1.0,"p90":1,"p95":1,"p99":1,"max":2,"spread_percent":0},
            "images_per_s":1000,"split_ms":{"enqueue":null,"copy_in":null,"compute":1,"copy_out":null},"warnings":[],"more":{}}]}"#;
        let report = &Report::parse_all("peer.json", text).unwrap()[0];
        assert_eq!((report.title().as_str(), report.device.kind), ("onnxruntime 1.32.0 fp32 default", Kind::Cuda));
        assert_eq!(report.results[0].split_ms.total(), None);
    }

    #[test]
    fn hostile_files_are_refused_at_their_place() {
        let text = serde_json::to_string_pretty(&example(&[(1, 1.25), (8, 7.5)])).unwrap();
        // What is wrong with an object or a list is said at its end.
        let line = |part: &str| text.lines().position(|l| l.contains(part)).unwrap() + 1;
        let last = text.lines().count();
        for (from, to, at, message) in [
            ("swint-bench/1", "swint-bench/2", 2, "this program reads \"swint-bench/1\""),
            ("\"kind\": \"cpu\"", "\"kind\": \"tpu\"", line("kind"), "unknown variant `tpu`"),
            ("\"batch\": 8", "\"batch\": -8", line("batch\": 8"), "invalid value: integer `-8`"),
            ("\"batch\": 8", "\"batch\": 1", last, "two results are of batch 1"),
            ("\"median\": 7.5", "\"median\": 1e999", line("median\": 7.5"), "number out of range"),
            ("\"median\": 7.5", "\"median\": 70.5", line("median\": 7.5") + 7, "`median` is 70.5, above `p90`"),
            ("\"min\": ", "\"min\": -", line("\"min\"") + 8, "a time is above 0"),
            ("A processor", "A \\u001b[2J", line("A processor"), "a control character"),
            ("\"results\"", "\"rezults\"", last, "missing field `results`"),
            ("\"tool\"", "\"tool\": {}, \"tool\"", 3, "missing field `name`"),
        ] {
            let errors = Report::parse_all("r.json", &text.replacen(from, to, 1)).unwrap_err().errors;
            assert!(errors[0].message.contains(message), "{to}: {}", errors[0].message);
            assert_eq!(errors[0].line_column().0, at, "{to}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (text, message) in [
            ("", "EOF while parsing"),
            ("[]", "no results in it"),
            ("null", "invalid type: null"),
            (&deep, "invalid type: sequence"),
        ] {
            let errors = Report::parse_all("r.json", text).unwrap_err().errors;
            assert!(errors[0].message.contains(message), "{}", errors[0].message);
        }
    }

    #[test]
    fn noise_and_slow_launches_are_warned_of() {
        let quiet = Summary::of(&mut [1.0, 1.0, 1.01, 5.0]);
        let noisy = Summary::of(&mut [1.0, 1.0, 1.5, 1.5]);
        let split = |enqueue| Split { enqueue, compute: Some(0.5), ..Split::default() };
        assert_eq!(warnings(&quiet, &split(None)), [""; 0]);
        assert!(warnings(&noisy, &split(Some(0.4)))[0].starts_with("noisy: "));
        assert!(warnings(&quiet, &split(Some(0.5)))[0].starts_with("launch-bound: "));
    }
}
