//! `swint eval` on the bundled pictures.

use crate::{
    cli::{fail, model, succeed},
    common::repo,
};
use std::fs;
use swint_compiler::frontend::load_spec;
use swint_ir::{Data, Tensor};
use swint_runtime::{
    inputs::{image_files, read_image, stack},
    tensors::to_safetensors,
};

/// The bundled pictures and their classes, by their file names.
fn pictures() -> (Vec<std::path::PathBuf>, Vec<u8>, Vec<String>) {
    let names = load_spec(&repo("examples/cifar10/swin.toml")).unwrap().preprocess.unwrap().labels;
    let files = image_files(&repo("examples/cifar10/images")).unwrap();
    let label = |file: &std::path::PathBuf| {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        names.iter().position(|name| stem.ends_with(name.as_str())).unwrap() as u8
    };
    let labels = files.iter().map(label).collect();
    (files, labels, names)
}

#[test]
fn a_file_and_folders_of_pictures_give_the_same_score() {
    let m = model("cifar10");
    let compiled = m.compile(&[]);
    let (files, labels, names) = pictures();
    let spec = load_spec(&repo("examples/cifar10/swin.toml")).unwrap();
    let preprocess = spec.preprocess.unwrap();
    let pixels: Vec<Tensor> = files.iter().map(|f| read_image(f, spec.height, &preprocess).unwrap()).collect();
    let write = |name: &str, labels: Data| {
        let labels = Tensor::new([labels.len()], labels);
        let path = m.file(name);
        fs::write(&path, to_safetensors([("pixels", &stack(&pixels)), ("labels", &labels)]).unwrap()).unwrap();
        path
    };
    let score = |data: &str, more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&succeed(&[&["eval", &compiled, "--data", data, "--json"], more].concat())).unwrap()
    };
    let data = write("data.safetensors", Data::U8(labels.clone()));
    // The f32 model is right on 10 of these 12 (`cargo run --example cifar10`, and PyTorch); a ragged last batch.
    for more in [&["--batch", "5"][..], &["--batch", "12", "--device", "interp"]] {
        let json = score(&data, more);
        assert_eq!((&json["images"], &json["top1"]), (&12.into(), &(1000.0 / 12.0).into()), "{json}");
    }
    // A folder for each class; classes without a picture get one that is another's.
    let folder = m.file("val");
    for name in &names {
        fs::create_dir_all(format!("{folder}/{name}")).unwrap();
    }
    let mut expected = 0;
    for (i, file) in files.iter().enumerate() {
        let name = &names[labels[i] as usize];
        fs::copy(file, format!("{folder}/{name}/{i}.png")).unwrap();
        expected += 1;
    }
    for (class, name) in names.iter().enumerate().filter(|(class, _)| !labels.contains(&(*class as u8))) {
        assert_ne!(labels[0] as usize, class);
        fs::copy(&files[0], format!("{folder}/{name}/cat.png")).unwrap();
        expected += 1;
    }
    let json = score(&folder, &[]);
    assert_eq!((&json["images"], &json["top1"]), (&expected.into(), &(1000.0 / expected as f64).into()), "{json}");
    assert_eq!(score(&data, &["--limit", "3"])["images"], 3);
    // Labels that are not the model's.
    let eval = |data: &str| fail(&["eval", &compiled, "--data", data]);
    assert!(eval(&write("eleven.safetensors", Data::U8(vec![0; 11]))).contains("11 labels for 12 inputs"));
    let mut wrong: Vec<i32> = labels.iter().map(|&l| l.into()).collect();
    wrong[4] = 10;
    assert!(eval(&write("wrong.safetensors", Data::I32(wrong))).contains("label 10 of 10 classes"));
    assert!(eval(&write("float.safetensors", Data::F32(vec![0.0; 12]))).contains("no tensor \"labels\""));
    fs::remove_dir_all(format!("{folder}/cat")).unwrap();
    assert!(eval(&folder).contains("9 folders for the model's 10 classes"));
}
