//! Launches of kernels.

use crate::{
    memory::Memory,
    state::{Driver, Handle, Need, Op, call},
    status::{Result, Status},
};
use std::{
    ffi::{c_int, c_uint, c_void},
    ops::Range,
    ptr, slice,
};
use swint_ptxsim::{Access, Buffer, Config, Finding, Kind, Param, run};

/// A launch, with the values of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    params: Vec<Vec<u8>>,
    /// Whether it may start before the launch before it has completed.
    programmatic: bool,
}

/// `CUlaunchConfig`.
#[repr(C)]
pub(crate) struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    dynamic_shared: c_uint,
    stream: Handle,
    attributes: *const Attribute,
    count: c_uint,
}

/// `CUlaunchAttribute`, with the number that its value is, if it is one.
#[repr(C, align(8))]
struct Attribute {
    id: c_uint,
    _padding: c_uint,
    number: c_int,
    _rest: [c_int; 15],
}

/// `CU_LAUNCH_ATTRIBUTE_IGNORE`, `…_PROGRAMMATIC_STREAM_SERIALIZATION`, and the last one that CUDA 12.8 has.
const IGNORE: c_uint = 0;
const PROGRAMMATIC: c_uint = 6;
const LAST: c_uint = 14;

/// Of each parameter, the buffer that it points to, if it does.
pub(crate) type Places = Vec<Option<usize>>;

impl Driver {
    /// Whether the function is there, and the device could launch it so.
    pub fn check_launch(&self, launch: &Launch) -> Result {
        let function = self.function(launch.function)?;
        let kernel = &function.kernel;
        let fits = |sizes: [u32; 3], most: [u32; 3]| sizes.iter().zip(most).all(|(&n, most)| (1..=most).contains(&n));
        let threads = launch.block.iter().fold(1u64, |all, &n| all.saturating_mul(n.into()));
        let can = fits(launch.grid, [i32::MAX as u32, 65_535, 65_535])
            && fits(launch.block, [1024, 1024, 64])
            && threads <= kernel.most_threads.unwrap_or(1024).min(1024)
            && kernel.block.is_none_or(|demanded| demanded == launch.block)
            && u64::from(launch.dynamic_shared) <= function.dynamic_shared;
        if can { Ok(()) } else { Err(Status::ERROR_INVALID_VALUE) }
    }

