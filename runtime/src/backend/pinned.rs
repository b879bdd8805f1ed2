//! Page-locked memory of the host, through which copies go: a GPU fetches from it by itself, while the host already does something else.
//!
//! Of other memory the driver makes such copies too, through a small place of its own and on one core. What a caller has only lent is not
//! locked instead: the system would be asked for every page of every batch.

use cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, CudaView, DevicePtr, DriverError, PinnedHostSlice, result::memcpy_htod_async,
};
use rayon::prelude::*;
use std::sync::Arc;

/// Bytes of a piece, which is on its way to the device while others are still copied here: large beside what starting a copy costs.
const PIECE: usize = 512 << 10;

/// Page-locked bytes, and the stream whose copies they take part in.
pub(super) struct Pinned {
    bytes: PinnedHostSlice<u8>,
    stream: Arc<CudaStream>,
}

impl Pinned {
    /// So many bytes, all 0.
    pub(super) fn new(stream: &Arc<CudaStream>, bytes: usize) -> Result<Pinned, DriverError> {
        let context: &Arc<CudaContext> = stream.context();
        // Flags: none, so that the processor's caches hold it, and reading it is fast, too.
        // SAFETY: nothing reads it before it is filled.
        let mut bytes: PinnedHostSlice<u8> = unsafe { context.alloc_pinned_with_flags(bytes.max(1), 0) }?;
        let (start, count) = (bytes.as_mut_ptr()?, bytes.len());
        // SAFETY: so many bytes are there, and nothing else refers to them.
        unsafe { start.write_bytes(0, count) };
        Ok(Pinned { bytes, stream: stream.clone() })
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Copies bytes, no more than there are here, to the device; returns before they are there, but when `from` is needed no longer.
    pub(super) fn send(&mut self, from: &[u8], to: &mut CudaSlice<u8>) -> Result<(), DriverError> {
        assert!(from.len() <= self.len() && from.len() <= to.len(), "{} bytes have no room", from.len());
        // What was sent before may still be on its way.
        self.stream.synchronize()?;
        let start = to.device_ptr(&self.stream).0;
        let stream = &self.stream;
        let send = |(i, (piece, from)): (usize, (&mut [u8], &[u8]))| {
            piece.copy_from_slice(from);
            stream.context().bind_to_thread()?;
            // SAFETY: the piece's place on the device is within the slice. The piece is neither written nor freed before the stream has been
            // waited for, here and in `drop`.
            unsafe { memcpy_htod_async(start + (i * PIECE) as u64, piece, stream.cu_stream()) }
        };
        let all = &mut self.bytes.as_mut_slice()?[..from.len()];
        // Other threads would have to be woken for one piece.
        if from.len() <= PIECE {
            return if from.is_empty() { Ok(()) } else { send((0, (all, from))) };
        }
        all.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE)).enumerate().try_for_each(send)
    }

    /// Copies bytes, no more than there are here, from the device, when all before them on the stream is done.
    pub(super) fn fetch(&mut self, from: &CudaView<'_, u8>) -> Result<Vec<u8>, DriverError> {
        let count = from.len();
        self.stream.memcpy_dtoh(from, &mut self.bytes)?;
        self.stream.synchronize()?;
        Ok(self.bytes.as_slice()?[..count].to_vec())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Copies may be on their way, after an error above all. Where even this fails, the context has ended them.
        let _ = self.stream.synchronize();
    }
}
