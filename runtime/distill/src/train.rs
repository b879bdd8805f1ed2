//! Training: a step is a function of parameters, batch and step number, nothing else.

use crate::{
    data::{Augment, Pictures},
    exec::{Choices, ExecError, Outputs, Program},
    loader::{Batch, Order},
    loss::{self, Weights},
    optimizer::{Optimizer, Settings},
    plan::{self, Plan, Schedule},
    qat::{self, Quantizer},
    worker::{self, Worker},
};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicBool, Ordering},
};
use swint_compiler::{
    frontend::{self, Checkpoint, Spec},
    pipeline::Calibration,
};
use swint_ir::{self as ir, Elem, Module, NodeId, Value, random::Rng};
use swint_runtime::dataset::Score;

/// Everything that a run follows from, beside teacher, student to start from, and pictures.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How GELUs become ReLUs.
    pub schedule: Schedule,
    /// Where iterative schedules begin.
    pub order: plan::Order,
    /// Steps in all.
    pub steps: usize,
    /// Pictures of a step.
    pub batch: usize,
    /// Equal parts of a batch that are worked on at the same time. Their gradients are averaged, so that another number rounds otherwise.
    pub threads: usize,
    /// What chance follows from.
    pub seed: u64,
    /// How pictures are varied.
    pub augment: Augment,
    /// How much each loss counts.
    pub loss: Weights,
    /// What the optimizer is told.
    pub optimizer: Settings,
    /// Pictures whose activations set the scales of the integer program that is trained; `None` trains floats.
    pub quantize: Option<usize>,
}

/// What a step measured.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// The step, from 0.
    pub step: usize,
    /// The sum of the losses, weighted.
    pub loss: f32,
    /// Divergence of the logits; 0 where it does not count.
    pub kl: f32,
    /// Cross-entropy; 0 where it does not count.
    pub ce: f32,
    /// Mean square of block outputs; 0 where it does not count.
    pub mse: f32,
    /// Norm of the gradients.
    pub norm: f32,
    /// Learning rate.
    pub rate: f64,
    /// GELUs left, blended ones in part.
    pub gelus: f64,
}

/// Why a model cannot be trained.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrainError {
    /// The program cannot be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The model or its checkpoint is not such as can be trained.
    #[error("{0}")]
    Model(String),
}

/// A model in training.
pub struct Trainer {
    config: Config,
    imported: Module,
    checkpoint: Checkpoint,
    plan: Plan,
    gelus: usize,
    /// Nodes that are results of blocks.
    blocks: Vec<NodeId>,
    /// What works on parts of a batch, in turn. The first has the parameters, and does what is not done in parts.
    workers: Vec<Worker>,
    /// The teacher's logits of every picture, if they are known.
    remembered: Option<Vec<f32>>,
    quantizer: Option<Quantizer>,
    /// The student's parameters, and what changes them.
    pub optimizer: Optimizer,
    /// Steps done.
    pub done: usize,
}

/// Gradients of the parameters, `None` where the loss does not depend on one, and what the step measured.
pub type Gradients = (Vec<Option<Tensor<1>>>, Measured);

