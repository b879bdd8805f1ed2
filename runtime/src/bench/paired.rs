//! Several things timed in turns, so that what disturbs one disturbs all.

use super::{Settings, Summary, percentile};
use serde::Serialize;
use std::time::{Duration, Instant};

/// A turn lasts at least this long in counted runs.
const TURN: Duration = Duration::from_millis(10);

/// And has at least this many.
const RUNS: usize = 3;

/// How many times as long as the first one took: quartiles of the ratios of all rounds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Ratio {
    /// A quarter of the rounds are no higher.
    pub p25: f64,
    /// Half of them are no higher.
    pub median: f64,
    /// Three quarters of them are no higher.
    pub p75: f64,
}

/// What came of timing in turns.
#[derive(Clone, PartialEq, Debug)]
pub struct Paired {
    /// Rounds, in each of which everyone had a turn.
    pub rounds: usize,
    /// Runs and milliseconds of each one's counted runs.
    pub times: Vec<(usize, Summary)>,
    /// Ratios of each one's turns to the first one's turns of the same round.
    pub ratios: Vec<Ratio>,
}

/// Times several things in turns; every other round goes backwards. A turn is a run that does not count, for another's data are in the
/// caches, and some that do; their median is the turn's. There are at least `min_runs` rounds, and `min_time` for each. A run says itself
/// how many milliseconds it took.
///
/// # Errors
/// When a run fails.
///
/// # Panics
/// When there is nothing to time.
pub fn paired<E>(settings: Settings, n: usize, mut run: impl FnMut(usize) -> Result<f64, E>) -> Result<Paired, E> {
    for i in 0..n {
        let start = Instant::now();
        run(i)?;
        while start.elapsed() < settings.warm_up {
            run(i)?;
        }
    }
    let (mut all, mut rounds): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (vec![Vec::new(); n], Vec::new());
    let (start, wanted) = (Instant::now(), settings.min_time * n as u32);
    while rounds.len() < settings.min_runs.max(1) || start.elapsed() < wanted {
        let mut turns = vec![0.0; n];
        for turn in 0..n {
            let i = if rounds.len() % 2 == 0 { turn } else { n - 1 - turn };
            run(i)?;
            let (start, mut times) = (Instant::now(), Vec::new());
            while times.len() < RUNS || start.elapsed() < TURN {
                times.push(run(i)?);
            }
            all[i].extend(&times);
            turns[i] = Summary::of(&mut times).median;
        }
        rounds.push(turns);
    }
    Ok(Paired {
        rounds: rounds.len(),
        times: all.iter_mut().map(|times| (times.len(), Summary::of(times))).collect(),
        ratios: (0..n).map(|i| ratio(&rounds, i)).collect(),
    })
}

/// The ratios of one's turns to the first one's.
fn ratio(rounds: &[Vec<f64>], i: usize) -> Ratio {
    let mut ratios: Vec<f64> = rounds.iter().map(|turns| turns[i] / turns[0]).collect();
    ratios.sort_by(f64::total_cmp);
    let [p25, median, p75] = [0.25, 0.5, 0.75].map(|p| percentile(&ratios, p));
    Ratio { p25, median, p75 }
}

#[cfg(test)]
mod tests {
    use super::{super::milliseconds, *};

    #[test]
    fn a_slow_round_is_slow_for_all() {
        let rounds = [vec![1.0, 2.0], vec![10.0, 21.0], vec![1.0, 1.9], vec![1.0, 2.0]];
        assert_eq!(ratio(&rounds, 1), Ratio { p25: 1.9, median: 2.0, p75: 2.0 });
        assert_eq!(ratio(&rounds, 0), Ratio { p25: 1.0, median: 1.0, p75: 1.0 });
    }

    #[test]
    fn everyone_has_its_turn_forwards_and_backwards() {
        let settings = Settings { warm_up: Duration::ZERO, min_time: Duration::ZERO, min_runs: 2 };
        let mut order: Vec<usize> = Vec::new();
        let paired = paired::<()>(settings, 3, |i| {
            if order.last() != Some(&i) {
                order.push(i);
            }
            let start = Instant::now();
            std::thread::sleep(Duration::from_millis(4));
            Ok(milliseconds(start))
        })
        .unwrap();
        // Warm-up, forwards, backwards.
        assert_eq!(order, [0, 1, 2, 0, 1, 2, 1, 0]);
        assert_eq!((paired.rounds, paired.ratios[0].median), (2, 1.0));
        assert!(paired.times.iter().all(|(runs, ms)| *runs >= 6 && ms.min >= 4.0), "{paired:?}");
    }
}
