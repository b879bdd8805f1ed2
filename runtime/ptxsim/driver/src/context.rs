//! The device's context.

use crate::{
    state::{CURRENT, Driver, Handle, Need, Out, call, put},
    status::Status,
};
use std::ffi::{c_int, c_uint};

impl Driver {
    /// Ends the context, with all that is in it. Handles and addresses are not given again.
    fn end_context(&mut self) {
        (self.context, self.fault) = (None, None);
        self.memory.clear();
        self.modules.clear();
        self.functions.clear();
        self.streams.clear();
        self.events.clear();
        self.graphs.clear();
        self.executables.clear();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: Out<Handle>, device: c_int) -> Status {
    call(Need::Device, |driver| {
        if device != 0 {
            return Err(Status::ERROR_INVALID_DEVICE);
        }
        let (handle, retained) = driver.context.unwrap_or_else(|| (driver.new_handle(), 0));
        put(context, handle)?;
        driver.context = Some((handle, retained + 1));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Status {
    call(Need::Device, |driver| match (device, driver.context) {
        (0, Some((handle, retained))) => {
            if retained > 1 {
                driver.context = Some((handle, retained - 1));
            } else {
                driver.end_context();
            }
            Ok(())
        }
        (0, None) => Err(Status::ERROR_INVALID_CONTEXT),
        _ => Err(Status::ERROR_INVALID_DEVICE),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: Handle) -> Status {
    call(Need::Device, |driver| {
        if context != 0 && driver.context.is_none_or(|(known, _)| known != context) {
            return Err(Status::ERROR_INVALID_CONTEXT);
        }
        CURRENT.set(context);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: Out<Handle>) -> Status {
    call(Need::Device, |_| put(context, CURRENT.get()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetFlags(_flags: c_uint) -> Status {
    call(Need::Work, |_| Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: Out<c_int>, greatest: Out<c_int>) -> Status {
    call(Need::Work, |_| {
        // Null is allowed: that one is not asked for.
        let _ = (put(least, 0), put(greatest, 0));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSynchronize() -> Status {
    call(Need::Work, |driver| driver.refuse_in_any_capture())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuProfilerStart() -> Status {
    call(Need::Work, |_| Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuProfilerStop() -> Status {
    call(Need::Work, |_| Ok(()))
}
