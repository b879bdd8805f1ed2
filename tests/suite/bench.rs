//! `swint bench`: what it writes, what it compares, what it refuses. No test depends on how long anything takes.

use crate::{
    cli::{Model, fail, model, shared_file, succeed, swint, text},
    common::repo,
};
use serde_json::{Value, json};
use std::{fs, path::Path};
use swint_runtime::bench::report::{Clock, Report};

/// As short as it gets.
const SHORT: [&str; 6] = ["--warmup-ms", "0", "--min-time", "0", "--iterations", "3"];

fn int8(m: &Model, name: &str) -> String {
    let calib = shared_file(name, if name == "cifar10" { "images" } else { "input.safetensors" });
    m.compile(&["--precision", "int8", "--calib", &calib])
}

fn read(path: &str) -> Report {
    let mut reports = Report::parse_all(path, &fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

#[test]
fn the_bundled_model_is_timed_at_several_batches_and_kernel_by_kernel() {
    let m = model("cifar10");
    let compiled = int8(&m, "cifar10");
    let (file, trace) = (m.file("r.json"), m.file("trace.json"));
    let bench = ["bench", &compiled, "--batch", "2,1,2", "--trace", &trace, "-o", &file];
    let said = succeed(&[&bench[..], &SHORT].concat());
    for part in ["swin_cifar10 int8 lut, host clock", "copy in", "% of roofline", "norm_linear", "44 launches"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let report = read(&file);
    assert_eq!(report.results.iter().map(|r| (r.batch, r.runs)).collect::<Vec<_>>(), [(1, 3), (2, 3)]);
    assert_eq!((report.model.launches, report.clock, report.device.threads.is_some()), (Some(44), Clock::Host, true));
    assert!(report.command.starts_with("swint bench ") && report.started.ends_with('Z'), "{report:?}");
    // On the CPU kernels are compiled when a model is loaded.
    assert!(report.cold.compile_ms > Some(0.0) && report.cold.first_ms > Some(0.0), "{:?}", report.cold);
    for result in &report.results {
        let split = result.split_ms;
        assert!(split.enqueue.is_none() && split.total().unwrap() > 0.0 && result.split_clock == Some(Clock::Host));
        let kernels: Vec<_> = report.kernels.iter().filter(|k| k.batch == result.batch).collect();
        assert_eq!(kernels.iter().map(|k| k.index).collect::<Vec<_>>(), (0..44).collect::<Vec<_>>());
        assert!((kernels.iter().map(|k| k.share_percent).sum::<f64>() - 100.0).abs() < 1e-6);
        assert!(kernels.iter().all(|k| k.us > 0.0 && k.ops > 0 && k.bytes > 0 && k.roofline_percent > 0.0));
    }
    let trace: Value = serde_json::from_str(&fs::read_to_string(&trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    // Of each batch 44 kernels and two copies; load, compilation and first inference.
    assert_eq!(events.iter().filter(|event| event["ph"] == "X").count(), 2 * 46 + 3);
}

#[test]
fn results_have_four_forms_and_json_is_alone_on_stdout() {
    let m = model("timm_micro");
    let compiled = int8(&m, "timm_micro");
    let bench = |more: &[&str]| succeed(&[&["bench", &compiled], &SHORT[..], more].concat());
    let json: Value = serde_json::from_str(&bench(&["--json"])).unwrap();
    assert_eq!((&json["schema"], &json["kernels"]), (&json!("swint-bench/1"), &Value::Null));
    let csv = bench(&["--csv", "--batch", "1,3"]);
    assert!(csv.starts_with("model,precision,variant,device,clock,batch,runs,min_ms,"), "{csv}");
    assert_eq!(csv.lines().count(), 3);
    assert!(bench(&["--markdown"]).starts_with("| model | precision |"));
    // The interpreter has no parts and no kernels.
    let json: Value = serde_json::from_str(&bench(&["--json", "--device", "interp"])).unwrap();
    assert_eq!(
        (&json["device"]["name"], &json["results"][0]["split_ms"]["compute"]),
        (&json!("reference interpreter"), &Value::Null)
    );
    let interp = ["bench", &compiled, "--device", "interp"];
    assert!(fail(&[&interp[..], &["--profile"]].concat()).contains("--profile: the interpreter runs no kernels"));
    assert!(fail(&["bench", &compiled, "--clock", "device"]).contains("only a GPU has a clock of its own"));
    assert!(fail(&["bench", &compiled, "--device", "cuda:one"]).contains("there are cpu, interp, cuda and cuda:N"));
    assert!(fail(&["bench", &compiled, "--batch", "1,0"]).contains("--batch"));
    assert!(fail(&["bench", &compiled, "--json", "--csv"]).contains("cannot be used with"));
    assert!(fail(&["bench", &compiled, "-o", &compiled]).contains("would overwrite an input"));
    assert!(fail(&["bench"]).contains("MODEL"));
}

/// A file of results: batches and medians.
fn results(m: &Model, file: &str, tool: &str, rows: &[(usize, f64)]) -> String {
    let rows: Vec<Value> = rows.iter().map(|&(batch, ms)| json!({
        "batch": batch, "runs": 10, "images_per_s": batch as f64 / ms * 1e3, "warnings": [],
        "ms": {"min": ms * 0.9, "median": ms, "mean": ms, "p90": ms, "p95": ms, "p99": ms, "max": ms, "spread_percent": 0.5},
        "split_ms": {"enqueue": null, "copy_in": null, "compute": null, "copy_out": null},
    })).collect();
    let report = json!({
        "schema": "swint-bench/1", "tool": {"name": tool, "version": "1"},
        "model": {"name": "swin", "precision": "int8", "variant": "lut", "file": "m.swint"},
        "device": {"kind": "cpu", "name": "P", "threads": 2, "driver": null},
        "host": {"cpu": "P", "os": "L", "features": []}, "clock": "host", "started": "2026-01-31T23:59:59Z",
        "command": "x", "cold": {"load_ms": 1.0, "compile_ms": null, "first_ms": 2.0}, "results": rows,
    });
    let path = m.file(file);
    fs::write(&path, format!("{report:#}")).unwrap();
    path
}

#[test]
fn earlier_results_are_a_gate() {
    let m = model("timm_micro");
    let before = results(&m, "before.json", "swint", &[(1, 10.0), (8, 50.0)]);
    let gate = |rows: &[(usize, f64)], noise: &str| {
        let now = results(&m, "now.json", "swint", rows);
        let out = swint(&["bench", &now, "--against", &before, "--noise", noise]);
        (out.status.code().unwrap(), text(&out.stdout) + &text(&out.stderr))
    };
    assert_eq!(gate(&[(1, 10.4), (8, 20.0)], "5%").0, 0);
    let (code, said) = gate(&[(1, 10.6), (8, 20.0), (32, 1.0)], "5%");
    assert!(code == 1 && said.contains("SLOWER") && said.contains("batch 32 is not in"), "{said}");
    assert_eq!(gate(&[(1, 10.6)], "7").0, 0);
    let (code, said) = gate(&[(2, 1.0)], "5%");
    assert!(code == 1 && said.contains("no batch in common"), "{said}");
    let other = results(&m, "other.json", "onnxruntime", &[(1, 10.0)]);
    let said = fail(&["bench", &before, "--against", &other]);
    assert!(said.contains(r#"tool: "swint" and "onnxruntime""#), "{said}");
    assert!(fail(&["bench", &before, "--against", &before, "--noise=-1"]).contains("percent from 0"));
    assert!(fail(&["bench", &before]).contains("give --versus or --against"));
}

#[test]
fn peers_stand_in_one_table() {
    let m = model("timm_micro");
    let ours = results(&m, "ours.json", "swint", &[(1, 10.0), (8, 50.0)]);
    let peer = results(&m, "peer.json", "peer", &[(1, 15.0), (32, 1.0)]);
    // A list of reports, one of them by another clock.
    let list = m.file("list.json");
    let mut other: Value = serde_json::from_str(&fs::read_to_string(&peer).unwrap()).unwrap();
    other["clock"] = json!("device");
    fs::write(&list, json!([other]).to_string()).unwrap();
    let both = format!("{peer},{list}");
    let out = swint(&["bench", &ours, "--versus", &both, "--csv"]);
    let lines: Vec<String> = text(&out.stdout).lines().map(str::to_owned).collect();
    assert_eq!(lines[1], "swint 1 int8 lut,1,10.000,9.000,10.000,0.5,100,1.00,");
    assert_eq!(lines[2], "peer 1 int8 lut,1,15.000,13.500,15.000,0.5,67,1.50,");
    assert_eq!(lines[3], "peer 1 int8 lut,1,15.000,13.500,15.000,0.5,67,1.50,something else");
    assert_eq!((lines.len(), &*lines[4]), (5, "swint 1 int8 lut,8,50.000,45.000,50.000,0.5,160,1.00,"));
    assert!(text(&out.stderr).contains(r#"clock: "host" and "device""#), "{}", text(&out.stderr));
    assert!(fail(&["bench", &ours, "--versus", &peer, "--json"]).contains("--versus prints a table"));
}

#[test]
fn files_that_are_no_results_are_refused_at_their_place() {
    let m = model("timm_micro");
    let good = results(&m, "good.json", "swint", &[(1, 10.0)]);
    let hostile = m.file("hostile.json");
    let text = fs::read_to_string(&good).unwrap();
    let line = |part: &str| text.lines().position(|line| line.contains(part)).unwrap() + 1;
    for (from, to, place, message) in [
        ("swint-bench/1", "swint-bench/9", line("schema"), "this program reads"),
        ("\"runs\": 10", "\"runs\": \"many\"", line("runs"), "invalid type"),
        ("\"median\": 10.0", "\"median\": -1e300", line("spread_percent") + 1, "a time is above 0"),
    ] {
        fs::write(&hostile, text.replacen(from, to, 1)).unwrap();
        for flag in ["--versus", "--against"] {
            let said = fail(&["bench", &good, flag, &hostile]);
            assert!(said.contains(&format!("hostile.json:{place}:")) && said.contains("SW0305"), "{to}: {said}");
            assert!(said.contains(message), "{said}");
        }
    }
    for (bytes, message) in
        [(&b"\xff\xfe"[..], "UTF-8"), (b"", "EOF"), (b"[]", "no results in it"), (&[b'['; 1 << 20], "invalid")]
    {
        fs::write(&hostile, bytes).unwrap();
        let said = fail(&["bench", &good, "--versus", &hostile]);
        assert!(said.contains(message), "{said}");
    }
    fs::write(&hostile, vec![b' '; (16 << 20) + 1]).unwrap();
    assert!(fail(&["bench", &good, "--versus", &hostile]).contains("more than 16 MiB"));
    let folder = Path::new(&good).parent().unwrap().to_str().unwrap();
    assert!(fail(&["bench", &good, "--versus", folder]).contains("it is a folder"));
    assert!(fail(&["bench", &good, "--versus", &m.file("none.json")]).contains("cannot read"));
}

#[test]
fn kernels_are_timed_over_shapes() {
    let spec = repo("bench/kernels/qlinear.ir");
    let spec = spec.to_str().unwrap();
    let kernel = ["bench", "kernel", spec, "--set", "M=16"];
    let shapes = ["--set", "K=32,64", "--set", "N=48", "--batch", "1,4", "--json"];
    let json: Value = serde_json::from_str(&succeed(&[&kernel[..], &shapes, &SHORT].concat())).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let seen: Vec<_> =
        rows.iter().map(|row| (row["set"]["K"].clone(), row["batch"].clone(), row["ops"].clone())).collect();
    // A multiply-add is two operations.
    let ops = |k: u64, batch: u64| (json!(k.to_string()), json!(batch), json!(2 * 16 * batch * k * 48));
    assert_eq!(seen, [ops(32, 1), ops(32, 4), ops(64, 1), ops(64, 4)]);
    assert!(rows.iter().all(|row| row["us"].as_f64() > Some(0.0) && row["kind"] == "qlinear"), "{json}");
    // What has no value is pointed at; so is what does not fit.
    let said = fail(&[&kernel[..], &["--set", "K=32"]].concat());
    assert!(said.contains("qlinear.ir K=32 M=16:2:"), "{said}");
    let said = fail(&[&kernel[..], &["--set", "K=0", "--set", "N=4"]].concat());
    assert!(said.contains("qlinear.ir K=0"), "{said}");
    assert!(fail(&[&kernel[..], &["--set", "Q=1"]].concat()).contains("there is no $Q"));
    assert!(fail(&["bench", "kernel", spec, "--device", "interp"]).contains("the interpreter runs no kernels"));
}

#[test]
fn the_baseline_is_five_variants_in_turns() {
    let m = model("timm_micro");
    let calib = shared_file("timm_micro", "input.safetensors");
    let file = m.file("baseline.json");
    let baseline = ["bench", "baseline", &m.spec, "--weights", &m.weights, "--calib", &calib, "-o", &file];
    let said = succeed(&[&baseline[..], &SHORT].concat());
    assert!(said.contains("fused, GELU table") && said.contains("Variants take turns"), "{said}");
    let json: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let variants = json["variants"].as_array().unwrap();
    let of = |i: usize| (variants[i]["fused"].as_bool().unwrap(), variants[i]["activation"].as_str().unwrap());
    assert_eq!(
        [0, 1, 2, 3, 4].map(of),
        [(false, "gelu"), (false, "relu"), (true, "gelu"), (true, "lut"), (true, "relu")]
    );
    let result = |i: usize| &variants[i]["results"][0];
    let launches: Vec<u64> = (0..5).map(|i| result(i)["launches"].as_u64().unwrap()).collect();
    assert!(launches[2] < launches[0] && launches[3] < launches[2] && launches[4] < launches[1], "{launches:?}");
    assert_eq!(result(0)["ratio"], json!({"p25": 1.0, "median": 1.0, "p75": 1.0}));
    assert!((0..5).all(|i| result(i)["rounds"] == 3 && result(i)["runs"].as_u64() >= Some(9)), "{json}");
    let said = fail(&["bench", "baseline", &m.spec, "--weights", &m.weights, "--activation", "relu"]);
    assert!(said.contains("leave --precision and --activation out"), "{said}");
    let said = fail(&["bench", "baseline", &m.spec, "--weights", &m.weights, "--clock", "device"]);
    assert!(said.contains("only a GPU has a clock of its own"), "{said}");
}
