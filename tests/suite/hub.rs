//! Models as hubs have them: a folder with the library's own description and tensor names.

use crate::{
    cli::{fail, shared_file, succeed, swint, text},
    common::{model_dir, repo},
};
use std::{fs, path::Path};
use swint_compiler::frontend::Checkpoint;
use swint_ir::Tensor;
use swint_runtime::tensors::to_safetensors;
use tempfile::TempDir;

/// Fixtures, the library that made each, and how many activations it has.
const FIXTURES: [(&str, &str, usize); 7] = [
    ("timm_micro", "timm", 10),
    ("timm_odd", "timm", 14),
    ("timm_v2_micro", "timm", 10),
    ("microsoft_micro", "microsoft/Swin-Transformer", 1),
    ("hf_micro", "transformers", 5),
    ("hf_pad", "transformers", 5),
    ("torchvision_micro", "torchvision", 6),
];

fn path(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().unwrap().to_owned()
}

/// A copy of some files of a fixture.
fn copy(fixture: &str, files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(model_dir(fixture).join(file), folder.path().join(file)).unwrap();
    }
    folder
}

const HUB: [&str; 3] = ["config.json", "preprocessor_config.json", "model.safetensors"];

fn read(folder: &Path) -> Checkpoint {
    Checkpoint::from_bytes(&fs::read(folder.join("model.safetensors")).unwrap()).unwrap()
}

