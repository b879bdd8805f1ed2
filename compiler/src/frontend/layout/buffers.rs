//! Buffers that follow from the description and that some libraries store: compared, and left out.

use super::{
    super::{
        attention::{relative_position_bias, shift_mask},
        spec::{Spec, Stage},
    },
    file::CheckpointFile,
    naming::Naming,
};
use swint_ir::{Pair, Tensor};

/// Takes the buffers out of a file; what is to be said of those that are not what the description gives.
pub(super) fn check(spec: &Spec, naming: &Naming, file: &mut CheckpointFile) -> Vec<String> {
    let mut notes = Vec::new();
    let mut different = |kind: &str, names: Vec<String>| {
        if let Some(first) = names.first() {
            let n = names.len();
            let first = first.escape_default();
            notes.push(format!("{first} is not the {kind} of the description, which is used instead ({n} in all)"));
        }
    };
    let (mut indexes, mut masks) = (Vec::new(), Vec::new());
    for (s, stage) in spec.stages().enumerate() {
        for b in 0..stage.depth {
            let block = format!("layers.{s}.blocks.{b}");
            for name in names(naming, &format!("{block}.attn.relative_position_index")) {
                let wide = file.indexes.remove(&name);
                let narrow = file.tensors.0.remove(&name).map(|tensor| integers(&tensor));
                if wide.or(narrow).is_some_and(|stored| stored != position_index(stage)) {
                    indexes.push(name);
                }
            }
            let shifted = b % 2 == 1 && stage.shift != Pair::from(0);
            for name in names(naming, &format!("{block}.attn_mask")) {
                let stored = file.tensors.0.remove(&name);
                if stored.is_some_and(|stored| !shifted || stored.as_f32() != Some(&shift_mask(&stage)[..])) {
                    masks.push(name);
                }
            }
        }
    }
    different("relative_position_index", indexes);
    different("attn_mask", masks);
    // What is left belongs to no block of the model.
    let is_buffer = |name: &&String| name.ends_with(".relative_position_index") || name.ends_with(".attn_mask");
    let left: Vec<String> = file.indexes.keys().chain(file.tensors.0.keys().filter(is_buffer)).cloned().collect();
    if let Some(first) = left.first() {
        notes.push(format!("{} is no buffer of the model ({} in all)", first.escape_default(), left.len()));
    }
    notes
}

/// The names that a buffer may have.
fn names(naming: &Naming, canonical: &str) -> Vec<String> {
    naming.stored(canonical).into_iter().flat_map(|stored| stored.names).collect()
}

/// The row of the table of position biases for each pair of tokens of a window: the biases of a table that holds its own rows' numbers.
fn position_index(stage: Stage) -> Vec<i64> {
    let rows = (2 * stage.window.rows - 1) * (2 * stage.window.columns - 1);
    let table: Vec<f32> = (0..rows).map(|row| row as f32).collect();
    relative_position_bias(&table, stage.window.rows, 1).into_iter().map(|row| row as i64).collect()
}

/// The elements of a tensor of integers; none of one of floats.
fn integers(tensor: &Tensor) -> Vec<i64> {
    tensor.data.to_i32().unwrap_or_default().into_iter().map(i64::from).collect()
}
