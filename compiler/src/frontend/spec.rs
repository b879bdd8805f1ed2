//! The model description, `swin.toml`.

use serde::Deserialize;
use std::{ops::Range, sync::Arc};
use swint_ir::{Code, SourceError, SourceErrors, diagnostic::Source, infer::MAX_ELEMENTS, text::is_name};
use toml::Spanned;

/// A Swin Transformer's hyperparameters, checked: every stage can be built.
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    /// Name of the model.
    pub name: String,
    /// Side of the square image, in pixels.
    pub image: usize,
    /// Colour channels.
    pub channels: usize,
    /// Side of a patch, in pixels.
    pub patch: usize,
    /// Side of an attention window, in tokens.
    pub window: usize,
    /// Channels of the first stage; each stage doubles them.
    pub embed: usize,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Attention heads of each stage.
    pub heads: Vec<usize>,
    /// Hidden channels of the MLP over its input channels.
    pub mlp_ratio: f64,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Number of classes.
    pub classes: usize,
    /// How pictures become pixels; without it the model takes normalised `pixel_values`.
    pub preprocess: Option<Preprocess>,
}

/// How a picture becomes the model's input.
#[derive(Clone, PartialEq, Debug, Deserialize, serde::Serialize)]
pub struct Preprocess {
    /// How the picture is brought to the model's side.
    pub resize: Resize,
    /// How pixels are interpolated.
    pub interpolation: Interpolation,
    /// Mean of each channel, of pixels in 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
    /// Class names; empty if not given.
    pub labels: Vec<String>,
}

/// How a picture is brought to the model's side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Directly to the square, whatever the aspect ratio.
    Exact,
    /// The shorter side to this length, then the centre is cropped.
    Short(u32),
}

/// How pixels are interpolated, always antialiased.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Cubic convolution, a = −1/2.
    Bicubic,
    /// Triangle filter.
    Bilinear,
}

/// One stage of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage {
    /// Side of the token grid.
    pub side: usize,
    /// Channels.
    pub channels: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Side of a window: the spec's, or the grid's side if that is smaller.
    pub window: usize,
    /// Cyclic shift of every second block; 0 when one window covers the grid.
    pub shift: usize,
}

impl Spec {
    /// Reads a description. `file` names it in errors.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place in the text.
    pub fn parse(file: &str, text: &str) -> Result<Spec, SourceErrors> {
        let source = Arc::new(Source::new(file, text));
        let error = |span: Range<usize>, message: &str| SourceError::new(&source, Code::BadSpec, span, message, "here");
        let raw: RawSpec = toml::from_str(text)
            .map_err(|e| SourceErrors::new(&source, vec![error(e.span().unwrap_or(0..0), e.message().trim())]))?;
        let mut problems = Vec::new();
        let spec = raw.check(&mut |span: Range<usize>, message: String| problems.push(error(span, &message)));
        if problems.is_empty() { Ok(spec) } else { Err(SourceErrors::new(&source, problems)) }
    }

