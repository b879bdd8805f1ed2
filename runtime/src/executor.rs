//! Runs plans on a device.

use crate::{
    device::{Device, NoDevice},
    kernels::{self, Target, Work},
};
use cubecl::{future::block_on, prelude::Client};
use cubecl_core::server::Handle;
use swint_compiler::plan::{Buffer, Launch, Plan, PlanError, plan_for};
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
    client: Client,
    work: Work,
    /// How many launches are queued before the client waits for them.
    flush_after: Option<usize>,
    module: Module,
    plan: Plan,
    consts: Vec<Handle>,
    arena: Handle,
}

impl Session {
    /// Puts a verified module on a device, for `batch` images at once.
    ///
    /// # Errors
    /// When the device is missing, or the module cannot run.
    pub fn new(module: &Module, device: Device, batch: usize) -> Result<Session, ExecError> {
        let graph = module.graph.with_batch(batch).map_err(|error| ExecError::Batch { batch, error })?;
        let client = device.open()?;
        let (graph, plan) = plan_for(&graph, &module.weights, device.machine(&client))?;
        let constants: usize = module.weights.0.values().map(|t| t.data.len() * t.data.elem().bytes()).sum();
        let wanted = (plan.arena + constants) as u64;
        if let Some(available) = device.available_memory().filter(|&available| available < wanted) {
            return Err(ExecError::Memory { batch, device, wanted, available });
        }
        let upload = |data: Data| client.create_from_slice(&data.to_bytes());
        let consts = plan.consts.iter().map(|source| upload(source.materialize(&module.weights))).collect();
        let arena = client.empty(plan.arena);
        let module = Module { graph, weights: module.weights.clone() };
        let (work, flush_after) = (device.work(), device.flush_after());
        Ok(Session { work, flush_after, client, module, plan, consts, arena })
    }

    /// The plan that runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The module, for the session's batch.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Runs the plan once.
    ///
    /// # Errors
    /// When inputs do not fit or a kernel fails.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Tensor, ExecError> {
        let inputs = self.upload(inputs)?;
        for (i, launch) in self.plan.launches.iter().enumerate() {
            self.launch(launch, &inputs);
            if self.flush_after.is_some_and(|n| i % n == n - 1) {
                self.client.flush().map_err(|e| ExecError::Failed(format!("{e:?}")))?;
            }
        }
        self.read(self.plan.output, &inputs, &self.plan.output_type)
    }

    /// Runs the plan once and reads every kernel's result as soon as it exists.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_with(&self, inputs: &[Tensor], mut observe: impl FnMut(&Launch, &Tensor)) -> Result<Tensor, ExecError> {
        let inputs = self.upload(inputs)?;
        for launch in &self.plan.launches {
            self.launch(launch, &inputs);
            let ty = &self.module.graph.nodes[launch.node.index()].ty;
            observe(launch, &self.read(launch.output, &inputs, ty)?);
        }
        self.read(self.plan.output, &inputs, &self.plan.output_type)
    }

    /// Runs the plan once, a kernel at a time, and gives the microseconds that each took, in the plan's order.
    ///
    /// # Errors
    /// As [`Session::run`], and when the device cannot measure.
    pub fn run_timed(&self, inputs: &[Tensor]) -> Result<Vec<f64>, ExecError> {
        let inputs = self.upload(inputs)?;
        let failed = |e: &dyn std::fmt::Debug| ExecError::Failed(format!("{e:?}"));
        let time = |launch: &Launch| {
            let window = self.client.profile_start().map_err(|e| failed(&e))?;
            self.launch(launch, &inputs);
            let measured = self.client.profile_end(window).map_err(|e| failed(&e))?;
            let ticks = block_on(measured.resolve());
            Ok(ticks.ok_or_else(|| failed(&"no time was measured"))?.duration().as_secs_f64() * 1e6)
        };
        self.plan.launches.iter().map(time).collect()
    }

    fn upload(&self, inputs: &[Tensor]) -> Result<Vec<Handle>, ExecError> {
        interp::check_inputs(&self.module.graph, inputs)?;
        Ok(inputs.iter().map(|t| self.client.create_from_slice(&t.data.to_bytes())).collect())
    }

    fn launch(&self, launch: &Launch, inputs: &[Handle]) {
        let buffers: Vec<Handle> =
            launch.inputs.iter().chain([&launch.output]).map(|&b| self.handle(b, inputs)).collect();
        let target = Target::Launch { client: &self.client, buffers: &buffers };
        kernels::dispatch(launch, self.work, target);
    }

    fn handle(&self, buffer: Buffer, inputs: &[Handle]) -> Handle {
        match buffer {
            Buffer::Input(i) => inputs[i].clone(),
            Buffer::Const(c) => self.consts[c].clone(),
            Buffer::Arena { offset, bytes } => {
                let after = self.plan.arena - offset - bytes;
                self.arena.clone().offset_start(offset as u64).offset_end(after as u64)
            }
        }
    }

    /// Reads a buffer; waits for the kernels before.
    fn read(&self, buffer: Buffer, inputs: &[Handle], ty: &Type) -> Result<Tensor, ExecError> {
        let bytes =
            self.client.read_one(self.handle(buffer, inputs)).map_err(|e| ExecError::Failed(format!("{e:?}")))?;
        // The bytes may be the device's own memory: they are copied before the next launch.
        Ok(Tensor::new(ty.shape.clone(), Data::from_bytes(ty.elem, &bytes)))
    }
}
