//! A run's state on disk: what it takes to go on to the very result that an uninterrupted run has.
//!
//! ```text
//! magic    8 bytes    "SWINTRUN"
//! sha256   32 bytes   of everything after it
//! body                safetensors: value.NAME, first.NAME, second.NAME, average.NAME (flat f32), meta (JSON, u8)
//! ```

use crate::{
    optimizer::Slot,
    params::{flat, values},
    train::{Config, Trainer},
};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};
use swint_compiler::frontend::Checkpoint;
use swint_ir::{self as ir, Data};
use swint_runtime::{artifact::write_atomically, tensors::to_safetensors};

const MAGIC: &[u8; 8] = b"SWINTRUN";

/// How many states of a run are kept.
const KEPT: usize = 2;

/// What a state belongs to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// What the run was started with.
    pub config: Config,
    /// What the run starts from, see [`crate::run::fingerprint`].
    pub start: String,
    /// Which its pictures are, see [`crate::data::Pictures::fingerprint`].
    pub data: String,
    /// Steps done.
    pub done: usize,
    /// How many gradients each parameter has had.
    times: Vec<usize>,
}

/// Why a run cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading or writing failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// The newest state is damaged.
    #[error("{} is damaged ({reason}){}", path.display(), previous(before.as_deref()))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that is known.
        reason: String,
        /// The state before it, if that is whole.
        before: Option<PathBuf>,
    },
    /// A run would be gone on with from a state before its newest.
    #[error("{} is later than {}: remove it to go on from there", path.display(), from.display())]
    Later {
        /// The newest state.
        path: PathBuf,
        /// The one to go on from.
        from: PathBuf,
    },
    /// There is none.
    #[error("{} holds no state of a run", .0.display())]
    Missing(PathBuf),
    /// It is of another run.
    #[error("{} is of another run: {what} differs", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What is different.
        what: String,
    },
}

fn previous(before: Option<&Path>) -> String {
    match before {
        Some(path) => format!("; remove it to go on from the one before it, {}, which is whole", path.display()),
        None => "; there is none before it that is whole".to_owned(),
    }
}

/// Names the state of a run after so many steps.
fn file_of(folder: &Path, done: usize) -> PathBuf {
    folder.join(format!("step-{done:09}.state"))
}

/// States in a folder, the newest first.
pub(crate) fn states(folder: &Path) -> Result<Vec<PathBuf>, StateError> {
    let io = |error| StateError::Io { path: folder.to_owned(), error };
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()).map_err(io)?;
    let mut files: Vec<(usize, PathBuf)> =
        entries.into_iter().filter_map(|entry| Some((step_of(&entry.path())?, entry.path()))).collect();
    files.sort();
    Ok(files.into_iter().rev().map(|(_, path)| path).collect())
}

/// After how many steps a state is, by its name; `None` of other files.
fn step_of(path: &Path) -> Option<usize> {
    let digits = path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".state")?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The newest state in a folder, if it is of more steps than these.
pub(crate) fn later(folder: &Path, done: usize) -> Option<PathBuf> {
    states(folder).ok()?.into_iter().next().filter(|path| step_of(path).is_some_and(|step| step > done))
}

/// Writes a trainer's state, whole or not at all, and removes all but the newest two.
///
/// # Errors
/// When the folder cannot be written.
pub fn save(trainer: &Trainer, folder: &Path, start: &str, data: &str) -> Result<PathBuf, StateError> {
    let slots = &trainer.optimizer.slots;
    let meta = Meta {
        config: *trainer.config(),
        start: start.to_owned(),
        data: data.to_owned(),
        done: trainer.done,
        times: slots.iter().map(|slot| slot.time).collect(),
    };
    let json = serde_json::to_vec(&meta).expect("numbers and strings");
    let mut tensors = vec![("meta".to_owned(), ir::Tensor::new([json.len()], Data::U8(json)))];
    for (name, slot) in trainer.names().zip(slots) {
        let moments = slot.moments.as_ref();
        let parts = [
            ("value", Some(&slot.value)),
            ("first", moments.map(|m| &m.0)),
            ("second", moments.map(|m| &m.1)),
            ("average", slot.average.as_ref()),
        ];
        for (part, tensor) in parts {
            let Some(tensor) = tensor else { continue };
            let values = values(tensor.clone());
            tensors.push((format!("{part}.{name}"), ir::Tensor::f32([values.len()], values)));
        }
    }
    let body =
        to_safetensors(tensors.iter().map(|(name, t)| (name.as_str(), t))).expect("names are those of a checkpoint");
    let bytes = [&MAGIC[..], &Sha256::digest(&body), &body].concat();
    let path = file_of(folder, trainer.done);
    let io = |error| StateError::Io { path: path.clone(), error };
    write_atomically(&path, &bytes).map_err(io)?;
    for old in states(folder)?.into_iter().skip(KEPT) {
        fs::remove_file(&old).map_err(|error| StateError::Io { path: old.clone(), error })?;
    }
    Ok(path)
}

