use super::{super::*, *};

const HF: &str = r#"{
  "depths": [2, 2],
  "drop_path_rate": 0.1,
  "embed_dim": 32,
  "hidden_act": "gelu",
  "id2label": {"1": "dog", "0": "cat"},
  "image_size": 56,
  "layer_norm_eps": 1e-05,
  "model_type": "swin",
  "num_channels": 3,
  "num_heads": [1, 2],
  "path_norm": null,
  "use_absolute_embeddings": false,
  "window_size": 7
}"#;

const PICTURES: &str = r#"{
  "do_rescale": true,
  "image_mean": [0.5, 0.4, 0.3],
  "image_std": [0.2, 0.2, 0.1],
  "resample": 3,
  "rescale_factor": 0.00392156862745098,
  "size": {"height": 56, "width": 56}
}"#;

const TIMM: &str = r#"{
  "architecture": "swin_base_patch4_window7_224",
  "num_classes": 3,
  "global_pool": "avg",
  "label_names": ["a", "b", "c"],
  "pretrained_cfg": {
    "input_size": [3, 448, 448],
    "interpolation": "bilinear",
    "crop_pct": 0.95,
    "crop_mode": "center"
  }
}"#;

const MICROSOFT: &str = r#"{
  "MODEL": {
    "TYPE": "swinv2",
    "NUM_CLASSES": 10,
    "SWIN": {"EMBED_DIM": 7},
    "SWINV2": {"EMBED_DIM": 96, "APE": false, "PRETRAINED_WINDOW_SIZES": [12, 12, 12, 6]}
  },
  "DATA": {"IMG_SIZE": 192}
}"#;

const TORCHVISION: &str = r#"{
  "architecture": "swin_torchvision",
  "image_size": 56, "embed_dim": 32, "depths": [2], "num_heads": [1],
  "window_size": [7, 7], "num_classes": 10, "patch_size": [4, 4]
}"#;

fn read(config: &str, pictures: Option<&str>) -> Result<Spec, SourceErrors> {
    let pictures = pictures.map(|text| ConfigFile { name: "preprocessor_config.json", text });
    read_config("my model", ConfigFile { name: "config.json", text: config }, pictures)
}

#[test]
fn transformers_describes_model_and_pictures() {
    let spec = read(HF, Some(PICTURES)).unwrap();
    assert_eq!((spec.name.as_str(), spec.height, spec.patch, spec.classes), ("my_model", 56, 4, 2));
    assert_eq!((&spec.version, spec.partition, spec.mlp_ratio), (&Version::V1, Partition::Transformers, 4.0));
    let pictures = spec.preprocess.unwrap();
    assert_eq!((pictures.resize, pictures.interpolation), (Resize::Exact, Interpolation::Bicubic));
    assert_eq!((pictures.mean, pictures.labels), (vec![0.5, 0.4, 0.3], vec!["cat".to_owned(), "dog".to_owned()]));
    assert_eq!(read(HF, None).unwrap().preprocess, None);
    let v2 = HF
        .replace("\"swin\"", "\"swinv2\"")
        .replace("{\n  \"depths", "{\"pretrained_window_sizes\": [0,3,0,0],\"depths");
    assert_eq!(read(&v2, None).unwrap().version, Version::V2 { pretrained_windows: vec![0, 3] });
}

#[test]
fn transformers_sizes_are_understood() {
    let cases = [
        ("56", Resize::Exact),
        ("{\"shortest_edge\": 64}, \"do_center_crop\": true, \"crop_size\": 56", Resize::Short(64)),
        ("{\"shortest_edge\": 56}, \"crop_pct\": 0.875", Resize::Short(64)),
    ];
    for (size, resize) in cases {
        let pictures = PICTURES.replace("{\"height\": 56, \"width\": 56}", size);
        assert_eq!(read(HF, Some(&pictures)).unwrap().preprocess.unwrap().resize, resize, "{size}");
    }
}

