//! A whole run: batches, steps, evaluations, states on disk, and what was measured as JSON lines and as a curve.

use crate::{
    curve,
    data::Pictures,
    loader::Loader,
    state::{self, StateError},
    train::{Config, Measured, Trainer},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use swint_compiler::frontend::{Checkpoint, Limits, Spec};
use swint_ir::{Data, Tensor};
use swint_runtime::{artifact::write_atomically, dataset::Score, tensors::to_safetensors};

/// What a run reads and writes.
pub struct Options {
    /// Folder of states, `metrics.jsonl` and `curve.svg`.
    pub folder: PathBuf,
    /// What the run starts from: of description, teacher, student and kind of device, see [`fingerprint`].
    pub start: String,
    /// Which the training pictures are, see [`Pictures::fingerprint`].
    pub data: String,
    /// How long to go on before the state is saved again.
    pub save_every: Duration,
    /// Steps between evaluations; 0 evaluates at the end only.
    pub evaluate_every: usize,
    /// Threads that read pictures.
    pub readers: usize,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// After a step.
    Step {
        /// What it measured.
        #[serde(flatten)]
        measured: Measured,
        /// How long it took, in seconds, reading pictures aside.
        seconds: f64,
        /// Pictures of it that could not be read.
        skipped: usize,
    },
    /// After an evaluation.
    Evaluation {
        /// Steps done.
        step: usize,
        /// Right answers in percent, every GELU replaced.
        top1: f64,
        /// Pictures.
        images: usize,
    },
}

/// What happens in a run.
pub enum Event<'a> {
    /// Something was measured.
    Line(&'a Line),
    /// The state was saved.
    Saved,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A state, or another file of the run, cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Pictures cannot be read.
    #[error("{0}")]
    Data(String),
    /// The parameters cannot be compiled, or are not finite.
    #[error("{0}")]
    Model(String),
    /// The loss or its gradients are no numbers any more.
    #[error(
        "the loss is {loss} at step {step}, the norm of its gradients {norm}: the learning rate or a loss's weight is too large"
    )]
    Diverged {
        /// The step.
        step: usize,
        /// The loss.
        loss: f32,
        /// The norm of the gradients; NaN where they were not taken.
        norm: f32,
    },
    /// A line of the metrics cannot be read.
    #[error("{}, line {line}: {error}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        error: String,
    },
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// After its last step.
    Finished,
    /// When it was told to stop; its state is saved.
    Stopped,
}

