//! Training as a whole: it learns, it is reproducible, it goes on where it was, and what it trains is what is compiled.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use swint_compiler::{
    frontend::{Checkpoint, Spec, import},
    pipeline::{Activation, Equalize, Options as PassOptions, Precision, compile},
};
use swint_distill::{
    Device,
    data::{Augment, Pictures, expand},
    loader::{Loader, Order},
    loss::Weights,
    optimizer::Settings,
    params::values,
    plan::{self, Schedule},
    run::{self, Ended, Event, Line, Options, RunError},
    state::StateError,
    train::{Config, Trainer},
};
use swint_ir::{Data, Tensor, Value, random::Rng};
use swint_runtime::{device::Device as Runtime, executor::Session, inputs::Split, tensors::to_safetensors};

fn fixture() -> (Spec, Checkpoint) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/timm_micro");
    let spec = Spec::parse("swin.toml", &fs::read_to_string(folder.join("swin.toml")).unwrap()).unwrap();
    (spec, Checkpoint::from_bytes(&fs::read(folder.join("model.safetensors")).unwrap()).unwrap())
}

const SIDE: usize = 56;

/// A file of labelled pictures: each class has its own colour, with noise.
fn pictures(folder: &Path, n: usize) -> PathBuf {
    let mut rng = Rng::with_seed(5);
    let pixels = (0..n).flat_map(|i| {
        let colour: Vec<u8> = (0..3).map(|c| ((i % 10) * (c + 3) * 17 % 200) as u8).collect();
        (0..SIDE * SIDE * 3).map(|p| colour[p % 3] + rng.u8(0..50)).collect::<Vec<u8>>()
    });
    let pixels = Tensor::new([n, SIDE, SIDE, 3], Data::U8(pixels.collect()));
    let labels = Tensor::new([n], Data::U8((0..n).map(|i| (i % 10) as u8).collect()));
    let path = folder.join("pictures.safetensors");
    fs::write(&path, to_safetensors([("pixels", &pixels), ("labels", &labels)]).unwrap()).unwrap();
    path
}

fn opened(path: &Path) -> Pictures {
    let (spec, _) = fixture();
    Pictures::open(path, Split::Train, SIDE, 10, spec.preprocess.as_ref().unwrap()).unwrap()
}

fn config(steps: usize) -> Config {
    Config {
        schedule: Schedule::All,
        order: plan::Order::Front,
        steps,
        batch: 8,
        threads: 2,
        seed: 3,
        augment: Augment::Crop,
        loss: Weights::default(),
        // Numbers that a careless reader of JSON gets wrong.
        optimizer: Settings {
            lr: 0.001_500_000_000_000_000_3,
            warmup: 2,
            ema: 0.996_666_666_666_666_7,
            ..Settings::default()
        },
        quantize: None,
    }
}

fn trainer(config: Config) -> Trainer {
    let (spec, checkpoint) = fixture();
    Trainer::new(&spec, checkpoint, config, &[Device::flex()]).unwrap()
}

fn options(folder: &Path) -> Options {
    Options {
        folder: folder.to_owned(),
        start: "teacher".to_owned(),
        data: "pictures".to_owned(),
        save_every: Duration::ZERO,
        evaluate_every: 0,
        readers: 2,
    }
}

