//! Reads a model from files.

use super::{
    Canonical, CheckpointError, CheckpointFile, ConfigFile, Layout, Limits, Spec, canonical, import, preset,
    preset_names, read_config,
};
use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};
use swint_ir::{Module, SourceErrors, diagnostic::did_you_mean};

/// Why a model cannot be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}: {message}")]
    #[diagnostic(code("SW0301"))]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        message: String,
        /// A preset that may be meant.
        #[help]
        help: Option<String>,
    },
    /// The description is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Spec(#[from] SourceErrors),
    /// The checkpoint is damaged or another model's.
    #[error("{path}: {error}")]
    #[diagnostic(code("SW0303"))]
    Checkpoint {
        /// The file.
        path: String,
        /// What is wrong.
        error: CheckpointError,
    },
    /// A folder does not hold a model.
    #[error("{path}: {message}")]
    #[diagnostic(code("SW0301"))]
    Folder {
        /// The folder.
        path: String,
        /// What it lacks.
        message: String,
    },
}

/// A model that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its description, less what the checkpoint lacks.
    pub spec: Spec,
    /// The float graph, with the canonical names.
    pub module: Module,
    /// How the checkpoint names its tensors.
    pub layout: &'static Layout,
    /// What is to be said to the user.
    pub notes: Vec<String>,
}

/// Names of the files of a folder as hubs have it.
const CONFIG: &str = "config.json";
const PICTURES: &str = "preprocessor_config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Our own description.
const SPEC: &str = "swin.toml";

fn unreadable(path: &Path, error: std::io::Error) -> LoadError {
    let is_name = path.extension().is_none() && path.components().count() == 1;
    let path = path.display().to_string();
    let help = if is_name { did_you_mean(&path, preset_names()) } else { None };
    LoadError::Io { path, message: error.to_string(), help }
}

fn folder(path: &Path, message: impl Into<String>) -> LoadError {
    LoadError::Folder { path: path.display().to_string(), message: message.into() }
}

fn wrong(path: &Path) -> impl Fn(CheckpointError) -> LoadError {
    move |error| {
        let path = path.display().to_string();
        match error {
            CheckpointError::Io(message) => LoadError::Io { path, message, help: None },
            error => LoadError::Checkpoint { path, error },
        }
    }
}

/// Reads a model description: our TOML or another library's `config.json`, a folder that holds one of them, or the preset of that name
/// where there is no such file. `preprocessor_config.json` beside a `config.json` says how pictures become pixels.
///
/// # Errors
/// When a file cannot be read, or is wrong.
pub fn load_spec(path: &Path) -> Result<Spec, LoadError> {
    if path.is_dir() {
        let has = |name: &&str| path.join(name).exists();
        let name = [CONFIG, SPEC].into_iter().find(has);
        return load_spec(&path.join(name.ok_or_else(|| folder(path, format!("there is no {CONFIG} or {SPEC}")))?));
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let preset = path.to_str().filter(|_| error.kind() == ErrorKind::NotFound).and_then(preset);
            return preset.ok_or_else(|| unreadable(path, error));
        }
    };
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(Spec::parse(&path.display().to_string(), &text)?);
    }
    let beside = path.with_file_name(PICTURES);
    let pictures = match fs::read_to_string(&beside) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(&beside, error)),
    };
    let whole = fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
    let name = whole.parent().and_then(Path::file_name).map(|name| name.to_string_lossy()).unwrap_or_default();
    let (path, beside) = (path.display().to_string(), beside.display().to_string());
    let pictures = pictures.as_deref().map(|text| ConfigFile { name: &beside, text });
    Ok(read_config(&name, ConfigFile { name: &path, text: &text }, pictures)?)
}

/// The files of a checkpoint: of `path` itself, or of the folder `path`. There they are `model.safetensors`, the shards that
/// `model.safetensors.index.json` lists, or the only safetensors file.
///
/// # Errors
/// When there is none, or one cannot be chosen.
pub fn weight_files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    if path.is_file() && path.extension().is_some_and(|extension| extension == "json") {
        return shards(path);
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if path.join(WEIGHTS).exists() {
        return Ok(vec![path.join(WEIGHTS)]);
    }
    if path.join(INDEX).exists() {
        return shards(&path.join(INDEX));
    }
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|e| unreadable(path, e))?;
    let is_safetensors = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "safetensors");
    let found: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_safetensors).collect();
    match found.len() {
        1 => Ok(found),
        0 => Err(folder(path, format!("there is no {WEIGHTS}, nor another safetensors file: no other format is read"))),
        n => Err(folder(path, format!("there are {n} safetensors files and none is {WEIGHTS}: which one?"))),
    }
}

/// The files that an index lists.
fn shards(index: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let text = fs::read_to_string(index).map_err(|e| unreadable(index, e))?;
    let names = || {
        let json: serde_json::Value = serde_json::from_str(&text).ok()?;
        let names = json.get("weight_map")?.as_object()?.values().map(|name| name.as_str().map(str::to_owned));
        names.collect::<Option<BTreeSet<String>>>()
    };
    // Only files of the folder itself.
    let is_plain =
        |name: &String| matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    match names().filter(|names| !names.is_empty() && names.iter().all(is_plain)) {
        Some(names) => Ok(names.iter().map(|name| index.with_file_name(name)).collect()),
        None => {
            let error = CheckpointError::Format("its weight_map does not list files beside it".to_owned());
            Err(wrong(index)(error))
        }
    }
}

/// Reads the checkpoint of a description, a file or a folder as [`weight_files`] takes it, whatever library names its tensors.
///
/// # Errors
/// When a file cannot be read, is damaged, or another model's.
pub fn load_checkpoint(spec: Spec, weights: &Path, limits: &Limits) -> Result<Canonical, LoadError> {
    let mut file = CheckpointFile::default();
    for path in weight_files(weights)? {
        let shard = CheckpointFile::open(&path, limits).map_err(wrong(&path))?;
        file.add(shard).map_err(wrong(&path))?;
    }
    canonical(spec, file).map_err(wrong(weights))
}

/// Reads a model description and its checkpoint, and imports the float graph.
///
/// # Errors
/// When a file cannot be read, or is wrong.
pub fn load(spec: &Path, weights: &Path, limits: &Limits) -> Result<Loaded, LoadError> {
    let Canonical { spec, checkpoint, layout, notes } = load_checkpoint(load_spec(spec)?, weights, limits)?;
    let module = import(&spec, &checkpoint).map_err(wrong(weights))?;
    Ok(Loaded { spec, module, layout, notes })
}

/// Reads a folder that holds a description and its checkpoint, as model hubs have it, and imports the float graph.
///
/// # Errors
/// When a file is missing, cannot be read, or is wrong.
pub fn load_folder(folder: &Path) -> Result<Loaded, LoadError> {
    load(folder, folder, &Limits::default())
}