#[test]
fn timm_overrides_the_preset_that_it_names() {
    let spec = read(TIMM, None).unwrap();
    assert_eq!((spec.name.as_str(), spec.height, spec.embed), ("swin_base_patch4_window7_224", 448, 128));
    assert_eq!((spec.depths.as_slice(), spec.classes, spec.window), (&[2, 2, 18, 2][..], 3, 7));
    let pictures = spec.preprocess.unwrap();
    assert_eq!((pictures.resize, pictures.interpolation), (Resize::Short(471), Interpolation::Bilinear));
    assert_eq!((pictures.mean[2], pictures.labels.len()), (0.406, 3));
    let alone = r#"{"architecture": "swinv2_base_window12to16_192to256.ms_in22k_ft_in1k"}"#;
    assert_eq!(read(alone, None).unwrap(), preset("swinv2_base_window12to16_192to256").unwrap());
    // The form before 0.8: the keys of pretrained_cfg by themselves.
    let old = r#"{"architecture": "swin_tiny_patch4_window7_224", "num_classes": 5, "mean": [0.5, 0.5, 0.5], "crop_pct": 0.9}"#;
    let spec = read(old, None).unwrap();
    assert_eq!((spec.classes, spec.preprocess.unwrap().mean), (5, vec![0.5; 3]));
}

#[test]
fn microsoft_and_torchvision_describe_models() {
    let spec = read(MICROSOFT, None).unwrap();
    assert_eq!((spec.embed, spec.window, spec.height, spec.classes), (96, 7, 192, 10));
    assert_eq!(spec.version, Version::V2 { pretrained_windows: vec![12, 12, 12, 6] });
    assert_eq!(spec.preprocess.unwrap().resize, Resize::Short(219));
    let spec = read(TORCHVISION, None).unwrap();
    assert_eq!((spec.window, spec.patch, spec.partition, spec.preprocess), (7, 4, Partition::Torchvision, None));
    assert_eq!(spec.version, Version::V1);
}

