//! `swint distill`, as its users call it.

use crate::cli::{fail, model, succeed};
use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use swint::{
    ir::{Data, Tensor, random::Rng},
    runtime::tensors::to_safetensors,
};

/// Labelled noise for a model of `side` by `side` pixels.
fn pictures(path: &str, n: usize, side: usize) {
    let mut rng = Rng::with_seed(1);
    let pixels = Tensor::new([n, side, side, 3], Data::U8((0..n * side * side * 3).map(|_| rng.u8(..)).collect()));
    let labels = Tensor::new([n], Data::U8((0..n).map(|i| (i % 10) as u8).collect()));
    // The same for training and for tests.
    let tensors =
        [("train.pixels", &pixels), ("train.labels", &labels), ("test.pixels", &pixels), ("test.labels", &labels)];
    fs::write(path, to_safetensors(tensors).unwrap()).unwrap();
}

#[test]
fn a_student_is_distilled_and_compiled() {
    let m = model("timm_micro");
    let (data, student, out) = (m.file("data.safetensors"), m.file("student.safetensors"), m.file("m.swint"));
    pictures(&data, 24, 56);
    let base = ["distill", &m.spec, "--teacher", &m.weights, "--data", &data, "--batch", "8"];
    let run = |more: &[&str]| succeed(&[&base[..], more].concat());
    let json = run(&["--epochs", "1", "--schedule", "stage", "--mse", "0.1", "-o", &student, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["steps"], &json["images"], &json["schedule"]), (&3.into(), &24.into(), &"stage".into()));
    assert!(json["seconds_per_1000_images"].as_f64().unwrap() > 0.0 && json["top1"].is_number(), "{json}");
    let metrics = fs::read_to_string(m.file("student.run/metrics.jsonl")).unwrap();
    let gelus: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["kind"] == "step")
        .map(|line| line["gelus"].as_f64().unwrap())
        .collect();
    // Two stages of two blocks each.
    assert_eq!(gelus, [2.0, 0.0, 0.0]);
    succeed(&["compile", &m.spec, "--weights", &student, "--activation", "relu", "-o", &out]);
    succeed(&["check", &out, "--no-op", "gelu"]);
    // Quantized from there on; the command that it prints compiles what was trained.
    let trained = m.file("q.safetensors");
    let said = run(&["--student", &student, "--quantize", "--calib-limit", "4", "--steps", "2", "-o", &trained]);
    let command = said.lines().find_map(|line| line.strip_prefix("its integer program: swint ")).expect("a command");
    let command = shlex::split(command).unwrap();
    let command: Vec<&str> = command.iter().map(String::as_str).chain(["-o", &out]).collect();
    succeed(&command);
    succeed(&["check", &out, "--no-float"]);
    let top1 = said.split("top-1 ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let found = succeed(&["eval", &out, "--data", &data]);
    assert!(found.contains(&format!("top-1 {top1} %")), "{said}{found}");
}

/// What is killed loses what it has not saved, and nothing else.
#[test]
fn a_killed_run_goes_on() {
    let m = model("timm_micro");
    let data = m.file("data.safetensors");
    pictures(&data, 24, 56);
    let arguments = |student: &str| -> Vec<String> {
        let all = ["distill", &m.spec, "--teacher", &m.weights, "--data", &data, "--batch", "4", "--threads", "1"];
        let more = ["--steps", "40", "--save-every", "0", "-o", student];
        all.iter().chain(&more).map(|argument| argument.to_string()).collect()
    };
    let (whole, cut) = (m.file("whole.safetensors"), m.file("cut.safetensors"));
    let run = |arguments: &[String], more: &[&str]| {
        let all: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        succeed(&all)
    };
    run(&arguments(&whole), &[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_swint"))
        .args(arguments(&cut))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = m.file("cut.run");
    let states = || {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "state")).count()
    };
    let clock = Instant::now();
    while states() < 2 && clock.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(states() > 0 && !fs::exists(&cut).unwrap(), "it was killed in the middle");
    let base = arguments(&cut);
    let base: Vec<&str> = base.iter().map(String::as_str).collect();
    assert!(fail(&base).contains("holds a run"));
    assert!(fail(&[&base[..], &["--resume", "--lr", "1e-3"]].concat()).contains("of another run"));
    run(&arguments(&cut), &["--resume"]);
    assert!(fs::read(&whole).unwrap() == fs::read(&cut).unwrap(), "the same bits");
    // A damaged state is refused, and the one before it offered.
    let newest = m.file("cut.run/step-000000040.state");
    fs::write(&newest, b"SWINTRUN").unwrap();
    let said = fail(&[&base[..], &["--resume"]].concat());
    let flat: String = said.split_whitespace().collect::<Vec<_>>().join("");
    assert!(said.contains("SW0304") && flat.contains("step-000000039.state"), "{said}");
}

#[test]
fn bad_arguments_are_refused() {
    let m = model("timm_micro");
    let (data, student) = (m.file("data.safetensors"), m.file("student.safetensors"));
    pictures(&data, 8, 56);
    let refused = |more: &[&str]| {
        let base = ["distill", &m.spec, "--teacher", &m.weights, "-o", &student];
        let said = fail(&[&base[..], more].concat());
        assert!(!fs::exists(&student).unwrap());
        said
    };
    assert!(refused(&["--data", &data, "--kl", "0"]).contains("nothing to learn"));
    assert!(refused(&["--data", &data, "--batch", "8", "--threads", "3"]).contains("do not share"));
    assert!(refused(&["--data", &data, "--ema", "1"]).contains("would never change"));
    assert!(refused(&["--data", &data, "--lr", "0"]).contains("a number above 0"));
    assert!(refused(&["--data", &data, "--schedule", "none"]).contains("all, block, stage, anneal"));
    assert!(refused(&["--data", &data, "--device", "tpu"]).contains("there is cpu"));
    assert!(refused(&["--data", &data, "--device", "cpu,cpu"]).contains("the CPU works alone"));
    assert!(refused(&["--data", &data, "--quantize", "--schedule", "block"]).contains("--schedule all"));
    assert!(refused(&["--data", &data, "--resume"]).contains("no state"));
    assert!(refused(&["--data", &m.file("none.tar")]).contains("none.tar"));
    assert!(refused(&["--data", &m.weights]).contains("no tensor \"pixels\""));
    assert!(refused(&["--data", &data, "--epochs", "1e25"]).contains("too many steps"));
    assert!(refused(&["--data", &data, "--save-every", "1e20"]).contains("at most a million"));
    assert!(refused(&["--data", &data, "--run-dir", &student]).contains("the run's folder, too"));
    let over = fail(&["distill", &m.spec, "--teacher", &m.weights, "--data", &data, "-o", &data]);
    assert!(over.contains("would overwrite an input"), "{over}");
    assert!(refused(&["--data", &data, "--student", &data]).contains("does not fit the model"));
    let other = model("timm_odd").weights;
    assert!(fail(&["distill", &m.spec, "--teacher", &other, "--data", &data, "-o", &student]).contains("mis-shaped"));
    pictures(&data, 8, 32);
    assert!(refused(&["--data", &data]).contains("the model takes [N, 56, 56, 3]"));
}
