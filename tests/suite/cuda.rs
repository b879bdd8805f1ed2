//! The CUDA path, with a stand-in for NVIDIA's driver that runs kernels in the PTX simulator.

use crate::{
    cli::{Model, fail, model, shared_file, succeed, text},
    common::repo,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    process::{Command, Output},
};
use swint_ir::{Data, Module, Tensor, Weights};
use swint_runtime::{
    bench::report::{Clock, Kind, Report},
    device::Device,
    executor::Session,
};
use tempfile::TempDir;

/// A machine with the stand-in as its driver.
struct Stand {
    folder: TempDir,
}

impl Stand {
    fn new() -> Stand {
        let folder = tempfile::tempdir().unwrap();
        swint_cuda_stand_in::install(folder.path()).unwrap();
        Stand { folder }
    }

    fn swint(&self, sm: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swint"));
        command.args(args).env("NO_COLOR", "1").env("SWINT_CACHE", self.folder.path().join("cache"));
        command.env("LD_LIBRARY_PATH", self.folder.path()).env("SWINT_STAND_IN_SM", sm).output().unwrap()
    }

    fn succeed(&self, sm: &str, args: &[&str]) -> String {
        let out = self.swint(sm, args);
        assert!(out.status.success(), "swint {args:?}\n{}{}", text(&out.stdout), text(&out.stderr));
        text(&out.stdout)
    }
}

fn integers(m: &Model) -> String {
    let calibration = shared_file("timm_micro", "input.safetensors");
    m.compile(&["--precision", "int8", "--calib", &calibration])
}

/// Launches one by one, and as a graph that is captured once and replayed with other inputs.
#[test]
fn a_gpu_gives_the_interpreters_bits() {
    let (stand, m) = (Stand::new(), model("timm_micro"));
    let compiled = integers(&m);
    for sm in ["89", "90"] {
        let said = stand.succeed(sm, &["verify", &compiled, "--device", "cuda"]);
        assert!(said.contains("cuda:0: 23 of 23 launches give the interpreter's bits"), "{said}");
    }
    // Three pictures, one after the other, in one session.
    let bundled = model("cifar10");
    let folder = repo("examples/cifar10/images");
    let compiled = bundled.compile(&["--precision", "int8", "--calib", folder.to_str().unwrap()]);
    let pictures: Vec<String> = ["0000_cat", "0001_ship", "0003_airplane"]
        .map(|name| folder.join(format!("test_{name}.png")).to_str().unwrap().to_owned())
        .into();
    let run = |sm: &str, device: &str| {
        let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
        stand.succeed(sm, &[&["run", &compiled, "--json", "--device", device], &pictures[..]].concat())
    };
    let wanted = run("89", "interp");
    // On the second launches overlap.
    assert_eq!([run("89", "cuda"), run("90", "cuda")], [wanted.clone(), wanted]);
}

/// What is longer than a piece goes to the device in several, of which the last is shorter, and comes back whole; the next one takes its place.
#[test]
fn long_inputs_go_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let cache = [("SWINT_CACHE", folder.path().to_str().unwrap())];
    if let Some(output) = swint_cuda_stand_in::child("cuda::long_inputs_go_in_pieces", &cache).unwrap() {
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        return;
    }
    // 1,500,012 bytes.
    let ir = "graph @long(%x: f32[1,375003]) -> f32[1,375003] {\n  %0 = relu %x : f32[1,375003]\n  return %0\n}\n";
    let module = Module { graph: swint_ir::text::read("long.ir", ir).unwrap().0, weights: Weights::default() };
    let session = Session::new(&module, Device::Cuda(0), 1).unwrap();
    for factor in [37, 91] {
        let values: Vec<f32> = (0..375_003).map(|i| (i * factor % 251) as f32 - 125.0).collect();
        let positive = values.iter().map(|x| x.max(0.0)).collect();
        let found = session.run(&[Tensor::new(vec![1, 375_003], Data::F32(values))]).unwrap();
        assert!(found.data == Data::F32(positive), "{factor}");
    }
}

