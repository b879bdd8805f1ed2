//! Memory: allocations of the device and of the host.

use crate::{
    device::MEMORY,
    state::{Handle, Need, Out, Place, call, put},
    status::{Result, Status},
};
use std::{
    alloc::{Layout, alloc, dealloc},
    collections::{BTreeMap, BTreeSet},
    ffi::{c_uint, c_void},
    ops::Range,
    ptr,
};

/// Where addresses of the device begin: beyond those that the simulator gives to buffers, so that a pointer to what has
/// been freed is not by chance one into a buffer.
const FIRST: u64 = 1 << 56;

/// What addresses of allocations are multiples of.
const ALIGNMENT: u64 = 256;

/// What memory has that nothing has written: no number that a program would take for a result.
const UNWRITTEN: u8 = 0xa5;

/// The device's memory.
#[derive(Default)]
pub(crate) struct Memory {
    allocations: BTreeMap<u64, Vec<u8>>,
    /// Addresses of allocations that kernels have written, freed ones too: none is given twice.
    computed: BTreeSet<u64>,
    used: usize,
    /// Bytes from `FIRST` on that have been given, free again or not.
    given: u64,
}

impl Memory {
    fn allocate(&mut self, bytes: usize) -> Result<u64> {
        if bytes == 0 {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        if bytes > MEMORY - self.used {
            return Err(Status::ERROR_OUT_OF_MEMORY);
        }
        let address = FIRST + self.given;
        // A gap, so that the end of none is the beginning of another.
        self.given += (bytes as u64).next_multiple_of(ALIGNMENT) + ALIGNMENT;
        self.used += bytes;
        self.allocations.insert(address, vec![UNWRITTEN; bytes]);
        Ok(address)
    }

    fn free(&mut self, address: u64) -> Result {
        let freed = self.allocations.remove(&address).ok_or(Status::ERROR_INVALID_VALUE)?;
        self.used -= freed.len();
        Ok(())
    }

    pub fn clear(&mut self) {
        self.allocations.clear();
        self.used = 0;
    }

    /// The allocation that an address is in: its beginning and end.
    pub fn allocation(&self, address: u64) -> Option<Range<u64>> {
        let (&start, bytes) = self.allocations.range(..=address).next_back()?;
        Some(start..start + bytes.len() as u64).filter(|range| range.contains(&address))
    }

    /// A kernel has written the allocation that an address is in.
    pub fn note_computed(&mut self, address: u64) {
        self.computed.extend(self.allocation(address).map(|range| range.start));
    }

    /// Whether any kernel has ever written the allocation that an address is in.
    pub fn is_computed(&self, address: u64) -> bool {
        self.allocation(address).is_some_and(|range| self.computed.contains(&range.start))
    }

    /// Bytes, which are within one allocation.
    pub fn slice(&self, address: u64, bytes: usize) -> Result<&[u8]> {
        let found = self.allocations.range(..=address).next_back().and_then(|(start, all)| {
            let at = (address - start) as usize;
            all.get(at..at.checked_add(bytes)?)
        });
        // Nothing is nowhere.
        if bytes == 0 { Ok(&[]) } else { found.ok_or(Status::ERROR_INVALID_VALUE) }
    }

    /// As `slice`, to be written.
    pub fn slice_mut(&mut self, address: u64, bytes: usize) -> Result<&mut [u8]> {
        let found = self.allocations.range_mut(..=address).next_back().and_then(|(start, all)| {
            let at = (address - start) as usize;
            all.get_mut(at..at.checked_add(bytes)?)
        });
        if bytes == 0 { Ok(&mut []) } else { found.ok_or(Status::ERROR_INVALID_VALUE) }
    }

    /// Copies bytes, as through a place between, so that they may overlap.
    ///
    /// # Safety
    /// So many bytes can be read or written at each host address.
    pub unsafe fn copy(&mut self, to: Place, from: Place, bytes: usize) -> Result {
        if bytes == 0 {
            return Ok(());
        }
        let source = match from {
            Place::Device(at) => self.slice(at, bytes)?.to_vec(),
            // SAFETY: as the caller says; an address of the host came from a pointer.
            Place::Host(at) => unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(at), bytes) }.to_vec(),
        };
        match to {
            Place::Device(at) => self.slice_mut(at, bytes)?.copy_from_slice(&source),
            // SAFETY: as above, and nothing of ours is there.
            Place::Host(at) => unsafe {
                ptr::copy_nonoverlapping(source.as_ptr(), ptr::with_exposed_provenance_mut(at), bytes);
            },
        }
        Ok(())
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> Status {
    call(Need::Work, |driver| {
        put(free, MEMORY - driver.memory.used)?;
        put(total, MEMORY)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) -> Status {
    call(Need::Work, |driver| {
        driver.refuse_in_capture()?;
        let address = address.ok_or(Status::ERROR_INVALID_VALUE)?;
        address.write(driver.memory.allocate(bytes)?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> Status {
    call(Need::Context, |driver| {
        driver.refuse_in_capture()?;
        driver.memory.free(address)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(memory: Out<*mut c_void>, bytes: usize, _flags: c_uint) -> Status {
    call(Need::Work, |driver| {
        driver.refuse_in_capture()?;
        let memory = memory.ok_or(Status::ERROR_INVALID_VALUE)?;
        let layout = Layout::from_size_align(bytes, 4096).map_err(|_| Status::ERROR_INVALID_VALUE)?;
        if bytes == 0 {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        // SAFETY: the size is not 0.
        let allocated = unsafe { alloc(layout) };
        if allocated.is_null() {
            return Err(Status::ERROR_OUT_OF_MEMORY);
        }
        driver.pinned.insert(allocated.expose_provenance(), layout);
        memory.write(allocated.cast());
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(memory: Out<*mut c_void>, bytes: usize) -> Status {
    // SAFETY: it is called as this function is.
    unsafe { cuMemHostAlloc(memory, bytes, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(memory: Handle) -> Status {
    call(Need::Context, |driver| {
        driver.refuse_in_capture()?;
        let layout = driver.pinned.remove(&memory).ok_or(Status::ERROR_INVALID_VALUE)?;
        // SAFETY: `cuMemHostAlloc` has allocated it with this layout, and nothing has freed it since.
        unsafe { dealloc(ptr::with_exposed_provenance_mut(memory), layout) };
        Ok(())
    })
}
