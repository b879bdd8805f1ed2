//! The PTX of every kernel in the simulator, bit for bit; and `swint verify`.

use crate::{
    cli::{fail, model, succeed, swint, text},
    common::{compiled, compiled_with, noise, random_programs},
    tensor::launches_are_exact,
};
use std::fs;
use swint_compiler::{
    pipeline::{Activation, Options, Precision},
    plan::{Choices, plan_for},
};
use swint_ir::{Module, Tensor};
use swint_runtime::{inputs::stack, offline::Sm, ptxsim::Kind, verify::simulate};

/// Every launch is exact and without fault, on all targets.
fn is_exact(name: &str, module: &Module, batch: usize, inputs: &[Tensor]) {
    for target in ["sm_89", "sm_90"] {
        let mut launches = 0;
        launches_are_exact(name, module, (batch, inputs), target, &Choices::new(), |_| launches += 1);
        let graph = module.graph.with_batch(batch).unwrap();
        let machine = Sm::from_name(target).unwrap().machine();
        assert_eq!(
            launches,
            plan_for(&graph, &module.weights, Some(machine), &Choices::new()).unwrap().1.launches.len()
        );
    }
}

fn models_are_exact(name: &str) {
    for (precision, activation) in [
        (Precision::F32, Activation::Gelu),
        (Precision::F32, Activation::Relu),
        (Precision::Int8, Activation::Lut),
        (Precision::Int8, Activation::Relu),
        (Precision::Int8, Activation::Gelu),
    ] {
        let module = compiled(name, precision, activation);
        is_exact(name, &module, 1, &noise(&module, 1));
    }
    let options = Options { precision: Precision::Int8, fuse: false, ..Options::default() };
    let module = compiled_with(name, &options);
    is_exact(name, &module, 2, &[stack(&noise(&module, 2))]);
}

#[test]
fn micro_is_exact() {
    models_are_exact("timm_micro");
}

#[test]
fn odd_is_exact() {
    models_are_exact("timm_odd");
}

/// Padding before and after the shift, windows and shifts of two sides, odd sides, cosine attention.
#[test]
fn padded_and_second_versions_are_exact() {
    for name in ["timm_pad", "transformers_pad", "timm_v2_pad", "torchvision_v2_pad"] {
        for (precision, fuse) in [(Precision::F32, true), (Precision::Int8, true), (Precision::Int8, false)] {
            let module = compiled_with(name, &Options { precision, fuse, ..Options::default() });
            is_exact(name, &module, 2, &[stack(&noise(&module, 2))]);
        }
    }
}

#[test]
fn the_bundled_model_is_exact() {
    models_are_exact("cifar10");
}

/// Kernels of shapes, widths and types that no model has.
#[test]
fn random_programs_are_exact() {
    let kernels = random_programs(0..100, |name, module, inputs| is_exact(name, module, 1, inputs));
    for fused in [
        "norm_linear",
        "linear_residual",
        "mlp",
        "window_attention",
        "stream_linear",
        "norm_residual",
        "cosine_attention",
    ] {
        assert!(kernels.contains(fused), "{fused} is in no program: {kernels:?}");
    }
}

