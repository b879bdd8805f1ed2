//! A measurement as a trace that Perfetto and chrome://tracing open: the JSON of Chrome's *Trace Event Format*.

use super::{profile::KernelTime, report::Report};
use serde_json::{Value, json};

/// The host's process in a trace.
const HOST: usize = 1;

/// The device's process in a trace.
const DEVICE: usize = 2;

/// A complete event; microseconds.
fn event(name: &str, category: &str, (pid, tid): (usize, usize), ts: f64, dur: f64, args: Value) -> Value {
    json!({"name": name, "cat": category, "ph": "X", "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args})
}

/// The name of a process or a thread.
fn name(what: &str, pid: usize, tid: usize, name: &str) -> Value {
    json!({"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}})
}

/// What a report knows, laid end to end: on the host what happened once, on the device an inference of each batch, a row each, of the
/// medians of its copies and of its kernels, each timed alone.
pub fn trace(report: &Report) -> Value {
    let mut events = vec![
        name("process_name", HOST, 0, "host"),
        name("thread_name", HOST, 1, "once"),
        name("process_name", DEVICE, 0, &format!("device: {}", report.device.name)),
    ];
    let mut at = 0.0;
    for (what, ms) in
        [("load", report.cold.load_ms), ("compile", report.cold.compile_ms), ("first inference", report.cold.first_ms)]
    {
        if let Some(ms) = ms {
            events.push(event(what, "cold", (HOST, 1), at, ms * 1e3, json!({})));
            at += ms * 1e3;
        }
    }
    for (i, result) in report.results.iter().enumerate() {
        let row = (DEVICE, i + 1);
        events.push(name("thread_name", row.0, row.1, &format!("batch {}", result.batch)));
        let mut at = 0.0;
        let mut push = |events: &mut Vec<Value>, what: &str, category: &str, us: f64, args: Value| {
            events.push(event(what, category, row, at, us, args));
            at += us;
        };
        if let Some(ms) = result.split_ms.copy_in {
            push(&mut events, "copy in", "copy", ms * 1e3, json!({}));
        }
        for kernel in report.kernels.iter().filter(|kernel| kernel.batch == result.batch) {
            let KernelTime { kind, us, .. } = kernel;
            push(&mut events, kernel.loc.as_deref().unwrap_or(kind), kind, *us, json!(kernel));
        }
        if let Some(ms) = result.split_ms.copy_out {
            push(&mut events, "copy out", "copy", ms * 1e3, json!({}));
        }
    }
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "tool": report.title(), "model": report.model.name, "started": report.started, "command": report.command,
            "note": "medians, laid end to end; each kernel was timed alone",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{profile::tests::kernel, report::tests::example};
    use std::collections::BTreeSet;

    /// The rules of the format for the events that are used here: complete ones and names.
    #[test]
    fn every_event_is_one_of_the_format() {
        let kernels = vec![kernel(0, "lut", 10.0, 50.0), kernel(1, "qlinear", 60.5, 10.0)];
        let report = Report { kernels, ..example(&[(1, 1.25), (8, 7.5)]) };
        let parsed: Value = serde_json::from_str(&trace(&report).to_string()).unwrap();
        let (mut named, mut used, mut ends) = (BTreeSet::new(), BTreeSet::new(), std::collections::BTreeMap::new());
        for event in parsed["traceEvents"].as_array().unwrap() {
            let (pid, tid) = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
            match event["ph"].as_str().unwrap() {
                "M" => {
                    assert!(["process_name", "thread_name"].contains(&event["name"].as_str().unwrap()), "{event}");
                    assert!(event["args"]["name"].is_string(), "{event}");
                    named.insert((pid, tid));
                }
                "X" => {
                    let (ts, dur) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
                    assert!(event["name"].is_string() && event["cat"].is_string() && event["args"].is_object());
                    // Events of a thread follow each other.
                    let end = ends.insert((pid, tid), ts + dur).unwrap_or(0.0);
                    assert!(dur >= 0.0 && (ts - end).abs() < 1e-6, "{event}");
                    used.insert((pid, tid));
                }
                other => panic!("{other}: {event}"),
            }
        }
        assert!(used.iter().all(|row| named.contains(row) && named.contains(&(row.0, 0))), "{named:?} {used:?}");
        // Load and first inference; copies of both batches; kernels of the first.
        assert_eq!((ends[&(1, 1)], ends[&(2, 1)], ends[&(2, 2)]), (801_500.0, 100.5, 30.0));
    }
}
