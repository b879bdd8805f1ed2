//! `swint distill`.

use super::{
    coded,
    data::resolve,
    limits::LimitArgs,
    passes::{make_folder, write},
    print, print_json, say, value_name,
};
use clap::ValueEnum;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    io::IsTerminal,
    path::{Path, PathBuf, absolute},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use swint::{
    compiler::{
        frontend::{self, Canonical, Limits, Preprocess, Spec},
        quantize::MAX_INPUTS,
    },
    distill::{
        Device,
        data::{Augment, Pictures, has_test_part},
        loss::Weights,
        optimizer::Settings,
        plan::{Order, Schedule},
        run::{self, Ended, Event, Line, Options, RunError},
        state::StateError,
        train::{Config, TrainError, Trainer},
    },
    ir::Code,
    runtime::{inputs::Split, tensors::to_safetensors},
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Model description, a TOML file, or the name of a published model.
    spec: PathBuf,
    /// The teacher's checkpoint, with GELUs: the student starts as it, and is trained to answer as it does.
    #[arg(long, value_name = "FILE")]
    teacher: PathBuf,
    /// Start the student as this checkpoint instead, one that was distilled before.
    #[arg(long, value_name = "FILE")]
    student: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Train what integer kernels compute (quantization-aware): forward values are theirs, gradients pass straight through.
    #[arg(long)]
    quantize: bool,
    /// With --quantize, so many training pictures set the scales of the activations.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=MAX_INPUTS as i64))]
    calib_limit: u32,
    /// Training pictures: `cifar10` (see `swint data fetch`), a folder with a folder for each class, a safetensors file with `pixels` and
    /// `labels`, or WebDataset shards, 'train-{000..127}.tar'.
    #[arg(long)]
    data: PathBuf,
    /// Pictures to judge the student by; `cifar10`'s test set, or a file's part `test` (test.pixels, test.labels), need not be named.
    #[arg(long, value_name = "DATA")]
    test_data: Option<PathBuf>,
    /// Judge by the first so many only, evenly spread.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    test_limit: Option<u32>,
    /// Train on so many pictures only, evenly spread.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The student's checkpoint: the teacher's names and shapes.
    #[arg(short, long)]
    output: PathBuf,
    /// How GELUs become ReLUs: all at once, a block after the other, a stage after the other, or all slowly (anneal).
    #[arg(long, default_value = "all")]
    schedule: Schedule,
    /// Where `block` and `stage` begin.
    #[arg(long, value_enum, default_value = "front")]
    order: OrderArg,
    /// How often every picture comes.
    #[arg(long, default_value_t = 2.0, conflicts_with = "steps", value_parser = positive)]
    epochs: f64,
    /// Steps in all, instead of --epochs.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Pictures of a step.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Largest learning rate.
    #[arg(long, default_value_t = 5e-4, value_parser = positive)]
    lr: f64,
    /// Steps over which the learning rate grows; it falls as a cosine after.
    #[arg(long, default_value_t = 20)]
    warmup: u32,
    /// Weight decay of matrices.
    #[arg(long, default_value_t = 0.01, value_parser = not_negative)]
    weight_decay: f64,
    /// Largest norm of the gradients.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    clip: f64,
    /// Keep a moving average of the parameters, of which so much stays at a step; 0 keeps none.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    ema: f64,
    /// Weight of the divergence of the student's logits from the teacher's.
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    kl: f64,
    /// Temperature of the logits in the divergence.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    temperature: f64,
    /// Weight of the cross-entropy with the labels.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    ce: f64,
    /// Weight of the mean square of the difference of block outputs.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    mse: f64,
    /// How pictures are varied: `crop` mirrors, shifts or crops them.
    #[arg(long, value_enum, default_value = "crop")]
    augment: AugmentArg,
    /// What chance follows from: the same seed and --threads give the same bits.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Parts of a batch worked on at the same time. [default: cores, as many as share a batch; GPUs, one each]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Where to train: cpu, or cuda:N where swint is built with --features cuda; several GPUs, cuda:0,cuda:1, share each batch.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Steps between evaluations; 0 evaluates at the end only.
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    evaluate_every: u32,
    /// Minutes after which the state is saved again.
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0, value_parser = minutes)]
    save_every: f64,
    /// Folder of states, metrics.jsonl and curve.svg. [default: OUTPUT with .run]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Go on with the run in --run-dir, or from the state that is named.
    #[arg(long, value_name = "STATE", num_args = 0..=1, require_equals = true)]
    resume: Option<Option<PathBuf>>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// `--order`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrderArg {
    Front,
    Back,
}

