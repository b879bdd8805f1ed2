//! Copies, and memory filled with a byte.

use crate::{
    state::{Handle, Need, Op, Place, call},
    status::Status,
};
use std::ffi::{c_uchar, c_void};

/// A copy that a stream makes.
///
/// # Safety
/// Host memory is there when the copy is made; of one that is captured, whenever the graph is launched.
unsafe fn copy(to: Place, from: Place, bytes: usize, stream: Handle) -> Status {
    // SAFETY: as the caller says.
    call(Need::Work, |driver| unsafe { driver.submit(stream, Op::Copy { to, from, bytes }) })
}

/// As `copy`, and the caller waits for it.
///
/// # Safety
/// Host memory is there.
unsafe fn copy_now(to: Place, from: Place, bytes: usize) -> Status {
    call(Need::Work, |driver| {
        driver.refuse_in_capture()?;
        // SAFETY: as the caller says.
        unsafe { driver.submit(0, Op::Copy { to, from, bytes }) }
    })
}

fn host(pointer: *const c_void) -> Place {
    Place::Host(pointer.expose_provenance())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Status {
    // SAFETY: the caller has so many bytes there.
    unsafe { copy_now(Place::Device(to), host(from), bytes) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: Handle) -> Status {
    // SAFETY: the caller has so many bytes there, as long as the interface demands.
    unsafe { copy(Place::Device(to), host(from), bytes, stream) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Status {
    // SAFETY: the caller has room for so many bytes there.
    unsafe { copy_now(host(to), Place::Device(from), bytes) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: Handle) -> Status {
    // SAFETY: the caller has room for so many bytes there, as long as the interface demands.
    unsafe { copy(host(to), Place::Device(from), bytes, stream) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Status {
    // SAFETY: no host memory takes part.
    unsafe { copy_now(Place::Device(to), Place::Device(from), bytes) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) -> Status {
    // SAFETY: no host memory takes part.
    unsafe { copy(Place::Device(to), Place::Device(from), bytes, stream) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8_v2(at: u64, value: c_uchar, bytes: usize) -> Status {
    call(Need::Work, |driver| {
        driver.refuse_in_capture()?;
        // SAFETY: no host memory takes part.
        unsafe { driver.submit(0, Op::Fill { at, value, bytes }) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8Async(at: u64, value: c_uchar, bytes: usize, stream: Handle) -> Status {
    // SAFETY: no host memory takes part.
    call(Need::Work, |driver| unsafe { driver.submit(stream, Op::Fill { at, value, bytes }) })
}
