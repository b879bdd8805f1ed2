//! Seconds per 1,000 pictures of a distillation step: `cargo run --release -p swint-distill --example speed`.

use burn::tensor::Device;
use std::time::Instant;
use swint_compiler::frontend;
use swint_distill::{
    data::Augment,
    loader::Batch,
    loss, optimizer, plan,
    train::{Config, Trainer},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/cifar10");
    let spec = frontend::load_spec(format!("{folder}/swin.toml").as_ref())?;
    let checkpoint = frontend::Checkpoint::from_bytes(&std::fs::read(format!("{folder}/model.safetensors"))?)?;
    let config = Config {
        schedule: plan::Schedule::All,
        order: plan::Order::Front,
        steps: 100,
        batch: 128,
        threads: std::env::args().nth(1).map_or(2, |n| n.parse().expect("a number")),
        seed: 0,
        augment: Augment::None,
        loss: loss::Weights::default(),
        optimizer: optimizer::Settings::default(),
        quantize: None,
    };
    let mut trainer = Trainer::new(&spec, checkpoint, config, &[Device::flex()])?;
    let pixels = (0..128 * 32 * 32 * 3).map(|i| (i * 7919 % 256) as u8).collect();
    let batch = Batch { indices: (0..128).collect(), pixels, labels: vec![0; 128], skipped: 0 };
    for _ in 0..4 {
        let clock = Instant::now();
        let gradients = trainer.gradients(&batch)?;
        let measured = trainer.apply(gradients);
        println!("{measured:?}: {:.2} s per 1,000 pictures", clock.elapsed().as_secs_f64() / 0.128);
    }
    Ok(())
}
