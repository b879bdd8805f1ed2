//! Checks kernels without a GPU: runs the PTX of a plan in the simulator, launch by launch, and compares each result with the interpreter's, bit for
//! bit; or does the same on a device that there is, where a wrong result makes those that follow from it wrong, too.

use crate::{
    device::Device,
    executor::{ExecError, Session},
    offline::{Call, Offline, Ptx, Sm},
};
use rayon::prelude::*;
use std::collections::{HashMap, hash_map::Entry};
use swint_compiler::plan::{Buffer, Choices, Launch, Plan, PlanError, plan_for};
use swint_ir::{
    Data, Elem, Graph, Module, Tensor, TypeError,
    interp::{self, InterpError},
};
use swint_ptxsim::{self as ptxsim, Access, Config, Finding, Outcome, Param, ParseError, Stats};

/// Why a plan cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The graph has no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The batch is too large.
    #[error(transparent)]
    Batch(#[from] TypeError),
    /// Inputs or constants do not fit.
    #[error(transparent)]
    Interp(#[from] InterpError),
    /// A kernel does not compile.
    #[error("{0}")]
    Compile(String),
    /// The simulator cannot read a kernel.
    #[error("{entry}: {error}")]
    Parse {
        /// Its entry.
        entry: String,
        /// What it cannot read.
        error: ParseError,
    },
    /// Buffers of a launch overlap.
    #[error("launch {launch}: {a} and {b} overlap")]
    Overlap {
        /// The launch, from 0.
        launch: usize,
        /// One buffer.
        a: Buffer,
        /// The other.
        b: Buffer,
    },
    /// Two kernels have one entry.
    #[error("two kernels have the entry {0}")]
    Entry(String),
    /// A text that replaces a kernel's cannot be had.
    #[error("{0}")]
    Replace(String),
    /// The device fails.
    #[error(transparent)]
    Device(#[from] ExecError),
}

/// How a result differs from the interpreter's.
#[derive(Clone, PartialEq, Debug)]
pub struct Mismatch {
    /// Elements that differ.
    pub elements: usize,
    /// The first of them.
    pub first: usize,
    /// What the kernel gives there.
    pub found: f64,
    /// What the interpreter gives there.
    pub wanted: f64,
}

impl Mismatch {
    /// Compares by bits: zeros of different signs differ.
    fn of(elem: Elem, found: &[u8], wanted: &[u8]) -> Option<Mismatch> {
        let width = elem.bytes();
        let differs = |i: &usize| found[i * width..][..width] != wanted[i * width..][..width];
        let mut differing = (0..wanted.len() / width).filter(differs);
        let first = differing.next()?;
        let value = |bytes: &[u8]| match Data::from_bytes(elem, &bytes[first * width..][..width]) {
            Data::F32(values) => values[0].into(),
            Data::I8(values) => values[0].into(),
            Data::U8(values) => values[0].into(),
            Data::I16(values) => values[0].into(),
            Data::I32(values) => values[0].into(),
        };
        Some(Mismatch { elements: 1 + differing.count(), first, found: value(found), wanted: value(wanted) })
    }
}

/// A launch in the simulator.
pub struct Simulated<'a> {
    /// Its place in the plan, from 0.
    pub index: usize,
    /// The launch.
    pub launch: &'a Launch,
    /// Its kernel.
    pub ptx: &'a Ptx,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Where its result differs from the interpreter's.
    pub mismatch: Option<Mismatch>,
    /// Bytes of its result that it has not written.
    pub unwritten: usize,
    /// What it counted.
    pub stats: Stats,
    /// Bytes that any kernel of its specification moves: its inputs and its result, each once.
    pub ideal: u64,
}

impl Simulated<'_> {
    /// Whether its result has the interpreter's bits, and there is nothing wrong with it.
    pub fn is_exact(&self) -> bool {
        self.findings.is_empty() && self.mismatch.is_none() && self.unwritten == 0
    }
}

/// Results of all nodes by the interpreter, as bytes, image by image on all cores.
pub(crate) fn results(
    graph: &Graph,
    module: &Module,
    inputs: &[Tensor],
    batch: usize,
) -> Result<Vec<Vec<u8>>, VerifyError> {
    interp::check_inputs(graph, inputs)?;
    let one = graph.with_part_of_batch(batch)?;
    let of_image = |image: usize| -> Result<Vec<Vec<u8>>, InterpError> {
        let inputs: Vec<Tensor> = inputs.iter().map(|all| part(all, image, batch)).collect();
        let mut results = Vec::new();
        interp::run_with(&one, &module.weights, &inputs, |_, result| results.push(result.data.to_bytes()))?;
        Ok(results)
    };
    let of_images = (0..batch).into_par_iter().map(of_image).collect::<Result<Vec<_>, _>>()?;
    let whole = |n: usize| {
        // What no image is part of is the same for all of them.
        let images = if graph.nodes[n].ty.shape == one.nodes[n].ty.shape { 1 } else { batch };
        of_images[..images].iter().flat_map(|results| &results[n]).copied().collect()
    };
    Ok((0..graph.nodes.len()).map(whole).collect())
}

