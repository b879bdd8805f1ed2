//! Plans by cubecl's runtimes.

use super::{Backend, failed};
use crate::{
    bench::{
        milliseconds,
        report::{Clock, Split},
    },
    device::Device,
    executor::ExecError,
    kernels::{self, Target, Work},
};
use cubecl::{future::block_on, prelude::Client};
use cubecl_core::server::Handle;
use std::{borrow::Cow, time::Instant};
use swint_compiler::plan::{Buffer, Plan};
use swint_ir::Data;

/// A plan on a device of cubecl's.
pub(super) struct Loaded {
    client: Client,
    work: Work,
    /// How many launches are queued before the client waits for them.
    flush_after: Option<usize>,
    consts: Vec<Handle>,
    inputs: Vec<Handle>,
    arena: Handle,
}

impl Loaded {
    pub(super) fn new(client: Client, device: Device, plan: &Plan, consts: Vec<Data>) -> Loaded {
        let consts = consts.into_iter().map(|data| client.create_from_slice(&data.to_bytes())).collect();
        let arena = client.empty(plan.arena);
        Loaded { work: device.work(), flush_after: device.flush_after(), client, consts, inputs: Vec::new(), arena }
    }

    /// Waits for everything that was started.
    fn wait(&self) -> Result<(), ExecError> {
        block_on(self.client.sync()).map_err(failed)
    }

    fn handle(&self, plan: &Plan, buffer: Buffer) -> Handle {
        match buffer {
            Buffer::Input(i) => self.inputs[i].clone(),
            Buffer::Const(c) => self.consts[c].clone(),
            Buffer::Arena { offset, bytes } => {
                let after = plan.arena - offset - bytes;
                self.arena.clone().offset_start(offset as u64).offset_end(after as u64)
            }
        }
    }
}

impl Backend for Loaded {
    fn write(&mut self, inputs: &[Cow<'_, [u8]>]) -> Result<(), ExecError> {
        self.inputs = inputs.iter().map(|bytes| self.client.create_from_slice(bytes)).collect();
        Ok(())
    }

    fn run(&mut self, plan: &Plan) -> Result<(), ExecError> {
        for i in 0..plan.launches.len() {
            self.launch(plan, i)?;
            if self.flush_after.is_some_and(|n| i % n == n - 1) {
                self.client.flush().map_err(failed)?;
            }
        }
        Ok(())
    }

    fn launch(&mut self, plan: &Plan, index: usize) -> Result<(), ExecError> {
        let launch = &plan.launches[index];
        let places = launch.inputs.iter().chain([&launch.output]);
        let buffers: Vec<Handle> = places.map(|&buffer| self.handle(plan, buffer)).collect();
        kernels::dispatch(launch, self.work, Target::Launch { client: &self.client, buffers: &buffers });
        Ok(())
    }

    fn time(&mut self, plan: &Plan, index: usize) -> Result<f64, ExecError> {
        let window = self.client.profile_start().map_err(failed)?;
        self.launch(plan, index)?;
        let measured = self.client.profile_end(window).map_err(failed)?;
        let ticks = block_on(measured.resolve());
        Ok(ticks.ok_or_else(|| failed("no time was measured"))?.duration().as_secs_f64() * 1e6)
    }

    fn run_split(&mut self, plan: &Plan, inputs: &[Cow<'_, [u8]>]) -> Result<(Split, Clock), ExecError> {
        let start = Instant::now();
        self.write(inputs)?;
        self.wait()?;
        let copy_in = milliseconds(start);
        // Kernels run while later ones are queued, so that starting them cannot be told from running them.
        let start = Instant::now();
        self.run(plan)?;
        self.wait()?;
        let compute = milliseconds(start);
        let start = Instant::now();
        self.read(plan, plan.output)?;
        let copy_out = milliseconds(start);
        let split = Split { enqueue: None, copy_in: Some(copy_in), compute: Some(compute), copy_out: Some(copy_out) };
        Ok((split, Clock::Host))
    }

    fn read(&mut self, plan: &Plan, buffer: Buffer) -> Result<Vec<u8>, ExecError> {
        // The bytes may be the device's own memory: they are copied before the next launch.
        Ok(self.client.read_one(self.handle(plan, buffer)).map_err(failed)?.to_vec())
    }
}
