//! `--timings`: times of kernels for `swint compile`.

use super::super::{
    DeviceArg,
    passes::{read_timings, write},
    say,
};
use miette::{IntoDiagnostic, miette};
use std::{collections::BTreeMap, path::Path, slice};
use swint::{
    compiler::egraph::{Measured, Target, Timings, estimate, signature},
    ir::{Module, Tensor, Type},
    runtime::{
        bench::{Settings, time_launches},
        executor::Session,
    },
};

/// The times that a file has, if there is one; they must be of this device and batch.
pub fn read_or_new(path: &Path, device: DeviceArg, batch: usize) -> miette::Result<Timings> {
    let device = device.to_string();
    let timings = if path.exists() { read_timings(path)? } else { Timings::new(device.clone(), batch) };
    if (&timings.device, timings.batch) != (&device, batch) {
        return Err(miette!(
            "{} has times of {} for a batch of {}: give another file",
            path.display(),
            timings.device,
            timings.batch
        ));
    }
    Ok(timings)
}

/// Writes the time of every kernel, beside those that the file has.
pub fn time_kernels(
    module: &Module,
    session: &Session,
    input: &Tensor,
    path: &Path,
    mut timings: Timings,
    target: &Target,
    settings: Settings,
) -> miette::Result<()> {
    let times = time_launches(session, slice::from_ref(input), settings).into_diagnostic()?;
    let graph = &module.graph;
    // A node may be several launches.
    let mut nodes: BTreeMap<usize, f64> = BTreeMap::new();
    for (launch, us) in session.plan().launches.iter().zip(times) {
        *nodes.entry(launch.source.index()).or_default() += us.median;
    }
    let mut sums: BTreeMap<String, (f64, usize, f64)> = BTreeMap::new();
    for (node, us) in nodes {
        let node = &graph.nodes[node];
        let operands: Vec<&Type> = node.operands.iter().map(|&v| graph.ty(v)).collect();
        let sum = sums.entry(signature(&node.op, &operands, &node.ty)).or_default();
        *sum = (sum.0 + us, sum.1 + 1, estimate(&node.op, &operands, &node.ty, target).micros());
    }
    let measured = |(sum, n, estimated_us): (f64, usize, f64)| Measured { us: sum / n as f64, estimated_us };
    timings.ops.extend(sums.into_iter().map(|(op, sum)| (op, measured(sum))));
    let text = serde_json::to_string_pretty(&timings).into_diagnostic()?;
    write(path, format!("{text}\n").as_bytes())?;
    say(format_args!("{} ops have times in {}", timings.ops.len(), path.display()));
    Ok(())
}
