//! Reads a model from files.

use super::{Checkpoint, CheckpointError, Spec, SpecError, import};
use std::{fs, path::Path};
use swint_ir::Module;

/// Why a model cannot be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}: {message}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        message: String,
    },
    /// The description is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Spec(#[from] SpecError),
    /// The checkpoint is damaged or another model's.
    #[error("{path}: {error}")]
    Checkpoint {
        /// The file.
        path: String,
        /// What is wrong.
        error: CheckpointError,
    },
}

/// Reads a model description and its checkpoint, and imports the float graph.
///
/// # Errors
/// When a file cannot be read, or is wrong.
pub fn load(spec: &Path, weights: &Path) -> Result<(Spec, Module), LoadError> {
    let io =
        |path: &Path, e: std::io::Error| LoadError::Io { path: path.display().to_string(), message: e.to_string() };
    let text = fs::read_to_string(spec).map_err(|e| io(spec, e))?;
    let spec = Spec::parse(&spec.display().to_string(), &text)?;
    let bytes = fs::read(weights).map_err(|e| io(weights, e))?;
    let wrong = |error| LoadError::Checkpoint { path: weights.display().to_string(), error };
    let checkpoint = Checkpoint::from_bytes(&bytes).map_err(wrong)?;
    let module = import(&spec, &checkpoint).map_err(wrong)?;
    Ok((spec, module))
}