/// A change of a text, and what is said of it where.
type Case = (&'static str, &'static str, (usize, usize), &'static str);

fn check(text: &str, cases: &[Case], read: &dyn Fn(&str) -> Result<Spec, SourceErrors>) {
    for (from, to, at, message) in cases {
        assert!(text.contains(from), "{from}");
        let errors = read(&text.replace(from, to)).expect_err(to);
        let found = errors.errors.iter().find(|e| e.message.contains(message));
        let found = found.unwrap_or_else(|| panic!("{to}: {:?}", errors.errors));
        assert_eq!(found.line_column(), *at, "{to}: {}", found.message);
    }
}

#[test]
fn what_is_not_supported_is_named_with_its_place() {
    let hf: [Case; 14] = [
        (
            "\"gelu\"",
            "\"gelu_new\"",
            (5, 17),
            "`hidden_act`, the MLPs' activation: only gelu or gelu_python is supported",
        ),
        ("embeddings\": false", "embeddings\": true", (13, 30), "absolute position embeddings: only false"),
        ("1e-05", "1e-06", (8, 21), "LayerNorm's epsilon: only 1e-5 is supported, not 1e-6"),
        ("\"swin\"", "\"vit\"", (9, 17), "\"vit\" is not supported: there are swin and swinv2"),
        ("\"window_size\": 7", "\"window_size\": [7, 14]", (14, 18), "other lists are not supported"),
        ("\"embed_dim\": 32", "\"embed_dim\": 1.5", (4, 16), "a whole number of channels"),
        ("\"window_size\": 7", "\"window_size\": -1", (14, 18), "wanted a whole number"),
        ("[1, 2]", "[1, 3]", (11, 16), "stage 1: 3 heads do not divide 64 channels"),
        ("[1, 2]", "[1]", (11, 16), "heads lists 1 stages, depths 2"),
        ("\"0\": \"cat\"", "\"7\": \"cat\"", (6, 15), "a name for every class, numbered from 0"),
        ("\"image_size\": 56", "\"image_size\": 57", (7, 17), "patches of 4 do not tile"),
        ("\"model_type\": \"swin\",", "", (1, 1), "this describes no Swin"),
        ("\"depths\": [2, 2],", "\"depths\": [2, 2,],", (2, 19), "trailing comma"),
        ("\"window_size\": 7\n}", "\"window_size\": 7", (14, 18), "EOF while parsing an object"),
    ];
    check(HF, &hf, &|text| read(text, None));
    check(
        HF,
        &[("\"num_channels\": 3", "\"num_channels\": 1", (10, 19), "pictures, which have 3 channels")],
        &|text| read(text, Some(PICTURES)),
    );
    let pictures: [Case; 8] = [
        ("\"resample\": 3", "\"resample\": 0", (5, 15), "other interpolations are not supported"),
        ("true", "false", (2, 17), "whether bytes become numbers from 0 to 1: only true"),
        ("0.00392156862745098", "0.0078", (6, 21), "`rescale_factor`, what bytes are multiplied by"),
        ("\"width\": 56", "\"width\": 64", (7, 11), "pictures become 56 by 64, but the model takes 56 by 56"),
        ("56}", "56}, \"do_center_crop\": true", (7, 11), "are cropped then"),
        ("{\"height\": 56, \"width\": 56}", "{\"shortest_edge\": 56}", (7, 11), "that needs a do_center_crop"),
        ("[0.2, 0.2, 0.1]", "[0.2, 0.2]", (4, 16), "std has 2 values for 3 channels"),
        ("\"image_mean\"", "\"mean\"", (1, 1), "there is no `image_mean`"),
    ];
    check(PICTURES, &pictures, &|text| read(HF, Some(text)));
    let timm: [Case; 9] = [
        ("_patch4_window7_224", "_patch4_window7", (2, 19), "did you mean `swin_base_patch4_window7_224`?"),
        (
            "swin_base_patch4_window7_224",
            "swinv2_cr_tiny_224",
            (2, 19),
            "\"swinv2_cr_tiny_224\" is no model that is known",
        ),
        ("swin_base_patch4_window7_224", "resnet50", (2, 19), "\"resnet50\" is no model that is known"),
        ("\"avg\"", "\"\"", (4, 18), "the pooling before the head: only avg"),
        ("0.95", "1.5", (9, 17), "crop_pct must be from 0.01 to 1"),
        ("\"center\"", "\"border\"", (10, 18), "crop_mode border at crop_pct 0.95 on 448 by 448 is not supported"),
        ("\"bilinear\"", "\"lanczos\"", (8, 22), "other interpolations"),
        ("\"num_classes\": 3", "\"num_classes\": 4", (5, 18), "3 labels for 4 classes"),
        (
            "\"global_pool\"",
            "\"model_args\": {\"ape\": true, \"qk_scale\": 2}, \"x\"",
            (4, 25),
            "absolute position embeddings",
        ),
    ];
    check(TIMM, &timm, &|text| read(text, None));
    let microsoft: [Case; 3] = [
        ("\"APE\": false", "\"APE\": true", (6, 40), "absolute position embeddings: only false"),
        ("\"APE\": false", "\"PATCH_NORM\": false", (6, 47), "the patch embedding's norm: only true"),
        ("\"swinv2\"", "\"swin_mlp\"", (3, 13), "\"swin_mlp\" is not supported"),
    ];
    check(MICROSOFT, &microsoft, &|text| read(text, None));
    check(TORCHVISION, &[("\"embed_dim\": 32, ", "", (1, 1), "there is no `embed_dim`")], &|text| read(text, None));
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = HF.replace("\"gelu\"", "\"relu\"").replace("1e-05", "1").replace("[1, 2]", "[1, 3]");
    assert_eq!(read(&text, Some("{}")).unwrap_err().errors.len(), 3);
    for text in ["", "[]", "{", "null", "{\"model_type\": {}}", "{\"MODEL\": 3}", "{\"architecture\": \"swin\"}"] {
        read(text, None).expect_err(text);
    }
}
