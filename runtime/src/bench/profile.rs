//! Kernels one by one: what each has to do, how long it takes, and how far that is from what the device could.

use super::{Settings, time_launches};
use crate::executor::{ExecError, Session};
use serde::{Deserialize, Serialize};
use swint_compiler::egraph::{Target, Work};
use swint_ir::{Tensor, Type};

/// A launch, timed alone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KernelTime {
    /// Images of an inference.
    pub batch: usize,
    /// Its place among the batch's launches, from 0.
    pub index: usize,
    /// The op.
    pub kind: String,
    /// The kernel, and how it is made.
    pub kernel: String,
    /// The module of the source whose output it is.
    #[serde(default)]
    pub loc: Option<String>,
    /// Median microseconds.
    pub us: f64,
    /// Least microseconds.
    pub min_us: f64,
    /// `(p75 − p25) / median` of its times, in percent.
    pub spread_percent: f64,
    /// Of the sum over the batch's launches, in percent.
    pub share_percent: f64,
    /// Operations, a multiply-add being two.
    pub ops: u64,
    /// Bytes of operands and result, each once.
    pub bytes: u64,
    /// Operations a nanosecond.
    pub gop_per_s: f64,
    /// Bytes a nanosecond.
    pub gb_per_s: f64,
    /// The least that it could take on the target, by its rates and bandwidth, in percent of what it took.
    pub roofline_percent: f64,
}

/// Several launches together.
#[derive(Clone, PartialEq, Debug)]
pub struct KindTime {
    /// The op.
    pub kind: String,
    /// How many.
    pub launches: usize,
    /// Microseconds together.
    pub us: f64,
    /// Of the sum over all launches, in percent.
    pub share_percent: f64,
    /// Operations a nanosecond.
    pub gop_per_s: f64,
    /// Bytes a nanosecond.
    pub gb_per_s: f64,
    /// The least that they could take, in percent of what they took.
    pub roofline_percent: f64,
}

/// What each launch of a session's plan has to do, in the plan's order.
pub fn works(session: &Session) -> Vec<Work> {
    let graph = &session.module().graph;
    let of_node = |node: &swint_ir::Node| {
        let operands: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
        Work::of(&node.op, &operands, &node.ty)
    };
    session.plan().launches.iter().map(|launch| of_node(&graph.nodes[launch.node.index()])).collect()
}

/// Times every launch of a session's plan alone and sets it against a target's roofline.
///
/// # Errors
/// When a run fails, or the device cannot measure.
pub fn profile(
    session: &Session,
    batch: usize,
    inputs: &[Tensor],
    settings: Settings,
    target: &Target,
) -> Result<Vec<KernelTime>, ExecError> {
    let times = time_launches(session, inputs, settings)?;
    let total: f64 = times.iter().map(|us| us.median).sum();
    let graph = &session.module().graph;
    let rows = session.plan().launches.iter().zip(works(session)).zip(times).enumerate();
    Ok(rows
        .map(|(index, ((launch, work), us))| KernelTime {
            batch,
            index,
            kind: graph.nodes[launch.node.index()].op.kind().to_string(),
            kernel: format!("{}{}", launch.kernel, launch.blueprint),
            loc: launch.locs.first().map(|loc| loc.to_string()),
            us: us.median,
            min_us: us.min,
            spread_percent: us.spread_percent,
            share_percent: share(us.median, total),
            ops: work.operations(),
            bytes: work.bytes,
            gop_per_s: rate(work.operations(), us.median),
            gb_per_s: rate(work.bytes, us.median),
            roofline_percent: share(work.roofline(target) / 1e6, us.median),
        })
        .collect())
}

/// A part of a whole in percent.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole * 100.0 } else { 0.0 }
}

/// So many in so many microseconds, a nanosecond.
fn rate(n: u64, us: f64) -> f64 {
    if us > 0.0 { n as f64 / us / 1e3 } else { 0.0 }
}

/// Launches by their op, the longest first.
pub fn by_kind(kernels: &[KernelTime]) -> Vec<KindTime> {
    let mut kinds: Vec<&str> = Vec::new();
    for kernel in kernels {
        if !kinds.contains(&kernel.kind.as_str()) {
            kinds.push(&kernel.kind);
        }
    }
    let of_kind = |kind: &&str| {
        let sum = |value: fn(&KernelTime) -> f64| -> f64 {
            kernels.iter().filter(|kernel| kernel.kind == **kind).map(value).sum()
        };
        let us = sum(|k| k.us);
        KindTime {
            kind: (*kind).to_owned(),
            launches: sum(|_| 1.0) as usize,
            us,
            share_percent: sum(|k| k.share_percent),
            gop_per_s: rate(sum(|k| k.ops as f64) as u64, us),
            gb_per_s: rate(sum(|k| k.bytes as f64) as u64, us),
            roofline_percent: share(sum(|k| k.roofline_percent * k.us / 100.0), us),
        }
    };
    let mut rows: Vec<KindTime> = kinds.iter().map(of_kind).collect();
    rows.sort_by(|a, b| b.us.total_cmp(&a.us));
    rows
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn kernel(index: usize, kind: &str, us: f64, roofline_percent: f64) -> KernelTime {
        KernelTime {
            batch: 1,
            index,
            kind: kind.into(),
            kernel: format!("{kind}[k=1]"),
            loc: None,
            us,
            min_us: us,
            spread_percent: 0.0,
            share_percent: us,
            ops: 4000,
            bytes: 2000,
            gop_per_s: rate(4000, us),
            gb_per_s: rate(2000, us),
            roofline_percent,
        }
    }

    #[test]
    fn kinds_are_sums_of_their_launches() {
        let kernels = [kernel(0, "lut", 10.0, 50.0), kernel(1, "qlinear", 60.0, 10.0), kernel(2, "lut", 30.0, 10.0)];
        let kinds = by_kind(&kernels);
        assert_eq!(
            kinds.iter().map(|k| (k.kind.as_str(), k.launches)).collect::<Vec<_>>(),
            [("qlinear", 1), ("lut", 2)]
        );
        let lut = &kinds[1];
        // 8000 operations and 4000 bytes in 40 us, of which the roofline's are 5 + 3.
        assert_eq!((lut.us, lut.share_percent, lut.gop_per_s, lut.gb_per_s), (40.0, 40.0, 0.2, 0.1));
        assert!((lut.roofline_percent - 20.0).abs() < 1e-9, "{lut:?}");
    }
}
