//! Workers: devices that hold the model, work on parts of a batch, and average their gradients.

use crate::{exec::Program, params::Parameters, train::TrainError};
use burn::tensor::{
    Device, Tensor,
    distributed::{ReduceOperation, all_reduce},
};
use swint_compiler::frontend::{Checkpoint, Spec};
use swint_ir::Module;

/// A device, and its copy of all that training does not change.
pub(crate) struct Worker {
    /// Without gradients.
    pub device: Device,
    /// How the student's constants are made of its parameters.
    pub parameters: Parameters,
    pub teacher: Program,
    /// The teacher's constants.
    pub taught: Vec<Tensor<1>>,
    pub student: Program,
}

impl Worker {
    /// Prepares for parts of `batch` pictures.
    ///
    /// # Errors
    /// When the graph or the checkpoint cannot be trained.
    pub fn new(
        spec: &Spec,
        checkpoint: &Checkpoint,
        imported: &Module,
        batch: usize,
        device: &Device,
    ) -> Result<Worker, TrainError> {
        let with_gradients = device.clone().autodiff();
        let trace = |device| Parameters::trace(spec, checkpoint, imported, device).map_err(TrainError::Model);
        let (frozen, parameters) = (trace(device)?, trace(&with_gradients)?);
        let taught = frozen.constants(&frozen.load(checkpoint, device));
        let teacher = Program::new(&imported.graph, batch, device)?;
        let student = Program::new(&imported.graph, batch, &with_gradients)?;
        Ok(Worker { device: device.clone(), parameters, teacher, taught, student })
    }
}

/// Gradients of the parameters, as in [`crate::train::Gradients`].
type Parts = Vec<Option<Tensor<1>>>;

/// Whether devices average among themselves. Those that are the same, as all of the CPU are, have one memory and need no exchange.
pub(crate) fn is_collective(devices: &[Device]) -> bool {
    devices.iter().any(|device| *device != devices[0])
}

fn devices(workers: &[Worker]) -> Vec<Device> {
    workers.iter().map(|worker| worker.device.clone()).collect()
}

/// Averages the gradients of one part with those of all others, where each is on a device of its own: every worker calls it at the same time.
pub(crate) fn exchange(gradients: Parts, workers: &[Worker]) -> Parts {
    let devices = devices(workers);
    if !is_collective(&devices) {
        return gradients;
    }
    let mean = |gradient: Tensor<1>| all_reduce(gradient, ReduceOperation::Mean, devices.clone()).resolve();
    gradients.into_iter().map(|gradient| gradient.map(mean)).collect()
}

/// The average of the parts' gradients, in their order. Where workers have exchanged them, each part has it already.
pub(crate) fn average(parts: Vec<Parts>, workers: &[Worker]) -> Parts {
    let (n, exchanged) = (parts.len(), is_collective(&devices(workers)));
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_default();
    if exchanged || n == 1 {
        return first;
    }
    let add = |a: Option<Tensor<1>>, b: Option<Tensor<1>>| Some(a? + b?);
    let sums = parts.fold(first, |sums, part| sums.into_iter().zip(part).map(|(a, b)| add(a, b)).collect());
    let share = 1.0 / n as f32;
    sums.into_iter().map(|sum| sum.map(|sum| sum.mul_scalar(share))).collect()
}
