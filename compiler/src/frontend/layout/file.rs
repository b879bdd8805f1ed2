//! Checkpoint files as they are stored, under whatever names.

use super::super::checkpoint::{self, Checkpoint, CheckpointError, Contents, Limits};
use std::{collections::BTreeMap, path::Path};

/// The tensors of one or several safetensors files.
#[derive(Clone, Default, Debug)]
pub struct CheckpointFile {
    /// Tensors of types that graphs have.
    pub tensors: Checkpoint,
    /// The `relative_position_index` buffers, which are 64-bit integers.
    pub(super) indexes: BTreeMap<String, Vec<i64>>,
    /// What should be known of them: conversions.
    pub(super) notes: Vec<String>,
}

impl CheckpointFile {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open(path: &Path, limits: &Limits) -> Result<CheckpointFile, CheckpointError> {
        checkpoint::open(path, limits).map(CheckpointFile::of)
    }

    /// Reads a safetensors file's bytes.
    ///
    /// # Errors
    /// As [`Checkpoint::from_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<CheckpointFile, CheckpointError> {
        checkpoint::from_bytes(bytes).map(CheckpointFile::of)
    }

    fn of(Contents { tensors, indexes, notes }: Contents) -> CheckpointFile {
        CheckpointFile { tensors, indexes, notes }
    }

    /// Adds the tensors of another file of the same checkpoint.
    ///
    /// # Errors
    /// When both have a tensor of one name.
    pub fn add(&mut self, shard: CheckpointFile) -> Result<(), CheckpointError> {
        if let Some(name) = shard.tensors.0.keys().find(|name| self.tensors.0.contains_key(*name)) {
            let name = checkpoint::printable(name);
            return Err(CheckpointError::Format(format!("tensor {name} is in another of the checkpoint's files, too")));
        }
        self.tensors.0.extend(shard.tensors.0);
        self.indexes.extend(shard.indexes);
        self.notes.extend(shard.notes);
        Ok(())
    }
}
