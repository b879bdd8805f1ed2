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
    ops::Range,
    time::{Duration, Instant},
};
use swint_compiler::plan::{Blueprint, Choices, Launch, Whole};
use swint_ir::{Graph, Module, Tensor};

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
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Measured {
    /// Microseconds of its likely option, if it is right.
    pub likely_us: Option<f64>,
    /// The fastest option that is right, and its microseconds.
    pub best: Option<(Blueprint, f64)>,
    /// The options that are right, in the order in which they were tried, and their microseconds.
    pub times: Vec<(Blueprint, f64)>,
    /// Options that were tried.
    pub tried: usize,
    /// Options that gave wrong results.
    pub wrong: usize,
}

/// What was measured of kernels, by their keys.
pub type Found = BTreeMap<String, Measured>;

/// Tries the options of every kernel of a module's plan on inputs. By the launch's key, and for what may be made as one kernel or by
/// its parts by its own, too. `progress` sees before each round its number, how many there are, and what was found so far.
///
/// # Errors
/// When a device fails, there is nothing to choose on it, or `progress` fails.
pub fn tune(
    module: &Module,
    device: Device,
    batch: usize,
    inputs: &[Tensor],
    settings: Settings,
    progress: impl FnMut(usize, usize, &Found) -> Result<(), ExecError>,
) -> Result<Found, VerifyError> {
    let likely = Session::with_choices(module, device, batch, &Choices::new())?;
    let options_of = |whole: &Whole| {
        let as_one = whole.options.iter().copied().filter(|option| *option != Blueprint::Parts);
        (whole.key.clone(), as_one.collect())
    };
    let wholes: BTreeMap<String, Vec<Blueprint>> = likely.plan().wholes.iter().map(options_of).collect();
    let fixed: Choices = wholes.keys().map(|key| (key.clone(), Blueprint::Parts)).collect();
    let parted = if wholes.is_empty() { likely } else { Session::with_choices(module, device, batch, &fixed)? };
    let options: BTreeMap<String, Vec<Blueprint>> =
        parted.plan().launches.iter().map(|launch| (launch.key(), launch.options.clone())).collect();
    let most = |all: &BTreeMap<String, Vec<Blueprint>>| {
        all.values().map(|options| options.len().min(settings.options)).max().unwrap_or(0)
    };
    let (parts, all) = (most(&options), most(&options) + most(&wholes));
    let mut tuner = Tuner { module, device, batch, inputs, settings, progress, all, found: Found::new() };
    tuner.rounds(0..parts, &fixed, &options)?;
    tuner.rounds(parts..all, &Choices::new(), &wholes)?;
    for whole in &parted.plan().wholes {
        let launches = parted.plan().launches.iter().filter(|launch| launch.source == whole.source);
        let of = |launch: &Launch| tuner.found.get(&launch.key());
        let likely_us: Option<f64> = launches.clone().map(|launch| of(launch)?.likely_us).sum();
        let us: Option<f64> = launches.map(|launch| Some(of(launch)?.best?.1)).sum();
        let measured = tuner.found.entry(whole.key.clone()).or_default();
        if whole.options[0] == Blueprint::Parts {
            measured.likely_us = likely_us;
        }
        let Some(us) = us else { continue };
        if measured.best.is_none_or(|(_, as_one)| us < as_one) {
            measured.best = Some((Blueprint::Parts, us));
        }
    }
    Ok(tuner.found)
}

struct Tuner<'a, P> {
    module: &'a Module,
    device: Device,
    batch: usize,
    inputs: &'a [Tensor],
    settings: Settings,
    progress: P,
    /// Rounds that there are in all.
    all: usize,
    found: Found,
}

