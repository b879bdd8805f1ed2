//! Checkpoints as users give them: `swint inspect`, files that are wrong, and what is converted.

use crate::{
    cli::{fail, model, succeed, swint, text},
    common::repo,
};
use serde_json::Value as Json;
use std::{fs, path::Path};
use swint_compiler::frontend::Checkpoint;
use swint_ir::Tensor;

fn inspected(args: &[&str]) -> Json {
    serde_json::from_str(&succeed(&[&["inspect", "--json"], args].concat())).unwrap()
}

fn names(json: &Json) -> Vec<&str> {
    json["tensors"].as_array().unwrap().iter().map(|tensor| tensor["name"].as_str().unwrap()).collect()
}

/// Writes a checkpoint with tensors of a type, whatever it is.
fn write(path: &str, dtype: &str, tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<u8>)>) {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":{offsets:?}}}"#));
        data.extend(bytes);
    }
    let header = format!("{{{}}}", entries.join(","));
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()).unwrap();
}

/// The tensors of a model's checkpoint.
fn tensors(path: &str) -> Vec<(String, Tensor)> {
    Checkpoint::from_bytes(&fs::read(path).unwrap()).unwrap().0.into_iter().collect()
}

#[test]
fn inspect_shows_what_is_there() {
    let m = model("timm_micro");
    let all = inspected(&[&m.weights]);
    let tensors = tensors(&m.weights);
    assert_eq!(all["tensors"].as_array().unwrap().len(), tensors.len());
    assert_eq!(all["parameters"], tensors.iter().map(|(_, t)| t.data.len()).sum::<usize>());
    assert_eq!(all["bytes"], fs::metadata(&m.weights).unwrap().len());
    for shown in all["tensors"].as_array().unwrap() {
        let tensor = &tensors.iter().find(|(name, _)| shown["name"] == **name).unwrap().1;
        let values: Vec<f64> = tensor.as_f32().unwrap().iter().map(|&x| x.into()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (found, largest) = (&shown["statistics"], values.iter().copied().fold(f64::MIN, f64::max));
        assert!((found["mean"].as_f64().unwrap() - mean).abs() < 1e-9, "{shown}");
        assert_eq!((&found["max"], shown["shape"].as_array().unwrap().len()), (&largest.into(), tensor.shape.len()));
        assert_eq!(found["zeros"], values.iter().filter(|x| **x == 0.0).count());
    }
    let header = inspected(&[&m.weights, "--no-stats", "--sort", "size"]);
    assert!(header["tensors"][0]["statistics"].is_null());
    let sizes: Vec<u64> = header["tensors"].as_array().unwrap().iter().map(|t| t["bytes"].as_u64().unwrap()).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] > sizes[sizes.len() - 1]);
    let biases = inspected(&[&m.weights, "--filter", "*.attn.*.bias", "--sort", "name"]);
    let biases = names(&biases);
    assert!(
        biases.len() > 1 && biases.is_sorted() && biases.iter().all(|n| n.contains(".attn.") && n.ends_with(".bias"))
    );
    let table = succeed(&["inspect", &m.weights, "--filter", "patch_embed"]);
    assert!(table.starts_with("tensor") && table.contains("patch_embed.proj.weight  F32    ["), "{table}");
    assert!(table.contains(&format!("tensors 4 of {},", tensors.len())), "{table}");
    assert_eq!(succeed(&["inspect", &m.weights, "--no-stats"]).lines().next().unwrap().split_whitespace().count(), 3);
}

#[test]
fn inspect_says_what_is_no_checkpoint() {
    let m = model("timm_micro");
    let said = fail(&["inspect", &m.compile(&[])]);
    assert!(said.contains("is a compiled model, not a checkpoint"), "{said}");
    assert!(fail(&["inspect", &m.spec]).contains("SW0303"));
    assert!(fail(&["inspect", &m.file("missing")]).contains("SW0301"));
    assert!(fail(&["inspect", repo("tests").to_str().unwrap()]).contains("SW0301"));
}