/// Trains up to `stop` steps at most; the lines that it measured.
fn train(trainer: &mut Trainer, data: &Arc<Pictures>, options: &Options, stop: usize) -> Vec<Line> {
    let flag = AtomicBool::new(false);
    let mut lines = Vec::new();
    let ended = run::run(trainer, data, None, options, &flag, |event| {
        if let Event::Line(line @ Line::Step { measured, .. }) = event {
            lines.push(*line);
            flag.store(measured.step + 1 >= stop, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert_eq!(ended.unwrap(), if trainer.done == trainer.config().steps { Ended::Finished } else { Ended::Stopped });
    lines
}

fn bits(checkpoint: &Checkpoint) -> Vec<(String, Vec<u8>)> {
    checkpoint.0.iter().map(|(name, tensor)| (name.clone(), tensor.data.to_bytes())).collect()
}

#[test]
fn a_few_pictures_are_learnt_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(opened(&pictures(folder.path(), 64)));
    let labels_only = Weights { kl: 0.0, ce: 1.0, ..Weights::default() };
    let optimizer = Settings { lr: 2e-3, warmup: 5, ..Settings::default() };
    let mut trainer = trainer(Config { batch: 16, loss: labels_only, augment: Augment::None, optimizer, ..config(60) });
    let evaluate = |trainer: &Trainer| trainer.evaluate(&data, &AtomicBool::new(false)).unwrap().unwrap();
    let before = evaluate(&trainer);
    let lines = train(&mut trainer, &data, &options(folder.path()), usize::MAX);
    let loss = |line: &Line| if let Line::Step { measured, .. } = line { measured.loss } else { unreachable!() };
    let after = evaluate(&trainer);
    assert_eq!(trainer.evaluate(&data, &AtomicBool::new(true)), Ok(None));
    assert!(loss(&lines[0]) > 1.0 && loss(&lines[59]) < 0.3, "{} and {}", loss(&lines[0]), loss(&lines[59]));
    assert!(before.top1 < 30 && after.top1 > 56, "{} and {}", before.top1, after.top1);
}

#[test]
fn a_student_comes_closer_to_its_teacher_by_every_schedule_and_loss() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(opened(&pictures(folder.path(), 64)));
    for (name, schedule) in Schedule::ALL {
        let loss = Weights { mse: 0.1, ..Weights::default() };
        let optimizer = Settings { lr: 5e-4, ..Settings::default() };
        let mut trainer =
            trainer(Config { schedule, loss, optimizer, batch: 16, augment: Augment::None, ..config(16) });
        let batch = trainer.order().batch(&data, 0).unwrap();
        // At the last step all GELUs are gone, whatever the schedule.
        let loss_at_the_end = |trainer: &mut Trainer| {
            let done = std::mem::replace(&mut trainer.done, 15);
            let measured = trainer.gradients(&batch).unwrap().1;
            trainer.done = done;
            assert!(measured.gelus == 0.0 && measured.kl > 0.0 && measured.mse > 0.0, "{measured:?}");
            measured.loss
        };
        let before = loss_at_the_end(&mut trainer);
        let run = folder.path().join(name);
        fs::create_dir(&run).unwrap();
        train(&mut trainer, &data, &options(&run), usize::MAX);
        let after = loss_at_the_end(&mut trainer);
        assert!(after < 0.7 * before, "{schedule}: {before} and {after}");
        assert!(fs::read_to_string(run.join("curve.svg")).unwrap().contains("<polyline"));
    }
}

#[test]
fn a_run_that_is_cut_off_ends_as_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(opened(&pictures(folder.path(), 40)));
    let [whole, cut] = ["whole", "cut"].map(|name| folder.path().join(name));
    for folder in [&whole, &cut] {
        fs::create_dir(folder).unwrap();
    }
    let mut uninterrupted = trainer(config(9));
    train(&mut uninterrupted, &data, &options(&whole), usize::MAX);
    // A state after every step: the newest two are kept.
    train(&mut trainer(config(9)), &data, &options(&cut), 4);
    let mut resumed = trainer(config(9));
    run::resume(&mut resumed, &cut, &options(&cut)).unwrap();
    assert_eq!(resumed.done, 4);
    train(&mut resumed, &data, &options(&cut), usize::MAX);
    assert_eq!(bits(&resumed.student()), bits(&uninterrupted.student()));
    assert_ne!(bits(&resumed.student()), bits(&fixture().1));
    let measured = |folder: &Path| -> Vec<_> {
        let lines = run::metrics(folder).unwrap();
        lines
            .into_iter()
            .filter_map(|l| if let Line::Step { measured, .. } = l { Some(measured) } else { None })
            .collect()
    };
    assert_eq!(measured(&cut), measured(&whole));
    // Another seed is another run.
    let mut other = trainer(Config { seed: 4, ..config(9) });
    let error = run::resume(&mut other, &cut, &options(&cut)).unwrap_err();
    assert!(matches!(&error, RunError::State(StateError::Other { what, .. }) if what.contains("seed")), "{error}");
    let others = Options { data: "others".to_owned(), ..options(&cut) };
    let error = run::resume(&mut trainer(config(9)), &cut, &others).unwrap_err();
    assert!(error.to_string().contains("--data differs"), "{error}");
}

#[test]
fn a_damaged_state_is_refused_and_the_one_before_it_offered() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(opened(&pictures(folder.path(), 16)));
    let options = options(folder.path());
    train(&mut trainer(config(3)), &data, &options, usize::MAX);
    let state = |step| folder.path().join(format!("step-{step:09}.state"));
    let whole = fs::read(state(3)).unwrap();
    let resume = |from: &Path| {
        let mut trainer = trainer(config(3));
        run::resume(&mut trainer, from, &options).map(|_| trainer.done)
    };
    for damage in [&whole[..whole.len() / 2], &[&whole[..100], &[whole[100] ^ 1], &whole[101..]].concat(), &[]] {
        fs::write(state(3), damage).unwrap();
        let error = resume(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains(&state(2).display().to_string()), "{error}");
    }
    // What is later would be lost: it is not overwritten.
    assert!(resume(&state(2)).unwrap_err().to_string().contains("is later than"));
    fs::rename(state(2), folder.path().join("kept")).unwrap();
    assert!(resume(folder.path()).unwrap_err().to_string().contains("none before it"));
    fs::remove_file(state(3)).unwrap();
    // Other files are no states, whatever they are called.
    fs::write(folder.path().join("zzz.state"), b"mine").unwrap();
    assert!(resume(folder.path()).unwrap_err().to_string().contains("holds no state"));
    assert!(matches!(resume(&state(3)), Err(RunError::State(StateError::Io { .. }))));
    assert_eq!(resume(&folder.path().join("kept")).unwrap(), 2);
}

