//! Descriptions as other libraries write them: a `config.json`, and a `preprocessor_config.json` beside it.

mod formats;
mod json;
mod pictures;
mod reader;
#[cfg(test)]
mod tests;

use super::{
    preset, preset_names,
    spec::{RawImage, RawModel, RawPreprocess, RawSpec, Spec, Version},
};
use formats::{Format, MICROSOFT, TIMM, TORCHVISION, TRANSFORMERS};
use json::Node;
use reader::Reader;
use serde_json::Value;
use std::{ops::Range, sync::Arc};
use swint_ir::{
    Code, SourceError, SourceErrors,
    diagnostic::{Source, did_you_mean},
};
use toml::Spanned;

/// A file's name and its text.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    /// How errors name it.
    pub name: &'a str,
    /// What it holds.
    pub text: &'a str,
}

/// Reads a model's description as transformers, timm, torchvision or microsoft/Swin-Transformer write it: `config`, and the
/// preprocessing in `pictures`, as transformers writes it, if there is such a file. `name` is the model's, where neither has one.
///
/// Keys that are not known are ignored; values that would make another model are errors.
///
/// # Errors
/// Everything that is wrong, each with its place in the text.
pub fn read_config(name: &str, config: ConfigFile<'_>, pictures: Option<ConfigFile<'_>>) -> Result<Spec, SourceErrors> {
    let (value, picture_value) = (json(config)?, pictures.map(json).transpose()?);
    // Places in the second text come after those in the first.
    let base = config.text.len() + 1;
    let root = Node::root(&value, config.text, 0);
    let picture_node = (pictures.zip(picture_value.as_ref())).map(|(file, value)| Node::root(value, file.text, base));
    let mut problems = Vec::new();
    let raw = raw(&sanitized(name), root, picture_node, &mut problems);
    let spec = raw.map(|raw| raw.check(&mut |span, message| problems.push((span, message))));
    match spec {
        Some(spec) if problems.is_empty() => Ok(spec),
        _ => Err(errors(problems, base, config, pictures)),
    }
}

/// A file's or folder's name as a model's: with `_` for what that may not hold.
fn sanitized(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if name.is_empty() { "swin".to_owned() } else { name }
}

/// The JSON of a file.
fn json(file: ConfigFile<'_>) -> Result<Value, SourceErrors> {
    serde_json::from_str(file.text).map_err(|e| {
        let source = Arc::new(Source::new(file.name, file.text));
        // serde_json counts lines from 1 and bytes of a line from 1; at the end of the text it may be behind the last line.
        let line = file.text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let at = file.text.floor_char_boundary((line + e.column().saturating_sub(1)).min(file.text.len()));
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        SourceErrors::new(&source, vec![SourceError::new(&source, Code::BadSpec, at..at + 1, message, "here")])
    })
}

/// Problems with the places that they have in the two texts; those of the first come first.
fn errors(
    problems: Vec<(Range<usize>, String)>,
    base: usize,
    config: ConfigFile<'_>,
    pictures: Option<ConfigFile<'_>>,
) -> SourceErrors {
    let (first, second): (Vec<_>, Vec<_>) = problems.into_iter().partition(|(span, _)| span.start < base);
    let (problems, file, base) = match pictures {
        Some(pictures) if first.is_empty() => (second, pictures, base),
        _ => (first, config, 0),
    };
    let source = Arc::new(Source::new(file.name, file.text));
    let error = |(span, message): (Range<usize>, String)| {
        SourceError::new(&source, Code::BadSpec, span.start - base..span.end - base, message, "here")
    };
    SourceErrors::new(&source, problems.into_iter().map(error).collect())
}

/// What a configuration is of: its format, the version of Swin, and what holds where it says nothing.
struct Kind {
    format: &'static Format,
    version: u32,
    base: Option<Spec>,
    /// Whether that is the model itself, and not only a class's defaults.
    preset: bool,
}

/// Swin-T, whose numbers are every library's defaults.
const DEFAULT: &str = "swin_tiny_patch4_window7_224";

/// Finds out what a configuration is of.
fn kind(root: &Node<'_>) -> Result<Kind, (Range<usize>, String)> {
    let default = || preset(DEFAULT);
    let is_swin = |node: &Node<'_>| match node.value.as_str() {
        Some("swin") => Ok(1),
        Some("swinv2") => Ok(2),
        _ => Err((node.span(), format!("{} is not supported: there are swin and swinv2", node.value))),
    };
    if root.get("MODEL").is_some_and(|node| node.value.is_object()) {
        let version = root.path("MODEL.TYPE").map_or(Ok(1), |node| is_swin(&node))?;
        return Ok(Kind { format: &MICROSOFT, version, base: default(), preset: false });
    }
    match (root.get("model_type"), root.get("architecture")) {
        (Some(model), _) if model.value != "timm_wrapper" => {
            let base = default().map(|spec| Spec { classes: 2, ..spec });
            Ok(Kind { format: &TRANSFORMERS, version: is_swin(&model)?, base, preset: false })
        }
        (_, Some(node)) => {
            let name = node.value.as_str().unwrap_or_default();
            let version = if name.contains("v2") { 2 } else { 1 };
            if name.starts_with("swin") && name.contains("torchvision") {
                return Ok(Kind { format: &TORCHVISION, version, base: None, preset: false });
            }
            let plain = name.split('.').next().unwrap_or_default();
            if let Some(base) = preset(plain) {
                return Ok(Kind { format: &TIMM, version, base: Some(base), preset: true });
            }
            let described = root.path("model_args.depths").is_some() && name.starts_with("swin");
            if described && !name.starts_with("swinv2_cr") {
                return Ok(Kind { format: &TIMM, version, base: default(), preset: false });
            }
            let hint = did_you_mean(plain, preset_names()).map_or_else(String::new, |hint| format!("; {hint}"));
            Err((node.span(), format!("{} is no model that is known{hint}", node.value)))
        }
        _ => {
            let start = root.span().start;
            let message = "this describes no Swin: it has neither a `model_type`, as transformers writes it, nor an \
                           `architecture`, as timm does, nor a `MODEL`, as microsoft/Swin-Transformer does";
            Err((start..start + 1, message.to_owned()))
        }
    }
}

