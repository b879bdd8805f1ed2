//! What the rewrites make of published models, and that they keep their promises there:
//! `cargo run --release -p swint-compiler --example presets -- swin_tiny_patch4_window7_224 …`
//!
//! Weights are random and every activation is taken to lie within ±4: structure, time and memory do not depend on them. Memory is the
//! most that was resident during saturation and extraction, the quantized weights included.

use std::{error::Error, fs, time::Instant};
use swint_compiler::{
    approximate::gelu_to_relu,
    egraph::{Class, Limits, Target, rewrite},
    frontend::{Spec, import, preset, random_checkpoint},
    plan::plan,
    quantize::{FloatOps, GeluRange, Observer, Ranges, Statistics, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
    validate::steps_from_float,
};
use swint_ir::{Module, interp, random};

fn main() -> Result<(), Box<dyn Error>> {
    for name in std::env::args().skip(1) {
        let spec = preset(&name).ok_or_else(|| format!("{name} is no published model"))?;
        println!("{name}: {} blocks", spec.depths.iter().sum::<usize>());
        for relu in [false, true] {
            check(if relu { "relu" } else { "lut " }, &quantized(&spec, relu)?)?;
        }
    }
    Ok(())
}

/// The model with quantize/dequantize pairs.
fn quantized(spec: &Spec, relu: bool) -> Result<Module, Box<dyn Error>> {
    let mut module = fold_normalize(&import(spec, &random_checkpoint(spec, 1))?);
    if relu {
        module = gelu_to_relu(&module, None)?.0;
    }
    let gelu = if relu { GeluRange::Symmetric } else { GeluRange::Auto };
    let statistics = Statistics::assumed(&module, 4.0);
    let ranges = Ranges { statistics: &statistics, observer: Observer::MinMax, gelu };
    Ok(insert_quantization(&module, ranges, FloatOps::NONE)?.0)
}

/// Rewrites a model with all rules, with the exact ones, and without fusion, and compares.
fn check(activation: &str, quantized: &Module) -> Result<(), Box<dyn Error>> {
    let target = Target::default();
    // Linux forgets the peak so far.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let start = Instant::now();
    let (fused, report) = rewrite(quantized, &rules(RuleSet::INTEGER), &target, Limits::default());
    let time = start.elapsed();
    let memory = peak_memory();
    let (apart, _) =
        rewrite(quantized, &rules(RuleSet { fuse: false, ..RuleSet::INTEGER }), &target, Limits::default());
    let counts = fused.graph.op_counts();
    let left = |ops: &[&str]| -> usize { ops.iter().filter_map(|op| counts.get(op)).sum() };
    println!(
        "  {activation}: {:.2} s, peak {memory}, {} e-nodes{}; left: {} gelu, {} quantize or dequantize, {} ops on floats; {} launches \
         ({} unfused); predicted {:.0} us ({:.0} before) on {}",
        time.as_secs_f64(),
        report.size.1,
        report.stopped.map_or_else(String::new, |reason| format!(" (stopped: {reason})")),
        left(&["gelu"]),
        left(&["quantize", "dequantize"]),
        fused.graph.float_nodes().count(),
        plan(&fused.graph)?.launches.len(),
        plan(&apart.graph)?.launches.len(),
        report.cost.1.micros(),
        report.cost.0.micros(),
        target.device,
    );
    let exact: Vec<_> = rules(RuleSet::INTEGER).into_iter().filter(|rule| rule.class == Class::Exact).collect();
    let (same, report) = rewrite(quantized, &exact, &target, Limits::default());
    let inputs = random::inputs(&quantized.graph, &mut random::Rng::with_seed(1));
    let run = |m: &Module| interp::run(&m.graph, &m.weights, &inputs);
    let fired: usize = report.applied.values().sum();
    println!(
        "        exact rules alone, applied {fired} times: {}; fused and unfused: {}; at most so many steps from float ops: {:?}",
        if run(quantized)? == run(&same)? { "the same bits" } else { "OTHER BITS" },
        if run(&fused)? == run(&apart)? { "the same bits" } else { "OTHER BITS" },
        steps_from_float(&apart, &inputs)?,
    );
    Ok(())
}

/// The most resident memory since the peak was forgotten, as Linux tells it.
fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |kilobytes| kilobytes.trim().to_owned())
}