/// What the teacher says of pictures that never change is asked for once.
#[test]
fn a_teacher_that_is_remembered_teaches_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(opened(&pictures(folder.path(), 21)));
    let plain = Config { augment: Augment::None, ..config(6) };
    let [mut asked, mut remembered] = [trainer(plain), trainer(plain)];
    let options = options(folder.path());
    run::remember(&mut remembered, &data, &options).unwrap();
    let kept = fs::read(folder.path().join("teacher.safetensors")).unwrap();
    run::remember(&mut remembered, &data, &options).unwrap();
    assert!(kept == fs::read(folder.path().join("teacher.safetensors")).unwrap());
    for step in 0..6 {
        let batch = asked.order().batch(&data, step).unwrap();
        let losses = [&asked, &remembered].map(|trainer| trainer.gradients(&batch).unwrap().1.loss);
        assert!((losses[0] - losses[1]).abs() < 1e-5 * losses[0].abs(), "{losses:?}");
        for trainer in [&mut asked, &mut remembered] {
            let gradients = trainer.gradients(&batch).unwrap();
            trainer.apply(gradients);
        }
    }
    // Pictures that are varied are another matter.
    assert!(!trainer(config(6)).repeats(21));
}

/// In training the student answers as the integer kernels do that are compiled of it: the same bits.
#[test]
fn what_is_trained_quantized_is_what_is_compiled() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(opened(&pictures(folder.path(), 32)));
    let (spec, _) = fixture();
    let optimizer = Settings { ema: 0.0, ..config(4).optimizer };
    let mut trainer = trainer(Config { quantize: Some(4), augment: Augment::None, optimizer, ..config(4) });
    trainer.quantize(&spec, data.calibration(4).unwrap()).unwrap();
    train(&mut trainer, &data, &options(folder.path()), usize::MAX);
    let student = trainer.student();
    let calibration = trainer.calibration().unwrap().unwrap();
    let options = PassOptions {
        precision: Precision::Int8,
        activation: Activation::Relu,
        equalize: Equalize::None,
        calibration: Some(&calibration),
        ..PassOptions::default()
    };
    let (compiled, _) = compile(&import(&spec, &student).unwrap(), &options, |_| ()).unwrap();
    assert_eq!(compiled.graph.float_nodes().count(), 0);
    let session = Session::new(&compiled, Runtime::Cpu, 32).unwrap();
    let order = Order { batch: 32, ..trainer.order() };
    let batch = order.batch(&data, 0).unwrap();
    let input = Tensor::new([32, SIDE, SIDE, 3], Data::U8(batch.pixels.clone()));
    let output = session.run(&[input]).unwrap();
    let wanted = output.to_real(session.module().graph.ty(session.module().graph.output), &compiled.weights);
    // What gradients of a next step would be taken at.
    let found = trainer.integers(&batch).unwrap().unwrap();
    let Value::Node(output) = trainer.logits() else { unreachable!() };
    assert_eq!(found[&output], wanted);
    // Every block's result is among them.
    assert!(found.len() > 6, "{}", found.len());
}

