//! Timing, as trtexec does it: warm-up, then as many runs as a number and a time ask for, and percentiles of all.
//!
//! [`report`] is what a file of results holds (docs/bench-schema.md); [`versus`] compares such files, [`profile`] times kernels one by
//! one, [`trace`] writes them for Perfetto.

pub mod environment;
mod paired;
pub mod profile;
pub mod report;
mod stats;
pub mod trace;
pub mod versus;

pub use paired::{Paired, Ratio, paired};
pub use stats::{MAX_SPREAD, Summary};

pub(crate) use stats::percentile;

use crate::executor::{ExecError, Session};
use std::time::{Duration, Instant};
use swint_ir::Tensor;

/// How long to measure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// Time spent before the first counted run.
    pub warm_up: Duration,
    /// Counted runs last at least this long in all.
    pub min_time: Duration,
    /// And are at least this many.
    pub min_runs: usize,
}

impl Default for Settings {
    /// trtexec's: 0.2 s of warm-up, then at least 10 runs and 3 s.
    fn default() -> Settings {
        Settings { warm_up: Duration::from_millis(200), min_time: Duration::from_secs(3), min_runs: 10 }
    }
}

/// Times of one inference.
#[derive(Clone, PartialEq, Debug)]
pub struct Timing {
    /// Images of an inference.
    pub batch: usize,
    /// Counted runs.
    pub runs: usize,
    /// The very first run, before the warm-up, in milliseconds. On the CPU kernels are compiled in it.
    pub first_ms: f64,
    /// The counted runs, in milliseconds.
    pub ms: Summary,
}

impl Timing {
    /// Batch over the median.
    pub fn images_per_second(&self) -> f64 {
        self.batch as f64 / self.ms.median * 1e3
    }
}

/// Times `run`, an inference of `batch` images, by the host's clock.
///
/// # Errors
/// When a run fails.
pub fn time<E>(batch: usize, settings: Settings, mut run: impl FnMut() -> Result<(), E>) -> Result<Timing, E> {
    time_by(batch, settings, || {
        let start = Instant::now();
        run()?;
        Ok(milliseconds(start))
    })
}

/// The same, where a run says itself how many milliseconds it took.
///
/// # Errors
/// When a run fails.
pub fn time_by<E>(batch: usize, settings: Settings, mut run: impl FnMut() -> Result<f64, E>) -> Result<Timing, E> {
    let first_ms = run()?;
    let start = Instant::now();
    while start.elapsed() < settings.warm_up {
        run()?;
    }
    let (start, mut runs) = (Instant::now(), Vec::new());
    while runs.is_empty() || runs.len() < settings.min_runs || start.elapsed() < settings.min_time {
        runs.push(run()?);
    }
    Ok(Timing { batch, runs: runs.len(), first_ms, ms: Summary::of(&mut runs) })
}

/// Milliseconds since a point of time.
pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Times every launch of a session's plan, one at a time: the microseconds of each over as many runs as `settings` ask for.
///
/// # Errors
/// When a run fails, or the device cannot measure.
pub fn time_launches(session: &Session, inputs: &[Tensor], settings: Settings) -> Result<Vec<Summary>, ExecError> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); session.plan().launches.len()];
    let start = Instant::now();
    let end = settings.warm_up + settings.min_time;
    let enough = |times: &[Vec<f64>]| times.first().is_none_or(|runs| runs.len() >= settings.min_runs.max(1));
    // The first run compiles kernels, however short the warm-up.
    session.run_timed(inputs)?;
    while !enough(&times) || start.elapsed() < end {
        let run = session.run_timed(inputs)?;
        if start.elapsed() >= settings.warm_up {
            times.iter_mut().zip(run).for_each(|(runs, us)| runs.push(us));
        }
    }
    Ok(times.iter_mut().map(|runs| Summary::of(runs)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_the_asked_runs_are_counted() {
        let mut calls = 0;
        let settings = Settings { warm_up: Duration::ZERO, min_time: Duration::ZERO, min_runs: 5 };
        let timing = time::<()>(4, settings, || {
            calls += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((timing.runs, calls), (5, 6));
    }

    #[test]
    fn the_first_run_is_apart_and_failures_end_it() {
        let settings = Settings { warm_up: Duration::ZERO, min_time: Duration::ZERO, min_runs: 4 };
        let mut times = [900.0, 2.0, 4.0, 2.0, 2.0].into_iter();
        let timing = time_by(8, settings, || times.next().ok_or(())).unwrap();
        assert_eq!((timing.first_ms, timing.ms.max, timing.images_per_second()), (900.0, 4.0, 4000.0));
        assert_eq!(time_by(8, settings, || times.next().ok_or("over")), Err("over"));
    }
}