#[test]
fn tuning_keeps_the_fastest_right_kernels() {
    let (stand, m) = (Stand::new(), model("timm_micro"));
    let compiled = integers(&m);
    let timings = m.file("timings.json");
    // MLPs of 32 channels have four ways of being one kernel, those of 64 more: in the last rounds some are and others are not.
    let json = stand.succeed("89", &["tune", &compiled, "--samples", "1", "--options", "5", "--json", "-o", &timings]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let kernels = json["kernels"].as_array().unwrap();
    assert!(kernels.len() > 10 && json["device"].as_str().unwrap().contains("sm_89"), "{json}");
    let us = |kernel: &Value| (kernel["likely_us"].as_f64().unwrap(), kernel["best"]["us"].as_f64().unwrap());
    assert!(kernels.iter().all(|k| k["wrong"] == 0 && us(k).1 <= us(k).0), "{json}");
    assert!(kernels.iter().filter(|k| k["tried"] == 5).count() > 10, "{json}");
    let wholes = kernels.iter().filter(|k| k["kernel"].as_str().unwrap().starts_with("mlp["));
    let tried: BTreeSet<u64> = wholes.map(|k| k["tried"].as_u64().unwrap()).collect();
    assert_eq!(tried, [4, 5].into(), "{json}");
    // Later sessions plan with what was found, and are right.
    let said = stand.succeed("89", &["verify", &compiled, "--device", "cuda"]);
    assert!(said.contains("launches give the interpreter's bits"), "{said}");
    // The rewrites cost what was measured.
    let calibration = shared_file("timm_micro", "input.safetensors");
    let (spec, weights) = (&m.spec, &m.weights);
    let again = ["compile", spec, "--weights", weights, "--precision", "int8", "--calib", &calibration];
    succeed(&[&again[..], &["--timings", &timings, "-o", &m.file("again.swint")]].concat());
    // A damaged file of the cache is said, and does no harm.
    let file =
        |folder: &str| std::fs::read_dir(stand.folder.path().join("cache").join(folder)).unwrap().next().unwrap();
    for folder in ["ptx", "tuned"] {
        let path = file(folder).unwrap().path();
        let kept = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, kept.replacen("0", "1", 1) + " ").unwrap();
    }
    let out = stand.swint("89", &["verify", &compiled, "--device", "cuda"]);
    assert!(out.status.success() && text(&out.stderr).contains("is damaged"), "{}", text(&out.stderr));
    assert!(fail(&["tune", &compiled, "--device", "cpu"]).contains("one way of making each kernel"));
}

/// The stand-in knows nothing of time, but its events come one after the other.
#[test]
fn a_gpu_is_timed_by_its_own_clock() {
    let (stand, m) = (Stand::new(), model("timm_micro"));
    let compiled = integers(&m);
    for (clock, device, more) in [("device", "cuda", &["--profile"][..]), ("host", "cuda:0", &[])] {
        let bench = ["bench", &compiled, "--device", device, "--clock", clock, "--json"];
        let short = ["--warmup-ms", "0", "--min-time", "0", "--iterations", "1"];
        let json = stand.succeed("90", &[&bench[..], &short, more].concat());
        let report = &Report::parse_all("stdout", &json).unwrap()[0];
        assert_eq!(report.clock.name(), clock);
        let device = &report.device;
        assert_eq!(
            (device.kind, device.target.as_deref(), device.clock_mhz),
            (Kind::Cuda, Some("sm_90"), Some(1980.0))
        );
        assert!(device.driver.as_deref().is_some_and(|driver| driver.starts_with("CUDA ")), "{device:?}");
        let result = &report.results[0];
        let split = result.split_ms;
        assert_eq!((result.split_clock, split.enqueue.is_some()), (Some(Clock::Device), true));
        assert!(split.total().unwrap() > 0.0 && report.cold.compile_ms.unwrap() > 0.0, "{report:?}");
        let profiled = if more.is_empty() { 0 } else { report.model.launches.unwrap() };
        assert_eq!(report.kernels.len(), profiled);
        // The stand-in runs a replay while it is started.
        assert!(!split.is_launch_bound() || result.warnings.iter().any(|w| w.starts_with("launch-bound: ")));
    }
    let out = stand.swint("90", &["bench", &compiled, "--device", "cuda:1"]);
    assert!(!out.status.success() && text(&out.stderr).contains("no device cuda:1"), "{}", text(&out.stderr));
}

/// By the device's clock the variants' kernels are timed, without the copies.
#[test]
fn a_gpu_times_the_baseline() {
    let (stand, m) = (Stand::new(), model("timm_micro"));
    let calib = shared_file("timm_micro", "input.safetensors");
    let model =
        ["bench", "baseline", &m.spec, "--weights", &m.weights, "--calib", &calib, "--device", "cuda", "--json"];
    let short = ["--clock", "device", "--warmup-ms", "0", "--min-time", "0", "--iterations", "1"];
    let json: Value = serde_json::from_str(&stand.succeed("90", &[&model[..], &short].concat())).unwrap();
    assert_eq!((&json["clock"], &json["device"]["kind"]), (&json!("device"), &json!("cuda")));
    let variants = json["variants"].as_array().unwrap();
    let median = |variant: &Value| variant["results"][0]["ms"]["median"].as_f64();
    assert!(variants.len() == 5 && variants.iter().all(|variant| median(variant) > Some(0.0)), "{json}");
}

#[test]
fn a_missing_driver_is_said() {
    let m = model("timm_micro");
    let compiled = integers(&m);
    for args in [["tune", &*compiled, "--samples", "1"], ["verify", &*compiled, "--device", "cuda"]] {
        assert!(fail(&args).contains("no NVIDIA driver (libcuda) was found"));
    }
}