impl Trainer {
    /// Starts with the teacher's parameters. `devices` are without gradients; where they are several, each works on its part of a batch.
    ///
    /// # Errors
    /// When the model takes no pictures, its graph or checkpoint cannot be trained, or parts are not shared evenly.
    pub fn new(spec: &Spec, checkpoint: Checkpoint, config: Config, devices: &[Device]) -> Result<Trainer, TrainError> {
        let imported = frontend::import(spec, &checkpoint).map_err(|e| TrainError::Model(e.to_string()))?;
        if imported.graph.inputs[0].ty.elem != Elem::U8 {
            return Err(TrainError::Model(
                "the model takes no pictures: its description has no [preprocess]".to_owned(),
            ));
        }
        if config.threads == 0 || config.batch == 0 || !config.batch.is_multiple_of(config.threads) {
            return Err(TrainError::Model(format!(
                "{} threads do not share a batch of {}",
                config.threads, config.batch
            )));
        }
        if devices.is_empty() || worker::is_collective(devices) && config.threads != devices.len() {
            let (threads, devices) = (config.threads, devices.len());
            return Err(TrainError::Model(format!("{threads} threads for {devices} devices: each takes one part")));
        }
        let worker = |device: &Device| Worker::new(spec, &checkpoint, &imported, config.batch / config.threads, device);
        let workers = devices.iter().map(worker).collect::<Result<Vec<_>, _>>()?;
        let parameters = &workers[0].parameters;
        let values = parameters.load(&checkpoint, &devices[0]);
        let decays = parameters
            .tensors
            .iter()
            .map(|(name, shape)| shape.len() > 1 && !name.ends_with("relative_position_bias_table"));
        let optimizer = Optimizer::new(config.optimizer, values, decays.collect());
        let plan = Plan::new(config.schedule, config.order, &imported.graph, config.steps);
        let is_block = |loc: &std::sync::Arc<str>| {
            loc.strip_prefix("layers.").and_then(|l| l.split_once(".blocks.")).is_some_and(|(_, b)| !b.contains('.'))
        };
        let blocks =
            imported.graph.iter().filter(|(_, node)| node.locs.iter().any(is_block)).map(|(id, _)| id).collect();
        let gelus = plan.replaced().len();
        Ok(Trainer {
            config,
            checkpoint,
            plan,
            gelus,
            blocks,
            workers,
            remembered: None,
            quantizer: None,
            optimizer,
            done: 0,
            imported,
        })
    }

    /// Starts the student from another checkpoint of the same model.
    ///
    /// # Errors
    /// When the checkpoint does not fit.
    pub fn start_from(&mut self, spec: &Spec, student: &Checkpoint) -> Result<(), TrainError> {
        frontend::import(spec, student).map_err(|e| TrainError::Model(e.to_string()))?;
        let values = self.workers[0].parameters.load(student, &self.workers[0].device);
        let decays = self.optimizer.decays().to_vec();
        self.optimizer = Optimizer::new(self.config.optimizer, values, decays);
        Ok(())
    }

    /// Trains what integer kernels compute from now on, every GELU replaced. The ranges of activations are those of the student as it is.
    ///
    /// # Errors
    /// When the schedule leaves GELUs, or activations are not finite.
    pub fn quantize(&mut self, spec: &Spec, pictures: Vec<ir::Tensor>) -> Result<(), TrainError> {
        if self.config.schedule != Schedule::All {
            return Err(TrainError::Model(
                "integer programs are trained with every GELU replaced: --schedule all".to_owned(),
            ));
        }
        self.quantizer = Some(Quantizer::observe(spec, &self.student(), pictures).map_err(TrainError::Model)?);
        Ok(())
    }

    /// What `swint compile --calib-stats` reads to make the program that was trained; `None` where floats were.
    pub fn calibration(&self) -> Option<Result<Calibration, String>> {
        self.quantizer.as_ref().map(|quantizer| quantizer.calibration(&self.student()))
    }

    /// The teacher's logits `[N, classes]` of all pictures as they are, flat.
    pub fn taught(&self, pictures: &Pictures) -> Vec<f32> {
        let batch = self.config.batch / self.config.threads;
        let mut logits = Vec::new();
        for start in (0..pictures.len()).step_by(batch) {
            // The last batch is filled up with its last picture.
            let read = |i: usize| {
                let i = (start + i).min(pictures.len() - 1);
                // One that cannot be read is in no batch either.
                pictures.read(i, Augment::None, &mut Rng::with_seed(0)).unwrap_or_else(|_| pictures.blank())
            };
            let pixels: Vec<u8> = (0..batch).flat_map(read).collect();
            let Worker { teacher, taught, device, .. } = &self.workers[0];
            let input = self.input(&pixels, device);
            logits.extend(crate::params::values(teacher.run(taught, &[input], &Choices::default()).output));
        }
        logits.truncate(pictures.len() * self.classes());
        logits
    }

