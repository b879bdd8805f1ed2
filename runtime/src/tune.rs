//! Finds the fastest blueprint of every kernel on a device.
//!
//! A round is a session whose launches take their next option each. It counts for a kernel if all of its launches give the
//! interpreter's bits; then its time is measured. What was found is kept in the cache folder for the device, its driver and this
//! version, and every later session on that device plans with it.

use crate::{
    bench::percentile,
    cache, checked,
    device::Device,
    executor::{ExecError, Session},
    verify::{VerifyError, results},
    warn::warn,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use swint_compiler::plan::{Blueprint, Choices};
use swint_ir::{Module, Tensor};

/// Time that a round runs before it is measured: clocks rise with work.
const WARM_UP: Duration = Duration::from_millis(100);

/// How to tune.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Times of a launch, of which the median counts.
    pub samples: usize,
    /// Most options of a kernel.
    pub options: usize,
}

/// What was measured of a kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// Microseconds of its likely option, if it is right.
    pub likely_us: Option<f64>,
    /// The fastest option that is right, and its microseconds.
    pub best: Option<(Blueprint, f64)>,
    /// Options that were tried.
    pub tried: usize,
    /// Options that gave wrong results.
    pub wrong: usize,
}

/// Tries the options of every kernel of a module's plan on inputs. By the launch's key.
///
/// # Errors
/// When a device fails, or there is nothing to choose on it.
pub fn tune(
    module: &Module,
    device: Device,
    batch: usize,
    inputs: &[Tensor],
    settings: Settings,
    mut progress: impl FnMut(usize, usize),
) -> Result<BTreeMap<String, Measured>, VerifyError> {
    let likely = Session::with_choices(module, device, batch, &Choices::new())?;
    let wanted = results(&likely.module().graph, module, inputs)?;
    let most = likely.plan().launches.iter().map(|l| l.options.len().min(settings.options)).max().unwrap_or(0);
    let all: BTreeMap<String, Vec<Blueprint>> =
        likely.plan().launches.iter().map(|launch| (launch.key(), launch.options.clone())).collect();
    let mut found: BTreeMap<String, Measured> = BTreeMap::new();
    let mut first = Some(likely);
    for round in 0..most {
        progress(round, most);
        let tried = |options: &Vec<Blueprint>| options.get(round).filter(|_| round < settings.options).copied();
        let choices: Choices = all.iter().filter_map(|(key, options)| Some((key.clone(), tried(options)?))).collect();
        // An option that cannot be launched costs its round, and no other.
        let session = match first.take() {
            Some(session) => session,
            None => match Session::with_choices(module, device, batch, &choices) {
                Ok(session) => session,
                Err(error) => {
                    warn(&format!("round {}: {error}", round + 1));
                    continue;
                }
            },
        };
        // What comes after a wrong result is not judged.
        let mut right: Vec<Option<bool>> = Vec::new();
        let run = session.run_with(inputs, |launch, result| {
            let is = result.data.to_bytes() == wanted[launch.node.index()];
            right.push(right.iter().all(|r| *r == Some(true)).then_some(is));
        });
        if let Err(error) = run {
            warn(&format!("round {}: {error}", round + 1));
            continue;
        }
        let warm_up = Instant::now();
        while warm_up.elapsed() < WARM_UP {
            session.run(inputs)?;
        }
        // The times of a kernel's launches, and whether one was wrong.
        let mut of_kernel: BTreeMap<String, (Vec<f64>, bool)> = BTreeMap::new();
        for (i, launch) in session.plan().launches.iter().enumerate() {
            let key = launch.key();
            let (Some(is), true) = (right[i], choices.contains_key(&key)) else { continue };
            let (times, wrong) = of_kernel.entry(key).or_default();
            *wrong |= !is;
            for _ in 0..if *wrong { 0 } else { settings.samples } {
                times.push(session.time_launch(i)?);
            }
        }
        for (key, (mut times, wrong)) in of_kernel {
            let new = Measured { likely_us: None, best: None, tried: 0, wrong: 0 };
            let measured = found.entry(key.clone()).or_insert(new);
            measured.tried += 1;
            measured.wrong += usize::from(wrong);
            if wrong {
                continue;
            }
            times.sort_by(f64::total_cmp);
            let us = percentile(&times, 0.5);
            if round == 0 {
                measured.likely_us = Some(us);
            }
            if measured.best.is_none_or(|(_, best)| us < best) {
                measured.best = Some((choices[&key], us));
            }
        }
    }
    Ok(found)
}

/// The file of what was found for a device.
fn file(device: &str) -> Option<std::path::PathBuf> {
    let (folder, end) = cache::TUNED;
    checked::path(folder, &format!("{}.{end}", checked::sha256(device)))
}

/// What was found for a device before, by its description. Warns where the file is damaged.
pub(crate) fn known(device: &str) -> Choices {
    let text = file(device).and_then(|file| {
        checked::load(&file).unwrap_or_else(|damaged| {
            warn(&damaged);
            None
        })
    });
    let parsed = text.map(|text| serde_json::from_str(&text));
    match parsed {
        Some(Ok(choices)) => choices,
        Some(Err(error)) => {
            warn(&format!("what was found for {device} is of another form: {error}"));
            Choices::new()
        }
        None => Choices::new(),
    }
}

/// Keeps what was found for a device, beside what is known of other kernels.
///
/// # Errors
/// When it cannot be written.
pub fn keep(device: Device, found: &BTreeMap<String, Measured>) -> Result<(), ExecError> {
    let description = Session::describe(device)?;
    let mut choices = known(&description);
    let best = |(key, measured): (&String, &Measured)| Some((key.clone(), measured.best?.0));
    choices.extend(found.iter().filter_map(best));
    let text = serde_json::to_string_pretty(&choices).map_err(|e| ExecError::Failed(e.to_string()))?;
    let Some(file) = file(&description) else { return Ok(()) };
    checked::store(&file, &text).map_err(|e| ExecError::Failed(format!("{}: {e}", file.display())))
}