/// One image's part of a batch.
fn part(all: &Tensor, image: usize, batch: usize) -> Tensor {
    let mut shape = all.shape.clone();
    shape[0] /= batch;
    let bytes = all.data.to_bytes();
    let size = bytes.len() / batch;
    Tensor::new(shape, Data::from_bytes(all.data.elem(), &bytes[image * size..][..size]))
}

/// Runs a module's plan on inputs in the simulator, and shows each launch as soon as it has run; the next ones go on from what is right.
/// `choices` are blueprints that it must have, and `replace` may give another text for a kernel than it compiles to, by its entry.
///
/// # Errors
/// When there is no plan, a kernel does not compile, or the simulator does not know one of its instructions.
pub fn simulate(
    module: &Module,
    inputs: &[Tensor],
    batch: usize,
    sm: Sm,
    choices: &Choices,
    replace: impl Fn(&str) -> Result<Option<String>, String>,
    mut observe: impl FnMut(Simulated<'_>),
) -> Result<(), VerifyError> {
    let graph = module.graph.with_batch(batch)?;
    let (graph, plan) = plan_for(&graph, &module.weights, Some(sm.machine()), choices)?;
    let wanted = results(&graph, module, inputs, batch)?;
    let mut memory = Memory::new(&plan, module, inputs);
    let (mut offline, mut kernels) = (Offline::new(sm), HashMap::new());
    offline.compile_all(&plan.launches).map_err(VerifyError::Compile)?;
    for (index, launch) in plan.launches.iter().enumerate() {
        distinct(index, launch)?;
        let (compiled, call) = offline.kernel(launch).map_err(VerifyError::Compile)?;
        let (known, ptx, kernel) = match kernels.entry(compiled.entry.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let text = replace(&compiled.entry).map_err(VerifyError::Replace)?;
                let ptx = Ptx { text: text.unwrap_or_else(|| compiled.text.clone()), ..(*compiled).clone() };
                let kernel = parse(&ptx)?;
                new.insert((compiled.clone(), ptx, kernel))
            }
        };
        if *known != compiled {
            return Err(VerifyError::Entry(compiled.entry.clone()));
        }
        let (Outcome { findings, stats, .. }, unwritten) = memory.run(kernel, compiled.shared, &call, launch);
        let (node, wanted) = (&graph.nodes[launch.node.index()], &wanted[launch.node.index()]);
        let mismatch = Mismatch::of(node.ty.elem, memory.bytes(launch.output), wanted);
        let mut read = launch.inputs.clone();
        read.sort_by_key(|buffer| buffer.to_string());
        read.dedup();
        let ideal = read.iter().chain([&launch.output]).map(|&buffer| memory.bytes(buffer).len() as u64).sum();
        // What is wrong here must not make the next launches wrong, too.
        memory.set(launch.output, wanted);
        observe(Simulated { index, launch, ptx, findings, mismatch, unwritten, stats, ideal });
    }
    Ok(())
}

/// Refuses a launch whose buffers overlap: here each is alone, so that it would not be seen.
fn distinct(index: usize, launch: &Launch) -> Result<(), VerifyError> {
    let range = |buffer: &Buffer| match *buffer {
        Buffer::Arena { offset, bytes } => Some(offset..offset + bytes),
        _ => None,
    };
    for a in &launch.inputs {
        let (Some(x), Some(y)) = (range(a), range(&launch.output)) else { continue };
        if x.start < y.end && y.start < x.end {
            return Err(VerifyError::Overlap { launch: index, a: *a, b: launch.output });
        }
    }
    Ok(())
}

/// The kernel of a text.
fn parse(ptx: &Ptx) -> Result<ptxsim::Kernel, VerifyError> {
    let wrong = |error| VerifyError::Parse { entry: ptx.entry.clone(), error };
    let module = ptxsim::Module::parse(&ptx.text).map_err(wrong)?;
    let kernel = module.kernels.into_iter().find(|kernel| kernel.name == ptx.entry);
    kernel.ok_or_else(|| wrong(ParseError { line: 1, message: format!("there is no entry {}", ptx.entry) }))
}

