use super::{
    super::{Checkpoint, CheckpointError, Spec, random_checkpoint, spec::Version},
    *,
};
use swint_ir::Tensor;

fn spec(version: u32) -> Spec {
    let text = "[model]\nname = \"m\"\nimage = 56\nchannels = 3\npatch = 4\nwindow = 7\nembed = 6\ndepths = [2, 2]\nheads = [1, 2]\n";
    Spec::parse("swin.toml", &format!("{text}classes = 3\nversion = {version}\n")).unwrap()
}

/// A name of each layout.
const NAMES: [(&str, &str); 5] = [
    ("timm", "patch_embed.norm.bias"),
    ("microsoft/Swin-Transformer", "module.layers.0.downsample.norm.bias"),
    ("transformers", "module.swin.embeddings.norm.bias"),
    ("transformers", "encoder.layers.0.blocks.0.layernorm_before.bias"),
    ("torchvision", "features.0.0.bias"),
];

/// A checkpoint as a library stores it, under the names that it has itself (0) or the others that are taken (1).
fn stored(naming: &Naming, checkpoint: &Checkpoint, choice: usize) -> CheckpointFile {
    let mut file = CheckpointFile::default();
    for (name, tensor) in &checkpoint.0 {
        let places = naming.stored(name);
        let place = &places[choice.min(places.len() - 1)];
        let shape = place.shape(&tensor.shape);
        let values = tensor.as_f32().unwrap();
        let n = place.names.len();
        for (i, name) in place.names.iter().enumerate() {
            let part = &values[i * values.len() / n..][..values.len() / n];
            let whole = match place.third {
                None => Tensor::f32(shape.clone(), part.to_vec()),
                Some(third) => {
                    let before = file.tensors.0.get(name).map(|t| t.as_f32().unwrap().to_vec());
                    let mut whole = before.unwrap_or_else(|| vec![9.0; 3 * part.len()]);
                    whole[third * part.len()..][..part.len()].copy_from_slice(part);
                    Tensor::f32(shape.clone(), whole)
                }
            };
            file.tensors.0.insert(name.clone(), whole);
        }
    }
    file
}

/// A file as a library stores it, and the checkpoint that it is.
fn example(version: u32, name: &str) -> (Spec, CheckpointFile, Checkpoint) {
    let spec = spec(version);
    let checkpoint = random_checkpoint(&spec, 1);
    let file = stored(&Naming::of([name].into_iter()).unwrap(), &checkpoint, 0);
    (spec, file, checkpoint)
}