#[test]
fn hostile_checkpoints_are_refused_wherever_one_is_read() {
    let m = model("timm_micro");
    let hostile = |name: &str| repo(&format!("tests/corpus/fuzz/{name}.safetensors")).to_str().unwrap().to_owned();
    for (name, wanted) in [
        ("two-of-a-name", "there are two of this name"),
        ("name-with-escape-code", r"\u{1b}[2J"),
        ("hole", "belong to no tensor"),
        ("size-overflows", "overflows"),
        ("header-of-100-mb", "--max-header"),
    ] {
        let out = m.file("none.swint");
        for args in [
            &["compile", &m.spec, "--weights", &hostile(name), "-o", &out][..],
            &["ir", &m.spec, "--weights", &hostile(name)],
            &[
                "compile",
                &m.spec,
                "--weights",
                &m.weights,
                "--precision",
                "int8",
                "--calib",
                &hostile(name),
                "-o",
                &out,
            ],
        ] {
            let said = fail(args);
            assert!(said.contains(wanted) && !said.contains('\u{1b}'), "{args:?}: {said}");
        }
        assert!(!Path::new(&out).exists());
    }
}

#[test]
fn limits_are_raised_by_flags() {
    let m = model("timm_micro");
    let many = m.file("many.safetensors");
    write(&many, "U8", (0..10_001).map(|i| (format!("t{i}"), vec![0], Vec::new())));
    assert!(fail(&["inspect", &many]).contains("--max-tensors"));
    let shown = inspected(&[&many, "--max-tensors", "10001", "--no-stats", "--filter", "t1000?"]);
    assert_eq!(names(&shown), ["t10000"]);
    assert!(fail(&["inspect", &many, "--max-tensors", "20000", "--max-header", "1000"]).contains("--max-header"));
    let compile = ["compile", &m.spec, "--weights", &m.weights, "-o", &m.file("m.swint"), "--max-tensors", "3"];
    assert!(fail(&compile).contains("SW0303"));
}

#[test]
fn what_is_converted_is_said() {
    let m = model("timm_micro");
    let (narrow, wide) = (m.file("bf16.safetensors"), m.file("f64.safetensors"));
    let upper = |x: &f32| ((x.to_bits() >> 16) as u16).to_le_bytes();
    let all = tensors(&m.weights);
    let bytes = |to: &dyn Fn(&[f32]) -> Vec<u8>| -> Vec<(String, Vec<usize>, Vec<u8>)> {
        all.iter().map(|(name, t)| (name.clone(), t.shape.clone(), to(t.as_f32().unwrap()))).collect()
    };
    write(&narrow, "BF16", bytes(&|values| values.iter().flat_map(upper).collect()));
    write(&wide, "F64", bytes(&|values| values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect()));
    let compiled = |weights: &str| {
        let out = m.file("m.swint");
        let ran = swint(&["compile", &m.spec, "--weights", weights, "-o", &out]);
        assert!(ran.status.success());
        (text(&ran.stderr), fs::read(&out).unwrap())
    };
    let (said, plain) = compiled(&m.weights);
    assert!(!said.contains("note"), "{said}");
    let (said, from_wide) = compiled(&wide);
    assert!(said.contains(&format!("{} tensors of F64 converted to F32, rounded", all.len())), "{said}");
    assert_eq!(plain, from_wide);
    let (said, from_narrow) = compiled(&narrow);
    assert!(said.contains("tensors of BF16 converted to F32, exactly"), "{said}");
    assert_ne!(plain, from_narrow);
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let m = model("timm_micro");
    let bad = m.file("nan.safetensors");
    let spoilt = tensors(&m.weights).into_iter().map(|(name, tensor)| {
        let mut values = tensor.as_f32().unwrap().to_vec();
        if name == "layers.0.blocks.0.mlp.fc1.weight" {
            let columns = tensor.shape[1];
            (values[columns + 2], values[columns + 3]) = (f32::NAN, f32::INFINITY);
        }
        (name, tensor.shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
    });
    write(&bad, "F32", spoilt);
    let said = fail(&["compile", &m.spec, "--weights", &bad, "-o", &m.file("m.swint")]);
    assert!(said.contains("not finite layers.0.blocks.0.mlp.fc1.weight at [1, 2]: NaN; 2 of"), "{said}");
    let shown = inspected(&[&bad, "--filter", "layers.0.blocks.0.mlp.fc1.weight"]);
    assert_eq!(shown["tensors"][0]["problems"][0]["text"], "1 NaN, 1 infinite, the first at [1, 2]");
    assert_eq!((&shown["problems"], &shown["tensors"][0]["problems"][0]["kind"]), (&1.into(), &"not-finite".into()));
}
