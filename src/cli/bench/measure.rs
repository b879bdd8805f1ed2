//! What is measured of an engine.

use super::super::Engine;
use miette::{IntoDiagnostic, miette};
use std::{
    slice,
    time::{Duration, Instant},
};
use swint::{
    ir::{Data, Elem, Module, Tensor},
    runtime::{
        bench::{
            Settings, Timing,
            report::{BatchResult, Clock, Split, warnings},
            time, time_by,
        },
        executor::Session,
    },
};

/// An engine, timed.
pub struct Measured {
    /// Milliseconds of its first run.
    pub first_ms: f64,
    /// The others.
    pub result: BatchResult,
}

/// Times inferences. By the host's clock their parts are measured apart from the whole, since each of them has to be waited for.
pub fn measure(
    engine: &Engine,
    input: &Tensor,
    batch: usize,
    settings: Settings,
    clock: Clock,
) -> miette::Result<Measured> {
    let inputs = slice::from_ref(input);
    let mut split = (Vec::new(), None);
    let mut missing = None;
    let timing = match (engine, clock) {
        (Engine::Session(session), Clock::Device) => time_by(batch, settings, || {
            let (parts, by) = session.run_split(inputs).into_diagnostic()?;
            let total = parts.total().ok_or_else(|| miette!("the device does not say how long its parts take"))?;
            split.0.push(parts);
            split.1 = Some(by);
            Ok::<_, miette::Report>(total)
        })?,
        _ => time(batch, settings, || engine.run(input, None).map(drop))?,
    };
    if let (Engine::Session(session), Clock::Host) = (engine, clock) {
        match parts(session, inputs, settings) {
            Ok((parts, by)) => split = (parts, Some(by)),
            // The whole is known all the same.
            Err(error) => missing = Some(format!("parts of an inference are not known: {error}")),
        }
    }
    let Timing { runs, first_ms, ms, .. } = timing;
    let images_per_s = timing.images_per_second();
    let (split_ms, split_clock) = (Split::median(&split.0), split.1);
    let warnings = warnings(&ms, &split_ms).into_iter().chain(missing).collect();
    let result = BatchResult { batch, runs, ms, images_per_s, split_ms, split_clock, warnings };
    Ok(Measured { first_ms, result })
}

/// Milliseconds that a device spent on all kernels of an inference, by its own clock.
pub fn computing(session: &Session, inputs: &[Tensor]) -> miette::Result<f64> {
    let (parts, by) = session.run_split(inputs).into_diagnostic()?;
    parts.compute.filter(|_| by == Clock::Device).ok_or_else(|| miette!("the device does not say how long it computes"))
}

/// The parts of as many runs as are asked for, in a third of the time.
fn parts(session: &Session, inputs: &[Tensor], settings: Settings) -> miette::Result<(Vec<Split>, Clock)> {
    let (_, mut clock) = session.run_split(inputs).into_diagnostic()?;
    let (start, mut splits) = (Instant::now(), Vec::new());
    let long_enough = |elapsed: Duration| elapsed * 3 >= settings.min_time;
    while splits.len() < settings.min_runs || !long_enough(start.elapsed()) {
        let (split, by) = session.run_split(inputs).into_diagnostic()?;
        clock = by;
        splits.push(split);
    }
    Ok((splits, clock))
}

/// An input of a module. Times do not depend on the values; a fixed pattern of all bytes stands for pictures.
pub fn pattern(module: &Module, batch: usize) -> Tensor {
    let ty = &module.graph.inputs[0].ty;
    let mut shape = ty.shape.clone();
    shape[0] *= batch;
    let bytes: Vec<u8> = (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 256) as u8).collect();
    match ty.elem {
        Elem::U8 => Tensor::new(shape, Data::U8(bytes)),
        _ => Tensor::f32(shape, bytes.into_iter().map(|b| b as f32 / 64.0 - 2.0).collect()),
    }
}

/// This command, as a shell takes it.
pub fn command() -> String {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let quoted =
        words.iter().map(|word| shlex::try_quote(word).map_or_else(|_| word.clone(), |word| word.into_owned()));
    let line = ["swint".to_owned()].into_iter().chain(quoted).collect::<Vec<_>>().join(" ");
    line.replace(char::is_control, " ")
}