/// Runs a module's plan on a device, and shows how each launch's result differs from the interpreter's.
///
/// # Errors
/// When there is no such device, or it fails.
pub fn run_on_device(
    module: &Module,
    inputs: &[Tensor],
    batch: usize,
    device: Device,
    observe: impl FnMut(&Launch, Option<Mismatch>),
) -> Result<(), VerifyError> {
    run_session(module, inputs, batch, &Session::new(module, device, batch)?, observe)
}

/// The same of a session of the module for the batch.
///
/// # Errors
/// When its device fails.
pub fn run_session(
    module: &Module,
    inputs: &[Tensor],
    batch: usize,
    session: &Session,
    mut observe: impl FnMut(&Launch, Option<Mismatch>),
) -> Result<(), VerifyError> {
    let wanted = results(&session.module().graph, module, inputs, batch)?;
    session.run_with(inputs, |launch, found| {
        let elem = found.data.elem();
        observe(launch, Mismatch::of(elem, &found.data.to_bytes(), &wanted[launch.node.index()]));
    })?;
    Ok(())
}

/// What a plan works on.
struct Memory {
    inputs: Vec<Vec<u8>>,
    consts: Vec<Vec<u8>>,
    arena: Vec<u8>,
}

impl Memory {
    fn new(plan: &Plan, module: &Module, inputs: &[Tensor]) -> Memory {
        Memory {
            inputs: inputs.iter().map(|tensor| tensor.data.to_bytes()).collect(),
            consts: plan.consts.iter().map(|source| source.materialize(&module.weights).to_bytes()).collect(),
            arena: vec![0; plan.arena],
        }
    }

    fn bytes(&self, buffer: Buffer) -> &[u8] {
        match buffer {
            Buffer::Input(i) => &self.inputs[i],
            Buffer::Const(c) => &self.consts[c],
            Buffer::Arena { offset, bytes } => &self.arena[offset..offset + bytes],
        }
    }

    fn set(&mut self, buffer: Buffer, bytes: &[u8]) {
        if let Buffer::Arena { offset, .. } = buffer {
            self.arena[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Runs a launch; what it writes is in the arena. Also how many bytes of its result it has not written.
    fn run(&mut self, kernel: &ptxsim::Kernel, shared: usize, call: &Call, launch: &Launch) -> (Outcome, usize) {
        let mut places: Vec<Buffer> = vec![launch.output];
        let mut params: Vec<Param> = Vec::new();
        for &i in &call.buffers {
            let buffer = launch.inputs.get(i).copied().unwrap_or(launch.output);
            let known = places.iter().position(|place| *place == buffer);
            params.push(Param::Buffer(known.unwrap_or(places.len())));
            if known.is_none() {
                places.push(buffer);
            }
        }
        params.push(Param::Bytes(call.info.clone()));
        let buffer = |&place: &Buffer| {
            let (bytes, access) = match place {
                // What was there before must not pass for a result.
                _ if place == launch.output => (vec![0xa5; self.bytes(place).len()], Access::Write),
                Buffer::Const(_) => (self.bytes(place).to_vec(), Access::Constant),
                Buffer::Input(_) | Buffer::Arena { .. } => (self.bytes(place).to_vec(), Access::Read),
            };
            ptxsim::Buffer { bytes, access, low: 0 }
        };
        let mut buffers: Vec<ptxsim::Buffer> = places.iter().map(buffer).collect();
        let config = Config {
            dynamic_shared: shared as u64,
            programmatic: call.overlaps,
            ..Config::new(call.cubes, call.units)
        };
        let outcome = ptxsim::run(kernel, &config, &params, &mut buffers);
        self.set(launch.output, &buffers[0].bytes);
        // A launch that does not fit its kernel has written nothing.
        let unwritten = outcome.unwritten.first().copied().unwrap_or(buffers[0].bytes.len());
        (outcome, unwritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_compared_by_bits() {
        let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let wanted = bytes(&[1.0, 0.0, f32::NAN, 4.0]);
        assert_eq!(Mismatch::of(Elem::F32, &wanted, &wanted), None);
        let found = Mismatch::of(Elem::F32, &bytes(&[1.0, -0.0, f32::NAN, 5.0]), &wanted).unwrap();
        assert_eq!((found.elements, found.first, found.found, found.wanted), (2, 1, 0.0, 0.0));
        let found = Mismatch::of(Elem::I16, &[1, 0, 2, 0xff], &[1, 0, 2, 0]).unwrap();
        assert_eq!(found, Mismatch { elements: 1, first: 1, found: -254.0, wanted: 2.0 });
    }
}
