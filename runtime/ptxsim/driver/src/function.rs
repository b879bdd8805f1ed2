//! Functions: kernels of modules, and their attributes.

use crate::{
    device::RESERVED_SHARED,
    launch::Places,
    state::{Driver, Handle, Need, Out, call, put},
    status::{Result, Status},
};
use std::{
    collections::HashMap,
    ffi::{c_int, c_uint},
    sync::Arc,
};
use swint_ptxsim::Kernel;

/// A kernel of a module.
pub(crate) struct Function {
    pub kernel: Arc<Kernel>,
    /// Most dynamic shared memory that it may be launched with.
    pub dynamic_shared: u64,
    /// The buffers that launches have written, by how parameters pointed to them.
    pub written: HashMap<Places, Vec<bool>>,
}

/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const DYNAMIC_SHARED: c_uint = 8;

/// Registers of a thread. The simulator does not allocate them; with so many, every block fits.
const REGISTERS: u64 = 64;

impl Driver {
    pub fn function(&self, function: Handle) -> Result<&Function> {
        self.functions.get(&function).ok_or(Status::ERROR_INVALID_HANDLE)
    }

    /// Blocks that a multiprocessor holds at once.
    fn active_blocks(&self, function: Handle, threads: c_int, dynamic_shared: usize) -> Result<u64> {
        let (device, kernel) = (self.device()?, &self.function(function)?.kernel);
        let threads = u64::try_from(threads).map_err(|_| Status::ERROR_INVALID_VALUE)?;
        if threads == 0 {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        let shared = kernel.shared.saturating_add(dynamic_shared as u64);
        if threads > kernel.most_threads.unwrap_or(1024).min(1024) || shared > device.block_shared {
            return Ok(0);
        }
        let by_shared = device.shared / (shared + RESERVED_SHARED);
        Ok(by_shared.min(u64::from(device.threads) / threads.next_multiple_of(32)).min(device.blocks.into()))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(value: Out<c_int>, attribute: c_uint, function: Handle) -> Status {
    call(Need::Work, |driver| {
        let function = driver.function(function)?;
        let kernel = &function.kernel;
        let found = match attribute {
            0 => kernel.most_threads.unwrap_or(1024).min(1024), // MAX_THREADS_PER_BLOCK
            1 => kernel.shared,                                 // SHARED_SIZE_BYTES
            3 => kernel.local,                                  // LOCAL_SIZE_BYTES
            4 => REGISTERS,                                     // NUM_REGS
            5 | 6 => driver.device()?.sm.into(),                // PTX_VERSION, BINARY_VERSION
            DYNAMIC_SHARED => function.dynamic_shared,
            2 | 7 | 10..=15 => 0, // CONST_SIZE_BYTES, CACHE_MODE_CA, and what is of clusters
            9 => u64::MAX,        // PREFERRED_SHARED_MEMORY_CARVEOUT: -1, no preference
            _ => return Err(Status::ERROR_INVALID_VALUE),
        };
        put(value, found as c_int)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(function: Handle, attribute: c_uint, value: c_int) -> Status {
    call(Need::Work, |driver| {
        let most = driver.device()?.block_shared;
        let function = driver.functions.get_mut(&function).ok_or(Status::ERROR_INVALID_HANDLE)?;
        match (attribute, u64::try_from(value)) {
            (DYNAMIC_SHARED, Ok(bytes)) if function.kernel.shared + bytes <= most => function.dynamic_shared = bytes,
            // PREFERRED_SHARED_MEMORY_CARVEOUT, which changes no result.
            (9, _) if (-1..=100).contains(&value) => {}
            _ => return Err(Status::ERROR_INVALID_VALUE),
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetCacheConfig(function: Handle, _config: c_uint) -> Status {
    call(Need::Work, |driver| driver.function(function).map(|_| ()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: Out<c_int>,
    function: Handle,
    threads: c_int,
    dynamic_shared: usize,
) -> Status {
    call(Need::Work, |driver| put(blocks, driver.active_blocks(function, threads, dynamic_shared)? as c_int))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: Out<c_int>,
    function: Handle,
    threads: c_int,
    dynamic_shared: usize,
    _flags: c_uint,
) -> Status {
    call(Need::Work, |driver| put(blocks, driver.active_blocks(function, threads, dynamic_shared)? as c_int))
}
