//! `swint ir`, `opt`, `check`, `explain-error` and what the pass driver shows, as their users call them. What one text
//! file can show is in the corpus.

use crate::{
    cli::{fail, model, shared_file, succeed, swint, text},
    common::repo,
};
use std::fs;
use swint_ir::Code;

/// Arguments of an int8 compilation of a fixture.
fn int8(m: &crate::cli::Model, name: &str) -> Vec<String> {
    let calib = shared_file(name, "input.safetensors");
    ["--weights", &m.weights, "--precision", "int8", "--calib", &calib].map(str::to_owned).to_vec()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn two_compilations_give_the_same_bytes() {
    let m = model("timm_micro");
    let args = int8(&m, "timm_micro");
    let args = strs(&args);
    for emit in ["text", "dot", "json"] {
        let run = || succeed(&[&["ir", &m.spec, "--emit", emit], &args[..]].concat());
        assert_eq!(run(), run(), "{emit}");
    }
    let compile = |out: &str| {
        succeed(&[&["compile", &m.spec, "-o", out], &args[..]].concat());
        fs::read(out).unwrap()
    };
    assert_eq!(compile(&m.file("a.swint")), compile(&m.file("b.swint")));
    // The compiled model's program is that of the last stage.
    let last = succeed(&[&["ir", &m.spec, "--stage", "rewrite"], &args[..]].concat());
    assert_eq!(succeed(&["ir", &m.file("a.swint")]), last);
}

#[test]
fn dumps_are_numbered_and_read_back() {
    let m = model("timm_micro");
    let args = int8(&m, "timm_micro");
    let folder = m.file("dumps");
    let dump = [&["compile", &m.spec, "--dump-dir", &folder, "--time-passes", "--verify"], &strs(&args)[..]].concat();
    let said = text(&swint(&dump).stderr);
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["00-import.ir", "01-fold-normalize.ir", "02-equalize.ir", "03-quantize.ir", "04-rewrite.ir"]);
    for name in names {
        let path = format!("{folder}/{name}");
        // Without passes, `opt` is the round trip.
        assert_eq!(succeed(&["opt", &path]), fs::read_to_string(&path).unwrap());
        let pass = &name[3..name.len() - 3];
        assert!(
            said.lines().any(|line| line.starts_with(pass) && line.split_whitespace().count() == 5),
            "{pass}: {said}"
        );
    }
}

#[test]
fn stages_are_printed_and_stopped_after() {
    let m = model("timm_odd");
    let args = int8(&m, "timm_odd");
    let with = |more: &[&str]| [&["compile", &m.spec], &strs(&args)[..], more].concat().join("\u{1f}");
    let run = |more: &[&str]| succeed(&with(more).split('\u{1f}').collect::<Vec<_>>());
    let stages = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("// after ")).map(str::to_owned).collect()
    };
    assert_eq!(
        stages(&run(&["--print-after", "all"])),
        ["import", "fold-normalize", "equalize", "quantize", "rewrite"]
    );
    // This model takes normalised values: there is nothing to fold.
    assert_eq!(stages(&run(&["--print-after", "changed"])), ["import", "quantize", "rewrite"]);
    assert_eq!(
        stages(&run(&["--print-after", "all", "--stop-after", "quantize"])),
        ["import", "fold-normalize", "equalize", "quantize"]
    );
    assert_eq!(stages(&run(&["--print-after", "all", "--stop-after", "import"])), ["import"]);
    let refused = with(&["--print-after", "all", "--stop-after", "approximate"]);
    assert!(
        fail(&refused.split('\u{1f}').collect::<Vec<_>>())
            .contains("the stages here are import, fold-normalize, equalize, quantize")
    );
    assert!(fail(&["ir", &m.spec, "--stage", "quantize"]).contains("do not run that pass"));
    assert!(fail(&["ir", &m.spec, "--stage", "lower"]).contains("import, fold-normalize"));
}