/// Reads a state.
fn read(path: &Path) -> Result<(Meta, Checkpoint), String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let body = bytes.strip_prefix(MAGIC).ok_or("it does not start with a state's mark")?;
    let (sum, body) = body.split_at_checked(32).ok_or("it ends too early")?;
    if Sha256::digest(body).as_slice() != sum {
        return Err("its checksum is wrong".to_owned());
    }
    let mut tensors = Checkpoint::from_bytes(body).map_err(|e| e.to_string())?;
    let Some(Data::U8(json)) = tensors.0.remove("meta").map(|t| t.data) else {
        return Err("it says nothing".to_owned());
    };
    Ok((serde_json::from_slice(&json).map_err(|e| e.to_string())?, tensors))
}

/// Puts a trainer in the state that `path` holds: a state, or a folder of them, of which the newest is taken.
///
/// # Errors
/// When there is none, it is damaged (the one before is named then), or it is of another run.
pub fn restore(trainer: &mut Trainer, path: &Path, start: &str, data: &str) -> Result<PathBuf, StateError> {
    let files = if path.is_dir() { states(path)? } else { vec![path.to_owned()] };
    let path = files.first().ok_or_else(|| StateError::Missing(path.to_owned()))?;
    fs::metadata(path).map_err(|error| StateError::Io { path: path.clone(), error })?;
    let (meta, mut tensors) = read(path).map_err(|reason| {
        let mut siblings = path.parent().and_then(|folder| states(folder).ok()).unwrap_or_default();
        siblings.retain(|file| step_of(file) < step_of(path));
        let before = siblings.into_iter().find(|file| read(file).is_ok());
        StateError::Damaged { path: path.clone(), reason, before }
    })?;
    let other = |what: &str| Err(StateError::Other { path: path.clone(), what: what.to_owned() });
    if meta.start != start {
        return other("the description, the teacher, --student or --device");
    }
    if meta.data != data {
        return other("--data");
    }
    if meta.config != *trainer.config() {
        let fields = |config: &Config| serde_json::to_value(config).expect("numbers and strings");
        let (old, new) = (fields(&meta.config), fields(trainer.config()));
        let differing = old.as_object().into_iter().flatten().find(|(key, value)| new[key.as_str()] != **value);
        return other(&differing.map_or_else(String::new, |(key, value)| format!("its {key} was {value}, which")));
    }
    let config = trainer.config();
    if meta.times.len() != trainer.optimizer.slots.len() || meta.done > config.steps {
        return other("its number of steps or parameters");
    }
    let averages = config.optimizer.ema > 0.0;
    let names: Vec<String> = trainer.names().map(str::to_owned).collect();
    let mut slots = Vec::new();
    for ((name, slot), &time) in names.iter().zip(&trainer.optimizer.slots).zip(&meta.times) {
        let n = slot.value.dims()[0];
        let mut part = |part: &str| -> Option<Tensor<1>> {
            let tensor = tensors.0.remove(&format!("{part}.{name}"))?;
            let values = tensor.as_f32()?.to_vec();
            (values.len() == n).then(|| flat(values, &slot.value.device()))
        };
        let (value, moments, average) = (part("value"), part("first").zip(part("second")), part("average"));
        let Some(value) = value.filter(|_| moments.is_some() == (time > 0) && average.is_some() == averages) else {
            return other("its parameters");
        };
        slots.push(Slot { value, moments, average, time });
    }
    trainer.optimizer.slots = slots;
    trainer.done = meta.done;
    Ok(path.clone())
}
