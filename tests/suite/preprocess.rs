//! Pictures against Pillow and torchvision: tests/images tells how the goldens were made.

use crate::{
    cli::{fail, model, succeed},
    common::repo,
};
use std::fs;
use swint_compiler::frontend::{Checkpoint, Interpolation, Preprocess, Resize};
use swint_ir::{Pair, Tensor};
use swint_runtime::{inputs::read_image, picture::Picture};

const BICUBIC: Interpolation = Interpolation::Bicubic;
const BILINEAR: Interpolation = Interpolation::Bilinear;

fn preprocess(resize: Resize, interpolation: Interpolation) -> Preprocess {
    Preprocess { resize, interpolation, mean: vec![0.0; 3], std: vec![1.0; 3], labels: Vec::new() }
}

fn goldens(name: &str) -> Checkpoint {
    Checkpoint::from_bytes(&fs::read(repo(&format!("tests/images/{name}.safetensors"))).unwrap()).unwrap()
}

/// The largest difference, and the share of bytes that are equal.
fn differences(found: &[u8], wanted: &Tensor) -> (u8, f64) {
    let wanted = wanted.data.to_bytes();
    assert_eq!(found.len(), wanted.len());
    let equal = found.iter().zip(&wanted).filter(|(a, b)| a == b).count();
    let worst = found.iter().zip(&wanted).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    (worst, equal as f64 / found.len() as f64)
}

#[test]
fn resized_pictures_equal_pillows() {
    let golden = goldens("resized");
    let recipes = [
        ("exact_32", 32, Resize::Exact, BICUBIC),
        ("hf_exact_224", 224, Resize::Exact, BICUBIC),
        ("bilinear_exact_96", 96, Resize::Exact, BILINEAR),
        ("short_32_crop_32", 32, Resize::Short(32), BICUBIC),
        ("timm_248_crop_224", 224, Resize::Short(248), BICUBIC),
        ("torchvision_232_crop_224", 224, Resize::Short(232), BICUBIC),
    ];
    let pictures = [("chelsea", "chelsea.png"), ("rocket", "rocket.jpg")];
    assert_eq!(golden.0.len(), recipes.len() * pictures.len());
    for (picture, file) in pictures {
        for (recipe, side, resize, interpolation) in recipes {
            let path = repo(&format!("tests/images/{file}"));
            let found = read_image(&path, side, &preprocess(resize, interpolation)).unwrap().data.to_bytes();
            let (worst, equal) = differences(&found, &golden.0[&format!("{picture}.{recipe}")]);
            assert_eq!((worst, equal), (0, 1.0), "{picture}.{recipe}");
        }
    }
}

#[test]
fn sizes_need_not_be_square_or_smaller_than_the_picture() {
    let golden = goldens("goldens");
    let photo = repo("tests/images/kinds/lossless.webp");
    for (recipe, height, width, resize, interpolation) in [
        ("exact 20x28", 20, 28, Resize::Exact, BICUBIC),
        ("short 60, 48x48", 48, 48, Resize::Short(60), BICUBIC),
        ("short 60, 50x31 bilinear", 50, 31, Resize::Short(60), BILINEAR),
        ("short 20, 18x15 bilinear", 18, 15, Resize::Short(20), BILINEAR),
        ("short 16, 20x12", 20, 12, Resize::Short(16), BICUBIC),
    ] {
        let found = read_image(&photo, Pair::new(height, width), &preprocess(resize, interpolation)).unwrap();
        assert_eq!(found.shape, [1, height, width, 3]);
        let (worst, equal) = differences(&found.data.to_bytes(), &golden.0[recipe]);
        assert_eq!((worst, equal), (0, 1.0), "{recipe}");
    }
}

#[test]
fn every_kind_of_picture_is_decoded_as_pillow_does() {
    let golden = goldens("goldens");
    let mut seen = 0;
    for entry in fs::read_dir(repo("tests/images/kinds")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (picture, wanted) = (Picture::decode(&fs::read(&path).unwrap()).unwrap(), &golden.0[name]);
        assert_eq!([picture.height as usize, picture.width as usize, 3], wanted.shape[..], "{name}");
        let (worst, equal) = differences(&picture.pixels, wanted);
        // Colours of four inks are multiplied out with another rounding.
        let most = u8::from(name == "cmyk.jpg");
        assert!(worst <= most && equal > 0.98, "{name}: {worst}, {equal}");
        seen += 1;
    }
    assert_eq!(seen, golden.0.keys().filter(|name| name.contains('.')).count());
}

#[test]
fn a_turned_picture_is_classified_as_it_is_seen() {
    let m = model("cifar10");
    let compiled = m.compile(&[]);
    let logits = |file: &str| -> serde_json::Value {
        let path = repo(&format!("tests/images/kinds/{file}"));
        let json: serde_json::Value =
            serde_json::from_str(&succeed(&["run", &compiled, path.to_str().unwrap(), "--json"])).unwrap();
        json[0]["top"].clone()
    };
    let upright = logits("lossless.webp");
    for turned in ["orientation_6.png", "orientation_8.webp"] {
        assert_eq!(logits(turned), upright, "{turned}");
    }
    assert_ne!(logits("orientation_1.jpg"), logits("orientation_3.jpg"));
}

#[test]
fn pictures_that_are_none_are_refused() {
    let m = model("cifar10");
    let compiled = m.compile(&[]);
    let fuzz = |file: &str| repo(&format!("tests/corpus/fuzz/{file}")).to_str().unwrap().to_owned();
    for (file, wanted) in [
        ("bomb.png", "a picture of 60000 by 60000 pixels"),
        ("bomb.jpg", "a picture of 60000 by 60000 pixels"),
        ("cut-off.jpg", "cut off"),
        ("chunk-beyond-the-file.webp", "cut off: a chunk goes on beyond its end"),
        ("nothing.safetensors", "not a picture"),
    ] {
        let said = fail(&["run", &compiled, &fuzz(file)]);
        assert!(said.contains(wanted), "{file}: {said}");
    }
}
