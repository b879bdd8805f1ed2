//! Plans on an NVIDIA GPU, by its driver: kernels are the very PTX that the simulator runs, and an inference is one CUDA graph.
//!
//! cubecl could launch them, too, but compiles each for the driver that it finds, so that what runs is not what was checked; and it
//! keeps nothing of it for the next process.

use super::{Backend, failed, pinned::Pinned};
use crate::{
    bench::{
        milliseconds,
        report::{Clock, DeviceInfo, Kind, Split},
    },
    device::{Device, NoDevice},
    executor::ExecError,
    offline::{Call, Offline, PTX_FOR, Ptx as Kernel, Sm},
};
use cudarc::{
    driver::{CudaContext, CudaEvent, CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DriverError, sys},
    nvrtc::Ptx,
};
use rayon::prelude::*;
use std::{
    borrow::Cow,
    collections::HashMap,
    ffi::c_void,
    sync::Arc,
    time::{Duration, Instant},
};
use swint_compiler::plan::{Buffer, Launch, Machine, Plan};
use swint_ir::Data;

/// Launches of one that is timed: one alone is as short as what the clock resolves.
const REPEATS: usize = 10;

/// The oldest driver whose events cudarc can compare.
pub(crate) const TIMES_FROM: i32 = 12080;

/// The oldest driver that captures launches which overlap as such. (CUDA 12.3, edges of graphs with data)
const OVERLAPS_FROM: i32 = 12030;

