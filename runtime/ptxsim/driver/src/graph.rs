//! Graphs: what streams have captured, to be done at once, as often as they are launched.

use crate::{
    state::{Handle, Need, Out, call, put},
    status::Status,
};
use std::ffi::c_ulonglong;

/// `CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH`, and all flags that there are.
const DEVICE_LAUNCH: c_ulonglong = 4;
const FLAGS: c_ulonglong = 15;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    executable: Out<Handle>,
    graph: Handle,
    flags: c_ulonglong,
) -> Status {
    call(Need::Work, |driver| {
        // One that kernels launch cannot free memory of its own.
        if flags & !FLAGS != 0 || flags & DEVICE_LAUNCH != 0 && flags & 1 != 0 {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        if flags & DEVICE_LAUNCH != 0 {
            return Err(Status::ERROR_NOT_SUPPORTED);
        }
        let ops = driver.graphs.get(&graph).ok_or(Status::ERROR_INVALID_VALUE)?.clone();
        let handle = driver.new_handle();
        put(executable, handle)?;
        driver.executables.insert(handle, ops);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphUpload(executable: Handle, stream: Handle) -> Status {
    call(Need::Work, |driver| {
        driver.capture(stream)?;
        driver.executables.get(&executable).map(|_| ()).ok_or(Status::ERROR_INVALID_VALUE)
    })
}

/// What a graph refers to must still be there; where it is not, a device would have a fault too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(executable: Handle, stream: Handle) -> Status {
    call(Need::Work, |driver| {
        let ops = driver.executables.get(&executable).ok_or(Status::ERROR_INVALID_VALUE)?.clone();
        if let Some(capture) = driver.capture(stream)? {
            capture.ops.extend(ops);
            return Ok(());
        }
        for (index, op) in ops.iter().enumerate() {
            // SAFETY: who captured a copy keeps its host memory as long as the graph is launched.
            let done = driver.check(op).and_then(|()| unsafe { driver.execute(op) });
            if let Err(status) = done {
                eprintln!("swint PTX simulator: node {index} of a graph fails with {status:?}: {op:?}");
                driver.fault = Some(Status::ERROR_ILLEGAL_ADDRESS);
                return Err(Status::ERROR_ILLEGAL_ADDRESS);
            }
        }
        Ok(())
    })
}

/// How many nodes a graph has. There are none to be had themselves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: Out<usize>) -> Status {
    call(Need::Work, |driver| {
        let ops = driver.graphs.get(&graph).ok_or(Status::ERROR_INVALID_VALUE)?;
        if nodes.is_null() { put(count, ops.len()) } else { Err(Status::ERROR_NOT_SUPPORTED) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: Handle) -> Status {
    call(Need::Context, |driver| driver.graphs.remove(&graph).map(|_| ()).ok_or(Status::ERROR_INVALID_VALUE))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(executable: Handle) -> Status {
    call(Need::Context, |driver| driver.executables.remove(&executable).map(|_| ()).ok_or(Status::ERROR_INVALID_VALUE))
}
