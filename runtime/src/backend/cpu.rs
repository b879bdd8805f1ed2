//! Plans on this processor's cores.
//!
//! A launch is some tasks for each core, which take one after the other until none is left, then wait for those that others still
//! do. All cores go through all launches of a plan like this without anybody telling them to go on: a launch costs less than a
//! microsecond more than what it computes.

use super::{Backend, failed};
use crate::{
    bench::{
        milliseconds,
        report::{Clock, Split},
    },
    device::cores,
    executor::ExecError,
    host::{ALIGNMENT, Host},
};
use cubecl_llvm::{PlironData, PlironEngine};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::{
    borrow::Cow,
    cell::UnsafeCell,
    ffi::c_void,
    hint,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};
use swint_compiler::plan::{Buffer, Plan};
use swint_ir::{Data, Type};

/// A thread's stack: kernels have their own rows there.
const STACK: usize = 16 << 20;

/// How often a thread looks whether others have done their tasks before it lets others run in its place.
const LOOKS: usize = 2000;

/// Bytes as many as a vector has.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "it is there for its extent")] [u8; ALIGNMENT]);

/// Memory that kernels read and write.
struct Memory {
    bytes: usize,
    lines: Box<[UnsafeCell<Line>]>,
}

impl Memory {
    /// So many bytes, all 0.
    fn zeros(bytes: usize) -> Memory {
        let lines = (0..bytes.div_ceil(ALIGNMENT)).map(|_| UnsafeCell::new(Line([0; ALIGNMENT]))).collect();
        Memory { bytes, lines }
    }

    fn of(bytes: &[u8]) -> Memory {
        let mut memory = Memory::zeros(bytes.len());
        memory.write(bytes);
        memory
    }

    fn pointer(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.bytes, "an offset is within its memory");
        // SAFETY: the offset is within it, or its end. Cells lie beside each other.
        unsafe { self.lines.as_ptr().cast::<u8>().cast_mut().add(offset) }
    }

    fn write(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.bytes, "what is written has room");
        // SAFETY: there is room, and nobody else has the memory.
        unsafe { self.pointer(0).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// A copy of some bytes.
    ///
    /// # Safety
    /// No kernel writes them.
    unsafe fn read(&self, offset: usize, bytes: usize) -> Vec<u8> {
        assert!(offset + bytes <= self.bytes, "what is read is there");
        // SAFETY: it is within the memory, and was initialised with zeros.
        unsafe { std::slice::from_raw_parts(self.pointer(offset), bytes) }.to_vec()
    }
}

/// A launch, ready to run: its tasks are units of all cubes.
struct Prepared {
    engine: PlironEngine,
    data: PlironData,
    tasks: u32,
}

/// How far a launch is.
#[derive(Default)]
#[repr(align(128))]
struct Progress {
    /// Tasks that somebody has taken; more than there are, when some found none.
    taken: AtomicU32,
    /// Tasks that are done.
    done: AtomicU32,
}

/// A plan on a processor's cores.
pub(super) struct Loaded {
    pool: ThreadPool,
    launches: Vec<Prepared>,
    consts: Vec<Memory>,
    inputs: Vec<Memory>,
    arena: Memory,
    compile_time: Duration,
}

impl Loaded {
    pub(super) fn new(plan: &Plan, consts: Vec<Data>) -> Result<Loaded, ExecError> {
        let threads = ThreadPoolBuilder::new().num_threads(cores()).stack_size(STACK);
        let pool = threads.thread_name(|i| format!("kernels {i}")).build().map_err(failed)?;
        let consts = consts.into_iter().map(|data| Memory::of(&data.as_bytes())).collect();
        let inputs = plan.inputs.iter().map(|ty: &Type| Memory::zeros(ty.bytes())).collect();
        let arena = Memory::zeros(plan.arena);
        let mut loaded = Loaded { pool, launches: Vec::new(), consts, inputs, arena, compile_time: Duration::ZERO };
        let start = Instant::now();
        let mut host = Host::new();
        Host::compile_all(&plan.launches).map_err(ExecError::Failed)?;
        loaded.compile_time = start.elapsed();
        for launch in &plan.launches {
            let (engine, call) = host.kernel(launch).map_err(ExecError::Failed)?;
            let places: Vec<Buffer> = launch.inputs.iter().chain([&launch.output]).copied().collect();
            let pointers = call.buffers.iter().map(|&i| loaded.pointer(places[i]).cast::<c_void>()).collect();
            let (words, []) = call.info.as_chunks::<8>() else { unreachable!("scalars fill whole words") };
            let info = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
            let data = PlironData::new(pointers, info, [call.cubes, 1, 1], Vec::new());
            loaded.launches.push(Prepared { engine, data, tasks: call.units });
        }
        Ok(loaded)
    }

