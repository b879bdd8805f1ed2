//! Reports beside each other: of peers as a table, of an earlier measurement as a gate.

use super::report::{BatchResult, Report};

/// A peer's result of a batch beside ours.
pub struct Row<'a> {
    /// Whose: ours comes first, with a ratio of 1.
    pub report: &'a Report,
    /// What it measured.
    pub result: &'a BatchResult,
    /// Its median over ours: how many times as long it takes.
    pub ratio: f64,
}

/// Everyone's results of every batch that we have, in the order of the peers.
pub fn versus<'a>(ours: &'a Report, peers: &'a [Report]) -> Vec<(usize, Vec<Row<'a>>)> {
    let rows = |own: &'a BatchResult| {
        let all = [ours].into_iter().chain(peers);
        let row = |report: &'a Report| {
            let result = report.of_batch(own.batch)?;
            Some(Row { report, result, ratio: result.ms.median / own.ms.median })
        };
        (own.batch, all.filter_map(row).collect())
    };
    ours.results.iter().map(rows).collect()
}

/// What differs between two measurements beside the tools, in words: ratios of such are of other things, too.
pub fn differences(a: &Report, b: &Report) -> Vec<String> {
    let threads = |report: &Report| report.device.threads.map_or("none".to_owned(), |n| n.to_string());
    let kind = |report: &Report| format!("{:?}", report.device.kind).to_lowercase();
    let pairs = [
        ("model", a.model.name.clone(), b.model.name.clone()),
        ("device", kind(a), kind(b)),
        ("device's name", a.device.name.clone(), b.device.name.clone()),
        ("threads", threads(a), threads(b)),
        ("host's processor", a.host.cpu.clone(), b.host.cpu.clone()),
        ("clock", a.clock.name().to_owned(), b.clock.name().to_owned()),
    ];
    let differing = pairs.into_iter().filter(|(_, a, b)| a != b);
    differing.map(|(what, a, b)| format!("{what}: {a:?} and {b:?}")).collect()
}

/// A batch, now and then.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verdict {
    /// Images of an inference.
    pub batch: usize,
    /// Median milliseconds, then and now.
    pub median: (f64, f64),
    /// Least milliseconds, then and now.
    pub min: (f64, f64),
    /// Whether it is a slowdown: a median that is longer by more than the noise, and a least time that is longer, too. One of them alone
    /// is what another process on the machine does.
    pub slower: bool,
}

/// Compares what was measured with what was measured before, for every batch of both. `noise` is a fraction.
///
/// # Errors
/// When they are not measurements of the same program on the same device, or of no common batch: what differs, in words.
pub fn against(now: &Report, then: &Report, noise: f64) -> Result<Vec<Verdict>, String> {
    let mut differing = differences(now, then);
    let own = [
        ("tool", &now.tool.name, &then.tool.name),
        ("precision", &now.model.precision, &then.model.precision),
        ("variant", &now.model.variant, &then.model.variant),
    ];
    differing.extend(own.iter().filter(|(_, a, b)| a != b).map(|(what, a, b)| format!("{what}: {a:?} and {b:?}")));
    if !differing.is_empty() {
        return Err(differing.join("; "));
    }
    let verdict = |result: &BatchResult| {
        let before = then.of_batch(result.batch)?;
        let (median, min) = ((before.ms.median, result.ms.median), (before.ms.min, result.ms.min));
        let slower = median.1 > median.0 * (1.0 + noise) && min.1 > min.0;
        Some(Verdict { batch: result.batch, median, min, slower })
    };
    let verdicts: Vec<Verdict> = now.results.iter().filter_map(verdict).collect();
    if verdicts.is_empty() { Err("they have no batch in common".to_owned()) } else { Ok(verdicts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Clock, tests::example};

    #[test]
    fn peers_are_matched_by_batch() {
        let ours = example(&[(1, 2.0), (8, 10.0), (32, 40.0)]);
        let mut peers = vec![example(&[(8, 15.0)]), example(&[(64, 1.0), (1, 1.0)])];
        peers[0].clock = Clock::Device;
        let table = versus(&ours, &peers);
        let shape: Vec<_> = table.iter().map(|(n, rows)| (*n, rows.iter().map(|r| r.ratio).collect())).collect();
        assert_eq!(shape, [(1, vec![1.0, 0.5]), (8, vec![1.0, 1.5]), (32, vec![1.0])]);
        assert_eq!(differences(&ours, &peers[0]), ["clock: \"host\" and \"device\""]);
    }

    #[test]
    fn only_what_is_slower_in_median_and_least_time_is_a_slowdown() {
        let then = example(&[(1, 10.0), (8, 10.0), (32, 10.0)]);
        let mut now = example(&[(1, 10.4), (8, 11.0), (32, 11.0), (64, 1.0)]);
        // Somebody else's noise: the fastest run is as fast as before.
        now.results[2].ms.min = then.results[2].ms.min;
        let slower = |now, then, noise| -> Vec<bool> {
            against(now, then, noise).unwrap().iter().map(|verdict| verdict.slower).collect()
        };
        assert_eq!(slower(&now, &then, 0.05), [false, true, false]);
        assert_eq!(slower(&now, &then, 0.15), [false, false, false]);
        assert_eq!(slower(&then, &now, 0.05), [false, false, false]);
    }

    #[test]
    fn different_things_are_not_compared() {
        let now = example(&[(1, 10.0)]);
        let changed = |change: fn(&mut Report)| {
            let mut then = now.clone();
            change(&mut then);
            against(&now, &then, 0.05).unwrap_err()
        };
        assert_eq!(changed(|r| r.model.variant = "relu".into()), "variant: \"lut\" and \"relu\"");
        assert_eq!(changed(|r| r.device.threads = Some(4)), "threads: \"2\" and \"4\"");
        assert_eq!(changed(|r| r.device.name = "Another".into()), "device's name: \"A processor\" and \"Another\"");
        assert_eq!(changed(|r| r.model.name = "vit".into()), "model: \"swin\" and \"vit\"");
        assert_eq!(changed(|r| r.results[0].batch = 2), "they have no batch in common");
    }
}
