//! The model description, `swin.toml`.

use serde::Deserialize;
use std::{ops::Range, sync::Arc};
use swint_ir::{Code, Pair, SourceError, SourceErrors, diagnostic::Source, infer::MAX_ELEMENTS, text::is_name};
use toml::Spanned;

/// A Swin Transformer's hyperparameters, checked: every stage can be built.
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    /// Name of the model.
    pub name: String,
    /// Rows of the image, in pixels.
    pub height: usize,
    /// Columns of the image, in pixels.
    pub width: usize,
    /// Colour channels.
    pub channels: usize,
    /// Side of a patch, in pixels.
    pub patch: usize,
    /// Which Swin it is.
    pub version: Version,
    /// Side of an attention window, in tokens.
    pub window: usize,
    /// What becomes of windows that do not tile the tokens.
    pub partition: Partition,
    /// Channels of the first stage; each stage doubles them.
    pub embed: usize,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Attention heads of each stage.
    pub heads: Vec<usize>,
    /// Hidden channels of the MLP over its input channels.
    pub mlp_ratio: f64,
    /// Whether q, k and v have biases; the second version's k never has one.
    pub qkv_bias: bool,
    /// Number of classes; without any, the pooled features are the result.
    pub classes: usize,
    /// How pictures become pixels; without it the model takes normalised `pixel_values`.
    pub preprocess: Option<Preprocess>,
}

/// Which Swin Transformer a model is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Version {
    /// LayerNorm before each branch, scaled scores, a table of position biases. (Liu et al., arXiv 2103.14030)
    V1,
    /// LayerNorm after each branch, scores of normalised q and k, position biases by an MLP. (Liu et al., arXiv 2111.09883)
    V2 {
        /// Side of the windows of each stage in pretraining, by which the MLP's coordinates are scaled; 0 for the window itself.
        pretrained_windows: Vec<usize>,
    },
}

/// Which library's rule says how windows cover a grid of tokens that they do not tile. All pad with zeros at the bottom and right, and
/// padding takes part as keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// A window is no larger than the grid, and an axis that it covers is not shifted. Tokens are shifted, then padded.
    Timm,
    /// The window is square and no larger than the shorter side; where it covers that, nothing is shifted. Tokens are padded, then
    /// shifted. The second version goes by the height, halved and rounded down at each merging, though merging rounds up.
    Transformers,
    /// The window is as large as it is said to be. Tokens are padded, then shifted, but not along an axis that one window covers.
    Torchvision,
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
    /// Sides of the token grid.
    pub grid: Pair<usize>,
    /// Channels.
    pub channels: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Sides of a window.
    pub window: Pair<usize>,
    /// Cyclic shift of every second block; 0 along an axis that is not shifted.
    pub shift: Pair<usize>,
    /// Side of a window in pretraining, 0 for none.
    pub pretrained_window: usize,
}