/// The description as it is written, and what is wrong with single values; `None` where one is missing.
fn raw(
    name: &str,
    root: Node<'_>,
    pictures: Option<Node<'_>>,
    problems: &mut Vec<(Range<usize>, String)>,
) -> Option<RawSpec> {
    let Kind { format, version, base, preset: is_preset } = match kind(&root) {
        Ok(kind) => kind,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let mut r = Reader::new(root, format.sections[version as usize - 1]);
    r.check_only(format.only);
    let preset = base.as_ref();
    let number = |of: fn(&Spec) -> usize| preset.map(|spec| of(spec) as u32);
    let numbers = |of: fn(&Spec) -> &Vec<usize>| preset.map(|spec| of(spec).iter().map(|&n| n as u32).collect());
    let image = r.sides(format.image, preset.map(|spec| [spec.height as u32, spec.width as u32]));
    let channels = r.first(format.channels, Some(3));
    let patch = r.side(format.patch, number(|spec| spec.patch));
    let window = r.side(format.window, number(|spec| spec.window));
    let embed = r.doubling(format.embed, number(|spec| spec.embed));
    let depths = r.list(format.depths, numbers(|spec| &spec.depths));
    let heads = r.list(format.heads, numbers(|spec| &spec.heads));
    let mlp_ratio = r.number(format.mlp_ratio, preset.map_or(4.0, |spec| spec.mlp_ratio));
    let qkv_bias = r.truth(format.qkv_bias, preset.is_none_or(|spec| spec.qkv_bias));
    let pretrained_windows =
        if version == 2 { pretrained_windows(&mut r, format, preset, depths.as_ref()) } else { None };
    let labels = pictures::labels(&mut r, format.labels);
    let classes = match (&labels, r.find(format.classes)) {
        (Some(labels), None) => Some(Spanned::new(labels.span(), labels.get_ref().len() as u32)),
        _ => r.first(format.classes, number(|spec| spec.classes)),
    };
    let sides = image.as_ref().map_or([0; 2], |image| *image.get_ref());
    let itself = preset.filter(|_| is_preset);
    let nowhere = r.nowhere();
    let usual = || Some(RawPreprocess::new(itself?.preprocess.as_ref()?, nowhere));
    let own = (format.pictures)(&mut r, sides).or_else(usual);
    let version = Spanned::new(r.nowhere(), version);
    let name = Spanned::new(r.nowhere(), itself.map_or(name, |spec| spec.name.as_str()).to_owned());
    problems.append(&mut r.problems);
    let preprocess = match pictures {
        Some(node) => {
            let mut r = Reader::new(node, "");
            let preprocess = pictures::transformers(&mut r, sides);
            problems.append(&mut r.problems);
            preprocess
        }
        None => own,
    };
    let model = RawModel {
        name,
        image: image.map(|image| Spanned::new(image.span(), RawImage::Sides(image.into_inner())))?,
        channels: channels?,
        patch: patch?,
        version: Some(version),
        pretrained_windows,
        window: window?,
        partition: Some(format.partition),
        embed: embed?,
        depths: depths?,
        heads: heads?,
        mlp_ratio,
        qkv_bias: qkv_bias.map(Spanned::into_inner),
        classes: classes?,
    };
    let preprocess = preprocess.map(|preprocess| RawPreprocess { labels, ..preprocess });
    Some(RawSpec { model, preprocess })
}

/// The windows of pretraining. The libraries use as many as there are stages, of a default of four zeros.
fn pretrained_windows(
    r: &mut Reader<'_>,
    format: &Format,
    preset: Option<&Spec>,
    depths: Option<&Spanned<Vec<u32>>>,
) -> Option<Spanned<Vec<u32>>> {
    let default = preset.and_then(|spec| match &spec.version {
        Version::V2 { pretrained_windows } => Some(pretrained_windows.iter().map(|&n| n as u32).collect()),
        Version::V1 => None,
    });
    if default.is_none() {
        r.find(format.pretrained_windows)?;
    }
    let mut windows = r.list(format.pretrained_windows, default)?;
    windows.get_mut().truncate(depths.map_or(0, |depths| depths.get_ref().len()));
    Some(windows)
}
