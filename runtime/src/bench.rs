//! Timing of whole inferences.

use crate::executor::{ExecError, Session};
use serde::Serialize;
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
    /// 0.2 s of warm-up, then at least 10 runs and 1 s.
    fn default() -> Settings {
        Settings { warm_up: Duration::from_millis(200), min_time: Duration::from_secs(1), min_runs: 10 }
    }
}

/// Times of one inference by the host's clock: copy in, kernels, copy out, logits to floats.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Timing {
    /// Images of an inference.
    pub batch: usize,
    /// Counted runs.
    pub runs: usize,
    /// First run, kernels compiled in it, in milliseconds.
    pub first_ms: f64,
    /// Fastest run.
    pub min_ms: f64,
    /// Half of the runs are faster.
    pub median_ms: f64,
    /// 90 % of the runs are faster.
    pub p90_ms: f64,
    /// 99 % of the runs are faster.
    pub p99_ms: f64,
    /// Batch over the median.
    pub images_per_second: f64,
}

/// Times `run`, an inference of `batch` images.
///
/// # Errors
/// When a run fails.
pub fn time<E>(batch: usize, settings: Settings, mut run: impl FnMut() -> Result<(), E>) -> Result<Timing, E> {
    let mut timed = || {
        let start = Instant::now();
        run()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let first_ms = timed()?;
    let start = Instant::now();
    while start.elapsed() < settings.warm_up {
        timed()?;
    }
    let (start, mut runs) = (Instant::now(), Vec::new());
    while runs.len() < settings.min_runs || start.elapsed() < settings.min_time {
        runs.push(timed()?);
    }
    runs.sort_by(f64::total_cmp);
    let median_ms = percentile(&runs, 0.5);
    Ok(Timing {
        batch,
        runs: runs.len(),
        first_ms,
        min_ms: runs[0],
        median_ms,
        p90_ms: percentile(&runs, 0.9),
        p99_ms: percentile(&runs, 0.99),
        images_per_second: batch as f64 / median_ms * 1e3,
    })
}

/// Times every launch of a session's plan: the median microseconds of each over as many runs as `settings` ask for.
///
/// # Errors
/// When a run fails.
pub fn time_launches(session: &Session, inputs: &[Tensor], settings: Settings) -> Result<Vec<f64>, ExecError> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); session.plan().launches.len()];
    let start = Instant::now();
    let end = settings.warm_up + settings.min_time;
    while times.first().is_none_or(|runs| runs.len() < settings.min_runs) || start.elapsed() < end {
        let run = session.run_timed(inputs)?;
        if start.elapsed() >= settings.warm_up {
            times.iter_mut().zip(run).for_each(|(runs, us)| runs.push(us));
        }
    }
    let median = |mut runs: Vec<f64>| {
        runs.sort_by(f64::total_cmp);
        percentile(&runs, 0.5)
    };
    Ok(times.into_iter().map(median).collect())
}

/// The smallest value that at least a share `p` of the sorted values do not exceed (nearest rank).
pub(crate) fn percentile(sorted: &[f64], p: f64) -> f64 {
    sorted[((sorted.len() as f64 * p).ceil() as usize).clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.9), percentile(&values, 0.99)), (50.0, 90.0, 99.0));
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
    }

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
}