/// `12.8` for 12080.
fn words(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// An open GPU.
pub(crate) struct Gpu {
    stream: Arc<CudaStream>,
    sm: Sm,
    processors: usize,
    name: String,
    driver: i32,
}

impl Gpu {
    /// Opens a GPU by its number.
    ///
    /// # Errors
    /// When there is no driver, no such GPU, or it has no int8 tensor cores.
    pub(crate) fn open(index: usize) -> Result<Gpu, ExecError> {
        let none = |reason: String| NoDevice::new(Device::Cuda(index), reason);
        // SAFETY: it only looks whether the driver's library can be opened.
        if !unsafe { sys::is_culib_present() } {
            return Err(none("no NVIDIA driver (libcuda) was found".to_owned()).into());
        }
        let driver = |e: DriverError| none(format!("the driver says {e}"));
        let mut version = 0;
        // SAFETY: the driver writes one number.
        unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(driver)?;
        if version < PTX_FOR {
            let (version, least) = (words(version), words(PTX_FOR));
            return Err(none(format!("its driver is of CUDA {version}; {least} is the least")).into());
        }
        let context = CudaContext::new(index).map_err(driver)?;
        let (major, minor) = context.compute_capability().map_err(driver)?;
        let sm = Sm::of_device(major, minor).ok_or_else(|| {
            none(format!("compute capability {major}.{minor} has no int8 tensor cores: 8.0 is the least"))
        })?;
        let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let processors = context.attribute(count).map_err(driver)?;
        // SAFETY: all work is on one stream, so that nothing has to be tracked between streams.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(driver)?;
        let name = context.name().map_err(driver)?;
        Ok(Gpu { stream, sm, processors: processors as usize, name, driver: version })
    }

    /// Bytes of memory that are free.
    pub(super) fn available_memory(&self) -> Option<u64> {
        self.stream.context().mem_get_info().ok().map(|(free, _)| free as u64)
    }

    /// What it is, in words.
    pub(super) fn describe(&self) -> String {
        let Gpu { name, sm, processors, driver, .. } = self;
        format!("{name}, {sm}, {processors} processors, driver {driver}, swint {}", env!("CARGO_PKG_VERSION"))
    }

    /// What it is, for results of measurements.
    pub(super) fn info(&self) -> DeviceInfo {
        let clock = |attribute| {
            let khz = self.stream.context().attribute(attribute).ok().filter(|&khz| khz > 0)?;
            Some(f64::from(khz) / 1e3)
        };
        DeviceInfo {
            kind: Kind::Cuda,
            name: self.name.clone(),
            threads: None,
            driver: Some(format!("CUDA {}", words(self.driver))),
            target: Some(self.sm.to_string()),
            processors: Some(self.processors),
            clock_mhz: clock(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
            memory_clock_mhz: clock(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
        }
    }

    /// What plans for it are made for.
    pub(crate) fn machine(&self) -> Machine {
        Machine::Cuda { processors: self.processors }
    }
}

/// A launch, ready.
struct Prepared {
    function: CudaFunction,
    call: Call,
    shared: u32,
    /// Its buffers.
    pointers: Vec<sys::CUdeviceptr>,
    /// Whether it may start before the launch before it has completed, for which it waits itself.
    overlaps: bool,
}

impl Prepared {
    fn start(&self, stream: &CudaStream) -> Result<(), DriverError> {
        // The driver's raw calls are of the context at hand, which may be another session's.
        stream.context().bind_to_thread()?;
        let mut pointers = self.pointers.clone();
        let mut info = self.call.info.clone();
        let mut parameters: Vec<*mut c_void> = pointers.iter_mut().map(|p| std::ptr::from_mut(p).cast()).collect();
        parameters.push(info.as_mut_ptr().cast());
        let mut overlapping = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: self.call.cubes,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: self.call.units,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: self.shared,
            hStream: stream.cu_stream(),
            attrs: &mut overlapping,
            numAttrs: self.overlaps.into(),
        };
        let function = self.function.cu_function();
        // SAFETY: the parameters are those that the kernel was compiled with, and live until the driver has copied them; the buffers
        // have the extents that the plan gave them, and live as long as the session. A kernel that overlaps the one before it
        // waits for that before it uses them.
        unsafe { sys::cuLaunchKernelEx(&config, function, parameters.as_mut_ptr(), std::ptr::null_mut()) }.result()
    }
}

/// A plan on a GPU.
pub(super) struct Loaded {
    // Before what it refers to: fields are dropped in order.
    graph: Option<CudaGraph>,
    /// Launches that were timed, each [`REPEATS`] times in a row.
    repeated: HashMap<usize, CudaGraph>,
    launches: Vec<Prepared>,
    /// On the host, what inputs are copied through, and the output.
    sent: Vec<Pinned>,
    fetched: Pinned,
    inputs: Vec<CudaSlice<u8>>,
    arena: CudaSlice<u8>,
    _consts: Vec<CudaSlice<u8>>,
    stream: Arc<CudaStream>,
    driver: i32,
    /// Time to compile the kernels, or to find them, and to have the driver load them.
    compiled_in: Duration,
}

/// Has the driver compile kernels for its device, on all cores: the functions by their entries.
fn load<'a>(
    context: &Arc<CudaContext>,
    kernels: impl Iterator<Item = &'a Arc<Kernel>>,
) -> Result<HashMap<String, CudaFunction>, ExecError> {
    let mut different: HashMap<&str, &Arc<Kernel>> = HashMap::new();
    for kernel in kernels {
        let known = different.insert(&kernel.entry, kernel);
        if known.is_some_and(|known| known != kernel) {
            return Err(failed(format!("two kernels have the entry {}", kernel.entry)));
        }
    }
    let function = |(&entry, kernel): (&&str, &&Arc<Kernel>)| {
        let module = context.load_module(Ptx::from_src(kernel.text.clone()))?;
        let function = module.load_function(entry)?;
        let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(most, kernel.shared as i32)?;
        Ok((entry.to_owned(), function))
    };
    different.par_iter().map(function).collect::<Result<_, DriverError>>().map_err(failed)
}

impl Loaded {
    /// Compiles the kernels of a plan, or finds them in the cache, and copies its constants.
    pub(super) fn new(gpu: Gpu, plan: &Plan, consts: Vec<Data>) -> Result<Loaded, ExecError> {
        let Gpu { stream, sm, driver, .. } = gpu;
        let upload = |data: Data| stream.clone_htod(&data.to_bytes()).map_err(failed);
        let consts = consts.into_iter().map(upload).collect::<Result<Vec<_>, _>>()?;
        let empty = |bytes: usize| stream.alloc_zeros::<u8>(bytes.max(1)).map_err(failed);
        let inputs = plan.inputs.iter().map(|ty| empty(ty.bytes())).collect::<Result<Vec<_>, _>>()?;
        let arena = empty(plan.arena)?;
        let pinned = |bytes: usize| Pinned::new(&stream, bytes).map_err(failed);
        let sent = plan.inputs.iter().map(|ty| pinned(ty.bytes())).collect::<Result<Vec<_>, _>>()?;
        let fetched = pinned(plan.output_type.bytes())?;
        let start = |slice: &CudaSlice<u8>| slice.device_ptr(&stream).0;
        let pointer = |buffer: Buffer| match buffer {
            Buffer::Input(i) => start(&inputs[i]),
            Buffer::Const(c) => start(&consts[c]),
            Buffer::Arena { offset, .. } => start(&arena) + offset as u64,
        };
        // Launched in turn, kernels find that there is nothing to wait for.
        let can_overlap = driver >= OVERLAPS_FROM;
        let (compiling, mut offline) = (Instant::now(), Offline::new(sm));
        offline.compile_all(&plan.launches).map_err(ExecError::Failed)?;
        let calls = plan.launches.iter().map(|launch| offline.kernel(launch));
        let calls = calls.collect::<Result<Vec<_>, _>>().map_err(ExecError::Failed)?;
        let functions = load(stream.context(), calls.iter().map(|(ptx, _)| ptx))?;
        let prepare = |(launch, (ptx, call)): (&Launch, (Arc<Kernel>, Call))| {
            let place = |&i: &usize| launch.inputs.get(i).copied().unwrap_or(launch.output);
            let pointers = call.buffers.iter().map(place).map(pointer).collect();
            let overlaps = call.overlaps && can_overlap;
            Prepared { function: functions[&ptx.entry].clone(), shared: ptx.shared as u32, call, pointers, overlaps }
        };
        let launches = plan.launches.iter().zip(calls).map(prepare).collect();
        let compiled_in = compiling.elapsed();
        let (graph, repeated) = (None, HashMap::new());
        let mut loaded = Loaded {
            graph,
            repeated,
            launches,
            sent,
            fetched,
            inputs,
            arena,
            _consts: consts,
            stream,
            driver,
            compiled_in,
        };
        loaded.graph = Some(loaded.capture(loaded.launches.iter())?);
        Ok(loaded)
    }

    /// Launches as one graph.
    fn capture<'a>(&self, mut launches: impl Iterator<Item = &'a Prepared>) -> Result<CudaGraph, ExecError> {
        // What was copied must be there before the first replay.
        self.stream.synchronize().map_err(failed)?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).map_err(failed)?;
        let started = launches.try_for_each(|launch| launch.start(&self.stream));
        let plain = sys::CUgraphInstantiate_flags(0);
        let graph = self.stream.end_capture(plain).map_err(failed);
        started.map_err(failed)?;
        let graph = graph?.ok_or_else(|| failed("nothing was captured"))?;
        graph.upload().map_err(failed)?;
        Ok(graph)
    }

    /// Whether the driver's events can be compared.
    fn check_clock(&self) -> Result<(), ExecError> {
        if self.driver < TIMES_FROM {
            return Err(failed("a driver of CUDA 12.8 or later is needed to time kernels"));
        }
        Ok(())
    }

    fn event(&self) -> Result<CudaEvent, ExecError> {
        let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        self.stream.record_event(timed).map_err(failed)
    }
}

