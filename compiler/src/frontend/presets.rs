//! The published models, by timm's names: they need no description.

use super::{Interpolation, Partition, Preprocess, Resize, Spec, Version};

/// A row of the table.
type Row = (&'static str, [usize; 4], [usize; 4], [usize; 4], Option<[usize; 4]>);

/// Name; side of the image and of a window, channels of the first stage, classes; blocks and heads of each stage; in the second
/// version, the windows of pretraining. (Liu et al., *Swin Transformer*, arXiv 2103.14030, section 3.3, and *Swin Transformer V2*,
/// arXiv 2111.09883)
#[rustfmt::skip]
const PRESETS: [Row; 18] = [
    ("swin_tiny_patch4_window7_224",       [224,  7,  96,  1000], [2, 2,  6, 2], [3,  6, 12, 24], None),
    ("swin_small_patch4_window7_224",      [224,  7,  96,  1000], [2, 2, 18, 2], [3,  6, 12, 24], None),
    ("swin_base_patch4_window7_224",       [224,  7, 128,  1000], [2, 2, 18, 2], [4,  8, 16, 32], None),
    ("swin_base_patch4_window12_384",      [384, 12, 128,  1000], [2, 2, 18, 2], [4,  8, 16, 32], None),
    ("swin_large_patch4_window7_224",      [224,  7, 192,  1000], [2, 2, 18, 2], [6, 12, 24, 48], None),
    ("swin_large_patch4_window12_384",     [384, 12, 192,  1000], [2, 2, 18, 2], [6, 12, 24, 48], None),
    ("swinv2_tiny_window8_256",            [256,  8,  96,  1000], [2, 2,  6, 2], [3,  6, 12, 24], Some([0; 4])),
    ("swinv2_tiny_window16_256",           [256, 16,  96,  1000], [2, 2,  6, 2], [3,  6, 12, 24], Some([0; 4])),
    ("swinv2_small_window8_256",           [256,  8,  96,  1000], [2, 2, 18, 2], [3,  6, 12, 24], Some([0; 4])),
    ("swinv2_small_window16_256",          [256, 16,  96,  1000], [2, 2, 18, 2], [3,  6, 12, 24], Some([0; 4])),
    ("swinv2_base_window8_256",            [256,  8, 128,  1000], [2, 2, 18, 2], [4,  8, 16, 32], Some([0; 4])),
    ("swinv2_base_window16_256",           [256, 16, 128,  1000], [2, 2, 18, 2], [4,  8, 16, 32], Some([0; 4])),
    ("swinv2_base_window12_192",           [192, 12, 128, 21841], [2, 2, 18, 2], [4,  8, 16, 32], Some([0; 4])),
    ("swinv2_base_window12to16_192to256",  [256, 16, 128,  1000], [2, 2, 18, 2], [4,  8, 16, 32], Some([12, 12, 12, 6])),
    ("swinv2_base_window12to24_192to384",  [384, 24, 128,  1000], [2, 2, 18, 2], [4,  8, 16, 32], Some([12, 12, 12, 6])),
    ("swinv2_large_window12_192",          [192, 12, 192, 21841], [2, 2, 18, 2], [6, 12, 24, 48], Some([0; 4])),
    ("swinv2_large_window12to16_192to256", [256, 16, 192,  1000], [2, 2, 18, 2], [6, 12, 24, 48], Some([12, 12, 12, 6])),
    ("swinv2_large_window12to24_192to384", [384, 24, 192,  1000], [2, 2, 18, 2], [6, 12, 24, 48], Some([12, 12, 12, 6])),
];

/// The names of all presets.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.0)
}

/// The description of a published model, with the classes that it was trained for and the preprocessing that timm evaluates it with.
pub fn preset(name: &str) -> Option<Spec> {
    let &(name, [image, window, embed, classes], depths, heads, pretrained) =
        PRESETS.iter().find(|preset| preset.0 == name)?;
    // timm crops the middle 90 %, but nothing at 384.
    let short = if image == 384 { image } else { image * 10 / 9 };
    Some(Spec {
        name: name.to_owned(),
        height: image,
        width: image,
        channels: 3,
        patch: 4,
        version: match pretrained {
            Some(windows) => Version::V2 { pretrained_windows: windows.to_vec() },
            None => Version::V1,
        },
        window,
        partition: Partition::Timm,
        embed,
        depths: depths.to_vec(),
        heads: heads.to_vec(),
        mlp_ratio: 4.0,
        qkv_bias: true,
        classes,
        preprocess: Some(Preprocess {
            resize: Resize::Short(short as u32),
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
    fn sizes_are_those_that_timm_counts() {
        // Parameters in millions, as timm's results/results-imagenet.csv has them; with the 21841 classes of two models added to those.
        let millions = [
            28.29, 49.61, 87.77, 87.90, 196.53, 196.74, 28.35, 28.35, 49.73, 49.73, 87.92, 87.92, 109.28, 87.92, 87.92,
            228.77, 196.74, 196.74,
        ];
        assert_eq!(preset_names().count(), millions.len());
        for (name, wanted) in preset_names().zip(millions) {
            let spec = preset(name).unwrap();
            let parameters: usize =
                crate::frontend::swin::expected(&spec).values().map(|s| s.iter().product::<usize>()).sum();
            let found = parameters as f64 / 1e6;
            assert!((found - wanted).abs() < 0.006, "{name}: {found} million");
        }
        assert_eq!(preset("swin_tiny"), None);
    }
}