/// Trains until the last step, or until `stop` is set. Where the trainer was restored, lines of later steps are dropped from the metrics.
///
/// # Errors
/// When pictures cannot be read, files cannot be written, or the loss diverges.
pub fn run(
    trainer: &mut Trainer,
    pictures: &Arc<Pictures>,
    test: Option<&Pictures>,
    options: &Options,
    stop: &AtomicBool,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Ended, RunError> {
    let mut lines = kept(&options.folder, trainer.done)?;
    let steps = trainer.config().steps;
    let mut loader = Loader::start(pictures, trainer.order(), trainer.done..steps, options.readers);
    let save = |trainer: &Trainer, lines: &[Line]| -> Result<(), RunError> {
        write_metrics(&options.folder, lines)?;
        state::save(trainer, &options.folder, &options.start, &options.data)?;
        Ok(())
    };
    let mut saved = Instant::now();
    loop {
        let wanted = trainer.done == steps
            || trainer.done > 0 && options.evaluate_every > 0 && trainer.done.is_multiple_of(options.evaluate_every);
        let is_known = |line: &Line| matches!(line, Line::Evaluation { step, .. } if *step == trainer.done);
        let mut stopped = stop.load(Ordering::Relaxed);
        if let Some(test) = test.filter(|_| wanted && !stopped && !lines.iter().any(is_known)) {
            match trainer.evaluate(test, stop).map_err(RunError::Model)? {
                Some(Score { images, top1, .. }) => {
                    let top1 = 100.0 * top1 as f64 / images as f64;
                    let line = Line::Evaluation { step: trainer.done, top1, images };
                    observe(Event::Line(&line));
                    lines.push(line);
                    write_metrics(&options.folder, &lines)?;
                }
                None => stopped = true,
            }
        }
        if stopped {
            save(trainer, &lines)?;
            observe(Event::Saved);
            return Ok(Ended::Stopped);
        }
        if trainer.done == steps {
            return Ok(Ended::Finished);
        }
        let batch = loader.next().unwrap_or_else(|| Err("a thread that reads pictures has failed".to_owned()));
        let batch = batch.map_err(RunError::Data)?;
        let clock = Instant::now();
        let gradients = trainer.gradients(&batch).map_err(RunError::Model)?;
        if !gradients.1.loss.is_finite() {
            return Err(RunError::Diverged { step: trainer.done, loss: gradients.1.loss, norm: f32::NAN });
        }
        let measured = trainer.apply(gradients);
        if !measured.norm.is_finite() {
            return Err(RunError::Diverged { step: trainer.done, loss: measured.loss, norm: measured.norm });
        }
        let line = Line::Step { measured, seconds: clock.elapsed().as_secs_f64(), skipped: batch.skipped };
        observe(Event::Line(&line));
        lines.push(line);
        if saved.elapsed() >= options.save_every || trainer.done == steps {
            if trainer.done == steps && !trainer.is_finite() {
                return Err(RunError::Model("a parameter is not finite: the learning rate is too large".to_owned()));
            }
            save(trainer, &lines)?;
            observe(Event::Saved);
            saved = Instant::now();
        }
    }
}

/// The teacher's logits of every picture, where they are asked for again and again: from the run's folder, or made and kept there.
///
/// # Errors
/// When the file cannot be written.
pub fn remember(trainer: &mut Trainer, pictures: &Pictures, options: &Options) -> Result<(), RunError> {
    if !trainer.repeats(pictures.len()) {
        return Ok(());
    }
    let path = options.folder.join("teacher.safetensors");
    let Config { batch, threads, .. } = trainer.config();
    let whose = format!("{} {} {batch} {threads}", options.start, options.data).into_bytes();
    let known = Checkpoint::open(&path, &Limits::default()).ok().and_then(|(mut file, _)| {
        let of = file.0.remove("of")?;
        let logits = file.0.remove("logits")?;
        let all = logits.shape.len() == 2 && logits.shape == [pictures.len(), trainer.classes()];
        (all && of.data == Data::U8(whose.clone())).then(|| logits.as_f32().map(<[f32]>::to_vec))?
    });
    let logits = known.unwrap_or_else(|| trainer.taught(pictures));
    let of = Tensor::new([whose.len()], Data::U8(whose));
    let tensor = Tensor::f32([pictures.len(), logits.len() / pictures.len()], logits.clone());
    let bytes = to_safetensors([("of", &of), ("logits", &tensor)]).map_err(RunError::Model)?;
    write_atomically(&path, &bytes).map_err(|error| StateError::Io { path, error })?;
    trainer.remember(logits);
    Ok(())
}

/// Goes on where a state ends: `from` is one, or a folder of them, of which the newest is taken.
///
/// # Errors
/// When it cannot, see [`state::restore`].
pub fn resume(trainer: &mut Trainer, from: &Path, options: &Options) -> Result<PathBuf, RunError> {
    let path = state::restore(trainer, from, &options.start, &options.data)?;
    if let Some(later) = state::later(&options.folder, trainer.done) {
        return Err(StateError::Later { path: later, from: path }.into());
    }
    Ok(path)
}

/// Whether a folder holds a state to go on from.
pub fn has_state(folder: &Path) -> bool {
    state::states(folder).is_ok_and(|states| !states.is_empty())
}

/// What a run in a folder has measured.
///
/// # Errors
/// When `metrics.jsonl` cannot be read.
pub fn metrics(folder: &Path) -> Result<Vec<Line>, RunError> {
    let path = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&path).map_err(|error| StateError::Io { path: path.clone(), error })?;
    let read = |(i, line)| {
        serde_json::from_str(line).map_err(|e| RunError::Metrics {
            path: path.clone(),
            line: i + 1,
            error: e.to_string(),
        })
    };
    text.lines().enumerate().map(read).collect()
}

/// SHA-256 of what a run starts from: the model's description, the kind of device, and checkpoints' bytes.
pub fn fingerprint(spec: &Spec, device: &str, checkpoints: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{spec:?} {device}"));
    for bytes in checkpoints {
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of steps before `done`.
fn kept(folder: &Path, done: usize) -> Result<Vec<Line>, RunError> {
    if done == 0 || !folder.join("metrics.jsonl").exists() {
        return Ok(Vec::new());
    }
    Ok(metrics(folder)?.into_iter().filter(|line| step_of(line) < done).collect())
}

fn step_of(line: &Line) -> usize {
    match line {
        Line::Step { measured, .. } => measured.step,
        Line::Evaluation { step, .. } => step.saturating_sub(1),
    }
}

fn write_metrics(folder: &Path, lines: &[Line]) -> Result<(), RunError> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("numbers");
        text.write_all(b"\n").expect("memory takes what is written");
    }
    for (name, bytes) in [("metrics.jsonl", text), ("curve.svg", curve::svg(lines).into_bytes())] {
        let path = folder.join(name);
        write_atomically(&path, &bytes).map_err(|error| StateError::Io { path, error })?;
    }
    Ok(())
}
