//! A launch: blocks one after the other, the warps of a block in turns between barriers.

use crate::{
    finding::{Finding, Kind},
    memory::Memory,
    program::{Kernel, Special},
    stats::Stats,
    warp::Warp,
    window,
};

/// Memory that a kernel works on.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the kernel may do with it.
    pub access: Access,
    /// The address modulo 256, of which alignment follows.
    pub low: u64,
}

/// What a kernel may do with a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read it.
    Read,
    /// Read it, and that before the launches before have completed: none of them writes it.
    Constant,
    /// Write it, and read what it has written.
    Write,
    /// Read and write it.
    ReadWrite,
}

/// What a kernel is given for a parameter.
#[derive(Clone, Debug)]
pub enum Param {
    /// The address of a buffer, by its index.
    Buffer(usize),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// How a kernel is launched.
#[derive(Clone, Debug)]
pub struct Config {
    /// Blocks in each dimension.
    pub grid: [u32; 3],
    /// Threads of a block in each dimension.
    pub block: [u32; 3],
    /// Bytes of shared memory beside those that the kernel declares.
    pub dynamic_shared: u64,
    /// Instructions of a warp after which the launch is stopped.
    pub limit: u64,
    /// Whether it may start before the launch before it in the stream has completed, so that its threads must wait for that themselves.
    pub programmatic: bool,
}

impl Config {
    /// Blocks and threads in one dimension; no dynamic shared memory, at most 2^26 instructions of a warp, and no launch that it overlaps.
    pub fn new(blocks: u32, threads: u32) -> Config {
        let (grid, block) = ([blocks, 1, 1], [threads, 1, 1]);
        Config { grid, block, dynamic_shared: 0, limit: 1 << 26, programmatic: false }
    }
}

/// What a launch did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is wrong with it, each place once, in the order of occurrence.
    pub findings: Vec<Finding>,
    /// What it counted.
    pub stats: Stats,
    /// Of each buffer with [`Access::Write`], how many of its bytes the kernel has not written.
    pub unwritten: Vec<usize>,
}

/// Faults after which a launch is stopped: the rest would follow from them.
const MOST_FINDINGS: usize = 50;

/// Most shared memory of a block, on the machines that we compile for. (CUDA C++ Programming Guide, compute capability 9.0)
const MOST_SHARED: u64 = 227 << 10;

/// A launch under way.
pub(crate) struct Machine<'a> {
    pub kernel: &'a Kernel,
    pub config: &'a Config,
    pub memory: Memory<'a>,
    pub findings: Vec<Finding>,
    /// The block at hand: its place, its number, barriers passed.
    pub block: [u32; 3],
    pub number: u32,
    pub epoch: u32,
}

/// Why a warp does not go on.
pub(crate) enum Pause {
    Barrier,
    End,
    Stop,
}

/// Runs a kernel. Its buffers have what it wrote; where there are findings, what they hold means nothing.
pub fn run(kernel: &Kernel, config: &Config, params: &[Param], buffers: &mut [Buffer]) -> Outcome {
    let fail = |message: String| {
        let kernel = kernel.name.clone();
        let finding = Finding { kind: Kind::Launch, kernel, line: 0, other: None, thread: None, message };
        Outcome { findings: vec![finding], stats: Stats::default(), unwritten: Vec::new() }
    };
    let threads = config.block.iter().fold(1u64, |all, &n| all.saturating_mul(n.into()));
    let fits = |sizes: [u32; 3], most: [u32; 3]| sizes.iter().zip(most).all(|(&n, most)| (1..=most).contains(&n));
    if threads > 1024 || !fits(config.block, [1024, 1024, 64]) || !fits(config.grid, [i32::MAX as u32, 65535, 65535]) {
        return fail(format!("a grid of {:?} blocks of {:?} threads cannot be launched", config.grid, config.block));
    }
    if kernel.block.is_some_and(|demanded| demanded != config.block) {
        return fail(format!("the kernel demands blocks of {:?} threads, not {:?}", kernel.block, config.block));
    }
    if kernel.most_threads.is_some_and(|most| threads > most) {
        return fail(format!("the kernel allows blocks of {:?} threads, not {threads}", kernel.most_threads));
    }
    let shared = kernel.shared.saturating_add(config.dynamic_shared);
    if shared > MOST_SHARED {
        return fail(format!("{shared} bytes of shared memory are more than {MOST_SHARED}"));
    }
    if params.len() != kernel.params.len() {
        return fail(format!("the kernel has {} parameters, {} are given", kernel.params.len(), params.len()));
    }
    let mut bytes = vec![0; kernel.params.last().map_or(0, |(offset, size)| offset + size) as usize];
    for (i, (param, &(offset, size))) in params.iter().zip(&kernel.params).enumerate() {
        let given = match param {
            Param::Buffer(index) => match buffers.get(*index) {
                Some(buffer) => window::buffer(*index, buffer.low).to_le_bytes().to_vec(),
                None => return fail(format!("parameter {i} is buffer {index}, and there are {}", buffers.len())),
            },
            Param::Bytes(bytes) => bytes.clone(),
        };
        if given.len() as u64 != size {
            return fail(format!("parameter {i} has {size} bytes, {} are given", given.len()));
        }
        bytes[offset as usize..][..given.len()].copy_from_slice(&given);
    }
    let memory = Memory::new(kernel, bytes, shared, buffers);
    let mut machine = Machine { kernel, config, memory, findings: Vec::new(), block: [0; 3], number: 0, epoch: 0 };
    let [x, y, z] = config.grid;
    let blocks = (0..z).flat_map(|k| (0..y).flat_map(move |j| (0..x).map(move |i| [i, j, k])));
    for (number, block) in blocks.enumerate() {
        (machine.number, machine.block, machine.epoch) = (number as u32, block, 0);
        if machine.run_block(threads as u32).is_none() {
            break;
        }
    }
    let stats = Stats::of(kernel, &machine.memory.counts, machine.memory.distinct_sectors());
    let unwritten = machine.memory.unwritten();
    Outcome { findings: machine.findings, stats, unwritten }
}