    /// Whether the teacher's logits of a picture are asked for more than once, and are always the same.
    pub fn repeats(&self, pictures: usize) -> bool {
        let Config { augment, loss, steps, batch, .. } = &self.config;
        *augment == Augment::None && loss.kl > 0.0 && loss.mse == 0.0 && steps * batch > pictures
    }

    /// Takes the teacher's logits of every picture from now on, instead of running it.
    pub fn remember(&mut self, logits: Vec<f32>) {
        self.remembered = Some(logits);
    }

    /// What it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Names of the parameters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.workers[0].parameters.tensors.iter().map(|(name, _)| &**name)
    }

    /// How batches are made.
    pub fn order(&self) -> Order {
        let Config { seed, batch, augment, .. } = self.config;
        Order { seed, batch, augment }
    }

    fn input(&self, pixels: &[u8], device: &Device) -> Tensor<2> {
        let pixels: Vec<f32> = pixels.iter().map(|&p| p.into()).collect();
        let channels = self.imported.graph.inputs[0].ty.last();
        let rows = pixels.len() / channels;
        Tensor::from_data(TensorData::new(pixels, [rows, channels]), device)
    }

    /// Gradients of a batch at the current step: the average over its parts, in their order.
    ///
    /// # Errors
    /// When the parameters cannot be compiled to integers, where that is trained.
    pub fn gradients(&self, batch: &Batch) -> Result<Gradients, String> {
        let parts = self.config.threads;
        let integers = self.integers(batch).unwrap_or_else(|| Ok(BTreeMap::new()))?;
        let (labels, pixels) = (batch.labels.len() / parts, batch.pixels.len() / parts);
        let part = |i: usize| Batch {
            indices: batch.indices[i * labels..][..labels].to_vec(),
            pixels: batch.pixels[i * pixels..][..pixels].to_vec(),
            labels: batch.labels[i * labels..][..labels].to_vec(),
            skipped: 0,
        };
        let of_part = |i: usize| {
            let worker = &self.workers[i % self.workers.len()];
            let with_gradients = worker.device.clone().autodiff();
            let rows = |(id, all): (&NodeId, &Vec<f32>)| {
                let n = all.len() / parts;
                let columns = self.imported.graph.ty(Value::Node(*id)).last();
                let data = TensorData::new(all[i * n..][..n].to_vec(), [n / columns, columns]);
                (*id, Tensor::from_data(data, &with_gradients))
            };
            let (gradients, measured) = self.gradients_of(worker, &part(i), integers.iter().map(rows).collect());
            (worker::exchange(gradients, &self.workers), measured)
        };
        let all: Vec<Gradients> = std::thread::scope(|scope| {
            let spawn = |i: usize| scope.spawn(move || of_part(i));
            let handles: Vec<_> = (1..parts).map(spawn).collect();
            let first = of_part(0);
            let rest = handles.into_iter().map(|handle| handle.join().expect("a part has no other way to fail"));
            [first].into_iter().chain(rest).collect()
        });
        let share = 1.0 / parts as f32;
        let mean = |of: fn(&Measured) -> f32| all.iter().map(|(_, measured)| of(measured)).sum::<f32>() * share;
        let measured = Measured {
            loss: mean(|m| m.loss),
            kl: mean(|m| m.kl),
            ce: mean(|m| m.ce),
            mse: mean(|m| m.mse),
            ..all[0].1
        };
        let gradients = all.into_iter().map(|(gradients, _)| gradients).collect();
        Ok((worker::average(gradients, &self.workers), measured))
    }

    fn gradients_of(&self, worker: &Worker, batch: &Batch, values: HashMap<NodeId, Tensor<2>>) -> Gradients {
        let Worker { device, parameters, teacher, taught: constants, student } = worker;
        let Batch { indices, pixels, labels, .. } = batch;
        let Config { loss: weights, optimizer, steps, .. } = &self.config;
        let with_gradients = device.clone().autodiff();
        let leaves = self.optimizer.leaves(device);
        let blends = self.plan.blends(self.done);
        let gelus = self.gelus as f64 - blends.values().map(|alpha| 1.0 - alpha).sum::<f64>();
        let watched = if weights.mse > 0.0 { self.blocks.clone() } else { Vec::new() };
        let taught = (weights.kl > 0.0 || weights.mse > 0.0).then(|| match &self.remembered {
            Some(logits) if weights.mse == 0.0 => {
                Outputs { output: self.rows_of(logits, indices, device), watched: Vec::new() }
            }
            _ => {
                let choices = Choices { watched: watched.clone(), ..Choices::default() };
                teacher.run(constants, &[self.input(pixels, device)], &choices)
            }
        });
        let choices = Choices { blends, watched, values };
        let constants = parameters.constants(&leaves);
        let learnt = student.run(&constants, &[self.input(pixels, &with_gradients)], &choices);
        let mut losses: Vec<(f32, Tensor<1>)> = Vec::new();
        let mut measured =
            Measured { step: self.done, rate: optimizer.rate(self.done, *steps), gelus, ..Measured::default() };
        let value = |loss: &Tensor<1>| -> f32 { loss.clone().inner().into_scalar() };
        if let Some(taught) = taught {
            if weights.kl > 0.0 {
                let teacher = Tensor::from_inner(taught.output);
                let loss = loss::divergence(learnt.output.clone(), teacher, weights.temperature);
                measured.kl = value(&loss);
                losses.push((weights.kl, loss));
            }
            let taught = taught.watched.into_iter().map(Tensor::from_inner).collect();
            if let Some(loss) = loss::mean_square(learnt.watched, taught) {
                measured.mse = value(&loss);
                losses.push((weights.mse, loss));
            }
        }
        if weights.ce > 0.0 {
            let classes = learnt.output.dims()[1];
            let mut one_hot = vec![0f32; labels.len() * classes];
            for (row, &label) in labels.iter().enumerate() {
                one_hot[row * classes + label] = 1.0;
            }
            let data = TensorData::new(one_hot, [labels.len(), classes]);
            let loss = loss::cross_entropy(learnt.output, Tensor::from_data(data, &with_gradients));
            measured.ce = value(&loss);
            losses.push((weights.ce, loss));
        }
        let total = losses.into_iter().map(|(weight, loss)| loss.mul_scalar(weight)).reduce(|a, b| a + b);
        let Some(total) = total else { return (vec![None; leaves.len()], measured) };
        measured.loss = value(&total);
        let gradients = total.backward();
        (leaves.iter().map(|leaf| leaf.grad(&gradients)).collect(), measured)
    }

    /// Rows of the teacher's logits.
    fn rows_of(&self, logits: &[f32], indices: &[usize], device: &Device) -> Tensor<2> {
        let classes = self.classes();
        let rows: Vec<f32> = indices.iter().flat_map(|&i| &logits[i * classes..][..classes]).copied().collect();
        Tensor::from_data(TensorData::new(rows, [indices.len(), classes]), device)
    }

    /// What the integer kernels give for a batch, of each named node of the imported graph: what gradients are taken at. `None` where
    /// floats are trained.
    ///
    /// # Errors
    /// When the parameters cannot be compiled.
    pub fn integers(&self, batch: &Batch) -> Option<Result<BTreeMap<NodeId, Vec<f32>>, String>> {
        let quantizer = self.quantizer.as_ref()?;
        let values: Vec<Tensor<1>> = self.optimizer.slots.iter().map(|slot| slot.value.clone()).collect();
        let program = quantizer.compile(&self.workers[0].parameters.checkpoint(self.checkpoint.clone(), &values));
        Some(program.and_then(|program| qat::values(&program, &self.imported.graph, &batch.pixels, batch.labels.len())))
    }

    /// How many classes the model knows.
    pub fn classes(&self) -> usize {
        self.imported.graph.ty(self.imported.graph.output).last()
    }

    /// The node of the imported graph that gives the logits.
    pub fn logits(&self) -> Value {
        self.imported.graph.output
    }

    /// Changes the parameters along gradients. Where their norm is not finite, nothing has changed.
    pub fn apply(&mut self, (gradients, mut measured): Gradients) -> Measured {
        measured.norm = self.optimizer.step(gradients, measured.rate);
        self.done += usize::from(measured.norm.is_finite());
        measured
    }

    /// The student's checkpoint: the teacher's names and shapes.
    pub fn student(&self) -> Checkpoint {
        self.workers[0].parameters.checkpoint(self.checkpoint.clone(), &self.optimizer.values())
    }

    /// How many pictures the student classifies rightly, every GELU replaced: in floats, or where integers are trained in these.
    /// Pictures that cannot be read are left out; `None` where `stop` was set meanwhile.
    ///
    /// # Errors
    /// When no picture can be read, a logit is not finite, or the parameters cannot be compiled.
    pub fn evaluate(&self, pictures: &Pictures, stop: &AtomicBool) -> Result<Option<Score>, String> {
        let Worker { device, parameters, teacher, .. } = &self.workers[0];
        let choices = Choices { blends: self.plan.replaced(), ..Choices::default() };
        let leaves: Vec<Tensor<1>> = self.optimizer.values().into_iter().map(Tensor::from_inner).collect();
        let constants: Vec<Tensor<1>> = parameters.constants(&leaves).into_iter().map(Tensor::inner).collect();
        let integers = self.quantizer.as_ref().map(|quantizer| quantizer.compile(&self.student())).transpose()?;
        let (mut score, mut bad) = (Score::default(), None);
        let batch = self.config.batch / self.config.threads;
        for start in (0..pictures.len()).step_by(batch) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let (mut pixels, mut labels) = (Vec::new(), Vec::new());
            for i in start..(start + batch).min(pictures.len()) {
                match pictures.read(i, Augment::None, &mut Rng::with_seed(0)) {
                    Ok(read) => {
                        pixels.extend(read);
                        labels.push(pictures.labels[i]);
                    }
                    Err(error) => bad = Some(error),
                }
            }
            if labels.is_empty() {
                continue;
            }
            let logits = match &integers {
                Some(program) => {
                    let mut values = qat::values(program, &self.imported.graph, &pixels, labels.len())?;
                    let Value::Node(output) = self.logits() else { unreachable!("networks have nodes") };
                    values.remove(&output).ok_or("the integer program has no logits")?
                }
                None => {
                    let rest = match labels.len() == batch {
                        true => None,
                        false => Some(Program::new(&self.imported.graph, labels.len(), device)),
                    };
                    let rest = rest.transpose().map_err(|e| e.to_string())?;
                    let program = rest.as_ref().unwrap_or(teacher);
                    let input = self.input(&pixels, device);
                    crate::params::values(program.run(&constants, &[input], &choices).output)
                }
            };
            if logits.iter().any(|x| !x.is_finite()) {
                return Err(format!(
                    "after {} steps the logits are not finite: the learning rate is too large",
                    self.done
                ));
            }
            for (row, &label) in logits.chunks_exact(logits.len() / labels.len()).zip(&labels) {
                score.add(row, label);
            }
        }
        match bad {
            Some(error) if score.images == 0 => Err(error),
            _ => Ok(Some(score)),
        }
    }

    /// Whether every parameter of the student is a number.
    pub fn is_finite(&self) -> bool {
        self.optimizer.values().into_iter().all(|tensor| crate::params::values(tensor).iter().all(|x| x.is_finite()))
    }
}
