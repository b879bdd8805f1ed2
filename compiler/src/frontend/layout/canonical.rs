//! Translation of a checkpoint to the canonical names.

use super::{
    super::{
        checkpoint::{Checkpoint, CheckpointError, printable},
        spec::Spec,
        swin::expected,
    },
    buffers,
    file::CheckpointFile,
    naming::{Naming, Stored},
    tables::{LAYOUTS, Layout},
};
use std::collections::BTreeMap;
use swint_ir::Tensor;

/// A checkpoint under the canonical names.
#[derive(Clone, Debug)]
pub struct Canonical {
    /// The description, less what the whole checkpoint lacks: without a head there are no classes, without a bias of q, k or v, in
    /// transformers' layout, no `qkv_bias`.
    pub spec: Spec,
    /// The tensors, which are those of the description.
    pub checkpoint: Checkpoint,
    /// The layout of the file.
    pub layout: &'static Layout,
    /// What is to be said to the user: what the checkpoint lacks, buffers that are not what the description gives.
    pub notes: Vec<String>,
}

/// The tensors of a file under the canonical names. The layout is recognised from the names that the tensors have.
///
/// # Errors
/// When the names are of no known layout; else every tensor that is missing, extra or mis-shaped, all at once, under its name in the file.
pub fn canonical(mut spec: Spec, mut file: CheckpointFile) -> Result<Canonical, CheckpointError> {
    let Some(naming) = Naming::of(file.tensors.0.keys().map(String::as_str)) else { return Err(unknown(&file)) };
    let mut notes = std::mem::take(&mut file.notes);
    notes.extend(lacks(&mut spec, &naming, &file.tensors));
    notes.extend(buffers::check(&spec, &naming, &mut file));
    let wanted: Vec<(String, Vec<usize>, Stored)> = (expected(&spec).into_iter())
        .map(|(name, shape)| {
            let source = source(&naming, &name, &file.tensors);
            (name, shape, source)
        })
        .collect();
    let in_file = |(_, shape, source): &(_, Vec<usize>, Stored)| {
        let shape = source.shape(shape);
        source.names.iter().map(|name| (name.clone(), shape.clone())).collect::<Vec<_>>()
    };
    let stored: BTreeMap<String, Vec<usize>> = wanted.iter().flat_map(in_file).collect();
    file.tensors.check(&stored).map_err(|error| match error {
        CheckpointError::Mismatch(differences) => {
            CheckpointError::Mismatch(format!("{differences}\n  (names as in {})", naming.layout.name))
        }
        other => other,
    })?;
    let mut left = file.tensors.0;
    let tensors = wanted.into_iter().map(|(name, shape, source)| {
        let tensor = read(&source, &shape, &mut left).expect("every tensor was checked");
        (name, tensor)
    });
    let checkpoint = Checkpoint(tensors.collect());
    Ok(Canonical { spec, checkpoint, layout: naming.layout, notes })
}

/// Of the places where a tensor may be, the first that the file has; the library's own where it has none.
fn source(naming: &Naming, canonical: &str, file: &Checkpoint) -> Stored {
    let mut places = naming.stored(canonical);
    let has = |name: &String| file.0.contains_key(name);
    let whole = places.iter().position(|place| place.names.iter().all(has));
    let part = || places.iter().position(|place| place.names.iter().any(has));
    let chosen = whole.or_else(part).unwrap_or(0);
    // A name that no row has is sought as it is, and found missing.
    let itself = || Stored { names: vec![canonical.to_owned()], third: None };
    if places.is_empty() { itself() } else { places.swap_remove(chosen) }
}

/// Takes a canonical tensor of `shape` out of a file's; what several share is copied.
fn read(source: &Stored, shape: &[usize], file: &mut BTreeMap<String, Tensor>) -> Option<Tensor> {
    if let (Some(third), [name]) = (source.third, &source.names[..]) {
        let values = file.get(name)?.as_f32()?;
        return Some(Tensor::f32(shape, values[third * values.len() / 3..][..values.len() / 3].to_vec()));
    }
    if let [name] = &source.names[..] {
        return file.remove(name);
    }
    let mut values = Vec::with_capacity(shape.iter().product());
    for name in &source.names {
        values.extend_from_slice(file.remove(name)?.as_f32()?);
    }
    Some(Tensor::f32(shape, values))
}

/// Takes from the description what the whole checkpoint lacks, and says so.
fn lacks(spec: &mut Spec, naming: &Naming, file: &Checkpoint) -> Vec<String> {
    let mut notes = Vec::new();
    let expected = expected(spec);
    let none_of = |is_meant: &dyn Fn(&str) -> bool| {
        let places = expected.keys().filter(|name| is_meant(name)).flat_map(|name| naming.stored(name));
        !places.flat_map(|place| place.names).any(|name| file.0.contains_key(&name))
    };
    if spec.classes > 0 && none_of(&|name| name.starts_with("head.")) {
        spec.classes = 0;
        if let Some(preprocess) = &mut spec.preprocess {
            preprocess.labels.clear();
        }
        notes.push("the checkpoint has no classification head: the model gives features".to_owned());
    }
    let biases = [".attn.qkv.bias", ".attn.q_bias", ".attn.v_bias"];
    if spec.qkv_bias && naming.layout.bias_optional && none_of(&|name| biases.iter().any(|bias| name.ends_with(bias))) {
        spec.qkv_bias = false;
        notes.push("the checkpoint has no biases of q, k and v: the model has none".to_owned());
    }
    notes
}

/// No layout has these names.
fn unknown(file: &CheckpointFile) -> CheckpointError {
    let libraries: Vec<&str> = LAYOUTS.iter().rev().map(|layout| layout.name).collect();
    let (n, libraries) = (file.tensors.0.len(), libraries.join(", "));
    let first: Vec<String> = file.tensors.0.keys().take(3).map(|name| printable(name)).collect();
    let what = if n == 0 { "it is empty".to_owned() } else { format!("{n} tensors, {}, …", first.join(", ")) };
    CheckpointError::Mismatch(format!("  no Swin as {libraries} name its tensors: {what}"))
}
