//! Checkpoint files as they are stored, under whatever names.

use super::super::checkpoint::{Checkpoint, CheckpointError};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// The tensors of one or several safetensors files.
#[derive(Clone, Default, Debug)]
pub struct CheckpointFile {
    /// Tensors of types that graphs have.
    pub tensors: Checkpoint,
    /// The `relative_position_index` buffers, which are 64-bit integers.
    pub(super) indexes: BTreeMap<String, Vec<i64>>,
}

impl CheckpointFile {
    /// Reads a safetensors file's bytes.
    ///
    /// # Errors
    /// As [`Checkpoint::from_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<CheckpointFile, CheckpointError> {
        let tensors = Checkpoint::from_bytes(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| CheckpointError::Format(e.to_string()))?;
        let index = |data: &[u8]| data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
        let indexes = (file.iter())
            .filter(|(name, view)| name.ends_with(".relative_position_index") && view.dtype() == Dtype::I64)
            .map(|(name, view)| (name.to_owned(), index(view.data())))
            .collect();
        Ok(CheckpointFile { tensors, indexes })
    }

    /// Adds the tensors of another file of the same checkpoint.
    ///
    /// # Errors
    /// When both have a tensor of one name.
    pub fn add(&mut self, shard: CheckpointFile) -> Result<(), CheckpointError> {
        if let Some(name) = shard.tensors.0.keys().find(|name| self.tensors.0.contains_key(*name)) {
            let name = name.escape_default();
            return Err(CheckpointError::Format(format!("tensor {name} is in another of the checkpoint's files, too")));
        }
        self.tensors.0.extend(shard.tensors.0);
        self.indexes.extend(shard.indexes);
        Ok(())
    }
}