#[test]
fn batches_follow_from_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(opened(&pictures(folder.path(), 26)));
    let order = Order { seed: 1, batch: 4, augment: Augment::Crop };
    let mut seen: Vec<usize> = (0..6).flat_map(|step| order.indices(step, 26)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 24, "every picture once an epoch, but for what does not fill a batch");
    // The next epoch has another order.
    assert_ne!(order.indices(0, 26), order.indices(6, 26));
    let wanted: Vec<_> = (0..7).map(|step| order.batch(&data, step).unwrap()).collect();
    for threads in [1, 3] {
        let loader = Loader::start(&data, order, 0..7, threads);
        let found: Vec<_> = loader.map(Result::unwrap).collect();
        assert!(found == wanted, "{threads} threads");
    }
    let plain = Order { augment: Augment::None, ..order }.batch(&data, 0).unwrap();
    assert!(plain.labels == wanted[0].labels && plain.pixels != wanted[0].pixels);
}

fn png(class: usize, shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(70, 60, image::Rgb([class as u8 * 20, shade, 9]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn folders_and_shards_are_read_and_bad_pictures_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (images, shards) = (folder.path().join("images"), folder.path().join("train-{00..01}.tar"));
    for class in 0..10 {
        let class_folder = images.join(format!("class{class}"));
        fs::create_dir_all(&class_folder).unwrap();
        fs::write(class_folder.join("a.png"), png(class, 1)).unwrap();
        fs::write(class_folder.join("b.png"), if class == 4 { b"no picture".to_vec() } else { png(class, 2) }).unwrap();
    }
    for shard in 0..2 {
        let mut tar = tar::Builder::new(fs::File::create(folder.path().join(format!("train-0{shard}.tar"))).unwrap());
        let mut add = |name: String, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        for class in (0..10).filter(|class| class % 2 == shard) {
            for (key, shade) in [("a", 1), ("b", 2)] {
                let name = format!("n.v/{class}{key}");
                add(format!("{name}.cls"), class.to_string().as_bytes());
                let bytes = if (class, shade) == (4, 2) { b"no picture".to_vec() } else { png(class, shade) };
                add(format!("{name}.png"), &bytes);
                add(format!("{name}.json"), b"{}");
            }
        }
        tar.finish().unwrap();
    }
    for path in [images, shards] {
        let data = opened(&path);
        assert_eq!(data.len(), 20, "{}", path.display());
        let order = Order { seed: 0, batch: 20, augment: Augment::None };
        let batch = order.batch(&data, 0).unwrap();
        assert_eq!(batch.skipped, 1);
        // Red says which class it is: what stands in for a bad picture has its own label.
        for (pixels, label) in batch.pixels.chunks_exact(SIDE * SIDE * 3).zip(&batch.labels) {
            assert_eq!(pixels[0] as usize, label * 20);
        }
        assert_eq!(Order { augment: Augment::Crop, ..order }.batch(&data, 0).unwrap().pixels.len(), batch.pixels.len());
        assert_eq!(data.limited(7).labels.len(), 7);
    }
    // Half a shard is no shard.
    let shard = folder.path().join("train-00.tar");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let (spec, _) = fixture();
    let error = Pictures::open(&shard, Split::Train, SIDE, 10, spec.preprocess.as_ref().unwrap()).err().unwrap();
    assert!(error.contains("train-00.tar"), "{error}");
    assert_eq!(expand("a-{08..10}.tar").unwrap(), ["a-08.tar", "a-09.tar", "a-10.tar"]);
    for bad in ["a-{}.tar", "a-{3..1}.tar", "a-{0..9.tar"] {
        assert!(expand(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_run_that_diverges_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(opened(&pictures(folder.path(), 16)));
    let end = |config: Config| {
        let stop = AtomicBool::new(false);
        let mut trainer = trainer(config);
        let ended = run::run(&mut trainer, &data, Some(&data), &options(folder.path()), &stop, |_| ());
        (ended.unwrap_err().to_string(), trainer.done)
    };
    let optimizer = Settings { lr: 1e29, warmup: 0, ema: 0.0, ..Settings::default() };
    let (error, _) = end(Config { optimizer, ..config(1) });
    assert!(error.contains("not finite"), "{error}");
    let (error, done) = end(Config { loss: Weights { kl: 1e30, ..Weights::default() }, ..config(1) });
    assert!(error.contains("the norm of its gradients inf") && done == 0, "{error}");
}

#[test]
fn metrics_that_cannot_be_read_are_no_metrics() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("metrics.jsonl"),
        "{\"kind\":\"evaluation\",\"step\":1,\"top1\":2.0,\"images\":3}\n{\n",
    )
    .unwrap();
    assert!(run::metrics(folder.path()).unwrap_err().to_string().contains("metrics.jsonl, line 2"));
}

/// What libraries keep beside parameters is not trained, and stays as it is.
#[test]
fn buffers_are_no_parameters() {
    let (spec, mut checkpoint) = fixture();
    checkpoint.0.insert("layers.0.blocks.1.attn_mask".to_owned(), Tensor::f32([3], vec![1.0, 2.0, 3.0]));
    let mut trainer = Trainer::new(&spec, checkpoint, config(1), &[Device::flex()]).unwrap();
    assert!(trainer.names().all(|name| !name.ends_with("attn_mask")));
    trainer.start_from(&spec, &fixture().1).unwrap();
    assert_eq!(trainer.student().0["layers.0.blocks.1.attn_mask"].as_f32(), Some(&[1.0, 2.0, 3.0][..]));
}

/// Two workers, each with its copy of the model, take the very steps that one takes in two parts; and nearly those that one takes at once.
#[test]
fn workers_share_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let data = opened(&pictures(folder.path(), 16));
    let (spec, checkpoint) = fixture();
    let steps = |devices: &[Device], threads| {
        let config = Config { threads, loss: Weights { mse: 0.1, ..Weights::default() }, ..config(3) };
        let mut trainer = Trainer::new(&spec, checkpoint.clone(), config, devices).unwrap();
        let measured: Vec<_> = (0..3)
            .map(|step| {
                let gradients = trainer.gradients(&trainer.order().batch(&data, step).unwrap()).unwrap();
                trainer.apply(gradients)
            })
            .collect();
        (measured, bits(&trainer.student()))
    };
    let wanted = steps(&[Device::flex()], 2);
    assert!(steps(&[Device::flex(), Device::flex()], 2) == wanted);
    let whole = steps(&[Device::flex()], 1).0;
    for (a, b) in whole.iter().zip(&wanted.0) {
        assert!((a.loss - b.loss).abs() < 1e-4 * a.loss && (a.norm - b.norm).abs() < 1e-3 * a.norm, "{a:?} {b:?}");
    }
}

#[test]
fn what_cannot_be_trained_says_why() {
    let (spec, checkpoint) = fixture();
    let error = |config| Trainer::new(&spec, checkpoint.clone(), config, &[Device::flex()]).err().unwrap().to_string();
    assert_eq!(error(Config { threads: 3, ..config(1) }), "3 threads do not share a batch of 8");
    let mut blind = spec.clone();
    blind.preprocess = None;
    let error = Trainer::new(&blind, checkpoint, config(1), &[Device::flex()]).err().unwrap().to_string();
    assert!(error.contains("takes no pictures"), "{error}");
    let mut stepwise = trainer(Config { schedule: Schedule::Block, quantize: Some(1), ..config(1) });
    assert!(stepwise.quantize(&spec, Vec::new()).unwrap_err().to_string().contains("--schedule all"));
    assert!(values(trainer(config(1)).optimizer.values().remove(0)).iter().all(|x| x.is_finite()));
}