/// Each kernel of an integer model with one kind of instruction changed: the result is wrong, or there is a finding.
#[test]
fn a_changed_instruction_is_caught() {
    let module = compiled("timm_micro", Precision::Int8, Activation::Lut);
    let sm = Sm::from_name("sm_89").unwrap();
    for (what, by) in [
        ("st.global", "a byte further"),
        ("min.s32", "max.s32"),
        ("ld.global.nc", "a byte further"),
        ("ld.shared", "16 bytes further"),
        ("bar.sync", "nothing"),
        ("shfl.sync.bfly.b32", "two lanes further"),
    ] {
        let (mut wrong, mut all, mut texts) = (0, 0, Vec::new());
        let (inputs, likely) = (noise(&module, 1), Choices::new());
        simulate(&module, &inputs, 1, sm, &likely, |_| Ok(None), |run| texts.push(run.ptx.clone())).unwrap();
        let changed = |entry: &str| {
            let text = &texts.iter().find(|ptx| ptx.entry == entry).unwrap().text;
            // A warp alone needs no barrier.
            let alone = what == "bar.sync" && text.contains(".reqntid 32,");
            let line = |line: &str| match what {
                _ if alone || !line.contains(what) => line.to_owned(),
                "min.s32" => line.replace(what, by),
                "ld.shared" => line.replacen(']', "+16]", 1),
                "bar.sync" => String::new(),
                "shfl.sync.bfly.b32" => line.replace(", 1, 31", ", 2, 31"),
                // A byte further: misaligned, out of bounds, or another element.
                _ => line.replacen(']', "+1]", 1),
            };
            Ok(Some(text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"))
        };
        simulate(&module, &inputs, 1, sm, &likely, changed, |run| {
            if texts.iter().any(|ptx| ptx.entry == run.ptx.entry && ptx.text != run.ptx.text) {
                all += 1;
                wrong += usize::from(!run.is_exact());
            }
        })
        .unwrap();
        assert!(all > 5 && wrong == all, "{what} {by}: {wrong} of {all} launches are caught");
    }
}

/// Where launches overlap, one that touches what a launch before may be at, before it has waited for it, has a finding: nothing else tells, as
/// launches run in turn here.
#[test]
fn a_launch_that_does_not_wait_is_caught() {
    const WAIT: &str = "\tgriddepcontrol.wait;\n";
    let module = compiled("cifar10", Precision::Int8, Activation::Lut);
    let (sm, inputs, likely) = (Sm::from_name("sm_90").unwrap(), noise(&module, 1), Choices::new());
    let mut texts = Vec::new();
    simulate(&module, &inputs, 1, sm, &likely, |_| Ok(None), |run| texts.push(run.ptx.clone())).unwrap();
    assert!(texts.iter().all(|ptx| ptx.text.matches(WAIT).count() == 1));
    // Constants are read before it.
    let early = |text: &str| text.split_once(WAIT).is_some_and(|(before, _)| before.contains("ld.global"));
    assert!(texts.iter().filter(|ptx| early(&ptx.text)).count() > 5);
    // Behind the first access that it is for: those of constants that come later are `.nc`.
    let late = |text: &str| {
        let (before, after) = text.split_once(WAIT)?;
        let access = after.split_inclusive('\n').find(|line| line.contains("ld.global.") && !line.contains(".nc."))?;
        let (between, rest) = after.split_once(access)?;
        Some(format!("{before}{between}{access}{WAIT}{rest}"))
    };
    let end = |text: &str| Some(text.replace(WAIT, "").replace("\tret;", &format!("{WAIT}\tret;")));
    type Change<'a> = &'a dyn Fn(&str) -> Option<String>;
    let changes: [(&str, Kind, Change<'_>); 4] = [
        ("an access later", Kind::Dependency, &late),
        ("at the end", Kind::Dependency, &end),
        ("never", Kind::Dependency, &|text| Some(text.replace(WAIT, ""))),
        ("not held back", Kind::ReadOnly, &|text| {
            Some(text.replace("ld.global.", "ld.global.nc.").replace(".nc.nc", ".nc"))
        }),
    ];
    for (when, kind, change) in changes {
        let changed = |entry: &str| Ok(change(&texts.iter().find(|ptx| ptx.entry == entry).unwrap().text));
        let (mut caught, mut all) = (0, 0);
        simulate(&module, &inputs, 1, sm, &likely, changed, |run| {
            assert_eq!(run.mismatch, None);
            if texts.iter().any(|ptx| ptx.entry == run.ptx.entry && ptx.text != run.ptx.text) {
                all += 1;
                caught += usize::from(run.findings.iter().any(|finding| finding.kind == kind));
            }
        })
        .unwrap();
        assert!(all > 5 && caught == all, "{when}: {caught} of {all} launches are caught");
    }
}

#[test]
fn verify_reports() {
    let m = model("timm_micro");
    let calibrate = format!("{}/input.safetensors", model_folder(&m.spec));
    let compiled = m.compile(&["--precision", "int8", "--calib", &calibrate]);
    let said = succeed(&["verify", &compiled, "--target", "sm_89,sm_90"]);
    assert_eq!(said.matches("23 of 23 launches").count(), 2, "{said}");
    let table = succeed(&["verify", &compiled, "--stats", "--input", &calibrate]);
    assert!(table.contains("coalesced") && table.contains("gemm_"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&succeed(&["verify", &compiled, "--json"])).unwrap();
    let total = &json[0]["total"];
    assert_eq!((json[0]["wrong"].as_u64(), total["launches"].as_u64()), (Some(0), Some(23)));
    // Every input is read and every result written at least once.
    let bytes = |name: &str| total[name].as_u64().unwrap();
    assert!(32 * (bytes("loaded_sectors") + bytes("stored_sectors")) >= bytes("ideal_bytes"), "{total}");
    assert!(succeed(&["verify", &compiled, "--device", "cpu"]).contains("cpu: 23 of 23 launches"));
}

/// A kernel's PTX, changed by hand.
#[test]
fn verify_takes_changed_kernels() {
    let m = model("timm_micro");
    let compiled = m.compile(&[]);
    let folder = m.file("ptx");
    succeed(&[
        "compile",
        &m.spec,
        "--weights",
        &m.weights,
        "--target",
        "sm_89",
        "--emit",
        "ptx",
        "--emit-dir",
        &folder,
    ]);
    let run = || swint(&["verify", &compiled, "--ptx", &folder]);
    assert!(run().status.success());
    let path = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let path = path.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("add_")).unwrap();
    let ptx = fs::read_to_string(&path).unwrap();
    fs::write(&path, ptx.replacen("add.f32", "sub.f32", 1)).unwrap();
    let out = run();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    // The kernel alone is wrong, not those that read its results.
    let launches = said.matches("differ from the interpreter's").count();
    assert!(said.contains("launch ") && said.contains("add_") && said.contains("24 kernels replaced"), "{said}");
    assert!(text(&out.stdout).contains(&format!("{} of 80 launches", 80 - launches)), "{said}");
    fs::write(&path, ptx.replacen("add.f32", "frob.f32", 1)).unwrap();
    let said = fail(&["verify", &compiled, "--ptx", &folder]);
    assert!(said.contains("frob.f32") && said.contains("PTX line"), "{said}");
    fs::write(&path, b"\xff\xfe").unwrap();
    assert!(fail(&["verify", &compiled, "--ptx", &folder]).contains("cannot read"));
    fs::write(&path, ptx.replace("sm_89", "sm_20")).unwrap();
    assert!(fail(&["verify", &compiled, "--ptx", &folder]).contains(".target is not sm_89"));
    let said = fail(&["verify", &compiled, "--ptx", m.spec.rsplit_once('/').unwrap().0]);
    assert!(said.contains("no file there is named after a kernel"), "{said}");
    let said = fail(&["verify", &compiled, "--ptx", &m.file("none")]);
    assert!(said.contains("no such folder"), "{said}");
    assert!(fail(&["verify", &compiled, "--target", "sm_75"]).contains("sm_89, sm_90"));
    assert!(fail(&["verify", &m.weights]).contains("not"));
}

fn model_folder(spec: &str) -> &str {
    spec.rsplit_once('/').unwrap().0
}
