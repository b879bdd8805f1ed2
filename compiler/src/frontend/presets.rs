//! The published models, by timm's names: they need no description.

use super::{Interpolation, Partition, Preprocess, Resize, Spec, Version};

/// A row of the table.
type Row = (&'static str, [usize; 3], [usize; 4], [usize; 4]);

/// Name, side of the image and of a window, channels of the first stage, blocks and heads of each stage. (Liu et al., *Swin
/// Transformer*, arXiv 2103.14030, section 3.3)
#[rustfmt::skip]
const PRESETS: [Row; 6] = [
    ("swin_tiny_patch4_window7_224",   [224,  7,  96], [2, 2,  6, 2], [3,  6, 12, 24]),
    ("swin_small_patch4_window7_224",  [224,  7,  96], [2, 2, 18, 2], [3,  6, 12, 24]),
    ("swin_base_patch4_window7_224",   [224,  7, 128], [2, 2, 18, 2], [4,  8, 16, 32]),
    ("swin_base_patch4_window12_384",  [384, 12, 128], [2, 2, 18, 2], [4,  8, 16, 32]),
    ("swin_large_patch4_window7_224",  [224,  7, 192], [2, 2, 18, 2], [6, 12, 24, 48]),
    ("swin_large_patch4_window12_384", [384, 12, 192], [2, 2, 18, 2], [6, 12, 24, 48]),
];

/// The names of all presets.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.0)
}

/// The description of a published model, with 1000 classes and the preprocessing that timm evaluates it with.
pub fn preset(name: &str) -> Option<Spec> {
    let &(name, [image, window, embed], depths, heads) = PRESETS.iter().find(|preset| preset.0 == name)?;
    // timm crops the middle 90 % at 224, and nothing at 384.
    let short = if image == 224 { 248 } else { image as u32 };
    Some(Spec {
        name: name.to_owned(),
        height: image,
        width: image,
        channels: 3,
        patch: 4,
        version: Version::V1,
        window,
        partition: Partition::Timm,
        embed,
        depths: depths.to_vec(),
        heads: heads.to_vec(),
        mlp_ratio: 4.0,
        qkv_bias: true,
        classes: 1000,
        preprocess: Some(Preprocess {
            resize: Resize::Short(short),
            interpolation: Interpolation::Bicubic,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            labels: Vec::new(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_paper() {
        // Parameters in millions, as the paper's tables 1 and 7 give them, with the 1000 classes' head.
        let millions = [28.0, 50.0, 88.0, 88.0, 197.0, 197.0];
        for (name, wanted) in preset_names().zip(millions) {
            let spec = preset(name).unwrap();
            let parameters: usize =
                crate::frontend::swin::expected(&spec).values().map(|s| s.iter().product::<usize>()).sum();
            let found = parameters as f64 / 1e6;
            assert!((found - wanted).abs() < 0.6, "{name}: {found} million");
        }
        assert_eq!(preset("swin_tiny"), None);
    }
}
