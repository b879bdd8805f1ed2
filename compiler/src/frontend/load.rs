//! Reads a model from files.

use super::{Checkpoint, CheckpointError, Limits, Spec, import, preset, preset_names};
use std::{fs, io::ErrorKind, path::Path};
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
}

fn unreadable(path: &Path, error: std::io::Error) -> LoadError {
    let is_name = path.extension().is_none() && path.components().count() == 1;
    let path = path.display().to_string();
    let help = if is_name { did_you_mean(&path, preset_names()) } else { None };
    LoadError::Io { path, message: error.to_string(), help }
}

/// Reads a model description, or takes the preset of that name where there is no such file.
///
/// # Errors
/// When the file cannot be read, or is wrong.
pub fn load_spec(path: &Path) -> Result<Spec, LoadError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let preset = path.to_str().filter(|_| error.kind() == ErrorKind::NotFound).and_then(preset);
            return preset.ok_or_else(|| unreadable(path, error));
        }
    };
    Ok(Spec::parse(&path.display().to_string(), &text)?)
}

/// Reads a model description and its checkpoint, and imports the float graph.
///
/// # Errors
/// When a file cannot be read, or is wrong.
pub fn load(spec: &Path, weights: &Path) -> Result<(Spec, Module), LoadError> {
    load_with(spec, weights, &Limits::default()).map(|(spec, module, _)| (spec, module))
}

/// As [`load`], but with other limits, and with what should be known of the checkpoint: conversions.
///
/// # Errors
/// As [`load`].
pub fn load_with(spec: &Path, weights: &Path, limits: &Limits) -> Result<(Spec, Module, Vec<String>), LoadError> {
    let spec = load_spec(spec)?;
    let path = || weights.display().to_string();
    let wrong = |error| match error {
        CheckpointError::Io(message) => LoadError::Io { path: path(), message, help: None },
        error => LoadError::Checkpoint { path: path(), error },
    };
    let (checkpoint, notes) = Checkpoint::open(weights, limits).map_err(wrong)?;
    let module = import(&spec, &checkpoint).map_err(wrong)?;
    Ok((spec, module, notes))
}
