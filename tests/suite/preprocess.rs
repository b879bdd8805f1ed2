//! Preprocessing against Pillow and torchvision.

use crate::common::repo;
use swint_compiler::frontend::{Checkpoint, Interpolation, Preprocess, Resize};
use swint_ir::{Data, Elem};
use swint_runtime::inputs::read_image;

fn bytes(data: &Data) -> Vec<i32> {
    assert_eq!(data.elem(), Elem::U8);
    data.to_i32().unwrap()
}

#[test]
fn resized_pictures_equal_pillows() {
    let golden = std::fs::read(repo("tests/images/chelsea_resized.safetensors")).unwrap();
    let golden = Checkpoint::from_bytes(&golden).unwrap();
    let recipes = [
        ("exact_32", 32, Resize::Exact, Interpolation::Bicubic),
        ("bilinear_exact_96", 96, Resize::Exact, Interpolation::Bilinear),
        ("short_32_crop_32", 32, Resize::Short(32), Interpolation::Bicubic),
        ("timm_248_crop_224", 224, Resize::Short(248), Interpolation::Bicubic),
    ];
    assert_eq!(golden.0.len(), recipes.len());
    for (recipe, side, resize, interpolation) in recipes {
        let preprocess =
            Preprocess { resize, interpolation, mean: vec![0.0; 3], std: vec![1.0; 3], labels: Vec::new() };
        let found = read_image(&repo("tests/images/chelsea.png"), side, &preprocess).unwrap();
        let (found, wanted) = (bytes(&found.data), bytes(&golden.0[recipe].data));
        let differences: Vec<i32> = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).collect();
        let equal = differences.iter().filter(|d| **d == 0).count() as f64 / differences.len() as f64;
        let worst = *differences.iter().max().unwrap();
        println!("{recipe}: worst {worst}, {:.3} % equal", equal * 100.0);
        assert!(found.len() == wanted.len() && worst <= 1 && equal >= 0.99, "{recipe}: {worst}, {equal}");
    }
}
