//! Reads safetensors checkpoints and compares them with what a model needs.

use safetensors::{Dtype, SafeTensors};
use std::{collections::BTreeMap, fmt::Write};
use swint_ir::{Data, Elem, Tensor};

/// Tensors by name.
#[derive(Clone, Default, Debug)]
pub struct Checkpoint(pub BTreeMap<String, Tensor>);

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum CheckpointError {
    /// Not a safetensors file, or a broken one.
    #[error("not a readable safetensors file: {0}")]
    Format(String),
    /// The tensors are not those of the model; every difference, one a line.
    #[error("the checkpoint does not fit the model:\n{0}")]
    Mismatch(String),
}

/// Buffers that libraries store and that follow from the description.
const DERIVED: [&str; 2] = [".relative_position_index", ".attn_mask"];

fn is_derived(name: &str) -> bool {
    DERIVED.iter().any(|suffix| name.ends_with(suffix))
}

impl Checkpoint {
    /// Reads a safetensors file's bytes: every `f32`, `i32`, `i16`, `i8` and `u8` tensor.
    ///
    /// # Errors
    /// When the bytes are no safetensors file, or a tensor has another element type.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| CheckpointError::Format(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let elem = match view.dtype() {
                Dtype::F32 => Elem::F32,
                Dtype::I32 => Elem::I32,
                Dtype::I16 => Elem::I16,
                Dtype::I8 => Elem::I8,
                Dtype::U8 => Elem::U8,
                _ if is_derived(name) => continue,
                other => {
                    let message = format!("tensor {name:?} is {other:?}, which is not supported");
                    return Err(CheckpointError::Format(message));
                }
            };
            tensors.insert(name.to_owned(), Tensor::new(view.shape(), Data::from_bytes(elem, view.data())));
        }
        Ok(Checkpoint(tensors))
    }

    /// Compares names and shapes with the expected ones.
    ///
    /// # Errors
    /// Every missing, extra or mis-shaped tensor, all at once.
    pub fn check(&self, expected: &BTreeMap<String, Vec<usize>>) -> Result<(), CheckpointError> {
        let mut differences = String::new();
        for (name, shape) in expected {
            match self.0.get(name) {
                None => writeln!(differences, "  missing    {name} f32{shape:?}"),
                Some(t) if t.shape != *shape || t.data.elem() != Elem::F32 => {
                    writeln!(differences, "  mis-shaped {name} {}{:?}, not f32{shape:?}", t.data.elem(), t.shape)
                }
                Some(t) => match t.as_f32().and_then(|v| v.iter().position(|x| !x.is_finite())) {
                    Some(i) => writeln!(differences, "  not finite {name}, element {i}"),
                    None => Ok(()),
                },
            }
            .expect("writing to a string");
        }
        for (name, t) in self.0.iter().filter(|(name, _)| !expected.contains_key(*name) && !is_derived(name)) {
            let name = name.escape_default();
            writeln!(differences, "  extra      {name} {}{:?}", t.data.elem(), t.shape).expect("writing to a string");
        }
        if differences.is_empty() { Ok(()) } else { Err(CheckpointError::Mismatch(differences.trim_end().to_owned())) }
    }
}