impl<P: FnMut(usize, usize, &Found) -> Result<(), ExecError>> Tuner<'_, P> {
    /// Tries some kernels' options, one a round, beside choices that stay.
    fn rounds(
        &mut self,
        rounds: Range<usize>,
        fixed: &Choices,
        options: &BTreeMap<String, Vec<Blueprint>>,
    ) -> Result<(), VerifyError> {
        // A graph, and the interpreter's results of its nodes: a round whose MLPs are as those of the round before has the same.
        let mut known: Option<(Graph, Vec<Vec<u8>>)> = None;
        for (round, number) in rounds.enumerate() {
            (self.progress)(number, self.all, &self.found)?;
            let tried =
                |options: &Vec<Blueprint>| options.get(round).filter(|_| round < self.settings.options).copied();
            let tried: Choices =
                options.iter().filter_map(|(key, options)| Some((key.clone(), tried(options)?))).collect();
            let choices: Choices = fixed.iter().chain(&tried).map(|(key, choice)| (key.clone(), *choice)).collect();
            // An option that cannot be launched costs its round, and no other.
            let session = match Session::with_choices(self.module, self.device, self.batch, &choices) {
                Ok(session) => session,
                Err(error) => {
                    warn(&format!("round {}: {error}", number + 1));
                    continue;
                }
            };
            let graph = &session.module().graph;
            let wanted = match known.take().filter(|(of, _)| of == graph) {
                Some((_, wanted)) => wanted,
                None => results(graph, self.module, self.inputs, self.batch)?,
            };
            // What comes after a wrong result is not judged.
            let mut right: Vec<Option<bool>> = Vec::new();
            let run = session.run_with(self.inputs, |launch, result| {
                let is = result.data.to_bytes() == wanted[launch.node.index()];
                right.push(right.iter().all(|r| *r == Some(true)).then_some(is));
            });
            match run {
                Ok(_) => self.measure(&session, &right, &tried, round == 0)?,
                Err(error) => warn(&format!("round {}: {error}", number + 1)),
            }
            known = Some((graph.clone(), wanted));
        }
        Ok(())
    }

    /// Times the launches of the kernels that are tried; `right` says which gave the right result.
    fn measure(
        &mut self,
        session: &Session,
        right: &[Option<bool>],
        tried: &Choices,
        likely: bool,
    ) -> Result<(), ExecError> {
        let warm_up = Instant::now();
        while warm_up.elapsed() < WARM_UP {
            session.run(self.inputs)?;
        }
        // The times of a kernel's launches, and whether one was wrong.
        let mut of_kernel: BTreeMap<String, (Vec<f64>, bool)> = BTreeMap::new();
        for (i, launch) in session.plan().launches.iter().enumerate() {
            let key = launch.key();
            let (Some(is), true) = (right[i], tried.contains_key(&key)) else { continue };
            let (times, wrong) = of_kernel.entry(key).or_default();
            *wrong |= !is;
            for _ in 0..if *wrong { 0 } else { self.settings.samples } {
                times.push(session.time_launch(i)?);
            }
        }
        for (key, (mut times, wrong)) in of_kernel {
            let measured = self.found.entry(key.clone()).or_default();
            measured.tried += 1;
            measured.wrong += usize::from(wrong);
            if wrong {
                continue;
            }
            times.sort_by(f64::total_cmp);
            let us = percentile(&times, 0.5);
            if likely {
                measured.likely_us = Some(us);
            }
            measured.times.push((tried[&key], us));
            if measured.best.is_none_or(|(_, best)| us < best) {
                measured.best = Some((tried[&key], us));
            }
        }
        Ok(())
    }
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
pub fn keep(device: Device, found: &Found) -> Result<(), ExecError> {
    let description = Session::describe(device)?;
    let mut choices = known(&description);
    let best = |(key, measured): (&String, &Measured)| Some((key.clone(), measured.best?.0));
    choices.extend(found.iter().filter_map(best));
    let text = serde_json::to_string_pretty(&choices).map_err(|e| ExecError::Failed(e.to_string()))?;
    let Some(file) = file(&description) else { return Ok(()) };
    checked::store(&file, &text).map_err(|e| ExecError::Failed(format!("{}: {e}", file.display())))
}