#[test]
fn a_failed_pass_leaves_what_reproduces_it() {
    let m = model("timm_micro");
    let bytes = fs::read(&m.weights).unwrap();
    let mut tensors = swint_compiler::frontend::Checkpoint::from_bytes(&bytes).unwrap().0;
    let huge = tensors.get_mut("layers.0.blocks.0.mlp.fc1.weight").unwrap();
    *huge = swint_ir::Tensor::f32(huge.shape.clone(), vec![1e25; huge.data.len()]);
    let bytes = swint_runtime::tensors::to_safetensors(tensors.iter().map(|(name, t)| (name.as_str(), t))).unwrap();
    let bad = m.file("huge.safetensors");
    fs::write(&bad, bytes).unwrap();
    let calib = shared_file("timm_micro", "input.safetensors");
    // A folder's name is one word of the command, whatever is in it.
    let folder = m.file("dumps; $(false) 'x'");
    let args = ["compile", &m.spec, "--weights", &bad, "--precision", "int8", "--calib", &calib, "--dump-dir", &folder];
    let said = fail(&[&args[..], &["--activation", "relu"]].concat());
    assert!(said.contains("SW0201") && said.contains("pass quantize"), "{said}");
    let command = fs::read_to_string(format!("{folder}/failed-quantize/command.txt")).unwrap();
    assert!(said.replace('\n', " ").contains("swint opt") && command.contains("--activation relu"), "{said}");
    let again = shlex::split(command.trim()).unwrap();
    let again: Vec<&str> = again.iter().skip(1).map(String::as_str).collect();
    let message = |text: &str| text.lines().find(|l| l.contains("pass quantize")).unwrap().to_owned();
    assert_eq!(message(&fail(&again)), message(&said));
    // With other weights the same program passes.
    let before = format!("{folder}/failed-quantize/before.ir");
    succeed(&["opt", &before, "--passes", "quantize,rewrite"]);
}

#[test]
fn passes_one_by_one_give_what_they_give_together() {
    let m = model("timm_micro");
    let import = m.file("import.ir");
    succeed(&["ir", &m.spec, "--weights", &m.weights, "--stage", "import", "-o", &import]);
    let (quantized, weights) = (m.file("quantized.ir"), m.file("quantized.safetensors"));
    let first = ["opt", &import, "--passes", "quantize", "-o", &quantized, "--weights-out", &weights];
    assert_eq!(succeed(&first), "");
    let apart = succeed(&["opt", &quantized, "--weights", &weights, "--passes", "rewrite"]);
    assert_eq!(apart, succeed(&["opt", &import, "--passes", "quantize,rewrite"]));
    // From stdin it is the same text.
    let stdin = fs::File::open(&import).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_swint"));
    let out = command.args(["opt", "-", "--passes", "quantize,rewrite"]).stdin(stdin).output().unwrap();
    assert_eq!(text(&out.stdout), apart);
}

#[test]
fn check_looks_into_compiled_models() {
    let m = model("timm_micro");
    let args = int8(&m, "timm_micro");
    let out = m.file("model.swint");
    let compile = |activation: &str| {
        let float = if activation == "lut" { "none" } else { "all" };
        let choice = ["compile", &m.spec, "-o", &out, "--activation", activation, "--float-ops", float];
        succeed(&[&choice, &strs(&args)[..]].concat());
    };
    compile("lut");
    let said = succeed(&["check", &out, "--no-op", "gelu,relu", "--count", "mlp=4", "--exact", "--no-float"]);
    assert!(said.ends_with("5 of 5 hold\n"), "{said}");
    compile("relu");
    let out = swint(&["check", &out, "--exact", "--no-op", "lut", "--no-float", "--json"]);
    assert_eq!(out.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["failed"], 2);
    assert_eq!(json["assertions"][0]["assertion"], "no-op lut");
    assert_eq!(json["assertions"][0]["holds"], true);
    let float = &json["assertions"][1];
    assert!(float["nodes"].as_array().unwrap().iter().any(|n| n["op"] == "layer_norm"), "{float}");
    assert!(fail(&["check", &m.spec, "--no-float"]).contains("expected `graph`"));
    assert!(fail(&["check", &m.file("model.swint")]).contains("nothing to check"));
    assert!(fail(&["check", &m.file("model.swint"), "--no-op", "gleu"]).contains("did you mean `gelu`?"));
}

#[test]
fn errors_as_json_are_one_line() {
    let m = model("timm_micro");
    let spec = fs::read_to_string(&m.spec).unwrap().replace("classes = ", "classes = 70000 #");
    let bad = m.file("bad.toml");
    fs::write(&bad, spec.replace("patch = ", "patch = 0 #")).unwrap();
    let out = swint(&["compile", &bad, "--weights", &m.weights, "-o", &m.file("o.swint"), "--error-format", "json"]);
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let codes: Vec<_> = json["related"].as_array().unwrap().iter().map(|e| &e["code"]).collect();
    assert_eq!(codes, ["SW0302", "SW0302"]);
    assert!(json["related"][0]["labels"][0]["line"].as_u64() > Some(1));
    // Wrong arguments and notes are lines of JSON, too.
    let out = swint(&["--error-format", "json", "opt", "x.ir", "--passes", "nope"]);
    assert_eq!(out.status.code(), Some(2));
    let usage: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
    assert!(usage["message"].as_str().unwrap().contains("there are: fold-normalize"), "{usage}");
    let out = swint(&["ir", &m.spec, "--error-format", "json"]);
    let note: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
    assert!(note["note"].as_str().unwrap().contains("random"));
}

