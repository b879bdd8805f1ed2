//! Launches of kernels.

use crate::{
    memory::Memory,
    state::{Driver, Handle, Need, Op, call},
    status::{Result, Status},
};
use std::{
    ffi::{c_uint, c_void},
    ops::Range,
    ptr,
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
}

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
        let config = Config { grid: launch.grid, block: launch.block, dynamic_shared, ..Config::new(1, 1) };
        // Which buffers a kernel writes is not known before. Those that it only reads must be given as such: only then
        // may they be read by instructions that want no writes, and no history of their bytes is needed.
        let mut written = function.written.get(&places).cloned().unwrap_or_else(|| vec![false; spans.len()]);
        let (buffers, findings) = loop {
            let buffer = |(span, &is_written): (&Range<u64>, &bool)| {
                let bytes = self.memory.slice(span.start, (span.end - span.start) as usize)?.to_vec();
                let access = if is_written { Access::ReadWrite } else { Access::Read };
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
    call(Need::Work, |driver| {
        if !extra.is_null() {
            return Err(Status::ERROR_NOT_SUPPORTED);
        }
        let sizes = &driver.function(function)?.kernel.params;
        if params.is_null() && !sizes.is_empty() {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        let value = |(i, &(_, size)): (usize, &(u64, u64))| {
            // SAFETY: the caller has as many pointers there as the kernel has parameters.
            let at = unsafe { *params.add(i) };
            if at.is_null() {
                return Err(Status::ERROR_INVALID_VALUE);
            }
            let mut bytes = vec![0; size as usize];
            // SAFETY: and at each of them, as many bytes as the parameter has.
            unsafe { ptr::copy_nonoverlapping(at.cast::<u8>(), bytes.as_mut_ptr(), bytes.len()) };
            Ok(bytes)
        };
        let params = sizes.iter().enumerate().map(value).collect::<Result<_>>()?;
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let launch = Launch { function, grid, block, dynamic_shared, params };
        // SAFETY: no host memory takes part.
        unsafe { driver.submit(stream, Op::Launch(launch)) }
    })
}
