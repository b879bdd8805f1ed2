//! Reads safetensors checkpoints and compares them with what a model needs.

mod header;
mod reader;
mod survey;
#[cfg(test)]
mod tests;

pub use header::{Entry, Header, Limits, printable};
pub use survey::{Problem, Statistics, Survey, survey};

use reader::{Reader, Source};
use safetensors::Dtype;
use std::{
    collections::BTreeMap,
    fmt::Write,
    io::{self, Cursor},
    path::Path,
};
use swint_ir::{Elem, Tensor};

/// Tensors by name.
#[derive(Clone, Default, Debug)]
pub struct Checkpoint(pub BTreeMap<String, Tensor>);

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum CheckpointError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(String),
    /// Not a safetensors file, or a broken one.
    #[error("not a readable safetensors file: {0}")]
    Format(String),
    /// The tensors are not those of the model; every difference, one a line.
    #[error("the checkpoint does not fit the model:\n{0}")]
    Mismatch(String),
}

impl From<io::Error> for CheckpointError {
    fn from(error: io::Error) -> CheckpointError {
        CheckpointError::Io(error.to_string())
    }
}

/// Buffers that libraries store and that follow from the description.
const DERIVED: [&str; 2] = [".relative_position_index", ".attn_mask"];

fn is_derived(name: &str) -> bool {
    DERIVED.iter().any(|suffix| name.ends_with(suffix))
}

/// What a file holds.
pub(super) struct Contents {
    /// Tensors of types that graphs have.
    pub tensors: Checkpoint,
    /// Buffers that follow from the description, of 64-bit integers.
    pub indexes: BTreeMap<String, Vec<i64>>,
    /// What should be known of the tensors: conversions.
    pub notes: Vec<String>,
}

/// Reads a safetensors file tensor by tensor.
pub(super) fn open(path: &Path, limits: &Limits) -> Result<Contents, CheckpointError> {
    let (header, reader) = reader::open(path, limits)?;
    read(&header, reader)
}

/// Reads a safetensors file's bytes.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<Contents, CheckpointError> {
    let (header, reader) = Reader::new(Cursor::new(bytes), &Limits::default())?;
    read(&header, reader)
}

fn read<S: Source>(header: &Header, mut reader: Reader<S>) -> Result<Contents, CheckpointError> {
    let (mut tensors, mut indexes) = (BTreeMap::new(), BTreeMap::new());
    let mut converted: BTreeMap<Dtype, Vec<&str>> = BTreeMap::new();
    for entry in &header.tensors {
        match entry.dtype {
            Dtype::F32 | Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8 => {}
            Dtype::F16 | Dtype::BF16 | Dtype::F64 => converted.entry(entry.dtype).or_default().push(&entry.name),
            Dtype::I64 if is_derived(&entry.name) => {
                indexes.insert(entry.name.clone(), reader.elements(entry, i64::from_le_bytes)?);
                continue;
            }
            _ if is_derived(&entry.name) => continue,
            _ => {}
        }
        tensors.insert(entry.name.clone(), Tensor::new(entry.shape.clone(), reader.data(entry)?));
    }
    reader.finish(header)?;
    let note = |(dtype, names): (Dtype, Vec<&str>)| {
        let how = if dtype == Dtype::F64 { "rounded" } else { "exactly" };
        let (first, tensors) = (printable(names[0]), if names.len() == 1 { "tensor" } else { "tensors" });
        format!(
            "{} {tensors} of {dtype} converted to F32, {how}: {first}{}",
            names.len(),
            if names.len() == 1 { "" } else { ", …" }
        )
    };
    let notes = converted.into_iter().map(note).collect();
    Ok(Contents { tensors: Checkpoint(tensors), indexes, notes })
}

impl Checkpoint {
    /// Reads a safetensors file tensor by tensor: no more than its tensors and 64 KiB are in memory. `f32`, `i32`, `i16`, `i8` and
    /// `u8` stay what they are; `f16`, `bf16` and `f64` become `f32`, and a note says so.
    ///
    /// # Errors
    /// When it cannot be read, is no safetensors file, is larger than the limits, or a tensor has another element type.
    pub fn open(path: &Path, limits: &Limits) -> Result<(Checkpoint, Vec<String>), CheckpointError> {
        open(path, limits).map(|contents| (contents.tensors, contents.notes))
    }

    /// Reads a safetensors file's bytes, as [`Checkpoint::open`] does with the default limits.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        from_bytes(bytes).map(|contents| contents.tensors)
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
                Some(t) => match t.as_f32().and_then(|values| not_finite(shape, values)) {
                    Some(what) => writeln!(differences, "  not finite {name} {what}"),
                    None => Ok(()),
                },
            }
            .expect("writing to a string");
        }
        for (name, t) in self.0.iter().filter(|(name, _)| !expected.contains_key(*name) && !is_derived(name)) {
            let name = printable(name);
            writeln!(differences, "  extra      {name} {}{:?}", t.data.elem(), t.shape).expect("writing to a string");
        }
        if differences.is_empty() { Ok(()) } else { Err(CheckpointError::Mismatch(differences.trim_end().to_owned())) }
    }
}

/// What is said of values that are not finite; `None` where all are.
fn not_finite(shape: &[usize], values: &[f32]) -> Option<String> {
    let first = values.iter().position(|x| !x.is_finite())?;
    let count = values.iter().filter(|x| !x.is_finite()).count();
    let (value, at) = (values[first], position(shape, first));
    Some(format!("at {at}: {value}; {count} of {} elements", values.len()))
}

/// Where the element of a number is: its index along each axis.
fn position(shape: &[usize], mut element: usize) -> String {
    let mut index = vec![0; shape.len()];
    for (i, &extent) in index.iter_mut().zip(shape).rev() {
        (*i, element) = (element % extent, element / extent);
    }
    format!("{index:?}")
}
