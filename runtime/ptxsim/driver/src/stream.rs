//! Streams. What they are given happens at once, or is captured.

use crate::{
    state::{Driver, Handle, Need, Op, Out, call, put},
    status::{Result, Status},
};
use std::{
    ffi::{c_int, c_uint},
    thread::{self, ThreadId},
};

/// A stream that has been created.
pub(crate) struct Stream {
    /// Whether the legacy stream waits for it.
    blocking: bool,
    capture: Option<Capture>,
}

/// What a stream is to do later.
pub(crate) struct Capture {
    /// Distinguishes it from others.
    pub id: Handle,
    pub ops: Vec<Op>,
    mode: Mode,
    thread: ThreadId,
    /// Whether something has gone wrong since it began.
    pub broken: bool,
}

/// Whose calls are refused during a capture that could disturb it: those of all threads, of its own, of none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Global,
    ThreadLocal,
    Relaxed,
}

/// Whether a handle is one of the streams that are always there: the legacy one by either of its handles, and that of
/// the calling thread.
fn is_given(stream: Handle) -> bool {
    stream <= 2
}

impl Driver {
    /// The capture that a stream takes part in, to be continued.
    pub fn capture(&mut self, stream: Handle) -> Result<Option<&mut Capture>> {
        if is_given(stream) {
            let mut blocked = self.streams.values_mut().filter(|stream| stream.blocking && stream.capture.is_some());
            return match blocked.next().and_then(|stream| stream.capture.as_mut()) {
                Some(capture) => {
                    capture.broken = true;
                    Err(Status::ERROR_STREAM_CAPTURE_IMPLICIT)
                }
                None => Ok(None),
            };
        }
        let stream = self.streams.get_mut(&stream).ok_or(Status::ERROR_INVALID_HANDLE)?;
        match &mut stream.capture {
            Some(capture) if capture.broken => Err(Status::ERROR_STREAM_CAPTURE_INVALIDATED),
            capture => Ok(capture.as_mut()),
        }
    }

    /// Whether a capture is under way.
    pub fn is_capturing(&self, id: Handle) -> bool {
        self.streams.values().filter_map(|stream| stream.capture.as_ref()).any(|capture| capture.id == id)
    }

    /// Breaks a capture, if it is still under way.
    pub fn break_capture(&mut self, id: Handle) {
        let captures = self.streams.values_mut().filter_map(|stream| stream.capture.as_mut());
        captures.filter(|capture| capture.id == id).for_each(|capture| capture.broken = true);
    }

    /// Gives a stream something to do.
    ///
    /// # Safety
    /// Host memory that it names is there; if it is captured, whenever the graph is launched.
    pub unsafe fn submit(&mut self, stream: Handle, op: Op) -> Result {
        self.capture(stream)?;
        self.check(&op)?;
        match self.capture(stream)? {
            Some(capture) => {
                capture.ops.push(op);
                Ok(())
            }
            // SAFETY: as the caller says.
            None => unsafe { self.execute(&op) },
        }
    }

    /// Breaks captures, and says that they are why a call is refused.
    fn refuse(&mut self, disturbed: impl Fn(&Capture) -> bool) -> Result {
        let mut result = Ok(());
        for capture in self.streams.values_mut().filter_map(|stream| stream.capture.as_mut()) {
            if disturbed(capture) {
                capture.broken = true;
                result = Err(Status::ERROR_STREAM_CAPTURE_UNSUPPORTED);
            }
        }
        result
    }

    /// Refuses what could disturb a capture of this thread, or a global one. (CUDA Driver API,
    /// cuThreadExchangeStreamCaptureMode)
    pub fn refuse_in_capture(&mut self) -> Result {
        let this = thread::current().id();
        self.refuse(|capture| match capture.mode {
            Mode::Global => true,
            Mode::ThreadLocal => capture.thread == this,
            Mode::Relaxed => false,
        })
    }

    /// Refuses what waits for all streams, which one that captures will not let it.
    pub fn refuse_in_any_capture(&mut self) -> Result {
        self.refuse(|_| true)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: Out<Handle>, flags: c_uint) -> Status {
    call(Need::Work, |driver| {
        let handle = driver.new_handle();
        put(stream, handle)?;
        // CU_STREAM_NON_BLOCKING is 1.
        driver.streams.insert(handle, Stream { blocking: flags & 1 == 0, capture: None });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreateWithPriority(stream: Out<Handle>, flags: c_uint, _priority: c_int) -> Status {
    // SAFETY: it is called as this function is.
    unsafe { cuStreamCreate(stream, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: Handle) -> Status {
    call(Need::Context, |driver| {
        driver.streams.remove(&stream).ok_or(Status::ERROR_INVALID_HANDLE)?;
        Ok(())
    })
}

/// One that captures cannot be waited for.
fn wait(stream: Handle) -> Status {
    call(Need::Work, |driver| match driver.capture(stream)? {
        Some(capture) => {
            capture.broken = true;
            Err(Status::ERROR_STREAM_CAPTURE_UNSUPPORTED)
        }
        None => Ok(()),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: Handle) -> Status {
    wait(stream)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamQuery(stream: Handle) -> Status {
    wait(stream)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: Handle, mode: c_uint) -> Status {
    call(Need::Work, |driver| {
        let mode = match mode {
            0 => Mode::Global,
            1 => Mode::ThreadLocal,
            2 => Mode::Relaxed,
            _ => return Err(Status::ERROR_INVALID_VALUE),
        };
        if is_given(stream) {
            return Err(Status::ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
        let id = driver.new_handle();
        let stream = driver.streams.get_mut(&stream).ok_or(Status::ERROR_INVALID_HANDLE)?;
        if stream.capture.is_some() {
            return Err(Status::ERROR_ILLEGAL_STATE);
        }
        let thread = thread::current().id();
        stream.capture = Some(Capture { id, ops: Vec::new(), mode, thread, broken: false });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: Handle, graph: Out<Handle>) -> Status {
    call(Need::Work, |driver| {
        let graph = graph.ok_or(Status::ERROR_INVALID_VALUE)?;
        graph.write(0);
        let handle = driver.new_handle();
        let stream = driver.streams.get_mut(&stream).ok_or(Status::ERROR_INVALID_HANDLE)?;
        let capture = stream.capture.as_ref().ok_or(Status::ERROR_ILLEGAL_STATE)?;
        if capture.mode != Mode::Relaxed && capture.thread != thread::current().id() {
            return Err(Status::ERROR_STREAM_CAPTURE_WRONG_THREAD);
        }
        match stream.capture.take() {
            Some(capture) if !capture.broken => {
                driver.graphs.insert(handle, capture.ops);
                graph.write(handle);
                Ok(())
            }
            _ => Err(Status::ERROR_STREAM_CAPTURE_INVALIDATED),
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(stream: Handle, status: Out<c_uint>) -> Status {
    call(Need::Work, |driver| {
        put(
            status,
            match driver.capture(stream) {
                Ok(None) => 0,
                Ok(Some(_)) => 1,
                Err(Status::ERROR_STREAM_CAPTURE_INVALIDATED) => 2,
                Err(error) => return Err(error),
            },
        )
    })
}