#[test]
fn every_layout_is_translated_to_timms() {
    for (version, choice) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
        let spec = spec(version);
        let checkpoint = random_checkpoint(&spec, 1);
        for (layout, name) in NAMES {
            let naming = Naming::of([name].into_iter()).unwrap();
            let file = stored(&naming, &checkpoint, choice);
            let found = canonical(spec.clone(), file).unwrap_or_else(|e| panic!("{name} {version}: {e}"));
            assert_eq!((found.layout.name, &found.notes, &found.spec), (layout, &Vec::new(), &spec));
            assert_eq!(found.checkpoint.0, checkpoint.0, "{name} {version}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named_as_in_the_file() {
    let changes: [(&str, &[&str]); 3] = [
        (
            "module.swin.embeddings.norm.bias",
            &[
                "missing    module.swin.encoder.layers.0.blocks.1.attention.self.key.weight f32[6, 6]",
                "mis-shaped module.swin.encoder.layers.0.downsample.norm.bias f32[1], not f32[24]",
                "extra      module.swin.decoder.weight f32[1]",
                "(names as in transformers)",
            ],
        ),
        (
            "layers.0.downsample.norm.bias",
            &[
                "missing    layers.0.blocks.1.attn.qkv.weight f32[18, 6]",
                "mis-shaped layers.0.downsample.norm.bias f32[1], not f32[24]",
                "extra      decoder.weight f32[1]",
            ],
        ),
        (
            "features.0.0.bias",
            &[
                "missing    features.1.1.attn.qkv.weight f32[18, 6]",
                "mis-shaped features.2.norm.bias f32[1], not f32[24]",
                "extra      decoder.weight f32[1]",
            ],
        ),
    ];
    for (name, lines) in changes {
        let (spec, mut file, _) = example(1, name);
        let word = |i: usize| lines[i].split_whitespace().nth(1).unwrap().to_owned();
        assert!(file.tensors.0.remove(&word(0)).is_some());
        for i in [1, 2] {
            file.tensors.0.insert(word(i), Tensor::f32([1], vec![0.0]));
        }
        let CheckpointError::Mismatch(text) = canonical(spec, file).unwrap_err() else { panic!("{name}") };
        lines.iter().for_each(|line| assert!(text.contains(line), "{line}\n{text}"));
        assert_eq!(text.lines().count(), 4, "{text}");
    }
}

#[test]
fn what_the_whole_checkpoint_lacks_the_model_lacks() {
    for version in [1, 2] {
        for (layout, name) in NAMES {
            let (spec, mut file, checkpoint) = example(version, name);
            let split = layout == "transformers";
            let biases = ["qkv.bias", "query.bias", "key.bias", "value.bias", "q_bias", "v_bias"];
            file.tensors.0.retain(|name, _| {
                let head = ["head.", "classifier."].iter().any(|head| name.contains(head));
                !(head || split && biases.iter().any(|bias| name.ends_with(bias)))
            });
            let found = canonical(spec, file).unwrap_or_else(|e| panic!("{name} {version}: {e}"));
            assert_eq!(
                (found.spec.classes, found.spec.qkv_bias, found.notes.len()),
                (0, !split, 1 + usize::from(split))
            );
            assert!(found.checkpoint.0.len() < checkpoint.0.len());
        }
    }
    // One bias that is missing among others is an error.
    let (spec, mut file, _) = example(1, "module.swin.embeddings.norm.bias");
    file.tensors.0.remove("module.swin.encoder.layers.0.blocks.0.attention.self.query.bias").unwrap();
    let error = canonical(spec, file).unwrap_err().to_string();
    assert!(
        error.contains("missing    module.swin.encoder.layers.0.blocks.0.attention.self.query.bias f32[6]"),
        "{error}"
    );
}

#[test]
fn names_of_no_layout_are_one_error() {
    let tensor = || Tensor::f32([1], vec![0.0]);
    let tensors = [("conv1.weight".to_owned(), tensor()), ("fc\n.bias".to_owned(), tensor())];
    let file = CheckpointFile { tensors: Checkpoint(tensors.into()), ..Default::default() };
    let error = canonical(spec(1), file).unwrap_err().to_string();
    assert!(error.contains("2 tensors, conv1.weight, fc\\n.bias, …"), "{error}");
    assert!(canonical(spec(1), CheckpointFile::default()).unwrap_err().to_string().contains("it is empty"));
}

#[test]
fn buffers_are_compared_with_the_description() {
    let (spec, file, checkpoint) = example(1, "layers.0.downsample.norm.bias");
    let index = |window: usize| {
        let tokens = (0..window * window).map(|i| [i / window, i % window]);
        let pair =
            |[a, b]: [usize; 2], [c, d]: [usize; 2]| (a + window - 1 - c) * (2 * window - 1) + b + window - 1 - d;
        tokens.clone().flat_map(|i| tokens.clone().map(move |j| pair(i, j) as i64)).collect::<Vec<_>>()
    };
    // Windows of 7 on 14 by 14, shifted by 3: regions are bands of 7, 4 and 3 rows and columns.
    let band = |x: usize| [7, 11].iter().filter(|end| x >= **end).count();
    let region = |w: usize, t: usize| (band(w / 2 * 7 + t / 7), band(w % 2 * 7 + t % 7));
    let mask = (0..4 * 49 * 49).map(|e| {
        let (w, i, j) = (e / 2401, e / 49 % 49, e % 49);
        if region(w, i) == region(w, j) { 0.0 } else { -100.0 }
    });
    let mask: Vec<f32> = mask.collect();
    let with = |index: Vec<i64>, mask: Vec<f32>| {
        let mut file = file.clone();
        file.indexes.insert("layers.0.blocks.1.attn.relative_position_index".to_owned(), index);
        file.tensors.0.insert("layers.0.blocks.1.attn_mask".to_owned(), Tensor::f32([4, 49, 49], mask));
        let found = canonical(spec.clone(), file).unwrap();
        assert_eq!(found.checkpoint.0, checkpoint.0);
        found.notes
    };
    assert_eq!(with(index(7), mask.clone()), [""; 0]);
    let mut other = mask.clone();
    other[2401] = 1.0;
    let notes = with(index(6), other);
    assert!(notes[0].starts_with("layers.0.blocks.1.attn.relative_position_index is not what the description gives"));
    assert!(notes[1].starts_with("layers.0.blocks.1.attn_mask is not what the description gives"), "{notes:?}");
    // The last stage is one window, which is not shifted.
    let mut file = file.clone();
    file.tensors.0.insert("layers.1.blocks.1.attn_mask".to_owned(), Tensor::f32([1, 49, 49], vec![0.0; 2401]));
    file.indexes.insert("layers.7.attn.relative_position_index".to_owned(), Vec::new());
    let notes = canonical(spec.clone(), file).unwrap().notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(spec.version, Version::V1);
}

#[test]
fn coordinates_of_the_second_version_are_compared() {
    let (spec, file, _) = example(2, "layers.0.downsample.norm.bias");
    let with = |pretrained: f64| {
        let g = |i: usize| {
            let d = (i as f64 - 6.0) / (pretrained - 1.0) * 8.0;
            (d.signum() * (d.abs() + 1.0).log2() / 3.0) as f32
        };
        let table = (0..13 * 13).flat_map(|e| [g(e / 13), g(e % 13)]).collect();
        let mut file = file.clone();
        let name = "layers.1.blocks.0.attn.relative_coords_table";
        file.tensors.0.insert(name.to_owned(), Tensor::f32([1, 13, 13, 2], table));
        canonical(spec.clone(), file).unwrap().notes
    };
    assert_eq!((with(7.0).len(), with(6.0).len()), (0, 1));
}

#[test]
fn modules_of_every_library_are_found() {
    let locs = ["patch_embed", "layers.0", "layers.0.blocks.0", "layers.1.downsample", "layers.1", "norm", "logits"];
    let cases: [(&[&str], &[&str]); 5] = [
        (&["layers.0", "layers.1.downsample", "logits"], &["layers.0", "layers.1.downsample", "logits"]),
        (
            &["swin.embeddings", "swin.encoder.layers.0", "swin.encoder.layers.1", "swin.layernorm", "logits"],
            &["patch_embed", "layers.1.downsample", "layers.1", "norm", "logits"],
        ),
        (
            &["features.0", "features.1", "features.1.0", "features.2", "features.3", "norm"],
            &["patch_embed", "layers.0", "layers.0.blocks.0", "layers.1.downsample", "layers.1", "norm"],
        ),
        (
            &["layers.0.downsample", "layers.0", "layers.1", "head"],
            &["layers.1.downsample", "layers.1.downsample", "layers.1", "logits"],
        ),
        (&["logits", "other"], &["logits", "other"]),
    ];
    for (names, wanted) in cases {
        let found = canonical_modules(names.iter().copied(), locs.into_iter());
        assert_eq!(names.iter().map(|name| found[name]).collect::<Vec<_>>(), wanted);
    }
}