    /// The stages, in order.
    pub fn stages(&self) -> impl Iterator<Item = Stage> + '_ {
        self.depths.iter().zip(&self.heads).enumerate().map(|(i, (&depth, &heads))| {
            let side = (self.image / self.patch) >> i;
            let covered = side <= self.window;
            Stage {
                side,
                channels: self.embed << i,
                depth,
                heads,
                window: if covered { side } else { self.window },
                shift: if covered { 0 } else { self.window / 2 },
            }
        })
    }

    /// Elements of the largest tensor of the graph or the checkpoint, for one image.
    fn largest_tensor(&self) -> f64 {
        let area = |side: usize| (side as f64).powi(2);
        let stage = |s: Stage| {
            let (c, tokens) = (s.channels as f64, area(s.window));
            let wide = (c * self.mlp_ratio).max(3.0 * c);
            let scores = area(s.side).max(tokens) * tokens * s.heads as f64;
            (area(s.side) * wide).max(scores).max(wide * c)
        };
        let pixels = area(self.image) * self.channels as f64;
        let kernel = (self.embed * self.channels) as f64 * area(self.patch);
        self.stages().map(stage).fold(pixels.max(kernel), f64::max)
    }

    /// Hidden channels of an MLP on `channels`.
    pub fn hidden(&self, channels: usize) -> usize {
        (channels as f64 * self.mlp_ratio) as usize
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSpec {
    model: RawModel,
    preprocess: Option<RawPreprocess>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    name: Spanned<String>,
    image: Spanned<u32>,
    channels: Spanned<u32>,
    patch: Spanned<u32>,
    window: Spanned<u32>,
    embed: Spanned<u32>,
    depths: Spanned<Vec<u32>>,
    heads: Spanned<Vec<u32>>,
    mlp_ratio: Option<Spanned<f64>>,
    qkv_bias: Option<bool>,
    classes: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPreprocess {
    resize: Spanned<RawResize>,
    #[serde(default = "bicubic")]
    interpolation: Interpolation,
    mean: Spanned<Vec<f32>>,
    std: Spanned<Vec<f32>>,
    labels: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "resize must be \"exact\" or a number of pixels")]
enum RawResize {
    Side(u32),
    Name(String),
}

fn bicubic() -> Interpolation {
    Interpolation::Bicubic
}

/// Largest extent that a description may name: keeps every product of extents far from overflow.
const MAX_EXTENT: u32 = 1 << 16;

impl RawSpec {
    fn check(self, problem: &mut dyn FnMut(Range<usize>, String)) -> Spec {
        let m = &self.model;
        let positive = |value: &Spanned<u32>, what: &str, problem: &mut dyn FnMut(Range<usize>, String)| {
            let v = *value.get_ref();
            if v == 0 || v > MAX_EXTENT {
                problem(value.span(), format!("{what} must be between 1 and {MAX_EXTENT}, not {v}"));
            }
            v.clamp(1, MAX_EXTENT) as usize
        };
        let name = m.name.get_ref().clone();
        if !is_name(&name) {
            problem(m.name.span(), "the name may hold letters, digits, `_`, `.` and `-`".to_owned());
        }
        let image = positive(&m.image, "the image's side", problem);
        let channels = positive(&m.channels, "the number of channels", problem);
        let patch = positive(&m.patch, "the patch's side", problem);
        let window = positive(&m.window, "the window's side", problem);
        let embed = positive(&m.embed, "the embedding", problem);
        let classes = positive(&m.classes, "the number of classes", problem);
        if image % patch != 0 {
            problem(m.image.span(), format!("patches of {patch} do not tile an image of {image}"));
        }
        let (depths, heads) = (m.depths.get_ref(), m.heads.get_ref());
        if depths.is_empty() || depths.len() > 8 || depths.iter().any(|&d| d == 0 || d > 1000) {
            problem(m.depths.span(), "depths must list 1 to 8 stages of 1 to 1000 blocks".to_owned());
        } else if heads.len() != depths.len() {
            problem(m.heads.span(), format!("heads lists {} stages, depths {}", heads.len(), depths.len()));
        } else {
            for (i, &h) in heads.iter().enumerate() {
                let c = embed << i;
                if h == 0 || c % h as usize != 0 {
                    problem(m.heads.span(), format!("stage {i}: {h} heads do not divide {c} channels"));
                }
            }
            let mut side = image / patch;
            for i in 0..depths.len() {
                if i > 0 && side % 2 != 0 {
                    problem(
                        m.image.span(),
                        format!("stage {i}: a grid of {side} by {side} tokens cannot be merged by two"),
                    );
                    break;
                }
                side /= if i > 0 { 2 } else { 1 };
                if side == 0 || (side > window && side % window != 0) {
                    problem(
                        m.window.span(),
                        format!("stage {i}: windows of {window} do not tile {side} by {side} tokens"),
                    );
                    break;
                }
            }
        }
        let mlp_ratio = m.mlp_ratio.as_ref().map_or(4.0, |r| *r.get_ref());
        let hidden = embed as f64 * mlp_ratio;
        if let Some(r) = &m.mlp_ratio
            && !(mlp_ratio > 0.0 && mlp_ratio <= 64.0 && hidden.fract() == 0.0)
        {
            problem(r.span(), format!("mlp_ratio must be positive, at most 64, and give whole channels, not {hidden}"));
        }
        if self.preprocess.is_some() && channels != 3 {
            let message =
                "[preprocess] is for pictures, which have 3 channels; leave it out for pixel_values of others";
            problem(m.channels.span(), message.to_owned());
        }
        let preprocess = self.preprocess.map(|p| p.check(image, channels, classes, problem));
        let spec = Spec {
            name,
            image,
            channels,
            patch,
            window,
            embed,
            depths: depths.iter().map(|&d| d as usize).collect(),
            heads: heads.iter().map(|&h| h as usize).collect(),
            mlp_ratio,
            qkv_bias: m.qkv_bias.unwrap_or(true),
            classes,
            preprocess,
        };
        let largest = spec.largest_tensor();
        if largest > MAX_ELEMENTS as f64 {
            problem(m.image.span(), format!("a tensor would have {largest:.2e} elements, more than {MAX_ELEMENTS}"));
        }
        spec
    }
}

impl RawPreprocess {
    fn check(
        self,
        image: usize,
        channels: usize,
        classes: usize,
        problem: &mut dyn FnMut(Range<usize>, String),
    ) -> Preprocess {
        let span = self.resize.span();
        let resize = match self.resize.into_inner() {
            RawResize::Name(name) if name == "exact" => Resize::Exact,
            RawResize::Side(side) if side as usize >= image && side <= MAX_EXTENT => Resize::Short(side),
            _ => {
                problem(span, format!("resize must be \"exact\" or a side from {image} to {MAX_EXTENT}"));
                Resize::Exact
            }
        };
        for (list, what) in [(&self.mean, "mean"), (&self.std, "std")] {
            let values = list.get_ref();
            if values.len() != channels {
                problem(list.span(), format!("{what} has {} values for {channels} channels", values.len()));
            } else {
                let low = if what == "std" { 1e-6 } else { -1e6 };
                if !values.iter().all(|v| (low..=1e6).contains(v)) {
                    problem(list.span(), format!("{what} must lie between {low:e} and 1e6"));
                }
            }
        }
        let labels = self.labels.map_or_else(Vec::new, |labels| {
            let span = labels.span();
            let labels = labels.into_inner();
            if labels.len() != classes {
                problem(span, format!("{} labels for {classes} classes", labels.len()));
            }
            labels
        });
        Preprocess {
            resize,
            interpolation: self.interpolation,
            mean: self.mean.into_inner(),
            std: self.std.into_inner(),
            labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = r#"[model]
name = "swin_tiny"
image = 224
channels = 3
patch = 4
window = 7
embed = 96
depths = [2, 2, 6, 2]
heads = [3, 6, 12, 24]
classes = 1000
[preprocess]
resize = 248
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"#;

    #[test]
    fn defaults_and_stages_of_swin_tiny() {
        let spec = Spec::parse("swin.toml", TINY).unwrap();
        assert_eq!((spec.mlp_ratio, spec.qkv_bias), (4.0, true));
        let stages: Vec<_> = spec.stages().map(|s| (s.side, s.channels, s.window, s.shift)).collect();
        assert_eq!(stages, [(56, 96, 7, 3), (28, 192, 7, 3), (14, 384, 7, 3), (7, 768, 7, 0)]);
        let p = spec.preprocess.unwrap();
        assert_eq!((p.resize, p.interpolation), (Resize::Short(248), Interpolation::Bicubic));
    }

    #[test]
    fn problems_point_at_their_place() {
        let cases = [
            ("window = 7", "window = 0", (6, 10), "the window's side must be between 1"),
            ("window = 7", "window = 5", (6, 10), "stage 0: windows of 5 do not tile 56 by 56 tokens"),
            ("window = 7", "windows = 7", (6, 1), "unknown field `windows`"),
            ("image = 224", "image = -3", (3, 9), "invalid value"),
            ("[3, 6, 12, 24]", "[3, 6, 12]", (9, 9), "heads lists 3 stages, depths 4"),
            ("[3, 6, 12, 24]", "[5, 6, 12, 24]", (9, 9), "5 heads do not divide 96 channels"),
            ("channels = 3", "channels = 4", (4, 12), "pictures, which have 3 channels"),
            ("resize = 248", "resize = \"fit\"", (12, 10), "resize must be"),
            ("resize = 248", "resize = -1", (12, 10), "resize must be"),
            ("image = 224", "image = 28672", (3, 9), "a tensor would have"),
            ("[0.229, 0.224, 0.225]", "[0.229, 0.224, 1e-40]", (14, 7), "std must lie between"),
            ("[0.229, 0.224, 0.225]", "[0.229, 0.224]", (14, 7), "std has 2 values"),
            ("patch = 4", "patch = 4 4", (5, 9), ""),
            ("classes = 1000", "", (1, 1), "missing field `classes`"),
        ];
        for (from, to, at, message) in cases {
            let error = Spec::parse("swin.toml", &TINY.replace(from, to)).unwrap_err();
            let found = error.errors.iter().find(|e| e.message.contains(message));
            let found = found.unwrap_or_else(|| panic!("{to}: {:?}", error.errors));
            assert_eq!(found.line_column(), at, "{to}: {}", found.message);
        }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let text = TINY.replace("window = 7", "window = 0").replace("classes = 1000", "classes = 0");
        assert_eq!(Spec::parse("swin.toml", &text).unwrap_err().errors.len(), 2);
    }
}
