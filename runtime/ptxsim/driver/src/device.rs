//! The device, and what it can do.

use crate::{
    state::{Driver, Need, Out, call, put},
    status::{Result, Status},
};
use std::ffi::{c_char, c_int, c_uint};

/// The version of the interface, 12.8.
const VERSION: c_int = 12080;

const NAME: &[u8] = b"swint PTX simulator (not a GPU)\0";

/// Bytes of device memory.
pub(crate) const MEMORY: usize = 8 << 30;

/// Dynamic shared memory beyond which a kernel must be told that it may have it, together with what it declares.
pub(crate) const SHARED: u64 = 48 << 10;

/// Shared memory of a block that the system takes.
pub(crate) const RESERVED_SHARED: u64 = 1 << 10;

/// What distinguishes devices. (CUDA C++ Programming Guide, compute capabilities; NVIDIA's figures of a GeForce RTX
/// 4090 and an H100)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    /// Compute capability, without its point.
    pub sm: u32,
    pub multiprocessors: u32,
    /// Of a multiprocessor: threads, blocks, bytes of shared memory.
    pub threads: u32,
    pub blocks: u32,
    pub shared: u64,
    /// Most shared memory of a block.
    pub block_shared: u64,
    /// Bytes of the second cache, kHz of multiprocessors and memory, bits of the bus to it.
    cache: u32,
    clock: u32,
    memory_clock: u32,
    bus: u32,
}

const ADA: Device = Device {
    sm: 89,
    multiprocessors: 128,
    threads: 1536,
    blocks: 24,
    shared: 102_400,
    block_shared: 101_376,
    cache: 72 << 20,
    clock: 2_520_000,
    memory_clock: 10_501_000,
    bus: 384,
};

const HOPPER: Device = Device {
    sm: 90,
    multiprocessors: 132,
    threads: 2048,
    blocks: 32,
    shared: 233_472,
    block_shared: 232_448,
    cache: 50 << 20,
    clock: 1_980_000,
    memory_clock: 2_619_000,
    bus: 5120,
};

impl Device {
    /// The device that the environment asks for.
    fn chosen() -> Result<Device> {
        match std::env::var("SWINT_STAND_IN_SM").as_deref() {
            Err(_) | Ok("89") => Ok(ADA),
            Ok("90") => Ok(HOPPER),
            Ok(other) => {
                eprintln!("swint PTX simulator: SWINT_STAND_IN_SM is 89 or 90, not {other}");
                Err(Status::ERROR_NO_DEVICE)
            }
        }
    }

    /// An attribute, by its number of `CUdevice_attribute`. What is not listed, the device has nothing of.
    fn attribute(&self, attribute: c_uint) -> Result<u64> {
        Ok(match attribute {
            1..=3 => 1024,                     // MAX_THREADS_PER_BLOCK, MAX_BLOCK_DIM_X, _Y
            4 => 64,                           // MAX_BLOCK_DIM_Z
            5 | 11 => i32::MAX as u64,         // MAX_GRID_DIM_X, MAX_PITCH
            6 | 7 => 65_535,                   // MAX_GRID_DIM_Y, _Z
            8 => SHARED,                       // MAX_SHARED_MEMORY_PER_BLOCK
            9 | 12 | 82 => 65_536,             // TOTAL_CONSTANT_MEMORY, MAX_REGISTERS_PER_BLOCK, _PER_MULTIPROCESSOR
            10 => 32,                          // WARP_SIZE
            13 => self.clock.into(),           // CLOCK_RATE
            14 | 30 => 512,                    // TEXTURE_ALIGNMENT, SURFACE_ALIGNMENT
            15 | 31 | 41 | 78..=80 => 1,       // GPU_OVERLAP, CONCURRENT_KERNELS, UNIFIED_ADDRESSING and so on
            16 => self.multiprocessors.into(), // MULTIPROCESSOR_COUNT
            36 => self.memory_clock.into(),    // MEMORY_CLOCK_RATE
            37 => self.bus.into(),             // GLOBAL_MEMORY_BUS_WIDTH
            38 => self.cache.into(),           // L2_CACHE_SIZE
            39 => self.threads.into(),         // MAX_THREADS_PER_MULTIPROCESSOR
            40 => 2,                           // ASYNC_ENGINE_COUNT
            75 => (self.sm / 10).into(),       // COMPUTE_CAPABILITY_MAJOR
            76 => (self.sm % 10).into(),       // COMPUTE_CAPABILITY_MINOR
            81 => self.shared,                 // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
            97 => self.block_shared,           // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
            106 => self.blocks.into(),         // MAX_BLOCKS_PER_MULTIPROCESSOR
            111 => RESERVED_SHARED,            // RESERVED_SHARED_MEMORY_PER_BLOCK
            0 | 1000.. => return Err(Status::ERROR_INVALID_VALUE),
            _ => 0,
        })
    }
}

/// A call about the only device, which is 0.
fn about(device: c_int, body: impl FnOnce(&Driver, &Device) -> Result) -> Status {
    call(Need::Device, |driver| match device {
        0 => body(driver, driver.device()?),
        _ => Err(Status::ERROR_INVALID_DEVICE),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: c_uint) -> Status {
    call(Need::Nothing, |driver| {
        if flags != 0 {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        if driver.device.is_none() {
            driver.device = Some(Device::chosen()?);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: Out<c_int>) -> Status {
    call(Need::Nothing, |_| put(version, VERSION))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: Out<c_int>) -> Status {
    call(Need::Device, |_| put(count, 1))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: Out<c_int>, ordinal: c_int) -> Status {
    about(ordinal, |_, _| put(device, 0))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> Status {
    about(device, |_, _| {
        let length = usize::try_from(length).map_err(|_| Status::ERROR_INVALID_VALUE)?;
        if name.is_null() || length == 0 {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        let length = length.min(NAME.len());
        // SAFETY: the caller has room for `length` bytes there, of which these are but some.
        let to = unsafe { std::slice::from_raw_parts_mut(name.cast::<u8>(), length) };
        to.copy_from_slice(&NAME[..length]);
        to[length - 1] = 0;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: c_int) -> Status {
    about(device, |_, _| put(uuid, *b"swint simulator\0"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: c_int) -> Status {
    about(device, |_, _| put(uuid, *b"swint simulator\0"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: c_int) -> Status {
    about(device, |_, _| put(bytes, MEMORY))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: Out<c_int>, attribute: c_uint, device: c_int) -> Status {
    about(device, |_, device| put(value, device.attribute(attribute)? as c_int))
}