    fn place(&self, buffer: Buffer) -> (&Memory, usize) {
        match buffer {
            Buffer::Input(i) => (&self.inputs[i], 0),
            Buffer::Const(c) => (&self.consts[c], 0),
            Buffer::Arena { offset, .. } => (&self.arena, offset),
        }
    }

    fn pointer(&self, buffer: Buffer) -> *mut u8 {
        let (memory, offset) = self.place(buffer);
        memory.pointer(offset)
    }

    /// Runs launches one after the other.
    fn execute(&self, order: impl Iterator<Item = usize>) {
        let launches: Vec<_> = order.map(|i| (&self.launches[i], Progress::default())).collect();
        self.pool.broadcast(|_| launches.iter().for_each(|(launch, progress)| launch.work(progress)));
    }

    /// How long a launch takes when all threads are awake.
    fn time_alone(&self, index: usize) -> Duration {
        let (launch, awake) = (&self.launches[index], Progress::default());
        let (first, second) = (Progress::default(), Progress::default());
        let threads = self.pool.current_num_threads() as u32;
        let times = self.pool.broadcast(|_| {
            awake.done.fetch_add(1, Ordering::Release);
            awake.wait(threads);
            launch.work(&first);
            let start = Instant::now();
            launch.work(&second);
            start.elapsed()
        });
        times.into_iter().max().unwrap_or_default()
    }
}

impl Prepared {
    /// Does tasks until none is left, and waits for those that others do.
    fn work(&self, progress: &Progress) {
        let mut data = self.data.clone();
        loop {
            let task = progress.taken.fetch_add(1, Ordering::Relaxed);
            if task >= self.tasks {
                break;
            }
            data.set_unit_pos([task, 0, 0]);
            self.engine.run_kernel(&mut data);
            progress.done.fetch_add(1, Ordering::Release);
        }
        progress.wait(self.tasks);
    }
}

impl Progress {
    /// Until so many are done.
    fn wait(&self, tasks: u32) {
        let mut looks = 0;
        while self.done.load(Ordering::Acquire) < tasks {
            looks += 1;
            if looks < LOOKS { hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

impl Backend for Loaded {
    fn write(&mut self, inputs: &[Cow<'_, [u8]>]) -> Result<(), ExecError> {
        self.inputs.iter_mut().zip(inputs).for_each(|(memory, bytes)| memory.write(bytes));
        Ok(())
    }

    fn run(&mut self, plan: &Plan) -> Result<(), ExecError> {
        self.execute(0..plan.launches.len());
        Ok(())
    }

    fn launch(&mut self, _: &Plan, index: usize) -> Result<(), ExecError> {
        self.execute(index..index + 1);
        Ok(())
    }

    fn time(&mut self, _: &Plan, index: usize) -> Result<f64, ExecError> {
        Ok(self.time_alone(index).as_secs_f64() * 1e6)
    }

    fn run_split(&mut self, plan: &Plan, inputs: &[Cow<'_, [u8]>]) -> Result<(Split, Clock), ExecError> {
        let start = Instant::now();
        self.write(inputs)?;
        let copy_in = milliseconds(start);
        let start = Instant::now();
        self.run(plan)?;
        let compute = milliseconds(start);
        let start = Instant::now();
        self.read(plan, plan.output)?;
        let copy_out = milliseconds(start);
        let split = Split { enqueue: None, copy_in: Some(copy_in), compute: Some(compute), copy_out: Some(copy_out) };
        Ok((split, Clock::Host))
    }

    fn compile_time(&self) -> Option<Duration> {
        Some(self.compile_time)
    }

    fn read(&mut self, _: &Plan, buffer: Buffer) -> Result<Vec<u8>, ExecError> {
        let (memory, offset) = self.place(buffer);
        let bytes = match buffer {
            Buffer::Arena { bytes, .. } => bytes,
            Buffer::Input(_) | Buffer::Const(_) => memory.bytes,
        };
        // SAFETY: kernels run only as long as `execute` does.
        Ok(unsafe { memory.read(offset, bytes) })
    }
}
