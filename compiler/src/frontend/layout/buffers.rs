//! Buffers that follow from the description and that some libraries store: compared, and left out.

use super::{
    super::{
        attention::{coordinate, distances, relative_position_bias, shift_mask},
        spec::{Spec, Stage},
    },
    file::CheckpointFile,
    naming::Naming,
};
use swint_ir::Pair;

/// The elements of a buffer.
enum Buffer {
    Integers(Vec<i64>),
    Floats(Vec<f32>),
}

/// A buffer's canonical name within its block, and whether one is what the description gives for a block of a stage.
type Kind = (&'static str, fn(&Stage, &Buffer) -> bool);

const KINDS: [Kind; 3] = [
    ("attn.relative_position_index", is_position_index),
    ("attn.relative_coords_table", are_coordinates),
    ("attn_mask", is_mask),
];

/// Takes the buffers out of a file; what is to be said of those that are not what the description gives.
pub(super) fn check(spec: &Spec, naming: &Naming, file: &mut CheckpointFile) -> Vec<String> {
    let mut notes = Vec::new();
    for (kind, is_right) in KINDS {
        let mut wrong = Vec::new();
        for (s, stage) in spec.stages().enumerate() {
            for b in 0..stage.depth {
                let stage = Stage { shift: if b % 2 == 1 { stage.shift } else { Pair::from(0) }, ..stage };
                let stored = naming.stored(&format!("layers.{s}.blocks.{b}.{kind}"));
                for name in stored.into_iter().flat_map(|stored| stored.names) {
                    if take(file, &name).is_some_and(|buffer| !is_right(&stage, &buffer)) {
                        wrong.push(name);
                    }
                }
            }
        }
        if let Some(first) = wrong.first() {
            let (first, n) = (first.escape_default(), wrong.len());
            notes.push(format!("{first} is not what the description gives, which is used instead ({n} such in all)"));
        }
    }
    // What is left belongs to no block of the model.
    let is_buffer = |name: &&String| {
        let last = name.rsplit('.').next();
        KINDS.iter().any(|(kind, _)| kind.rsplit('.').next() == last)
    };
    let left: Vec<String> = file.indexes.keys().chain(file.tensors.0.keys()).filter(is_buffer).cloned().collect();
    for name in &left {
        take(file, name);
    }
    if let Some(first) = left.first() {
        notes.push(format!("{} is no buffer of the model ({} such in all)", first.escape_default(), left.len()));
    }
    notes
}

/// Takes a buffer out of a file.
fn take(file: &mut CheckpointFile, name: &str) -> Option<Buffer> {
    let wide = file.indexes.remove(name).map(Buffer::Integers);
    let tensor = file.tensors.0.remove(name);
    wide.or_else(|| {
        let tensor = tensor?;
        Some(match tensor.data.to_i32() {
            Some(values) => Buffer::Integers(values.into_iter().map(i64::from).collect()),
            None => Buffer::Floats(tensor.as_f32()?.to_vec()),
        })
    })
}

/// The row of the table of position biases for each pair of tokens: the biases of a table that holds its own rows' numbers.
fn is_position_index(stage: &Stage, buffer: &Buffer) -> bool {
    let entries = distances(stage.window);
    let table: Vec<f32> = (0..entries.rows * entries.columns).map(|row| row as f32).collect();
    let index = || relative_position_bias(&table, stage.window, 1).into_iter().map(|row| row as i64);
    matches!(buffer, Buffer::Integers(stored) if stored.iter().copied().eq(index()))
}

/// The coordinates that the MLP of position biases takes, `[1, distances, 2]`.
fn are_coordinates(stage: &Stage, buffer: &Buffer) -> bool {
    let (entries, window) = (distances(stage.window), stage.window);
    let both = (0..entries.rows * entries.columns).flat_map(|entry| {
        let (row, column) = (entry / entries.columns, entry % entries.columns);
        [(row, window.rows), (column, window.columns)].map(|(i, side)| coordinate(i, side, stage.pretrained_window))
    });
    let Buffer::Floats(stored) = buffer else { return false };
    stored.len() == 2 * entries.rows * entries.columns
        && stored.iter().zip(both).all(|(stored, wanted)| (f64::from(*stored) - wanted).abs() < 1e-3)
}

/// The mask of a block whose windows are shifted.
fn is_mask(stage: &Stage, buffer: &Buffer) -> bool {
    stage.shift != Pair::from(0) && matches!(buffer, Buffer::Floats(stored) if *stored == shift_mask(stage))
}