impl Stage {
    /// Sides of the grid, padded to whole windows.
    pub fn padded(&self) -> Pair<usize> {
        self.grid.zip(self.window, usize::next_multiple_of)
    }
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
        let patches = Pair::new(self.height / self.patch, self.width / self.patch);
        let mut grid = patches;
        self.depths.iter().zip(&self.heads).enumerate().map(move |(i, (&depth, &heads))| {
            if i > 0 {
                grid = grid.map(|side| side.div_ceil(2));
            }
            let (window, shift) = self.windows(grid, patches.map(|side| side >> i));
            let pretrained_window = match &self.version {
                Version::V1 => 0,
                Version::V2 { pretrained_windows } => pretrained_windows.get(i).copied().unwrap_or(0),
            };
            Stage { grid, channels: self.embed << i, depth, heads, window, shift, pretrained_window }
        })
    }

    /// Window and shift on a grid, and on what the grid is where every merging rounds down.
    fn windows(&self, grid: Pair<usize>, rounded_down: Pair<usize>) -> (Pair<usize>, Pair<usize>) {
        let window = Pair::from(self.window);
        let half = |covered: bool| if covered { 0 } else { self.window / 2 };
        match (self.partition, &self.version) {
            (Partition::Timm, _) => (grid.zip(window, usize::min), grid.map(|side| half(side <= self.window))),
            (Partition::Transformers, Version::V1) => {
                let side = grid.rows.min(grid.columns);
                (Pair::from(side.min(self.window)), Pair::from(half(side <= self.window)))
            }
            (Partition::Transformers, Version::V2 { .. }) => {
                let side = rounded_down.rows;
                (Pair::from(side.min(self.window)), Pair::from(half(side <= self.window)))
            }
            (Partition::Torchvision, _) => (window, grid.map(|side| half(side <= self.window))),
        }
    }

    /// Elements of the largest tensor of the graph or the checkpoint, for one image.
    fn largest_tensor(&self) -> f64 {
        let area = |sides: Pair<usize>| sides.rows as f64 * sides.columns as f64;
        let stage = |s: Stage| {
            let (c, tokens, padded) = (s.channels as f64, area(s.window), area(s.padded()));
            let wide = (c * self.mlp_ratio).max(3.0 * c);
            (padded * wide).max(padded * tokens * s.heads as f64).max(wide * c)
        };
        let pixels = self.height as f64 * self.width as f64 * self.channels as f64;
        let kernel = (self.embed * self.channels) as f64 * area(self.patch.into());
        self.stages().map(stage).fold(pixels.max(kernel), f64::max)
    }

    /// Hidden channels of an MLP on `channels`.
    pub fn hidden(&self, channels: usize) -> usize {
        (channels as f64 * self.mlp_ratio) as usize
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSpec {
    pub(super) model: RawModel,
    pub(super) preprocess: Option<RawPreprocess>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    pub(super) name: Spanned<String>,
    pub(super) image: Spanned<RawImage>,
    pub(super) channels: Spanned<u32>,
    pub(super) patch: Spanned<u32>,
    pub(super) version: Option<Spanned<u32>>,
    pub(super) pretrained_windows: Option<Spanned<Vec<u32>>>,
    pub(super) window: Spanned<u32>,
    pub(super) partition: Option<Partition>,
    pub(super) embed: Spanned<u32>,
    pub(super) depths: Spanned<Vec<u32>>,
    pub(super) heads: Spanned<Vec<u32>>,
    pub(super) mlp_ratio: Option<Spanned<f64>>,
    pub(super) qkv_bias: Option<bool>,
    pub(super) classes: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "image must be a side, or [height, width], in pixels")]
pub(super) enum RawImage {
    Side(u32),
    Sides([u32; 2]),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPreprocess {
    pub(super) resize: Spanned<RawResize>,
    #[serde(default = "bicubic")]
    pub(super) interpolation: Interpolation,
    pub(super) mean: Spanned<Vec<f32>>,
    pub(super) std: Spanned<Vec<f32>>,
    pub(super) labels: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "resize must be \"exact\" or a number of pixels")]
pub(super) enum RawResize {
    Side(u32),
    Name(String),
}

fn bicubic() -> Interpolation {
    Interpolation::Bicubic
}

/// Largest extent that a description may name: keeps every product of extents far from overflow.
const MAX_EXTENT: u32 = 1 << 16;

/// Most stages that a description may have.
const MAX_STAGES: usize = 8;

