//! How pictures become pixels, and what classes are called.

use super::{
    formats::Only,
    json::Node,
    reader::{Reader, count},
};
use crate::frontend::spec::{Interpolation, RawPreprocess, RawResize};
use serde_json::Value;
use toml::Spanned;

/// Mean and standard deviation of ImageNet's pixels, the libraries' default.
const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// What transformers' image processors may do beside what is read below.
const TRANSFORMERS_ONLY: [(&str, Only, &str); 5] = [
    ("do_resize", Only::Bool(true), "whether pictures are resized"),
    ("do_rescale", Only::Bool(true), "whether bytes become numbers from 0 to 1"),
    ("rescale_factor", Only::Number(1.0 / 255.0), "what bytes are multiplied by"),
    ("do_pad", Only::Bool(false), "whether pictures are padded"),
    ("do_flip_channel_order", Only::Bool(false), "the order of colours"),
];

/// Class names: a list, or an object from numbers as transformers' `id2label`.
pub(super) fn labels(r: &mut Reader<'_>, keys: &'static [&'static str]) -> Option<Spanned<Vec<String>>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    r.find(keys)?;
    r.read(keys, None, "a name for every class, numbered from 0", |value| match value {
        Value::Object(names) => (0..names.len()).map(|class| text(names.get(&class.to_string())?)).collect(),
        _ => value.as_array()?.iter().map(text).collect(),
    })
}

/// How pixels are interpolated; `default` where it is not said.
fn interpolation(r: &mut Reader<'_>, keys: &'static [&'static str], default: Interpolation) -> Interpolation {
    let wanted = "bilinear or bicubic, which PIL numbers 2 and 3: other interpolations are not supported";
    let read = |value: &Value| match (count(value), value.as_str()) {
        (Some(2), _) | (_, Some("bilinear")) => Some(Interpolation::Bilinear),
        (Some(3), _) | (_, Some("bicubic")) => Some(Interpolation::Bicubic),
        _ => None,
    };
    r.read(keys, Some(default), wanted, read).map_or(default, Spanned::into_inner)
}

fn exact() -> RawResize {
    RawResize::Name("exact".to_owned())
}

/// timm's `pretrained_cfg`, or the same keys by themselves. (`timm.data.create_transform`)
pub(super) fn timm(r: &mut Reader<'_>, [height, width]: [u32; 2]) -> Option<RawPreprocess> {
    r.find(&["pretrained_cfg", "mean", "input_size"])?;
    let mean = r.colours(&["pretrained_cfg.mean", "mean"], Some(IMAGENET[0]))?;
    let std = r.colours(&["pretrained_cfg.std", "std"], Some(IMAGENET[1]))?;
    let keys = &["pretrained_cfg.interpolation", "interpolation"];
    let interpolation = interpolation(r, keys, Interpolation::Bicubic);
    let crop = r.number(&["pretrained_cfg.crop_pct", "crop_pct"], 0.875)?;
    let (part, span) = (*crop.get_ref(), crop.span());
    if !(0.01..=1.0).contains(&part) {
        r.problem(span, format!("crop_pct must be from 0.01 to 1, not {part}"));
        return None;
    }
    let scaled = |side: u32| (f64::from(side) / part).floor() as u32;
    let mode = r.word(&["pretrained_cfg.crop_mode", "crop_mode"]);
    let resize = match mode.as_ref().map_or("center", |mode| mode.get_ref()) {
        "center" if height == width => RawResize::Side(scaled(height)),
        "squash" if [scaled(height), scaled(width)] == [height, width] => exact(),
        mode_name => {
            let message = format!("crop_mode {mode_name} at crop_pct {part} on {height} by {width} is not supported");
            r.problem(mode.as_ref().map_or(span.clone(), Spanned::span), message);
            return None;
        }
    };
    Some(RawPreprocess { resize: Spanned::new(span, resize), interpolation, mean, std, labels: None })
}

/// What microsoft/Swin-Transformer does with every picture: the shorter side to 256/224 of the image's, the centre, ImageNet's mean
/// and deviation. (`data/build.py`)
pub(super) fn microsoft(r: &mut Reader<'_>, [height, width]: [u32; 2]) -> Option<RawPreprocess> {
    let channels = r.find(&["MODEL.{}.IN_CHANS"]);
    if height != width || channels.is_some_and(|node| count(node.value) != Some(3)) {
        return None;
    }
    let interpolation = interpolation(r, &["DATA.INTERPOLATION"], Interpolation::Bicubic);
    let crop = r.truth(&["TEST.CROP"], true)?;
    let resize = match *crop.get_ref() {
        true if height > 32 => RawResize::Side((256.0 / 224.0 * f64::from(height)) as u32),
        _ => exact(),
    };
    let resize = Spanned::new(crop.span(), resize);
    let [mean, std] = IMAGENET.map(|values| Spanned::new(r.nowhere(), values.to_vec()));
    Some(RawPreprocess { resize, interpolation, mean, std, labels: None })
}

/// A configuration that says nothing of pictures.
pub(super) fn none(_: &mut Reader<'_>, _: [u32; 2]) -> Option<RawPreprocess> {
    None
}

/// transformers' `preprocessor_config.json`, of a model that takes images of `side`.
pub(super) fn transformers(r: &mut Reader<'_>, side: [u32; 2]) -> Option<RawPreprocess> {
    r.check_only(&TRANSFORMERS_ONLY);
    let interpolation = interpolation(r, &["resample"], Interpolation::Bilinear);
    let resize = transformers_resize(r, side);
    let [mean, std] = if *r.truth(&["do_normalize"], true)?.get_ref() {
        [r.colours(&["image_mean"], None)?, r.colours(&["image_std"], None)?]
    } else {
        [0.0, 1.0].map(|value| Spanned::new(r.nowhere(), vec![value; 3]))
    };
    Some(RawPreprocess { resize: resize?, interpolation, mean, std, labels: None })
}

/// How pictures are brought to the image's size.
fn transformers_resize(r: &mut Reader<'_>, side: [u32; 2]) -> Option<Spanned<RawResize>> {
    let by = |[height, width]: [u32; 2]| format!("{height} by {width}");
    let Some(size) = r.find(&["size"]) else {
        r.problem(r.nowhere(), "there is no `size`");
        return None;
    };
    let span = size.span();
    let crops = *r.truth(&["do_center_crop"], false)?.get_ref();
    let crop = r.find(&["crop_size"]).and_then(|node| sides(&node));
    let shortest = size.get("shortest_edge").and_then(|node| count(node.value));
    let part = r.find(&["crop_pct"]).and_then(|node| node.value.as_f64()).filter(|part| (0.01..=1.0).contains(part));
    let message = match (sides(&size), shortest, part) {
        (Some(size), ..) if crops && crop != Some(size) => {
            format!("pictures become {}, whatever their shape, and are cropped then: that is not supported", by(size))
        }
        (Some(size), ..) if size == side => return Some(Spanned::new(span, exact())),
        (Some(size), ..) => format!("pictures become {}, but the model takes {}", by(size), by(side)),
        // ConvNeXT's processor.
        (None, Some(n), Some(part)) if side == [n; 2] => {
            let resize = if n < 384 { RawResize::Side((f64::from(n) / part) as u32) } else { exact() };
            return Some(Spanned::new(span, resize));
        }
        (None, Some(n), None) if crops && crop == Some(side) => return Some(Spanned::new(span, RawResize::Side(n))),
        (None, Some(_), _) => {
            format!("the shorter side is resized, but the model takes {}: that needs a do_center_crop to it", by(side))
        }
        (None, None, _) => "wanted a side, a height and width, or a shortest_edge".to_owned(),
    };
    r.problem(span, message);
    None
}

/// Height and width: an object of both, or a side.
fn sides(node: &Node<'_>) -> Option<[u32; 2]> {
    if let Some(side) = count(node.value) {
        return Some([side; 2]);
    }
    Some([count(node.get("height")?.value)?, count(node.get("width")?.value)?])
}
