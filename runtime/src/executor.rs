//! Runs plans on a device.

use crate::{
    backend::{Backend, Open},
    bench::report::{Clock, DeviceInfo, Split},
    device::{Device, NoDevice, processor},
    tune,
};
use std::{borrow::Cow, cell::RefCell, time::Duration};
use swint_compiler::plan::{Buffer, Choices, Launch, Machine, Plan, PlanError, plan_for};
use swint_ir::{Data, Module, Tensor, Type, TypeError, interp};

/// Why a module cannot run on a device.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The device is missing.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// The graph has no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The batch is too large.
    #[error("a batch of {batch}: {error}")]
    Batch {
        /// The batch.
        batch: usize,
        /// What is too large.
        error: TypeError,
    },
    /// The device's memory is too small.
    #[error("a batch of {batch} needs {} MB, and {device} has {} MB available", wanted >> 20, available >> 20)]
    Memory {
        /// The batch.
        batch: usize,
        /// Where.
        device: Device,
        /// Bytes needed.
        wanted: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// An input does not fit.
    #[error(transparent)]
    Input(#[from] interp::InterpError),
    /// A kernel did not compile or run.
    #[error("the device failed: {0}")]
    Failed(String),
}

/// A module on a device: constants uploaded, arena allocated, ready for any number of runs.
pub struct Session {
    module: Module,
    plan: Plan,
    loaded: RefCell<Box<dyn Backend>>,
    device: DeviceInfo,
    /// Launches whose blueprint was chosen by [`tune`].
    tuned: usize,
}

impl Session {
    /// Puts a verified module on a device, for `batch` images at once.
    ///
    /// # Errors
    /// When the device is missing, or the module cannot run.
    pub fn new(module: &Module, device: Device, batch: usize) -> Result<Session, ExecError> {
        let open = Open::new(device)?;
        let choices = tune::known(&open.describe());
        Session::load(module, device, open, batch, &choices)
    }

    /// The same with other blueprints than are known to be the fastest.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_choices(
        module: &Module,
        device: Device,
        batch: usize,
        choices: &Choices,
    ) -> Result<Session, ExecError> {
        Session::load(module, device, Open::new(device)?, batch, choices)
    }

    /// The same on this processor, as if it were another that can do less: its kernels are planned for that.
    ///
    /// # Errors
    /// As [`Session::new`].
    ///
    /// # Panics
    /// When the other has instructions that this processor does not have.
    pub fn on_processor(module: &Module, batch: usize, other: Machine) -> Result<Session, ExecError> {
        let (Machine::Cpu { quads, tables, .. }, Machine::Cpu { quads: has, tables: looks_up, .. }) =
            (other, processor())
        else {
            panic!("{other:?} is no processor");
        };
        assert!(quads <= has && (looks_up || !tables), "this processor cannot do what {other:?} does");
        Session::load_for(module, Device::Cpu, Open::Cpu, batch, &Choices::new(), other)
    }

    /// What a device is, in words: its name, its target, its driver, and the version of this program.
    ///
    /// # Errors
    /// When it is not there.
    pub fn describe(device: Device) -> Result<String, ExecError> {
        Ok(Open::new(device)?.describe())
    }

    fn load(
        module: &Module,
        device: Device,
        open: Open,
        batch: usize,
        choices: &Choices,
    ) -> Result<Session, ExecError> {
        let machine = open.machine();
        Session::load_for(module, device, open, batch, choices, machine)
    }

    fn load_for(
        module: &Module,
        device: Device,
        open: Open,
        batch: usize,
        choices: &Choices,
        machine: Machine,
    ) -> Result<Session, ExecError> {
        let graph = module.graph.with_batch(batch).map_err(|error| ExecError::Batch { batch, error })?;
        let (graph, plan) = plan_for(&graph, &module.weights, Some(machine), choices)?;
        let constants: usize = module.weights.0.values().map(|t| t.data.len() * t.data.elem().bytes()).sum();
        let inputs: usize = plan.inputs.iter().map(Type::bytes).sum();
        let wanted = (plan.arena + inputs + constants) as u64;
        if let Some(available) = open.available_memory(device).filter(|&available| available < wanted) {
            return Err(ExecError::Memory { batch, device, wanted, available });
        }
        let info = open.info();
        let tuned = plan.launches.iter().filter(|launch| choices.contains_key(&launch.key())).count();
        let loaded = RefCell::new(open.load(&plan, &module.weights)?);
        let module = Module { graph, weights: module.weights.clone() };
        Ok(Session { module, plan, loaded, device: info, tuned })
    }

    /// The device that it is on.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// How many launches are made in a way that was found to be the fastest on this device.
    pub fn tuned(&self) -> usize {
        self.tuned
    }

    /// How long it took to compile the kernels; `None` where that happens when they are first launched.
    pub fn compile_time(&self) -> Option<Duration> {
        self.loaded.borrow().compile_time()
    }

    /// The plan that runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The module, for the session's batch; a device may have its own form of it.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Runs the plan once.
    ///
    /// # Errors
    /// When inputs do not fit or a kernel fails.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Tensor, ExecError> {
        self.write(inputs)?;
        self.loaded.borrow_mut().run(&self.plan)?;
        self.read(self.plan.output, &self.plan.output_type)
    }

    /// Runs the plan once and reads every kernel's result as soon as it exists.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_with(&self, inputs: &[Tensor], mut observe: impl FnMut(&Launch, &Tensor)) -> Result<Tensor, ExecError> {
        self.write(inputs)?;
        for (i, launch) in self.plan.launches.iter().enumerate() {
            self.loaded.borrow_mut().launch(&self.plan, i)?;
            let ty = &self.module.graph.nodes[launch.node.index()].ty;
            observe(launch, &self.read(launch.output, ty)?);
        }
        self.read(self.plan.output, &self.plan.output_type)
    }

    /// Runs the plan once, waits for each part, and gives the milliseconds of the parts and the clock that they are by.
    ///
    /// # Errors
    /// As [`Session::run`], and when the device cannot measure.
    pub fn run_split(&self, inputs: &[Tensor]) -> Result<(Split, Clock), ExecError> {
        let bytes = self.bytes(inputs)?;
        self.loaded.borrow_mut().run_split(&self.plan, &bytes)
    }

    /// Runs the plan once, a kernel at a time, and gives the microseconds that each took, in the plan's order.
    ///
    /// # Errors
    /// As [`Session::run`], and when the device cannot measure.
    pub fn run_timed(&self, inputs: &[Tensor]) -> Result<Vec<f64>, ExecError> {
        self.write(inputs)?;
        let mut loaded = self.loaded.borrow_mut();
        (0..self.plan.launches.len()).map(|i| loaded.time(&self.plan, i)).collect()
    }

    /// The microseconds that a launch takes, on what is in its buffers.
    ///
    /// # Errors
    /// When it fails, or the device cannot measure.
    pub(crate) fn time_launch(&self, index: usize) -> Result<f64, ExecError> {
        self.loaded.borrow_mut().time(&self.plan, index)
    }

    fn bytes<'a>(&self, inputs: &'a [Tensor]) -> Result<Vec<Cow<'a, [u8]>>, ExecError> {
        interp::check_inputs(&self.module.graph, inputs)?;
        Ok(inputs.iter().map(|t| t.data.as_bytes()).collect())
    }

    fn write(&self, inputs: &[Tensor]) -> Result<(), ExecError> {
        let bytes = self.bytes(inputs)?;
        self.loaded.borrow_mut().write(&bytes)
    }

    /// Reads a buffer; waits for the kernels before.
    fn read(&self, buffer: Buffer, ty: &Type) -> Result<Tensor, ExecError> {
        let bytes = self.loaded.borrow_mut().read(&self.plan, buffer)?;
        Ok(Tensor::new(ty.shape.clone(), Data::from_bytes(ty.elem, &bytes)))
    }
}
