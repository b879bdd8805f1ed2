//! What functions of the driver return.

use crate::state::{Out, put};
use std::{
    ffi::{CStr, c_char},
    fmt,
};

/// Whether a call has succeeded, or why not.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Status(u32);

/// What a call does, or why it cannot.
pub(crate) type Result<T = ()> = std::result::Result<T, Status>;

macro_rules! statuses {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        impl Status {
            $(pub const $name: Status = Status($code);)*

            /// Name and description, each with a terminating null.
            fn texts(self) -> Option<(&'static str, &'static str)> {
                match self.0 {
                    $($code => Some((concat!("CUDA_", stringify!($name), "\0"), concat!($text, "\0"))),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    SUCCESS = 0, "no error";
    ERROR_INVALID_VALUE = 1, "invalid argument";
    ERROR_OUT_OF_MEMORY = 2, "out of memory";
    ERROR_NOT_INITIALIZED = 3, "initialization error";
    ERROR_NO_DEVICE = 100, "no CUDA-capable device is detected";
    ERROR_INVALID_DEVICE = 101, "invalid device ordinal";
    ERROR_INVALID_CONTEXT = 201, "invalid device context";
    ERROR_NO_BINARY_FOR_GPU = 209, "no kernel image is available for execution on the device";
    ERROR_INVALID_PTX = 218, "a PTX JIT compilation failed";
    ERROR_FILE_NOT_FOUND = 301, "file not found";
    ERROR_INVALID_HANDLE = 400, "invalid resource handle";
    ERROR_ILLEGAL_STATE = 401, "the operation cannot be performed in the present state";
    ERROR_NOT_FOUND = 500, "named symbol not found";
    ERROR_ILLEGAL_ADDRESS = 700, "an illegal memory access was encountered, or what else has been printed";
    ERROR_NOT_SUPPORTED = 801, "operation not supported";
    ERROR_STREAM_CAPTURE_UNSUPPORTED = 900, "operation not permitted when stream is capturing";
    ERROR_STREAM_CAPTURE_INVALIDATED = 901, "operation failed due to a previous error during capture";
    ERROR_STREAM_CAPTURE_ISOLATION = 905, "dependency created on uncaptured work in another stream";
    ERROR_STREAM_CAPTURE_IMPLICIT = 906, "operation would make the legacy stream depend on a capturing blocking stream";
    ERROR_CAPTURED_EVENT = 907, "operation not permitted on an event last recorded in a capturing stream";
    ERROR_STREAM_CAPTURE_WRONG_THREAD = 908, "attempt to terminate a thread-local capture sequence from another thread";
    ERROR_UNKNOWN = 999, "unknown error";
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.texts() {
            Some((name, _)) => f.write_str(name.trim_end_matches('\0')),
            None => self.0.fmt(f),
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(error: Status, name: Out<*const c_char>) -> Status {
    tell(error.texts().map(|(name, _)| name), name)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: Status, text: Out<*const c_char>) -> Status {
    tell(error.texts().map(|(_, text)| text), text)
}

/// Null for what is no error.
fn tell(text: Option<&'static str>, to: Out<*const c_char>) -> Status {
    let text = text.and_then(|text| CStr::from_bytes_with_nul(text.as_bytes()).ok());
    match put(to, text.map_or(std::ptr::null(), CStr::as_ptr)) {
        Ok(()) if text.is_some() => Status::SUCCESS,
        _ => Status::ERROR_INVALID_VALUE,
    }
}