/// `--augment`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AugmentArg {
    None,
    Crop,
}

fn not_negative(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x| (0.0..1e30).contains(x)).ok_or_else(|| "a number, at least 0".to_owned())
}

fn minutes(text: &str) -> Result<f64, String> {
    not_negative(text).ok().filter(|x| *x <= 1e6).ok_or_else(|| "minutes, at most a million".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text).ok().filter(|x| *x > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

/// The devices of a list of names.
fn devices_of(names: &str) -> miette::Result<Vec<Device>> {
    let devices = names.split(',').map(|name| device_of(name.trim())).collect::<miette::Result<Vec<_>>>()?;
    let kinds: BTreeSet<bool> = names.split(',').map(|name| name.trim() == "cpu").collect();
    if kinds.len() > 1 || (1..devices.len()).any(|i| devices[..i].contains(&devices[i])) {
        return Err(miette!("--device {names}: name each GPU once; the CPU works alone, in --threads"));
    }
    Ok(devices)
}

/// The device of a name.
fn device_of(name: &str) -> miette::Result<Device> {
    #[cfg(feature = "cuda")]
    if let Some(index) = name.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok()) {
        let found = Device::enumerate(swint::distill::DeviceType::Cuda).into_vec();
        return found.get(index).cloned().ok_or_else(|| {
            miette!("--device {name}: the NVIDIA driver knows {} GPUs, counted from cuda:0", found.len())
        });
    }
    match name {
        "cpu" => Ok(Device::flex()),
        _ if cfg!(feature = "cuda") => Err(miette!("--device {name}: there are cpu and cuda:N")),
        _ => Err(miette!("--device {name}: there is cpu; cuda:N needs a build with --features cuda")),
    }
}

impl Args {
    /// Trains.
    pub fn run(self) -> miette::Result<ExitCode> {
        let devices = devices_of(&self.device)?;
        let spec = frontend::load_spec(&self.spec)?;
        let Some(preprocess) = &spec.preprocess else {
            return Err(miette!("the model takes no pictures: its description has no [preprocess]"));
        };
        let folder = self.run_dir.clone().unwrap_or_else(|| self.output.with_extension("run"));
        self.check_output(&folder)?;
        let limits = self.limits.limits();
        let (bytes, teacher) = read_checkpoint(&spec, &self.teacher, &limits)?;
        let (spec, checkpoint) = (teacher.spec, teacher.checkpoint);
        if spec.classes == 0 {
            return Err(miette!("{}: distillation is of logits, and there is no head", self.teacher.display()));
        }
        let student = self.student.as_deref().map(|student| read_checkpoint(&spec, student, &limits)).transpose()?;
        let (pictures, test) = self.pictures(&spec, preprocess)?;
        let config = self.config(pictures.len(), &devices)?;
        let bad = |path: &Path| {
            let path = path.display().to_string();
            move |error: TrainError| match error {
                TrainError::Exec(error) => miette!("--batch {}: {error}", config.batch),
                error => coded(Code::BadCheckpoint, format!("{path}: {error}")),
            }
        };
        let mut trainer = Trainer::new(&spec, checkpoint, config, &devices).map_err(bad(&self.teacher))?;
        if let (Some((_, student)), Some(path)) = (&student, &self.student) {
            trainer.start_from(&spec, &student.checkpoint).map_err(bad(path))?;
        }
        if let Some(wanted) = config.quantize {
            let calibration = pictures.calibration(wanted).map_err(|e| miette!("{e}"))?;
            trainer.quantize(&spec, calibration).map_err(|e| miette!("--quantize: {e}"))?;
        }
        let kind = self.device.split(':').next().unwrap_or_default();
        let start: Vec<&[u8]> =
            [&bytes].into_iter().chain(student.as_ref().map(|(bytes, _)| bytes)).map(Vec::as_slice).collect();
        let options = Options {
            start: run::fingerprint(&spec, kind, &start),
            data: pictures.fingerprint(),
            save_every: Duration::from_secs_f64(self.save_every * 60.0),
            evaluate_every: self.evaluate_every as usize,
            readers: cores(),
            folder,
        };
        make_folder(&options.folder)?;
        self.begin(&mut trainer, &options)?;
        run::remember(&mut trainer, &pictures, &options).map_err(|e| miette!("{e}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        // Without the handler Ctrl-C ends the run at once, and loses what is not saved.
        let _ = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed));
        let clock = Instant::now();
        let ended = self.train(&mut trainer, &Arc::new(pictures), test.as_ref(), &options, &stop)?;
        if ended == Ended::Stopped {
            say(format_args!("stopped after {} of {} steps; --resume goes on", trainer.done, config.steps));
            return Ok(ExitCode::from(130));
        }
        let metrics = run::metrics(&options.folder).map_err(|e| miette!("{e}"))?;
        let student = trainer.student();
        let tensors = student.0.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let bytes = to_safetensors(tensors).map_err(|e| miette!("{e}"))?;
        write(&self.output, &bytes)?;
        let scales = self.save_scales(&trainer)?;
        self.summary(&metrics, &options, &config, clock.elapsed(), scales.as_deref())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Writes what makes the integer program that was trained of the student, where one was.
    fn save_scales(&self, trainer: &Trainer) -> miette::Result<Option<PathBuf>> {
        let Some(calibration) = trainer.calibration() else { return Ok(None) };
        let path = self.output.with_extension("scales.safetensors");
        let bytes = calibration.and_then(|calibration| calibration.to_bytes()).map_err(|e| miette!("{e}"))?;
        write(&path, &bytes)?;
        Ok(Some(path))
    }

    /// Refuses outputs that cannot be written, before hours are spent on them.
    fn check_output(&self, folder: &Path) -> miette::Result<()> {
        let whole = |path: &Path| fs::canonicalize(path).or_else(|_| absolute(path)).ok();
        let is = |other: Option<&Path>| other.is_some_and(|other| whole(other) == whole(&self.output));
        let output = self.output.display();
        if is(Some(folder)) {
            return Err(miette!("-o {output} is the run's folder, too: give another name, or --run-dir"));
        }
        if is(Some(&self.spec)) || is(Some(&self.teacher)) || is(self.student.as_deref()) || is(Some(&self.data)) {
            return Err(miette!("-o {output} would overwrite an input"));
        }
        let parent = self.output.parent().filter(|parent| !parent.as_os_str().is_empty());
        if self.output.is_dir() || parent.is_some_and(|parent| !parent.is_dir()) {
            return Err(miette!("-o {output}: it is a folder, or its folder does not exist"));
        }
        Ok(())
    }

    /// Training pictures, and those to judge by.
    fn pictures(&self, spec: &Spec, preprocess: &Preprocess) -> miette::Result<(Pictures, Option<Pictures>)> {
        if spec.height != spec.width || spec.classes == 0 {
            let (height, width, classes) = (spec.height, spec.width, spec.classes);
            let found = format!("takes {height} by {width} pixels and has {classes} classes");
            return Err(miette!("distillation wants square images and classes, but this model {found}"));
        }
        let open = |path: &Path, split| {
            Pictures::open(&resolve(path)?, split, spec.height, spec.classes, preprocess).map_err(|e| miette!("{e}"))
        };
        let mut pictures = open(&self.data, Split::Train)?;
        let mut test = match &self.test_data {
            Some(path) => Some(open(path, Split::Test)?),
            None if has_test_part(&resolve(&self.data)?) => Some(open(&self.data, Split::Test)?),
            None => None,
        };
        if let Some(limit) = self.limit {
            pictures = pictures.limited(limit as usize);
        }
        if let Some(limit) = self.test_limit {
            test = test.map(|test| test.limited(limit as usize));
        }
        Ok((pictures, test))
    }

    fn config(&self, pictures: usize, devices: &[Device]) -> miette::Result<Config> {
        if self.ema >= 1.0 {
            return Err(miette!("--ema {} would never change: give less than 1", self.ema));
        }
        if self.kl == 0.0 && self.ce == 0.0 && self.mse == 0.0 {
            return Err(miette!("--kl, --ce and --mse are all 0: there is nothing to learn"));
        }
        let batch = self.batch as usize;
        let shares = |threads: &usize| batch.is_multiple_of(*threads);
        let threads = match self.threads.map(|n| n as usize) {
            Some(threads) if !shares(&threads) => {
                return Err(miette!("--threads {threads} do not share a --batch of {batch}"));
            }
            Some(threads) => threads,
            None if self.device != "cpu" && shares(&devices.len()) => devices.len(),
            None => (1..=cores()).rev().find(shares).unwrap_or(1),
        };
        let epoch = (pictures / batch).max(1);
        let steps = self.steps.map_or((self.epochs * epoch as f64).ceil(), f64::from);
        if steps > f64::from(u32::MAX) {
            return Err(miette!("--epochs {} are too many steps", self.epochs));
        }
        let steps = steps as usize;
        Ok(Config {
            schedule: self.schedule,
            order: if self.order == OrderArg::Front { Order::Front } else { Order::Back },
            steps,
            batch,
            threads,
            seed: self.seed,
            augment: if self.augment == AugmentArg::None { Augment::None } else { Augment::Crop },
            loss: Weights {
                kl: self.kl as f32,
                ce: self.ce as f32,
                mse: self.mse as f32,
                temperature: self.temperature as f32,
            },
            optimizer: Settings {
                lr: self.lr,
                warmup: self.warmup as usize,
                weight_decay: self.weight_decay as f32,
                clip: self.clip as f32,
                ema: self.ema,
            },
            quantize: self.quantize.then_some(self.calib_limit as usize),
        })
    }

    /// Restores the run that --resume names; refuses to begin over one.
    fn begin(&self, trainer: &mut Trainer, options: &Options) -> miette::Result<()> {
        let Some(from) = &self.resume else {
            if run::has_state(&options.folder) {
                return Err(miette!(
                    help = "--resume goes on with it; otherwise remove it, or give another --run-dir",
                    "{} holds a run",
                    options.folder.display()
                ));
            }
            return Ok(());
        };
        let from = from.as_deref().unwrap_or(&options.folder);
        let path = run::resume(trainer, from, options).map_err(|error| match error {
            RunError::State(StateError::Damaged { .. }) => coded(Code::BadArtifact, error),
            error => miette!("{error}"),
        })?;
        say(format_args!("going on after {} steps, from {}", trainer.done, path.display()));
        Ok(())
    }

    fn train(
        &self,
        trainer: &mut Trainer,
        pictures: &Arc<Pictures>,
        test: Option<&Pictures>,
        options: &Options,
        stop: &AtomicBool,
    ) -> miette::Result<Ended> {
        let steps = trainer.config().steps;
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {eta} left; {msg}").into_diagnostic()?;
        let bar = ProgressBar::new(steps as u64).with_style(style).with_position(trainer.done as u64);
        bar.reset_eta();
        let terminal = std::io::stderr().is_terminal();
        let (clock, first) = (Instant::now(), trainer.done);
        let mut said = Instant::now();
        let ended = run::run(trainer, pictures, test, options, stop, |event| match event {
            Event::Line(Line::Step { measured, skipped, .. }) => {
                bar.set_position(measured.step as u64 + 1);
                bar.set_message(format!("loss {:.4}, {} GELUs", measured.loss, measured.gelus));
                if *skipped > 0 {
                    bar.suspend(|| {
                        say(format_args!("warning: step {}: {skipped} bad pictures skipped", measured.step))
                    });
                }
                // What is no terminal gets a line now and then.
                if !terminal && said.elapsed() > Duration::from_secs(10) {
                    let done = measured.step + 1;
                    let left = clock.elapsed().mul_f64((steps - done) as f64 / (done - first) as f64);
                    say(format_args!("{done}/{steps} steps, {} left; loss {:.4}", HumanDuration(left), measured.loss));
                    said = Instant::now();
                }
            }
            Event::Line(Line::Evaluation { step, top1, images }) => {
                bar.suspend(|| {
                    say(format_args!("after {step} steps: top-1 {top1:.2} % of {images}, all GELUs replaced"))
                });
            }
            Event::Saved => {}
        });
        bar.finish_and_clear();
        ended.map_err(|error| miette!("{error}"))
    }

    fn summary(
        &self,
        metrics: &[Line],
        options: &Options,
        config: &Config,
        elapsed: Duration,
        scales: Option<&Path>,
    ) -> miette::Result<()> {
        let (mut seconds, mut steps, mut last, mut skipped) = (0.0, 0usize, None, 0);
        for line in metrics {
            match line {
                Line::Step { seconds: taken, skipped: bad, .. } => {
                    (seconds, steps, skipped) = (seconds + taken, steps + 1, skipped + bad);
                }
                Line::Evaluation { step, top1, .. } if *step == config.steps => last = Some(*top1),
                Line::Evaluation { .. } => {}
            }
        }
        let per_1000 = seconds / (steps * config.batch).max(1) as f64 * 1000.0;
        if self.json {
            return print_json(&json!({
                "output": self.output.display().to_string(), "schedule": config.schedule.to_string(), "steps": config.steps,
                "batch": config.batch, "images": config.steps * config.batch, "seed": config.seed, "threads": config.threads,
                "top1": last, "seconds_per_1000_images": per_1000, "seconds": elapsed.as_secs_f64(), "skipped": skipped,
                "scales": scales.map(|path| path.display().to_string()), "augment": value_name(self.augment), "metrics": options.folder.join("metrics.jsonl").display().to_string(),
            }));
        }
        let accuracy = last.map_or_else(String::new, |top1| format!(", top-1 {top1:.2} %"));
        let bad = if skipped > 0 { format!(", {skipped} bad pictures skipped") } else { String::new() };
        print(format_args!(
            "{}: {} steps of {} pictures, schedule {}{accuracy}{bad}; {per_1000:.2} s per 1,000 pictures\n",
            self.output.display(),
            config.steps,
            config.batch,
            config.schedule
        ))?;
        let Some(scales) = scales else { return Ok(()) };
        print(format_args!(
            "its integer program: swint compile {} --weights {} --precision int8 --activation relu --equalize none --calib-stats {}\n",
            quoted(&self.spec)?,
            quoted(&self.output)?,
            quoted(scales)?
        ))
    }
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> miette::Result<String> {
    let path = path.display().to_string();
    Ok(shlex::try_quote(&path).into_diagnostic()?.into_owned())
}

/// A checkpoint under the canonical names, and its files' bytes.
fn read_checkpoint(spec: &Spec, path: &Path, limits: &Limits) -> miette::Result<(Vec<u8>, Canonical)> {
    let mut bytes = Vec::new();
    for file in frontend::weight_files(path)? {
        let read = fs::read(&file);
        bytes.extend(read.map_err(|e| coded(Code::Unreadable, format!("cannot read {}: {e}", file.display())))?);
    }
    let checkpoint = frontend::load_checkpoint(spec.clone(), path, limits)?;
    checkpoint.notes.iter().for_each(|note| say(format_args!("warning: {}: {note}", path.display())));
    Ok((bytes, checkpoint))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
