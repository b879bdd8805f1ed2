//! How many warps of a kernel a multiprocessor holds at a time.

use serde::Serialize;

/// What a multiprocessor has, by the tables of the CUDA C++ Programming Guide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Resident warps.
    pub warps: u32,
    /// Resident blocks.
    pub blocks: u32,
    /// Shared memory, in bytes.
    pub shared: u32,
}

/// Registers of a multiprocessor, and of one of its four parts: a warp's registers lie in one part.
const REGISTERS: u32 = 65536;
const PARTS: u32 = 4;
/// Registers are given to a warp in units of so many.
const REGISTER_UNIT: u32 = 256;
/// Shared memory is given to a block in units of so many bytes, and so many more are the system's.
const SHARED_UNIT: u32 = 128;
const SHARED_RESERVED: u32 = 1024;

/// Warps that are resident at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Occupancy {
    /// Of this kernel.
    pub warps: u32,
    /// At most, of any kernel.
    pub max_warps: u32,
}

impl Limits {
    /// Compute capability 8.9.
    pub const SM_89: Limits = Limits { warps: 48, blocks: 24, shared: 100 << 10 };
    /// Compute capability 9.0.
    pub const SM_90: Limits = Limits { warps: 64, blocks: 32, shared: 228 << 10 };

    /// Of a kernel with blocks of `threads`, so many registers a thread and so many bytes of shared memory a block. What the
    /// carve-out between shared memory and L1 takes away is not counted: the driver chooses it by the kernel's needs. These
    /// are the numbers of NVIDIA's `cuda_occupancy.h`.
    pub fn occupancy(&self, threads: u32, registers: u32, shared: u32) -> Occupancy {
        let warps = threads.div_ceil(32).max(1);
        let a_warp = (registers * 32).next_multiple_of(REGISTER_UNIT).max(REGISTER_UNIT);
        let by_registers = REGISTERS / PARTS / a_warp * PARTS / warps;
        let by_shared = self.shared / (shared.next_multiple_of(SHARED_UNIT) + SHARED_RESERVED);
        let blocks = (self.warps / warps).min(self.blocks).min(by_registers).min(by_shared);
        Occupancy { warps: blocks * warps, max_warps: self.warps }
    }
}