impl RawSpec {
    /// The description, and every problem with it and where that is.
    pub(super) fn check(self, problem: &mut dyn FnMut(Range<usize>, String)) -> Spec {
        let m = &self.model;
        let positive = |value: &Spanned<u32>, what: &str, problem: &mut dyn FnMut(Range<usize>, String)| {
            in_range(*value.get_ref(), 1, value.span(), what, problem)
        };
        let name = m.name.get_ref().clone();
        if !is_name(&name) {
            problem(m.name.span(), "the name may hold letters, digits, `_`, `.` and `-`".to_owned());
        }
        let sides = match *m.image.get_ref() {
            RawImage::Side(side) => [side; 2],
            RawImage::Sides(sides) => sides,
        };
        let [height, width] = sides.map(|side| in_range(side, 1, m.image.span(), "the image's side", problem));
        let channels = positive(&m.channels, "the number of channels", problem);
        let patch = positive(&m.patch, "the patch's side", problem);
        let window = positive(&m.window, "the window's side", problem);
        let embed = positive(&m.embed, "the embedding", problem);
        let classes = in_range(*m.classes.get_ref(), 0, m.classes.span(), "the number of classes", problem);
        if height % patch != 0 || width % patch != 0 {
            problem(m.image.span(), format!("patches of {patch} do not tile an image of {height} by {width}"));
        }
        let (depths, heads) = (m.depths.get_ref(), m.heads.get_ref());
        if depths.is_empty() || depths.len() > MAX_STAGES || depths.iter().any(|&d| d == 0 || d > 1000) {
            problem(m.depths.span(), format!("depths must list 1 to {MAX_STAGES} stages of 1 to 1000 blocks"));
        } else if heads.len() != depths.len() {
            problem(m.heads.span(), format!("heads lists {} stages, depths {}", heads.len(), depths.len()));
        } else {
            for (i, &h) in heads.iter().enumerate() {
                let c = embed << i;
                if h == 0 || c % h as usize != 0 {
                    problem(m.heads.span(), format!("stage {i}: {h} heads do not divide {c} channels"));
                }
            }
        }
        let version = m.version(problem);
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
        let preprocess = self.preprocess.map(|p| p.check(height.max(width), channels, classes, problem));
        let spec = Spec {
            name,
            height,
            width,
            channels,
            patch,
            version,
            window,
            partition: m.partition.unwrap_or(Partition::Timm),
            embed,
            depths: depths.iter().take(MAX_STAGES).map(|&d| d as usize).collect(),
            heads: heads.iter().map(|&h| h as usize).collect(),
            mlp_ratio,
            qkv_bias: m.qkv_bias.unwrap_or(true),
            classes,
            preprocess,
        };
        if spec.stages().any(|s| [s.window, s.grid].iter().any(|sides| sides.area() == Some(0))) {
            problem(m.image.span(), format!("an image of {height} by {width} has too few patches for so many stages"));
            return spec;
        }
        let largest = spec.largest_tensor();
        if largest > MAX_ELEMENTS as f64 {
            problem(m.image.span(), format!("a tensor would have {largest:.2e} elements, more than {MAX_ELEMENTS}"));
        }
        spec
    }
}

/// A number from `least` to [`MAX_EXTENT`], clamped to that where it is reported.
fn in_range(
    value: u32,
    least: u32,
    span: Range<usize>,
    what: &str,
    problem: &mut dyn FnMut(Range<usize>, String),
) -> usize {
    if value < least || value > MAX_EXTENT {
        problem(span, format!("{what} must be between {least} and {MAX_EXTENT}, not {value}"));
    }
    value.clamp(least, MAX_EXTENT) as usize
}

impl RawModel {
    /// The version, with the windows of pretraining.
    fn version(&self, problem: &mut dyn FnMut(Range<usize>, String)) -> Version {
        let version = self.version.as_ref().map_or(1, |v| *v.get_ref());
        if let Some(v) = self.version.as_ref().filter(|_| !(1..=2).contains(&version)) {
            problem(v.span(), format!("version must be 1 or 2, not {version}"));
        }
        let Some(windows) = &self.pretrained_windows else {
            return match version {
                2 => Version::V2 { pretrained_windows: vec![0; self.depths.get_ref().len()] },
                _ => Version::V1,
            };
        };
        let (sides, stages) = (windows.get_ref(), self.depths.get_ref().len());
        if version != 2 {
            problem(windows.span(), "only version 2 has pretrained_windows".to_owned());
            return Version::V1;
        }
        if sides.len() != stages {
            problem(windows.span(), format!("pretrained_windows lists {} stages, depths {stages}", sides.len()));
        }
        if sides.iter().any(|&side| side == 1 || side > MAX_EXTENT) {
            problem(windows.span(), format!("a pretrained window is 0, for none, or 2 to {MAX_EXTENT}"));
        }
        Version::V2 { pretrained_windows: sides.iter().map(|&side| side as usize).collect() }
    }
}

