//! How long Swin-L's graph takes to print, parse and verify: `cargo bench -p swint-compiler --bench ir_text`.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use swint_compiler::frontend::{Spec, import, random_checkpoint};
use swint_ir::{text, verify};

const SWIN_LARGE: &str = r#"[model]
name = "swin_large"
image = 224
channels = 3
patch = 4
window = 7
embed = 192
depths = [2, 2, 18, 2]
heads = [6, 12, 24, 48]
classes = 1000
[preprocess]
resize = 248
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"#;

fn swin_large(c: &mut Criterion) {
    let spec = Spec::parse("swin_large.toml", SWIN_LARGE).expect("the description is right");
    let graph = import(&spec, &random_checkpoint(&spec, 0)).expect("the checkpoint fits").graph;
    let printed = text::print(&graph);
    println!("{} nodes, {} constants, {} bytes of text", graph.nodes.len(), graph.consts.len(), printed.len());
    c.bench_function("swin_large print", |b| b.iter(|| text::print(black_box(&graph))));
    c.bench_function("swin_large parse and verify", |b| b.iter(|| text::read("g", black_box(&printed)).is_ok()));
    c.bench_function("swin_large verify", |b| b.iter(|| verify(black_box(&graph)).is_ok()));
    c.bench_function("swin_large print, parse and verify", |b| {
        b.iter(|| text::read("g", &text::print(black_box(&graph))).is_ok())
    });
}

criterion_group!(benches, swin_large);
criterion_main!(benches);
