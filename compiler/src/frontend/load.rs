//! Reads a model from files.

use super::{Checkpoint, CheckpointError, Spec, import};
use std::{fs, path::Path};
use swint_ir::{Module, SourceErrors};

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
    LoadError::Io { path: path.display().to_string(), message: error.to_string() }
}

/// Reads a model description.
///
/// # Errors
/// When the file cannot be read, or is wrong.
pub fn load_spec(path: &Path) -> Result<Spec, LoadError> {
    let text = fs::read_to_string(path).map_err(|e| unreadable(path, e))?;
    Ok(Spec::parse(&path.display().to_string(), &text)?)
}

/// Reads a model description and its checkpoint, and imports the float graph.
///
/// # Errors
/// When a file cannot be read, or is wrong.
pub fn load(spec: &Path, weights: &Path) -> Result<(Spec, Module), LoadError> {
    let spec = load_spec(spec)?;
    let bytes = fs::read(weights).map_err(|e| unreadable(weights, e))?;
    let wrong = |error| LoadError::Checkpoint { path: weights.display().to_string(), error };
    let checkpoint = Checkpoint::from_bytes(&bytes).map_err(wrong)?;
    let module = import(&spec, &checkpoint).map_err(wrong)?;
    Ok((spec, module))
}