impl RawPreprocess {
    /// What is written for a preprocessing; all of it at `span`.
    pub(super) fn new(from: &Preprocess, span: Range<usize>) -> RawPreprocess {
        let resize = match from.resize {
            Resize::Exact => RawResize::Name("exact".to_owned()),
            Resize::Short(side) => RawResize::Side(side),
        };
        RawPreprocess {
            resize: Spanned::new(span.clone(), resize),
            interpolation: from.interpolation,
            mean: Spanned::new(span.clone(), from.mean.clone()),
            std: Spanned::new(span, from.std.clone()),
            labels: None,
        }
    }

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
        assert_eq!((&spec.version, spec.partition), (&Version::V1, Partition::Timm));
        let stages: Vec<_> = spec.stages().map(|s| (s.grid.rows, s.channels, s.window.rows, s.shift.rows)).collect();
        assert_eq!(stages, [(56, 96, 7, 3), (28, 192, 7, 3), (14, 384, 7, 3), (7, 768, 7, 0)]);
        assert!(spec.stages().all(|s| s.padded() == s.grid && s.grid.rows == s.grid.columns));
        let p = spec.preprocess.unwrap();
        assert_eq!((p.resize, p.interpolation), (Resize::Short(248), Interpolation::Bicubic));
    }

    /// What each library makes of 30 by 21 patches, and of the 15 by 11 that they are merged to.
    #[test]
    fn windows_follow_the_library() {
        let text = TINY.replace("image = 224", "image = [120, 84]").replace("[2, 2, 6, 2]", "[2, 2, 2]");
        let text = text.replace("[3, 6, 12, 24]", "[3, 6, 12]").replace("window = 7", "window = 8");
        let stages = |more: &str| {
            let spec = Spec::parse("swin.toml", &text.replace("window = 8", &format!("window = 8\n{more}"))).unwrap();
            let show = |s: Stage| format!("{} {} {} {}", s.grid, s.window, s.shift, s.padded());
            spec.stages().map(show).collect::<Vec<_>>()
        };
        assert_eq!(stages(""), ["[30, 21] 8 4 [32, 24]", "[15, 11] 8 4 16", "[8, 6] [8, 6] 0 [8, 6]"]);
        assert_eq!(
            stages("partition = \"transformers\""),
            ["[30, 21] 8 4 [32, 24]", "[15, 11] 8 4 16", "[8, 6] 6 0 [12, 6]"]
        );
        assert_eq!(
            stages("partition = \"transformers\"\nversion = 2"),
            ["[30, 21] 8 4 [32, 24]", "[15, 11] 8 4 16", "[8, 6] 7 0 [14, 7]"]
        );
        assert_eq!(stages("partition = \"torchvision\""), ["[30, 21] 8 4 [32, 24]", "[15, 11] 8 4 16", "[8, 6] 8 0 8"]);
    }

    #[test]
    fn problems_point_at_their_place() {
        let cases = [
            ("window = 7", "window = 0", (6, 10), "the window's side must be between 1"),
            ("window = 7", "window = 7\nversion = 3", (7, 11), "version must be 1 or 2, not 3"),
            ("window = 7", "window = 7\nversion = 2\npretrained_windows = [7]", (8, 22), "lists 1 stages, depths 4"),
            ("window = 7", "window = 7\npretrained_windows = [7]", (7, 22), "only version 2 has"),
            ("window = 7", "window = 7\npartition = \"tf\"", (7, 13), "unknown variant `tf`"),
            ("image = 224", "image = 2", (3, 9), "too few patches for so many stages"),
            ("image = 224", "image = [224, 222]", (3, 9), "patches of 4 do not tile an image of 224 by 222"),
            ("image = 224", "image = [224]", (3, 9), "image must be a side, or [height, width], in pixels"),
            ("window = 7", "windows = 7", (6, 1), "unknown field `windows`"),
            ("image = 224", "image = -3", (3, 9), "image must be a side, or [height, width], in pixels"),
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
        let text = TINY.replace("window = 7", "window = 0").replace("classes = 1000", "classes = 65537");
        assert_eq!(Spec::parse("swin.toml", &text).unwrap_err().errors.len(), 2);
    }
}
