//! Errors as JSON, and what to read about them.

use miette::{Diagnostic, LabeledSpan};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, ffi::OsString, panic::PanicHookInfo};

/// An error and those related to it: `message`, `causes`, `code`, `help`, `labels` and `related`. A label has `file`, `line`
/// and `column` (from 1, columns in characters), `offset` and `length` (in bytes) and `text`.
pub fn json(error: &dyn Diagnostic) -> Json {
    let text = |display: Option<Box<dyn std::fmt::Display + '_>>| display.map(|d| d.to_string());
    let labels: Vec<Json> = error.labels().into_iter().flatten().map(|label| label_json(error, &label)).collect();
    let related: Vec<Json> = error.related().into_iter().flatten().map(json).collect();
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    json!({
        "message": error.to_string(),
        "causes": causes,
        "code": text(error.code()),
        "help": text(error.help()),
        "labels": labels,
        "related": related,
    })
}

fn label_json(error: &dyn Diagnostic, label: &LabeledSpan) -> Json {
    let mut json = json!({"offset": label.offset(), "length": label.len(), "text": label.label()});
    // Without context, the contents start at the label.
    let start = (label.offset(), 0).into();
    if let Some(Ok(contents)) = error.source_code().map(|source| source.read_span(&start, 0, 0)) {
        json["file"] = contents.name().into();
        json["line"] = (contents.line() + 1).into();
        json["column"] = (contents.column() + 1).into();
    }
    json
}

/// Whether arguments that are wrong ask for errors as JSON all the same.
pub fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<OsString> = arguments.collect();
    arguments.contains(&"--error-format=json".into())
        || arguments.windows(2).any(|pair| pair == ["--error-format", "json"])
}

/// What is wrong with the arguments, in the form of [`json`].
pub fn of_usage(error: &clap::Error) -> Json {
    let message = error.to_string();
    let message = message.trim_end().trim_start_matches("error: ");
    json!({"message": message, "causes": [], "code": null, "help": null, "labels": [], "related": []})
}

/// A panic, as a line of its own.
pub fn of_panic(panic: &PanicHookInfo<'_>) -> Json {
    json!({"panic": panic.payload_as_str(), "at": panic.location().map(|at| at.to_string())})
}

/// A last line that says where the codes are explained; empty without codes.
pub fn hint(error: &dyn Diagnostic) -> String {
    let mut codes = BTreeSet::new();
    collect(error, &mut codes);
    match codes.first() {
        None => String::new(),
        Some(first) if codes.len() == 1 => format!("\nMore about {first}: swint explain-error {first}"),
        Some(first) => {
            let all: Vec<&str> = codes.iter().map(String::as_str).collect();
            format!("\nMore about {}: swint explain-error {first}, …", all.join(", "))
        }
    }
}

fn collect(error: &dyn Diagnostic, codes: &mut BTreeSet<String>) {
    codes.extend(error.code().map(|code| code.to_string()));
    error.related().into_iter().flatten().for_each(|related| collect(related, codes));
}