fn write<'a>(file: &Path, tensors: impl Iterator<Item = (&'a String, &'a Tensor)>) {
    let bytes = to_safetensors(tensors.map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_folder_compiles_and_gives_its_librarys_activations() {
    for (fixture, library, count) in FIXTURES {
        let folder = tempfile::tempdir().unwrap();
        let out = path(folder.path().join("m.swint"));
        let compiled = swint(&["compile", &path(model_dir(fixture)), "-o", &out]);
        let said = text(&compiled.stderr);
        assert!(compiled.status.success() && !said.contains("warning"), "{fixture}: {said}");
        assert_eq!(said.contains(&format!("named as in {library}")), library != "timm", "{said}");
        let (input, golden) = (shared_file(fixture, "input.safetensors"), shared_file(fixture, "golden.safetensors"));
        let said = succeed(&["compare", &out, "--input", &input, "--golden", &golden, "--device", "interp"]);
        assert!(said.contains(&format!("{count} of {count} within 1e-4")), "{fixture}: {said}");
    }
}

#[test]
fn a_picture_is_classified_with_the_folders_preprocessing_and_labels() {
    let folder = copy("hf_micro", &HUB);
    let config = fs::read_to_string(folder.path().join("config.json")).unwrap();
    fs::write(folder.path().join("config.json"), config.replace("\"3\": \"LABEL_3\"", "\"3\": \"cat\"")).unwrap();
    let (out, picture) = (path(folder.path().join("m.swint")), path(repo("tests/images/chelsea.png")));
    succeed(&["compile", &path(folder.path()), "-o", &out]);
    let said = succeed(&["run", &out, &picture, "--device", "interp", "--top", "10"]);
    assert!(said.contains("LABEL_0") && said.contains(" cat ") && !said.contains("LABEL_3"), "{said}");
    // The same from a description and a checkpoint by themselves.
    let other = path(folder.path().join("other.swint"));
    let (config, weights) = (path(folder.path().join("config.json")), path(folder.path().join("model.safetensors")));
    succeed(&["compile", &config, "--weights", &weights, "-o", &other]);
    assert_eq!(succeed(&["run", &other, &picture, "--device", "interp", "--top", "10"]), said);
    let ir = succeed(&["ir", &path(folder.path()), "--stage", "import"]);
    assert_eq!(ir, succeed(&["ir", &config, "--weights", &weights, "--stage", "import"]));
    assert!(ir.contains("loc \"layers.1.downsample\""), "{ir}");
}

#[test]
fn shards_wrapped_names_and_other_files_are_found() {
    let folder = copy("hf_micro", &HUB);
    let ir = || succeed(&["ir", &path(folder.path()), "--stage", "import"]);
    let whole = ir();
    let tensors = read(folder.path());
    let file = |name: &str| folder.path().join(name);
    fs::remove_file(file("model.safetensors")).unwrap();
    // Two shards and their index.
    let (a, b) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let is_first = |name: &str| name.contains("layers.0");
    write(&file(a), tensors.0.iter().filter(|(name, _)| is_first(name)));
    write(&file(b), tensors.0.iter().filter(|(name, _)| !is_first(name)));
    let map: serde_json::Map<_, _> =
        tensors.0.keys().map(|name| (name.clone(), if is_first(name) { a } else { b }.into())).collect();
    let index = |map: serde_json::Value| {
        fs::write(file("model.safetensors.index.json"), serde_json::json!({"weight_map": map}).to_string()).unwrap();
    };
    index(map.into());
    assert_eq!(ir(), whole);
    index(serde_json::json!({"x": "../model.safetensors"}));
    assert!(fail(&["ir", &path(folder.path())]).contains("does not list files beside it"));
    fs::remove_file(file("model.safetensors.index.json")).unwrap();
    assert!(fail(&["ir", &path(folder.path())]).contains("there are 2 safetensors files"));
    // The only file, its tensors under a wrapper's name.
    fs::remove_file(file(a)).unwrap();
    let wrapped: Vec<(String, Tensor)> =
        tensors.0.iter().map(|(name, tensor)| (format!("module.{name}"), tensor.clone())).collect();
    write(&file(b), wrapped.iter().map(|(name, tensor)| (name, tensor)));
    assert_eq!(ir(), whole);
    fs::remove_file(file(b)).unwrap();
    assert!(fail(&["ir", &path(folder.path())]).contains("there is no model.safetensors"));
}

#[test]
fn a_folder_that_is_wrong_says_where() {
    let folder = copy("hf_micro", &HUB);
    let out = path(folder.path().join("m.swint"));
    let compile = || {
        let said = fail(&["compile", &path(folder.path()), "-o", &out]);
        assert!(!Path::new(&out).exists(), "nothing half-written");
        said
    };
    let file = |name: &str| folder.path().join(name);
    let config = fs::read_to_string(file("config.json")).unwrap();
    fs::write(file("config.json"), config.replace("\"gelu\"", "\"relu\"")).unwrap();
    let said = compile();
    assert!(said.contains("config.json:14:17") && said.contains("only gelu or gelu_python is supported"), "{said}");
    fs::write(file("config.json"), &config[..config.len() / 2]).unwrap();
    assert!(compile().contains("EOF while parsing"));
    fs::write(file("config.json"), config).unwrap();
    let pictures = fs::read_to_string(file("preprocessor_config.json")).unwrap();
    fs::write(file("preprocessor_config.json"), pictures.replace("\"resample\": 3", "\"resample\": 1")).unwrap();
    let said = compile();
    assert!(said.contains("preprocessor_config.json:15:15") && said.contains("interpolations"), "{said}");
    fs::write(file("preprocessor_config.json"), pictures).unwrap();
    // A tensor that is missing, by its name in the file.
    let mut tensors = read(folder.path());
    let name = "swin.encoder.layers.1.blocks.0.attention.self.value.weight";
    tensors.0.remove(name).unwrap();
    write(&file("model.safetensors"), tensors.0.iter());
    let said = compile();
    assert!(said.contains(&format!("missing    {name} f32[64, 64]")) && said.contains("as in transformers"), "{said}");
    // What is read is not written over; a description alone needs weights.
    let weights = path(file("model.safetensors"));
    let said = fail(&["compile", &path(folder.path()), "-o", &weights]);
    assert!(said.contains("would overwrite an input"), "{said}");
    let said = fail(&["compile", &path(file("config.json")), "-o", &out]);
    assert!(said.contains("give --weights FILE"), "{said}");
    fs::remove_file(file("config.json")).unwrap();
    assert!(compile().contains("there is no config.json or swin.toml"));
}

#[test]
fn a_checkpoint_without_a_head_gives_features() {
    let folder = copy("timm_micro", &["config.json", "model.safetensors"]);
    let mut tensors = read(folder.path());
    tensors.0.retain(|name, _| !name.starts_with("head."));
    write(&folder.path().join("model.safetensors"), tensors.0.iter());
    let out = path(folder.path().join("m.swint"));
    let compiled = swint(&["compile", &path(folder.path()), "-o", &out]);
    let said = text(&compiled.stderr);
    assert!(compiled.status.success() && said.contains("no classification head: the model gives features"), "{said}");
    assert!(succeed(&["ir", &out]).contains("-> f32[1,64] {"));
    let picture = path(repo("examples/cifar10/images/test_0000_cat.png"));
    let said = succeed(&["run", &out, &picture, "--top", "3"]);
    assert!(said.contains("test_0000_cat.png: 64 features: ") && said.ends_with(", …\n"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&succeed(&["run", &out, &picture, "--json"])).unwrap();
    assert_eq!(json[0]["features"].as_array().unwrap().len(), 64);
    assert!(fail(&["eval", &out, "--data", "cifar10"]).contains("a model without a head has no classes"));
}
