//! The host's passes over a whole model: `cargo bench -p swint-compiler --bench passes`. Text is in `ir_text`, rewrites in `rewrite`.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use swint_compiler::{
    egraph::{Limits, Target, rewrite},
    frontend::{import, preset, random_checkpoint},
    plan::{Choices, Machine, plan, plan_for},
    quantize::{FloatOps, GeluRange, Observer, Ranges, Statistics, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
};
use swint_ir::verify;

const MODEL: &str = "swin_tiny_patch4_window7_224";

/// Each pass on what the one before it makes. Activations are all within ±4: calibration is the interpreter's time.
fn passes(c: &mut Criterion) {
    let spec = preset(MODEL).expect("a published model");
    let checkpoint = random_checkpoint(&spec, 1);
    let mut group = c.benchmark_group(MODEL);
    group.sample_size(10);
    group.bench_function("import", |b| b.iter(|| import(black_box(&spec), &checkpoint).is_ok()));
    let imported = import(&spec, &checkpoint).expect("the checkpoint fits");
    group.bench_function("fold-normalize", |b| b.iter(|| fold_normalize(black_box(&imported))));
    let folded = fold_normalize(&imported);
    let statistics = Statistics::assumed(&folded, 4.0);
    let ranges = || Ranges { statistics: &statistics, observer: Observer::MinMax, gelu: GeluRange::Auto };
    group.bench_function("quantize", |b| {
        b.iter(|| insert_quantization(black_box(&folded), ranges(), FloatOps::NONE).is_ok())
    });
    let (quantized, _) = insert_quantization(&folded, ranges(), FloatOps::NONE).expect("small values");
    let (fused, _) = rewrite(&quantized, &rules(RuleSet::ALL), &Target::default(), Limits::default());
    let (graph, weights) = (&fused.graph, &fused.weights);
    group.bench_function("verify", |b| b.iter(|| verify(black_box(graph)).is_ok()));
    group.bench_function("plan", |b| b.iter(|| plan(black_box(graph)).is_ok()));
    let cuda = Some(Machine::Cuda { processors: 132 });
    group.bench_function("plan for a GPU", |b| {
        b.iter(|| plan_for(black_box(graph), weights, cuda, &Choices::new()).is_ok())
    });
    group.finish();
}

criterion_group!(benches, passes);
criterion_main!(benches);
