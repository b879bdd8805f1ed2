//! Events: when a stream has come to a point.

use crate::{
    state::{Driver, Handle, Need, Out, call, put},
    status::{Result, Status},
};
use std::{ffi::c_uint, time::Instant};

/// An event.
pub(crate) struct Event {
    /// Whether it tells the time.
    timed: bool,
    recorded: Recorded,
}

/// When an event was last recorded.
#[derive(Clone, Copy)]
enum Recorded {
    Never,
    At(Instant),
    /// In a capture, by its number: then it stands for what the capture had come to, and for no time.
    Captured(Handle),
}

impl Driver {
    /// An event of a capture cannot be asked or waited for; to try it breaks the capture.
    fn check_event(&mut self, event: Handle) -> Result {
        match self.events.get(&event).ok_or(Status::ERROR_INVALID_HANDLE)?.recorded {
            Recorded::Captured(id) => {
                self.break_capture(id);
                Err(Status::ERROR_CAPTURED_EVENT)
            }
            Recorded::Never | Recorded::At(_) => Ok(()),
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: Out<Handle>, flags: c_uint) -> Status {
    call(Need::Work, |driver| {
        let handle = driver.new_handle();
        put(event, handle)?;
        // CU_EVENT_DISABLE_TIMING is 2.
        driver.events.insert(handle, Event { timed: flags & 2 == 0, recorded: Recorded::Never });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> Status {
    call(Need::Work, |driver| {
        let capture = driver.capture(stream)?.map(|capture| capture.id);
        let event = driver.events.get_mut(&event).ok_or(Status::ERROR_INVALID_HANDLE)?;
        event.recorded = capture.map_or_else(|| Recorded::At(Instant::now()), Recorded::Captured);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: Handle) -> Status {
    call(Need::Work, |driver| driver.check_event(event))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventQuery(event: Handle) -> Status {
    call(Need::Work, |driver| {
        driver.check_event(event)?;
        driver.refuse_in_capture()
    })
}

/// Milliseconds between events.
fn elapsed(milliseconds: Out<f32>, start: Handle, end: Handle) -> Status {
    call(Need::Work, |driver| {
        let time = |event: Handle| match driver.events.get(&event) {
            Some(Event { timed: true, recorded: Recorded::At(time) }) => Ok(*time),
            _ => Err(Status::ERROR_INVALID_HANDLE),
        };
        let (start, end) = (time(start)?, time(end)?);
        let forwards = end.saturating_duration_since(start).as_secs_f64();
        let backwards = start.saturating_duration_since(end).as_secs_f64();
        put(milliseconds, ((forwards - backwards) * 1e3) as f32)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: Out<f32>, start: Handle, end: Handle) -> Status {
    elapsed(milliseconds, start, end)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: Handle, end: Handle) -> Status {
    elapsed(milliseconds, start, end)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: Handle) -> Status {
    call(Need::Context, |driver| driver.events.remove(&event).map(|_| ()).ok_or(Status::ERROR_INVALID_HANDLE))
}

/// What an event stands for has always happened, but in a capture it must be of the capture.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: c_uint) -> Status {
    call(Need::Work, |driver| {
        let recorded = driver.events.get(&event).ok_or(Status::ERROR_INVALID_HANDLE)?.recorded;
        let is_of_other = matches!(recorded, Recorded::Captured(id) if driver.is_capturing(id));
        match (driver.capture(stream)?, recorded) {
            (None, _) if is_of_other => {
                eprintln!("swint PTX simulator: a stream that joins the capture of another is not supported");
                Err(Status::ERROR_NOT_SUPPORTED)
            }
            (None, Recorded::Captured(_)) => Err(Status::ERROR_CAPTURED_EVENT),
            (None, _) | (Some(_), Recorded::Never) => Ok(()),
            (Some(capture), Recorded::Captured(id)) if capture.id == id => Ok(()),
            (Some(capture), _) => {
                capture.broken = true;
                Err(Status::ERROR_STREAM_CAPTURE_ISOLATION)
            }
        }
    })
}