    /// The values of a kernel's parameters.
    ///
    /// # Safety
    /// There are as many pointers as the kernel has parameters, at each of them as many bytes as the parameter has; or null.
    unsafe fn params(
        &self,
        function: Handle,
        params: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> Result<Vec<Vec<u8>>> {
        if !extra.is_null() {
            return Err(Status::ERROR_NOT_SUPPORTED);
        }
        let sizes = &self.function(function)?.kernel.params;
        if params.is_null() && !sizes.is_empty() {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        let value = |(i, &(_, size)): (usize, &(u64, u64))| {
            // SAFETY: as the caller says.
            let at = unsafe { *params.add(i) };
            if at.is_null() {
                return Err(Status::ERROR_INVALID_VALUE);
            }
            let mut bytes = vec![0; size as usize];
            // SAFETY: as the caller says.
            unsafe { ptr::copy_nonoverlapping(at.cast::<u8>(), bytes.as_mut_ptr(), bytes.len()) };
            Ok(bytes)
        };
        sizes.iter().enumerate().map(value).collect()
    }

    /// Runs a kernel. With what is found wrong the context can no longer be used, as on a device after a fault.
    pub fn launch(&mut self, launch: &Launch) -> Result {
        let function = self.function(launch.function)?;
        let kernel = function.kernel.clone();
        let (places, spans) = bind(&self.memory, &launch.params);
        let params: Vec<Param> = places
            .iter()
            .zip(&launch.params)
            .map(|(place, bytes)| place.map_or_else(|| Param::Bytes(bytes.clone()), Param::Buffer))
            .collect();
        let dynamic_shared = launch.dynamic_shared.into();
        let Launch { grid, block, programmatic, .. } = *launch;
        let config = Config { grid, block, dynamic_shared, programmatic, ..Config::new(1, 1) };
        // Which buffers a kernel writes is not known before. Those that it only reads must be given as such: only then
        // may they be read by instructions that want no writes, and no history of their bytes is needed.
        let mut written = function.written.get(&places).cloned().unwrap_or_else(|| vec![false; spans.len()]);
        let (buffers, findings) = loop {
            let buffer = |(span, &is_written): (&Range<u64>, &bool)| {
                let bytes = self.memory.slice(span.start, (span.end - span.start) as usize)?.to_vec();
                let access = match is_written {
                    true => Access::ReadWrite,
                    // That no kernel will write it is not known, but that none has: no launch before is at it.
                    false if !self.memory.is_computed(span.start) => Access::Constant,
                    false => Access::Read,
                };
                Ok(Buffer { bytes, access, low: span.start % 256 })
            };
            let mut buffers = spans.iter().zip(&written).map(buffer).collect::<Result<Vec<_>>>()?;
            let findings = run(&kernel, &config, &params, &mut buffers).findings;
            let known = written.clone();
            for index in findings.iter().filter_map(written_buffer) {
                written[index] = true;
            }
            if written == known {
                break (buffers, findings);
            }
        };
        if findings.is_empty() {
            for ((span, buffer), _) in spans.iter().zip(&buffers).zip(&written).filter(|(_, written)| **written) {
                self.memory.slice_mut(span.start, buffer.bytes.len())?.copy_from_slice(&buffer.bytes);
                self.memory.note_computed(span.start);
            }
            if let Some(function) = self.functions.get_mut(&launch.function) {
                function.written.insert(places, written);
            }
            return Ok(());
        }
        eprintln!(
            "swint PTX simulator: kernel {}, grid {:?}, block {:?}, {} bytes of dynamic shared memory",
            kernel.name, launch.grid, launch.block, launch.dynamic_shared
        );
        for finding in &findings {
            eprintln!("swint PTX simulator: {finding}");
        }
        for (index, span) in spans.iter().enumerate() {
            eprintln!("swint PTX simulator: buffer {index} is from {:#x} to {:#x}", span.start, span.end);
        }
        self.fault = Some(Status::ERROR_ILLEGAL_ADDRESS);
        Err(Status::ERROR_ILLEGAL_ADDRESS)
    }
}

/// The buffer that a kernel writes although it was given to be read.
fn written_buffer(finding: &Finding) -> Option<usize> {
    let place = finding.message.strip_suffix(" are written").filter(|_| finding.kind == Kind::ReadOnly)?;
    place.rsplit_once(" of buffer ")?.1.parse().ok()
}

/// Of each parameter, the buffer that it points to, and of each buffer its memory: from a pointer on, to the next one
/// in the same allocation, or to the allocation's end. Buffers are numbered in the order of parameters.
fn bind(memory: &Memory, params: &[Vec<u8>]) -> (Places, Vec<Range<u64>>) {
    let mut spans: Vec<Range<u64>> = Vec::new();
    let mut place = |bytes: &Vec<u8>| {
        let address = u64::from_le_bytes(bytes.as_slice().try_into().ok()?);
        let allocation = memory.allocation(address)?;
        let known = spans.iter().position(|span| span.start == address);
        Some(known.unwrap_or_else(|| {
            spans.push(address..allocation.end);
            spans.len() - 1
        }))
    };
    let places = params.iter().map(&mut place).collect();
    let starts: Vec<u64> = spans.iter().map(|span| span.start).collect();
    for span in &mut spans {
        let next = starts.iter().filter(|start| span.contains(start) && **start != span.start).min();
        span.end = next.map_or(span.end, |&next| next);
    }
    (places, spans)
}

#[allow(clippy::too_many_arguments)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    dynamic_shared: c_uint,
    stream: Handle,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Status {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    // SAFETY: it is called as this function is.
    call(Need::Work, |driver| unsafe {
        let params = driver.params(function, params, extra)?;
        let launch = Launch { function, grid, block, dynamic_shared, params, programmatic: false };
        driver.submit(stream, Op::Launch(launch))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernelEx(
    config: *const LaunchConfig,
    function: Handle,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Status {
    call(Need::Work, |driver| {
        // SAFETY: the caller has a configuration there, or null.
        let config = unsafe { config.as_ref() }.ok_or(Status::ERROR_INVALID_VALUE)?;
        let attributes = match config.count {
            0 => &[],
            _ if config.attributes.is_null() => return Err(Status::ERROR_INVALID_VALUE),
            // SAFETY: the caller has so many attributes there.
            n => unsafe { slice::from_raw_parts(config.attributes, n as usize) },
        };
        let mut programmatic = false;
        for attribute in attributes {
            match attribute.id {
                IGNORE => {}
                PROGRAMMATIC if driver.device()?.sm >= 90 => programmatic = attribute.number != 0,
                1..=LAST => return Err(Status::ERROR_NOT_SUPPORTED),
                _ => return Err(Status::ERROR_INVALID_VALUE),
            }
        }
        let LaunchConfig { grid, block, dynamic_shared, stream, .. } = *config;
        // SAFETY: as for cuLaunchKernel.
        unsafe {
            let params = driver.params(function, params, extra)?;
            driver.submit(stream, Op::Launch(Launch { function, grid, block, dynamic_shared, params, programmatic }))
        }
    })
}
