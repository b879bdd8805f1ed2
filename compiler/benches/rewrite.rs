//! Saturation and extraction of whole models: `cargo bench -p swint-compiler --bench rewrite`.

use criterion::{Criterion, criterion_group, criterion_main};
use swint_compiler::{
    egraph::{Limits, Target, rewrite},
    frontend::{import, preset, random_checkpoint},
    quantize::{FloatOps, GeluRange, Observer, Ranges, Statistics, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
};
use swint_ir::Module;

/// A published model with quantize/dequantize pairs, its activations all within ±4.
fn quantized(name: &str) -> Module {
    let spec = preset(name).expect("a published model");
    let module = fold_normalize(&import(&spec, &random_checkpoint(&spec, 1)).expect("the checkpoint fits"));
    let statistics = Statistics::assumed(&module, 4.0);
    let ranges = Ranges { statistics: &statistics, observer: Observer::MinMax, gelu: GeluRange::Auto };
    insert_quantization(&module, ranges, FloatOps::NONE).expect("small values").0
}

fn rewriting(criterion: &mut Criterion) {
    let table = rules(RuleSet::INTEGER);
    let mut group = criterion.benchmark_group("rewrite");
    group.sample_size(10);
    for name in ["swin_tiny_patch4_window7_224", "swin_large_patch4_window7_224"] {
        let module = quantized(name);
        let (_, report) = rewrite(&module, &table, &Target::default(), Limits::default());
        println!("{name}: {} nodes, {:?} e-classes and e-nodes", module.graph.nodes.len(), report.size);
        group.bench_function(name, |bencher| {
            bencher.iter(|| rewrite(&module, &table, &Target::default(), Limits::default()))
        });
    }
    group.finish();
}

criterion_group!(benches, rewriting);
criterion_main!(benches);
