//! `swint report`: pages of compiled models, in a browser.

use crate::{
    cli::{Model, fail, model, succeed},
    common::repo,
};
use serde_json::{Value as Json, json};
use std::{fs, path::Path};
use swint_compiler::plan::Machine;
use swint_runtime::device::processor;

#[path = "../../runtime/report/tests/report/chromium.rs"]
mod chromium;

const PROBE: &str = include_str!("../../runtime/report/tests/report/probe.js");

/// Results in the form of `swint bench --json`, with times of kernels if there are names for them.
fn bench(m: &Model, file: &str, tool: &str, kernels: &[String]) -> String {
    let kernel = |(index, kernel): (usize, &String)| {
        json!({
            "batch": 1, "index": index, "kind": "mlp", "kernel": kernel, "us": 2.5, "min_us": 2.0, "spread_percent": 1.0,
            "share_percent": 4.0, "ops": 10, "bytes": 10, "gop_per_s": 1.0, "gb_per_s": 1.0, "roofline_percent": 3.0,
        })
    };
    let bench = json!({
        "schema": "swint-bench/1", "tool": {"name": tool, "version": "1.0"},
        "model": {"name": "swin", "precision": "int8", "variant": "lut", "file": null},
        "device": {"kind": "cuda", "name": "A GPU", "threads": null, "driver": "12080"},
        "host": {"cpu": "A processor", "os": "Linux", "features": []},
        "clock": "host", "started": "2026-01-31T23:59:59Z", "command": "bench", "cold": {"load_ms": 1.5, "first_ms": null},
        "results": [{
            "batch": 1, "runs": 10, "images_per_s": 800.0, "warnings": ["noisy"], "split_ms": {},
            "ms": {"min": 1.2, "median": 1.25, "mean": 1.3, "p90": 1.4, "p95": 1.5, "p99": 1.6, "max": 2.0, "spread_percent": 5.0},
        }],
        "kernels": kernels.iter().enumerate().map(kernel).collect::<Vec<_>>(),
    });
    let path = m.file(file);
    fs::write(&path, bench.to_string()).unwrap();
    path
}

/// What a browser sees on a wide page and on a phone, the latter given back.
fn seen(page: &str) -> Option<Json> {
    let mut browser = chromium::Browser::start(&chromium::find()?);
    let mut probed = Json::Null;
    for window in [(1280, 900), (360, 800)] {
        browser.open(Path::new(page), window, false);
        probed = browser.evaluate(PROBE);
        assert_eq!(browser.complaints(), [] as [String; 0], "{probed:#}");
        assert!(probed["width"].as_u64().unwrap() <= u64::from(window.0), "it scrolls sideways: {probed:#}");
        for none in ["bare", "unnamed", "dead", "scripts", "stray", "odd"] {
            assert_eq!(probed[none], 0, "{none}: {probed:#}");
        }
        for none in ["faint", "overlapping", "outside"] {
            assert_eq!(probed[none], json!([]), "{none}: {probed:#}");
        }
    }
    Some(probed)
}

