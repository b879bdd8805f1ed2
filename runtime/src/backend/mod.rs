//! Where plans run.

mod cpu;
mod cuda;
mod pinned;

use crate::{
    bench::{
        environment,
        report::{Clock, DeviceInfo, Kind, Split},
    },
    device::{Device, cores, processor},
    executor::ExecError,
};
use rayon::prelude::*;
use std::{borrow::Cow, time::Duration};
use swint_compiler::plan::{Buffer, Machine, Plan};
use swint_ir::{Data, Weights};

pub(crate) use cuda::{Gpu, TIMES_FROM};

/// A device, open.
pub(crate) enum Open {
    /// This processor.
    Cpu,
    /// An NVIDIA GPU, by its driver.
    Cuda(Gpu),
}

impl Open {
    /// Opens a device.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn new(device: Device) -> Result<Open, ExecError> {
        Ok(match device {
            Device::Cpu => Open::Cpu,
            Device::Cuda(index) => Open::Cuda(Gpu::open(index)?),
        })
    }

    /// What plans for it are made for.
    pub(crate) fn machine(&self) -> Machine {
        match self {
            Open::Cpu => processor(),
            Open::Cuda(gpu) => gpu.machine(),
        }
    }

    /// What it is, in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Open::Cpu => format!("cpu, swint {}", env!("CARGO_PKG_VERSION")),
            Open::Cuda(gpu) => gpu.describe(),
        }
    }

    /// What it is, for results of measurements.
    pub(crate) fn info(&self) -> DeviceInfo {
        match self {
            Open::Cpu => DeviceInfo {
                kind: Kind::Cpu,
                name: environment::cpu(),
                threads: Some(cores()),
                driver: None,
                target: None,
                processors: None,
                clock_mhz: environment::clock_mhz(),
                memory_clock_mhz: None,
            },
            Open::Cuda(gpu) => gpu.info(),
        }
    }

    /// Bytes of memory that are free, where that can be asked for.
    pub(crate) fn available_memory(&self, device: Device) -> Option<u64> {
        match self {
            Open::Cpu => device.available_memory(),
            Open::Cuda(gpu) => gpu.available_memory(),
        }
    }

    /// Puts a plan on it.
    ///
    /// # Errors
    /// When its kernels do not compile, or there is not enough memory.
    pub(crate) fn load(self, plan: &Plan, weights: &Weights) -> Result<Box<dyn Backend>, ExecError> {
        let consts: Vec<Data> = plan.consts.par_iter().map(|source| source.materialize(weights)).collect();
        Ok(match self {
            Open::Cpu => Box::new(cpu::Loaded::new(plan, consts)?),
            Open::Cuda(gpu) => Box::new(cuda::Loaded::new(gpu, plan, consts)?),
        })
    }
}

/// A plan on a device: its constants and its arena are there.
pub(crate) trait Backend {
    /// Copies the inputs of the next run to the device.
    fn write(&mut self, inputs: &[Cow<'_, [u8]>]) -> Result<(), ExecError>;

    /// Starts every launch, in order.
    fn run(&mut self, plan: &Plan) -> Result<(), ExecError>;

    /// Starts one launch.
    fn launch(&mut self, plan: &Plan, index: usize) -> Result<(), ExecError>;

    /// The microseconds that a launch takes on the device. Launches read what they do not write, so that it may run more than once.
    fn time(&mut self, plan: &Plan, index: usize) -> Result<f64, ExecError>;

    /// Writes, runs and reads the output, and says how long each part took, by the clock that it names. No other run is as slow: each
    /// part is waited for.
    fn run_split(&mut self, plan: &Plan, inputs: &[Cow<'_, [u8]>]) -> Result<(Split, Clock), ExecError>;

    /// How long it took to compile the kernels, where they are compiled before they are launched.
    fn compile_time(&self) -> Option<Duration> {
        None
    }

    /// Reads a buffer, when everything that was started is done.
    fn read(&mut self, plan: &Plan, buffer: Buffer) -> Result<Vec<u8>, ExecError>;
}

/// An error of a device.
fn failed(error: impl std::fmt::Debug) -> ExecError {
    ExecError::Failed(format!("{error:?}"))
}