impl Machine<'_> {
    /// Runs the block at hand; `None` where the launch is stopped.
    fn run_block(&mut self, threads: u32) -> Option<()> {
        let warps = threads.div_ceil(32);
        let mut warps: Vec<Warp> = (0..warps)
            .map(|w| {
                Warp::new(self.kernel, w, threads - 32 * w, |special, lane| self.special(special, 32 * w + lane, warps))
            })
            .collect();
        loop {
            for warp in warps.iter_mut().filter(|warp| warp.live != 0) {
                warp.waits = None;
                match self.run_warp(warp) {
                    Pause::Barrier => {}
                    Pause::End => warp.live = 0,
                    Pause::Stop => return None,
                }
            }
            let waiting = warps.iter().filter_map(|warp| warp.waits.map(|at| (at, warp.index)));
            let Some(((id, line), first)) = waiting.clone().next() else { return Some(()) };
            if let Some(missing) = warps.iter().find(|warp| warp.waits.is_none_or(|(other, _)| other != id)) {
                let (other, index) = (missing.waits.map(|(_, line)| line), missing.index);
                let how = if other.is_some() { "waits at another" } else { "has ended" };
                self.find(
                    Kind::Barrier,
                    line,
                    other,
                    32 * first,
                    format!("warp {first} waits at barrier {id}, warp {index} {how}"),
                );
                return None;
            }
            self.epoch += 1;
        }
    }

    /// Runs a warp up to a barrier or its end.
    fn run_warp(&mut self, warp: &mut Warp) -> Pause {
        while let Some((pc, mask)) = warp.next() {
            if pc >= self.kernel.insts.len() {
                self.find(
                    Kind::Launch,
                    0,
                    None,
                    32 * warp.index,
                    "the kernel runs past its last instruction".to_owned(),
                );
                return Pause::Stop;
            }
            warp.executed += 1;
            if warp.executed > self.config.limit {
                let line = self.kernel.insts[pc].line;
                let message = format!("stopped after {} instructions of a warp", self.config.limit);
                self.find(Kind::TooLong, line, None, 32 * warp.index, message);
                return Pause::Stop;
            }
            if let Some(pause) = self.step(warp, pc, mask) {
                return pause;
            }
            if self.findings.len() >= MOST_FINDINGS {
                return Pause::Stop;
            }
        }
        Pause::End
    }

    fn special(&self, special: Special, thread: u32, warps: u32) -> u64 {
        let [x, y, _] = self.config.block;
        let lane = thread % 32;
        let bit = 1u32 << lane;
        let value = match special {
            Special::Tid(0) => thread % x,
            Special::Tid(1) => thread / x % y,
            Special::Tid(_) => thread / x / y,
            Special::Ntid(d) => self.config.block[d],
            Special::Ctaid(d) => self.block[d],
            Special::Nctaid(d) => self.config.grid[d],
            Special::Lane => lane,
            Special::Warp => thread / 32,
            Special::Warps => warps,
            Special::MaskEq => bit,
            Special::MaskLt => bit - 1,
            Special::MaskLe => bit | (bit - 1),
            Special::MaskGt => !(bit | (bit - 1)),
            Special::MaskGe => !(bit - 1),
            Special::DynamicShared => self.config.dynamic_shared as u32,
            Special::TotalShared => (self.kernel.shared + self.config.dynamic_shared) as u32,
        };
        value.into()
    }

    /// Notes a fault, if there is none of its kind at its place yet.
    pub fn find(&mut self, kind: Kind, line: u32, other: Option<u32>, thread: u32, message: String) {
        let is_known = |f: &Finding| f.kind == kind && f.line == line && f.other == other;
        if self.findings.iter().any(is_known) {
            return;
        }
        let (kernel, thread) = (self.kernel.name.clone(), Some((self.block, thread)));
        self.findings.push(Finding { kind, kernel, line, other, thread, message });
    }
}