#[test]
fn the_bundled_model_has_a_page() {
    let m = model("cifar10");
    let images = repo("examples/cifar10/images").to_str().unwrap().to_owned();
    let float = m.file("f32.swint");
    succeed(&["compile", &m.spec, "--weights", &m.weights, "-o", &float]);
    let compiled = m.compile(&["--precision", "int8", "--calib", &images]);
    let page = m.file("report.html");
    // What it was compiled for, estimated.
    succeed(&["report", &compiled, "-o", &page]);
    let html = fs::read_to_string(&page).unwrap();
    for part in
        ["416 <span class=\"arrow\">→</span> 36", "NVIDIA GeForce RTX 4090", "pictures resized to fit", "44 launches"]
    {
        assert!(html.contains(part), "{part}");
    }
    if let Some(seen) = seen(&page) {
        assert_eq!((&seen["tables"], seen["plots"].as_array().unwrap().len()), (&json!(7), 4), "{seen:#}");
    }
    // The same, byte for byte.
    let again = m.file("again.html");
    succeed(&["report", &compiled, "-o", &again]);
    assert_eq!(fs::read_to_string(&again).unwrap(), html);
    // Everything that can be measured, two images at a time.
    let bench = [bench(&m, "own.json", "swint", &[]), bench(&m, "peer.json", "onnxruntime", &[])].join(",");
    let more = ["--reference", &float, "--input", &images, "--limit", "4", "--bench", &bench];
    succeed(&[&["report", &compiled, "-o", &page, "--batch", "2", "--measure", "cpu"], &more[..]].concat());
    let html = fs::read_to_string(&page).unwrap();
    let Machine::Cpu { quads, .. } = processor() else { unreachable!("a processor is none") };
    let made = if quads > 0 { "by quads[" } else { "by pairs[" };
    for part in ["as measured on the CPU", "onnxruntime 1.0", "4 inputs", made, "i16[2,16,16,32]", "layers.2.blocks.1"]
    {
        assert!(html.contains(part), "{part}");
    }
    if let Some(seen) = seen(&page) {
        assert_eq!(seen["plots"].as_array().unwrap().len(), 6, "{seen:#}");
    }
}

#[test]
fn times_of_other_kernels_are_not_taken_for_these() {
    let m = model("timm_micro");
    let compiled =
        m.compile(&["--precision", "int8", "--calib", &crate::cli::shared_file("timm_micro", "input.safetensors")]);
    let page = m.file("report.html");
    let timed = |kernels: &[String]| {
        let bench = bench(&m, "b.json", "swint", kernels);
        succeed(&["report", &compiled, "-o", &page, "--bench", &bench]);
        fs::read_to_string(&page).unwrap().contains("as measured on")
    };
    assert!(!timed(&[]));
    // The table of launches says how each kernel is called.
    let html = fs::read_to_string(&page).unwrap();
    let table = &html[html.find("Every launch: operations, bytes, time</caption>").unwrap()..];
    let rows = table[..table.find("</table>").unwrap()].split("<tr>").skip(2);
    let mut kernels: Vec<String> =
        rows.map(|row| row.rsplit_once("<code>").unwrap().1.split('<').next().unwrap().to_owned()).collect();
    assert!(kernels.len() == 23 && timed(&kernels));
    kernels.pop();
    assert!(!timed(&kernels));
    kernels.push("another".into());
    assert!(!timed(&kernels));
}

#[test]
fn what_cannot_be_reported_is_said() {
    let m = model("timm_micro");
    let compiled = m.compile(&[]);
    let page = m.file("report.html");
    let report = ["report", &compiled, "-o"];
    assert!(fail(&[&report[..], &[&compiled]].concat()).contains("would overwrite an input"));
    assert!(fail(&[&report[..], &[&page, "--target", "sm_75"]].concat()).contains("sm_75"));
    assert!(fail(&[&report[..], &[&page, "--reference", &compiled]].concat()).contains("--input"));
    assert!(fail(&[&report[..], &[&page, "--measure", "interp"]].concat()).contains("runs no kernels"));
    assert!(fail(&[&report[..], &[&page, "--measure", "cuda"]].concat()).contains("no NVIDIA driver"));
    assert!(fail(&[&report[..], &[&page, "--bench", "none.json"]].concat()).contains("none.json"));
    let path = bench(&m, "b.json", "swint", &[]);
    let good = fs::read_to_string(&path).unwrap();
    for (from, to, message) in [
        ("swint-bench/1", "swint-bench/9", "swint-bench/9"),
        ("\"median\":1.25", "\"median\":-1", "a time is above 0"),
        ("\"batch\":1", "\"batch\":0", "are above 0"),
        ("\"tool\"", "\"tul\"", "missing field `tool`"),
        ("{\"", "{", "key must be a string"),
    ] {
        assert!(good.contains(from));
        fs::write(&path, good.replace(from, to)).unwrap();
        let said = fail(&[&report[..], &[&page, "--bench", &path]].concat());
        assert!(said.contains(message) && said.contains("b.json"), "{said}");
    }
    assert!(!Path::new(&page).exists());
}
