//! The command line tool, as its users call it.

use crate::common::{model_dir, repo};
use std::{
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

pub fn swint(args: &[&str]) -> Output {
    // What a failed pass leaves goes with the test.
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_swint"));
    command.args(args).env("NO_COLOR", "1").env("TMPDIR", temporary.path()).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn succeed(args: &[&str]) -> String {
    let out = swint(args);
    assert!(out.status.success(), "swint {args:?}\n{}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

/// Fails with an exit code that is not 0 and no panic; returns what it said.
pub fn fail(args: &[&str]) -> String {
    let out = swint(args);
    let said = text(&out.stderr);
    assert!(matches!(out.status.code(), Some(1 | 2)), "swint {args:?}: {:?}\n{said}", out.status);
    assert!(!said.contains("panicked"), "swint {args:?}\n{said}");
    said
}

pub struct Model {
    pub spec: String,
    pub weights: String,
    folder: TempDir,
}

pub fn model(name: &str) -> Model {
    let path = |file: &str| model_dir(name).join(file).to_str().unwrap().to_owned();
    Model { spec: path("swin.toml"), weights: path("model.safetensors"), folder: tempfile::tempdir().unwrap() }
}

impl Model {
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Compiles with more arguments; the model's file.
    pub fn compile(&self, more: &[&str]) -> String {
        let out = self.file("model.swint");
        succeed(&[&["compile", &self.spec, "--weights", &self.weights, "-o", &out], more].concat());
        out
    }
}

pub fn shared_file(name: &str, file: &str) -> String {
    model_dir(name).join(file).to_str().unwrap().to_owned()
}

#[test]
fn compare_passes_on_the_fixtures_and_fails_where_it_should() {
    for (name, tensors) in [("timm_micro", 10), ("timm_odd", 14)] {
        let m = model(name);
        let compiled = m.compile(&[]);
        let (input, golden) = (shared_file(name, "input.safetensors"), shared_file(name, "golden.safetensors"));
        let compare = ["compare", &compiled, "--input", &input, "--golden", &golden];
        for device in ["cpu", "interp"] {
            let said = succeed(&[&compare[..], &["--device", device]].concat());
            assert!(said.contains(&format!("{tensors} of {tensors} within 1e-4")), "{said}");
        }
        let out = swint(&[&compare[..], &["--tolerance", "1e-9", "--json"]].concat());
        assert_eq!(out.status.code(), Some(1));
        let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(json["tensors"].as_array().unwrap().len(), tensors);
        assert!(json["failures"].as_u64().unwrap() > 0);
    }
}

#[test]
fn int8_compiles_runs_and_benches_on_cpu_and_interpreter_alike() {
    let m = model("cifar10");
    let images = repo("examples/cifar10/images");
    let out = m.compile(&["--precision", "int8", "--calib", images.to_str().unwrap()]);
    let picture = images.join("test_0001_ship.png");
    let run = |device: &str| succeed(&["run", &out, picture.to_str().unwrap(), "--device", device, "--json"]);
    let cpu = run("cpu");
    assert_eq!(cpu, run("interp"));
    let json: serde_json::Value = serde_json::from_str(&cpu).unwrap();
    assert_eq!(json[0]["top"][0]["label"], "ship");
    assert_eq!(json[0]["top"].as_array().unwrap().len(), 5);
    let bench = succeed(&["bench", &out, "--batch", "2", "--min-time", "0.1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&bench).unwrap();
    assert!(json["results"][0]["runs"].as_u64().unwrap() >= 10);
}

#[test]
fn every_kernel_compiles_to_ptx_for_both_targets() {
    for (name, calib) in [("timm_micro", "input.safetensors"), ("timm_odd", "input.safetensors"), ("cifar10", "images")]
    {
        let m = model(name);
        let calib = shared_file(name, calib);
        for (target, int8, fuse) in
            [("sm_89", true, "auto"), ("sm_90", true, "auto"), ("sm_89", true, "none"), ("sm_89", false, "auto")]
        {
            let folder = m.file(&format!("{target}-{int8}-{fuse}"));
            let compile = ["compile", &m.spec, "--weights", &m.weights, "--emit", "ptx", "--target", target];
            let precision: &[&str] = if int8 { &["--precision", "int8", "--calib", &calib] } else { &[] };
            succeed(&[&compile[..], precision, &["--emit-dir", &folder, "--fuse", fuse]].concat());
            let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
            assert!(files.len() > 10, "{name} {target}: {} kernels", files.len());
            for file in files {
                let ptx = std::fs::read_to_string(&file).unwrap();
                let entry = file.file_stem().unwrap().to_str().unwrap();
                assert!(ptx.contains(&format!(".target {target}")), "{}", file.display());
                assert!(ptx.contains(&format!(".entry {entry}")), "{}", file.display());
                // Integer division becomes a float reciprocal in machine code. Inputs that are floats are quantized first.
                let float =
                    |line: &&str| ["div.", "rem.", ".f16", ".f32", ".f64"].iter().any(|part| line.contains(part));
                let found = ptx.lines().find(|line| !line.trim_start().starts_with("//") && float(line));
                assert!(!int8 || found.is_none() || entry.starts_with("quantize"), "{}: {found:?}", file.display());
            }
        }
    }
}

#[test]
fn ir_and_plan_can_be_seen() {
    let m = model("timm_micro");
    let base = ["compile", &m.spec, "--weights", &m.weights];
    let all = succeed(&[&base[..], &["--print-after", "all"]].concat());
    assert!(all.contains("// after import\ngraph @timm_micro(") && all.contains("// after rewrite"), "{all}");
    let plan = succeed(&[&base[..], &["--emit", "plan"]].concat());
    assert!(plan.starts_with("plan @timm_micro: "), "{plan}");
    let ir = succeed(&[&base[..], &["--emit", "ir"]].concat());
    assert!(ir.starts_with("graph @timm_micro("), "{ir}");
}

#[test]
fn bad_input_is_one_clear_error() {
    let m = model("timm_micro");
    let out = m.file("out.swint");
    let compile = |spec: &str, weights: &str, more: &[&str]| {
        let said = fail(&[&["compile", spec, "--weights", weights, "-o", &out], more].concat());
        assert!(!Path::new(&out).exists(), "nothing half-written");
        said
    };
    // A spec with `window = 0`, an unknown key, and none at all.
    let spec_text = std::fs::read_to_string(&m.spec).unwrap();
    let bad = m.file("bad.toml");
    std::fs::write(&bad, spec_text.replace("window = 7", "window = 0")).unwrap();
    let said = compile(&bad, &m.weights, &[]);
    assert!(said.contains("the window's side must be between 1") && said.contains(":7:10"), "{said}");
    std::fs::write(&bad, spec_text.replace("window = 7", "windows = 7")).unwrap();
    let said = compile(&bad, &m.weights, &[]);
    assert!(said.contains("unknown field `windows`") && said.contains(":7:1"), "{said}");
    assert!(compile(&m.file("none.toml"), &m.weights, &[]).contains("none.toml"));
    // A truncated checkpoint, another model's, and one that is a text.
    let bytes = std::fs::read(&m.weights).unwrap();
    let cut = m.file("cut.safetensors");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let said = compile(&m.spec, &cut, &[]);
    assert!(said.contains("cut.safetensors") && said.contains("not a readable safetensors file"), "{said}");
    let said = compile(&m.spec, &shared_file("timm_odd", "model.safetensors"), &[]);
    for part in [
        "missing    layers.0.blocks.0.attn.qkv.bias",
        "mis-shaped layers.0.blocks.0.mlp.fc1.weight",
        "extra      layers.2.blocks.0.attn.proj.bias",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    compile(&m.spec, &m.spec, &[]);
    // int8 without calibration, or with the wrong one.
    let int8 = ["--precision", "int8"];
    assert!(compile(&m.spec, &m.weights, &int8).contains("needs --calib"));
    let empty = m.file("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(compile(&m.spec, &m.weights, &["--precision", "int8", "--calib", &empty]).contains("no .png"));
    // An unwritable output, flags that make no sense.
    let base = ["compile", &m.spec, "--weights", &m.weights];
    let said = fail(&[&base[..], &["-o", &m.file("no/such/folder.swint")]].concat());
    assert!(said.contains("cannot write") && said.contains("folder.swint"), "{said}");
    assert!(fail(&base).contains("nothing to do"));
    assert!(fail(&[&base[..], &["--emit", "ptx"]].concat()).contains("--emit-dir"));
    let ptx = |target: &str| {
        fail(&[&base[..], &["--emit", "ptx", "--emit-dir", &m.file("ptx"), "--target", target]].concat())
    };
    assert!(ptx("sm_12").contains("there are sm_89, sm_90, sm_80, cpu"));
    assert!(ptx("cpu").contains("there are sm_89, sm_90"));
    assert!(fail(&[&base[..], &["--print-after", "nonsense"]].concat()).contains("fold-normalize"));
}

#[test]
fn bad_models_and_pictures_are_clear_errors() {
    let m = model("cifar10");
    let compiled = m.compile(&[]);
    let picture = m.file("picture.png");
    std::fs::write(&picture, "this is no picture").unwrap();
    let said = fail(&["run", &compiled, &picture]);
    assert!(said.contains("picture.png") && said.contains("it begins as no PNG, JPEG or WebP file does"), "{said}");
    assert!(fail(&["run", &compiled, &m.file("none.png")]).contains("none.png"));
    let said = fail(&["run", &picture, &picture]);
    assert!(said.contains("not a compiled model"), "{said}");
    let damaged = m.file("damaged.swint");
    let mut bytes = std::fs::read(&compiled).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    assert!(fail(&["bench", &damaged]).contains("checksum"));
    let input = shared_file("timm_odd", "input.safetensors");
    let said = fail(&["compare", &compiled, "--input", &input, "--golden", &input]);
    assert!(said.contains("the model takes [N, 32, 32, 3]"), "{said}");
}

#[test]
fn without_a_gpu_cuda_is_a_clear_error() {
    let m = model("timm_micro");
    let compiled = m.compile(&[]);
    let out = swint(&["bench", &compiled, "--device", "cuda"]);
    let said = text(&out.stderr);
    assert!(out.status.success() || said.contains("no device cuda:0: no NVIDIA driver"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn outputs_never_replace_inputs_or_devices() {
    let m = model("timm_micro");
    let (spec, weights) = (m.file("swin.toml"), m.file("w.safetensors"));
    std::fs::copy(&m.spec, &spec).unwrap();
    std::fs::copy(&m.weights, &weights).unwrap();
    let said = fail(&["compile", &spec, "--weights", &weights, "-o", &weights]);
    assert!(said.contains("would overwrite an input"), "{said}");
    assert_eq!(std::fs::read(&weights).unwrap(), std::fs::read(&m.weights).unwrap());
    let folder = m.folder.path().to_str().unwrap();
    assert!(fail(&["compile", &spec, "--weights", &weights, "-o", folder]).contains("no file"));
    #[cfg(unix)]
    {
        // A link is followed, and stays a link.
        let (link, target) = (m.file("link.swint"), m.file("target.swint"));
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        succeed(&["compile", &spec, "--weights", &weights, "-o", &link]);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(std::fs::metadata(&target).unwrap().len() > 100_000);
    }
}

#[test]
fn flags_that_contradict_each_other_are_errors() {
    let m = model("timm_micro");
    let base = ["compile", &m.spec, "--weights", &m.weights];
    let said = fail(&[&base[..], &["--emit", "ir", "--activation", "lut"]].concat());
    assert!(said.contains("needs --precision int8"), "{said}");
    assert!(fail(&[&base[..], &["--emit", "ir", "--json"]].concat()).contains("both go to stdout"));
    // What is asked for is all that stdout gets: it parses.
    let ir = succeed(&[&base[..], &["--emit", "ir"]].concat());
    swint_ir::text::read("stdout", &ir).unwrap();
    assert!(fail(&["compare", "m", "--input", "i", "--golden", "g", "--tolerance", "inf"]).contains("finite number"));
    assert!(fail(&["run", "m", "i", "--top", "0"]).contains("--top"));
}

#[test]
fn calibration_that_is_not_finite_is_an_error() {
    let m = model("timm_odd");
    let bytes = std::fs::read(shared_file("timm_odd", "input.safetensors")).unwrap();
    // The last pixel value becomes NaN.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&bytes[8..8 + header]).unwrap();
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let end = json["pixel_values"]["data_offsets"][1].as_u64().unwrap() as usize + 8 + header;
    let mut broken = bytes.clone();
    broken[end - 4..end].copy_from_slice(&f32::NAN.to_le_bytes());
    let calib = m.file("nan.safetensors");
    std::fs::write(&calib, broken).unwrap();
    let int8 =
        ["compile", &m.spec, "--weights", &m.weights, "--precision", "int8", "--calib", &calib, "-o", &m.file("x")];
    assert!(fail(&int8).contains("calibration input 1 is not finite"));
}