impl Backend for Loaded {
    fn write(&mut self, inputs: &[Cow<'_, [u8]>]) -> Result<(), ExecError> {
        let all = self.sent.iter_mut().zip(&mut self.inputs).zip(inputs);
        all.into_iter().try_for_each(|((sent, to), from)| sent.send(from, to).map_err(failed))
    }

    fn run(&mut self, _: &Plan) -> Result<(), ExecError> {
        self.graph.as_ref().expect("it is captured when the plan is loaded").launch().map_err(failed)
    }

    fn launch(&mut self, _: &Plan, index: usize) -> Result<(), ExecError> {
        self.launches[index].start(&self.stream).map_err(failed)
    }

    fn time(&mut self, plan: &Plan, index: usize) -> Result<f64, ExecError> {
        self.check_clock()?;
        // As a graph, so that it is not the host that is timed. Where launches overlap, these do, too: each waits for the one before, whose
        // output it writes again, and its start is hidden as it is in an inference. What is measured is how much a launch adds to a
        // row of launches, not how long it is from its own start to its end.
        if !self.repeated.contains_key(&index) {
            let graph = self.capture(std::iter::repeat_n(&self.launches[index], REPEATS))?;
            self.repeated.insert(index, graph);
            self.launch(plan, index)?;
        }
        let before = self.event()?;
        self.repeated[&index].launch().map_err(failed)?;
        let after = self.event()?;
        Ok(f64::from(before.elapsed_ms(&after).map_err(failed)?) * 1e3 / REPEATS as f64)
    }

    fn run_split(&mut self, plan: &Plan, inputs: &[Cow<'_, [u8]>]) -> Result<(Split, Clock), ExecError> {
        self.check_clock()?;
        let started = self.event()?;
        self.write(inputs)?;
        let copied = self.event()?;
        // The second replay is timed: the first one keeps the device busy while the host starts it.
        self.run(plan)?;
        let ready = self.event()?;
        let enqueuing = Instant::now();
        self.run(plan)?;
        let enqueue = milliseconds(enqueuing);
        let computed = self.event()?;
        self.read(plan, plan.output)?;
        let read = self.event()?;
        let between = |a: &CudaEvent, b: &CudaEvent| a.elapsed_ms(b).map(|ms| Some(f64::from(ms))).map_err(failed);
        let (copy_in, compute) = (between(&started, &copied)?, between(&ready, &computed)?);
        let split = Split { enqueue: Some(enqueue), copy_in, compute, copy_out: between(&computed, &read)? };
        Ok((split, Clock::Device))
    }

    fn compile_time(&self) -> Option<Duration> {
        Some(self.compiled_in)
    }

    fn read(&mut self, plan: &Plan, buffer: Buffer) -> Result<Vec<u8>, ExecError> {
        let Buffer::Arena { offset, bytes } = buffer else { return Err(failed(format!("{buffer} of @{}", plan.name))) };
        // Others than the output, which tests read, may be larger.
        if bytes <= self.fetched.len() {
            return self.fetched.fetch(&self.arena.slice(offset..offset + bytes)).map_err(failed);
        }
        let bytes = self.stream.clone_dtoh(&self.arena.slice(offset..offset + bytes)).map_err(failed)?;
        self.stream.synchronize().map_err(failed)?;
        Ok(bytes)
    }
}