#[test]
fn every_code_is_explained() {
    let all = succeed(&["explain-error"]);
    for code in Code::ALL {
        assert!(all.contains(code.id()));
        let said = succeed(&["explain-error", code.id()]);
        assert!(said.starts_with(&format!("{code}: {}", code.title())), "{said}");
    }
    assert!(fail(&["explain-error", "SW9999"]).contains("there is no code"));
}

#[test]
fn the_bundled_description_is_shown_without_a_checkpoint() {
    let spec = repo("examples/cifar10/swin.toml");
    let spec = spec.to_str().unwrap();
    let out = swint(&["ir", spec, "--precision", "int8"]);
    assert!(out.status.success());
    assert!(text(&out.stderr).contains("no --weights") && text(&out.stderr).contains("no --calib"));
    let ir = text(&out.stdout);
    let (graph, _) = swint_ir::text::read("stdout", &ir).unwrap();
    assert_eq!(graph.op_counts()["mlp"], 8);
    let plan = succeed(&["ir", spec, "--stage", "plan"]);
    assert!(plan.starts_with("plan @swin_cifar10: 155 launches"), "{plan}");
}

#[test]
fn flags_without_effect_are_errors() {
    let m = model("timm_micro");
    let ir = m.file("import.ir");
    succeed(&["ir", &m.spec, "--stage", "import", "-o", &ir]);
    for more in [&["--precision", "int8"][..], &["--stage", "rewrite"], &["--time-passes"], &["--weights", "none"]] {
        let said = fail(&[&["ir", &ir], more].concat());
        assert!(said.contains("holds one stage"), "{more:?}: {said}");
    }
    assert!(fail(&["ir", &m.spec, "--print-after", "all", "--emit", "json"]).contains("give -o"));
    assert!(fail(&["opt", &ir, "--rules", "qlinear"]).contains("--rules is for the pass rewrite"));
    assert!(fail(&["opt", &ir, "--calib", "none"]).contains("--calib is for the passes equalize and quantize"));
    assert!(fail(&["opt", &ir, "--passes", "rewrite", "--print-after", "quantize"]).contains("the stages here are"));
    assert!(fail(&["opt", &ir, "--validate", "1", "--tolerance", "nan"]).contains("finite number"));
    let (a, b) = (m.file("same"), m.file("same"));
    assert!(fail(&["opt", &ir, "-o", &a, "--weights-out", &b]).contains("name one file"));
    let half = ["compile", &m.spec, "--weights", &m.weights, "--stop-after", "import", "-o", &a];
    assert!(fail(&half).contains("half compiled"));
    // What does not hold is not written.
    let out = m.file("wrong.ir");
    let relu = ["opt", &ir, "--passes", "approximate", "--validate", "1", "-o", &out];
    assert_eq!(swint(&relu).status.code(), Some(1));
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn the_target_decides_what_a_program_costs() {
    let m = model("timm_micro");
    let out = m.file("m.swint");
    let base = ["compile", &m.spec, "--weights", &m.weights, "-o", &out, "--json"];
    let predicted = |target: &[&str]| {
        let json: serde_json::Value = serde_json::from_str(&succeed(&[&base[..], target].concat())).unwrap();
        (json["target"].as_str().unwrap().to_owned(), json["predicted_us"][1].as_f64().unwrap())
    };
    let default = predicted(&[]);
    assert_eq!(default, predicted(&["--target", "sm_89"]));
    // A tiny model is launches, which a processor has cheaper; a larger one is work.
    assert_ne!(default, predicted(&["--target", "cpu"]));
    let larger = |target: &str| {
        let (spec, weights) = (repo("examples/cifar10/swin.toml"), repo("examples/cifar10/model.safetensors"));
        let (spec, weights) = (spec.to_str().unwrap(), weights.to_str().unwrap());
        let args = ["compile", spec, "--weights", weights, "-o", &out, "--json", "--target", target];
        let json: serde_json::Value = serde_json::from_str(&succeed(&args)).unwrap();
        json["predicted_us"][1].as_f64().unwrap()
    };
    assert!(larger("cpu") > 2.0 * larger("sm_89"));
    let own = m.file("own.toml");
    let text = fs::read_to_string(repo("compiler/targets/sm_89.toml")).unwrap();
    fs::write(&own, text.replace("\"sm_89\"", "\"mine\"").replace("launch_us = 2.0", "launch_us = 200.0")).unwrap();
    let (name, slow) = predicted(&["--target", &own]);
    assert!(name == "mine" && slow > 50.0 * default.1, "{slow} {default:?}");
    fs::write(&own, text.replace("launch_us = 2.0", "launch_us = -2.0")).unwrap();
    let said = fail(&[&base[..], &["--target", &own]].concat());
    assert!(said.contains("SW0302") && said.contains("own.toml:7:13"), "{said}");
    assert!(fail(&[&base[..], &["--target", "gone.toml"]].concat()).contains("SW0301"));
}

#[test]
fn measured_times_override_estimates() {
    let m = model("timm_micro");
    let (out, times) = (m.file("m.swint"), m.file("times.json"));
    let args = int8(&m, "timm_micro");
    let compile = |more: &[&str]| {
        succeed(&[&["compile", &m.spec, "-o", &out], &strs(&args)[..], more].concat());
    };
    compile(&[]);
    succeed(&["check", &out, "--count", "mlp=4"]);
    succeed(&["bench", &out, "--timings", &times, "--min-time", "0.3"]);
    let measured = fs::read_to_string(&times).unwrap();
    let json: serde_json::Value = serde_json::from_str(&measured).unwrap();
    // Two widths of MLPs, attentions with and without a mask; each has its time.
    let ops = json["ops"].as_object().unwrap();
    assert_eq!(ops.keys().filter(|op| op.starts_with("mlp")).count(), 2, "{measured}");
    assert!(ops.values().all(|op| op["us"].as_f64() > Some(0.0)), "{measured}");
    // Beside them come those of another program on the same device, and not on another or of another batch.
    compile(&["--fuse", "none"]);
    succeed(&["bench", &out, "--timings", &times, "--min-time", "0.3"]);
    let both = fs::read_to_string(&times).unwrap();
    assert!(both.contains("\"mlp{") && both.contains("\"lut "), "{both}");
    assert!(fail(&["bench", &out, "--timings", &times, "--batch", "2"]).contains("a batch of 1: give another file"));
    // If the MLPs were slow, their halves would be taken.
    let mut slow = json.clone();
    for (op, measured) in slow["ops"].as_object_mut().unwrap() {
        measured["us"] = if op.starts_with("mlp") { 1e6.into() } else { measured["estimated_us"].clone() };
    }
    fs::write(&times, slow.to_string()).unwrap();
    compile(&["--timings", &times]);
    succeed(&["check", &out, "--count", "mlp=0,norm_linear=8,linear_residual=8"]);
    fs::write(&times, "{\n  \"version\": 1,\n  \"devise\": \"cpu\"\n}").unwrap();
    let said = fail(&[&["compile", &m.spec, "-o", &out, "--timings", &times], &strs(&args)[..]].concat());
    assert!(said.contains("times.json:3:10") && said.contains("unknown field `devise`"), "{said}");
}

#[test]
fn rewrites_that_stop_early_give_a_valid_program() {
    let m = model("timm_micro");
    let out = m.file("m.swint");
    let args = int8(&m, "timm_micro");
    let input = shared_file("timm_micro", "input.safetensors");
    for (flag, limit, said) in [
        ("--iteration-limit", "3", "(3 iterations, the --iteration-limit)"),
        ("--node-limit", "500", "more than --node-limit 500)"),
        ("--time-limit", "0", "more than --time-limit)"),
    ] {
        let compile = ["compile", &m.spec, "-o", &out, flag, limit];
        let done = swint(&[&compile[..], &strs(&args)].concat());
        let warning = text(&done.stderr);
        assert!(done.status.success() && warning.contains("warning: the rewrites stopped early"), "{warning}");
        assert!(warning.contains(said), "{warning}");
        // It runs, and its logits are the whole program's within what `real` rules round.
        succeed(&[
            "compare",
            &out,
            "--input",
            &input,
            "--golden",
            &shared_file("timm_micro", "golden.safetensors"),
            "--tolerance",
            "2",
        ]);
    }
}

#[test]
fn relus_for_some_blocks() {
    let m = model("timm_odd");
    let out = m.file("m.swint");
    let args = int8(&m, "timm_odd");
    let compile = |policy: &str, fuse: &str, run: fn(&[&str]) -> String| {
        let choice = ["compile", &m.spec, "-o", &out, "--activation", policy, "--fuse", fuse];
        run(&[&choice, &strs(&args)[..]].concat())
    };
    // Depths 1, 3, 2.
    for (policy, relus) in [("relu:stage=1", 3), ("relu:stage=0..1,lut:rest", 4), ("relu:block=2.1,relu:stage=0", 2)] {
        for fuse in ["auto", "none"] {
            let said = compile(policy, fuse, succeed);
            assert!(said.contains(&format!("{relus} GELUs replaced by ReLU")), "{said}");
            let checked = swint(&["check", &out, "--exact"]);
            let said = text(&checked.stdout);
            assert!(checked.status.code() == Some(1) && said.contains(&format!("{relus} approximations")), "{said}");
        }
        succeed(&["check", &out, "--count", &format!("lut={}", 6 - relus)]);
    }
    assert!(compile("relu:stage=2..3,relu:block=1.3", "auto", fail).contains("no GELU is in block=1.3"));
    assert!(compile("lut:stage=1", "auto", fail).contains("only relu is for some blocks"));
    // In float, too, and the rest keeps its GELU.
    succeed(&["compile", &m.spec, "--weights", &m.weights, "-o", &out, "--activation", "relu:stage=1"]);
    succeed(&["check", &out, "--count", "gelu=3,relu=3"]);
}

#[test]
fn rewrites_are_explained() {
    let m = model("timm_micro");
    let args = int8(&m, "timm_micro");
    let explain = |more: &[&str]| swint(&[&["explain", &m.spec], &strs(&args)[..], more].concat());
    let out = explain(&["--removed", "gelu", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let json: serde_json::Value = serde_json::from_str(&text(&out.stdout)).unwrap();
    let explained = json["explained"].as_array().unwrap();
    assert_eq!((explained.len(), &json["staying"]), (4, &0.into()));
    for gelu in explained {
        assert!(gelu["written"].as_str().unwrap().contains("gelu("), "{gelu}");
        let steps = gelu["steps"].as_array().unwrap();
        let step = |rule: &str| steps.iter().find(|step| step["rule"] == rule).unwrap_or_else(|| panic!("{gelu}"));
        assert_eq!(step("gelu-table")["class"], "exact");
        assert!(step("gelu-table")["after"].as_str().unwrap().starts_with("lut("), "{gelu}");
        assert!(step("mlp-table")["after"].as_str().unwrap().starts_with("mlp("), "{gelu}");
        assert!(gelu["us"][1].as_f64() < gelu["us"][0].as_f64() && gelu["ops"][1]["gelu"].is_null(), "{gelu}");
    }
    // What a kernel was fused from, by the name of the module whose output it is.
    let out = explain(&["--node", "layers.0.blocks.1"]);
    assert!(text(&out.stdout).contains("  mlp-table (exact)\n"), "{}", text(&out.stdout));
    let out = explain(&["--node", "layers.0.blocks.9"]);
    assert!(text(&out.stderr).contains("did you mean `layers.0.blocks.0`?"), "{}", text(&out.stderr));
    // A compiled model says the same of itself.
    let folder = tempfile::tempdir().unwrap();
    let compiled = folder.path().join("m.swint").display().to_string();
    succeed(&[&["compile", &m.spec], &strs(&args)[..], &["-o", &compiled]].concat());
    for more in [&["--removed", "gelu"][..], &["--node", "layers.0.blocks.1"], &["--node", "%3", "--json"]] {
        assert_eq!(succeed(&[&["explain", &compiled], more].concat()), text(&explain(more).stdout));
    }
    let refused = |more: &[&str]| fail(&[&["explain", &compiled, "--removed", "gelu"], more].concat());
    assert!(refused(&["--activation", "relu"]).contains("is compiled"));
    assert!(refused(&["--fuse", "none"]).contains("is compiled"));
    // The baseline keeps them, and says so.
    let out = explain(&["--removed", "gelu", "--activation", "gelu"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("0 of 4 gelu are gone"), "{}", text(&out.stdout));
    // A node of a text, by its number there.
    let act = repo("tests/corpus/rules/gelu-table.ir");
    let said = succeed(&["explain", act.to_str().unwrap(), "--node", "%1"]);
    assert!(said.contains("  gelu-table (exact)\n") && said.contains("\n  = lut(%x, @gelu.i8-u8)\n"), "{said}");
    let refused = |more: &[&str]| fail(&[&["explain", act.to_str().unwrap()], more].concat());
    assert!(refused(&["--node", "%3"]).contains("the program has 3 nodes"));
    assert!(refused(&["--removed", "gleu"]).contains("did you mean `gelu`?"));
    assert!(refused(&["--removed", "softmax"]).contains("has no softmax"));
    assert!(refused(&["--removed", "gelu", "--calib", "x"]).contains("no pass runs on it"));
    assert!(refused(&[]).contains("--node"));
}
