//! Memory of a launch, its history, and accesses to it.

use crate::{
    finding::Kind,
    launch::{self, Buffer, Machine},
    parse::Space,
    program::Kernel,
    shadow::{Access, Fault, Shadow},
    stats::Count,
    warp::{Lanes, Warp, lanes},
    window,
};

/// All memory but that of threads.
pub(crate) struct Memory<'a> {
    params: Vec<u8>,
    buffers: &'a mut [Buffer],
    /// Of each buffer that may be written.
    histories: Vec<Option<Shadow>>,
    loaded: Sectors,
    stored: Sectors,
    pub shared: Vec<u8>,
    pub shared_history: Shadow,
    /// What each instruction did.
    pub counts: Vec<Count>,
}

impl Memory<'_> {
    pub fn new<'a>(kernel: &Kernel, params: Vec<u8>, shared: u64, buffers: &'a mut [Buffer]) -> Memory<'a> {
        let history = |buffer: &Buffer| match buffer.access {
            launch::Access::Read | launch::Access::Constant => None,
            access => Some(Shadow::of_all(buffer.bytes.len(), access == launch::Access::ReadWrite)),
        };
        Memory {
            params,
            histories: buffers.iter().map(history).collect(),
            loaded: Sectors::none_of(buffers),
            stored: Sectors::none_of(buffers),
            buffers,
            shared: vec![0; shared as usize],
            shared_history: Shadow::of_blocks(shared as usize),
            counts: vec![Count::default(); kernel.insts.len()],
        }
    }
}

impl Memory<'_> {
    /// Of each buffer, how many bytes have no value.
    pub fn unwritten(&self) -> Vec<usize> {
        let of = |(buffer, history): (&Buffer, &Option<Shadow>)| {
            history.as_ref().map_or(0, |history| history.unwritten(buffer.bytes.len()))
        };
        self.buffers.iter().zip(&self.histories).map(of).collect()
    }

    /// Different sectors that have been loaded, and stored.
    pub fn distinct_sectors(&self) -> (u64, u64) {
        (self.loaded.len(), self.stored.len())
    }

    /// Whether a place is in a buffer that is written while the launch may run: by itself or, where it is `programmatic`, by those before it.
    pub fn may_change(&self, place: Place, programmatic: bool) -> bool {
        let Place::Global(index, _) = place else { return false };
        self.histories[index].is_some() || programmatic && self.buffers[index].access != launch::Access::Constant
    }
}

/// A set of sectors of 32 bytes of global memory: of each buffer a bit for each, from its round address on.
struct Sectors(Vec<Vec<u64>>);

impl Sectors {
    fn none_of(buffers: &[Buffer]) -> Sectors {
        let words = |buffer: &Buffer| (buffer.low as usize + buffer.bytes.len()).div_ceil(32 * 64);
        Sectors(buffers.iter().map(|buffer| vec![0; words(buffer)]).collect())
    }

    /// Adds the sector that begins at an address, if it is of a buffer.
    fn insert(&mut self, address: u64) {
        let Some((index, within)) = window::of_global(address) else { return };
        let sector = within / 32;
        if let Some(word) = self.0.get_mut(index).and_then(|words| words.get_mut((sector / 64) as usize)) {
            *word |= 1 << (sector % 64);
        }
    }

    fn len(&self) -> u64 {
        self.0.iter().flatten().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// A place in memory.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Global(usize, usize),
    Shared(usize),
    Local(usize),
    Param(usize),
    Const(usize),
}

/// Most bytes of one access of a lane: eight elements of 32 bits, or four of 64.
pub(crate) const WIDEST: usize = 32;

impl Machine<'_> {
    /// The place of an access, if it is within memory and aligned.
    pub fn locate(
        &mut self,
        warp: &Warp,
        lane: usize,
        space: Space,
        address: u64,
        size: usize,
        line: u32,
    ) -> Option<Place> {
        self.locate_part(warp, lane, space, address, (size, size), line)
    }

    /// As `locate`, for so many bytes of which but some are accessed.
    pub fn locate_part(
        &mut self,
        warp: &Warp,
        lane: usize,
        space: Space,
        address: u64,
        sizes: (usize, usize),
        line: u32,
    ) -> Option<Place> {
        let found = self.find_place(lane, space, address, sizes);
        let found =
            found.map_err(|(kind, message)| self.find(kind, line, None, 32 * warp.index + lane as u32, message));
        if let Ok(Place::Global(index, at)) = found
            && self.independent(warp) >> lane & 1 == 1
            && self.memory.buffers[index].access != launch::Access::Constant
        {
            let message = format!("{} bytes at {at} of buffer {index} are accessed", sizes.1);
            self.find(Kind::Dependency, line, None, 32 * warp.index + lane as u32, message);
        }
        found.ok()
    }

    /// Lanes that may be ahead of the launches before.
    pub fn independent(&self, warp: &Warp) -> u32 {
        if self.config.programmatic { !warp.depended } else { 0 }
    }

    fn find_place(
        &self,
        lane: usize,
        space: Space,
        address: u64,
        (whole, size): (usize, usize),
    ) -> Result<Place, (Kind, String)> {
        let (space, at) = window::resolve(space, address);
        let name = match space {
            Space::Global | Space::Generic => "global memory",
            Space::Shared => "shared memory",
            Space::Local => "local memory",
            Space::Param => "parameters",
            Space::Const => "constants",
        };
        // Sizes are powers of two.
        if at & (whole as u64 - 1) != 0 {
            return Err((
                Kind::Misaligned,
                format!("{whole} bytes of {name} at {at:#x}, which is no multiple of {whole}"),
            ));
        }
        let (start, length) = match space {
            Space::Global | Space::Generic => {
                let found = window::of_global(at).filter(|(index, _)| *index < self.memory.buffers.len());
                let Some((index, within)) = found else {
                    return Err((Kind::OutOfBounds, format!("{size} bytes of {name} at {at:#x}, where no buffer is")));
                };
                let buffer = &self.memory.buffers[index];
                let (start, length) = (within as i64 - buffer.low as i64, buffer.bytes.len() as i64);
                if start < 0 || start + size as i64 > length {
                    return Err((
                        Kind::OutOfBounds,
                        format!("{size} bytes at {start} of buffer {index}, which has {length}"),
                    ));
                }
                return Ok(Place::Global(index, start as usize));
            }
            Space::Shared => (at, self.memory.shared.len() as u64),
            Space::Local => (at, self.kernel.local),
            Space::Param => (at, self.memory.params.len() as u64),
            Space::Const => (at, self.kernel.constants.len() as u64),
        };
        if start.checked_add(size as u64).is_none_or(|end| end > length) {
            return Err((Kind::OutOfBounds, format!("{size} bytes at {start} of {name}, which has {length}")));
        }
        let start = start as usize;
        Ok(match space {
            Space::Shared => Place::Shared(start),
            Space::Local => Place::Local(lane * self.kernel.local as usize + start),
            Space::Param => Place::Param(start),
            _ => Place::Const(start),
        })
    }

    pub fn access(&self, warp: &Warp, lane: usize, line: u32, atomic: bool) -> Access {
        let thread = (32 * warp.index) as u16 + lane as u16;
        Access { line, block: self.number, thread, epoch: self.epoch, warp_epoch: warp.epoch, atomic }
    }

    /// Reads bytes; what cannot be read is 0.
    pub fn read(&mut self, warp: &Warp, lane: usize, place: Place, size: usize, now: Access) -> [u8; WIDEST] {
        let mut bytes = [0; WIDEST];
        let mut fault: Option<Fault> = None;
        let source = match place {
            Place::Global(index, at) => {
                if let Some(history) = &mut self.memory.histories[index] {
                    fault = history.read(at, size, &now);
                }
                &self.memory.buffers[index].bytes[at..at + size]
            }
            Place::Shared(at) => {
                fault = self.memory.shared_history.read(at, size, &now);
                &self.memory.shared[at..at + size]
            }
            Place::Local(at) => {
                if warp.local_written[at..at + size].iter().any(|written| !written) {
                    fault = Some((Kind::Uninitialised, 0));
                }
                &warp.local[at..at + size]
            }
            Place::Param(at) => &self.memory.params[at..at + size],
            Place::Const(at) => &self.kernel.constants[at..at + size],
        };
        bytes[..size].copy_from_slice(source);
        if let Some(fault) = fault {
            self.fault(fault, warp, lane, now.line, place, size, "read");
        }
        bytes
    }

    pub fn write(&mut self, warp: &mut Warp, lane: usize, place: Place, bytes: &[u8], now: Access) {
        let size = bytes.len();
        let mut fault: Option<Fault> = None;
        match place {
            Place::Global(index, at) => match &mut self.memory.histories[index] {
                None => fault = Some((Kind::ReadOnly, 0)),
                Some(history) => {
                    fault = history.write(at, size, &now);
                    self.memory.buffers[index].bytes[at..at + size].copy_from_slice(bytes);
                }
            },
            Place::Shared(at) => {
                fault = self.memory.shared_history.write(at, size, &now);
                self.memory.shared[at..at + size].copy_from_slice(bytes);
            }
            Place::Local(at) => {
                warp.local[at..at + size].copy_from_slice(bytes);
                warp.local_written[at..at + size].fill(true);
            }
            Place::Param(_) | Place::Const(_) => fault = Some((Kind::ReadOnly, 0)),
        }
        if let Some(fault) = fault {
            self.fault(fault, warp, lane, now.line, place, size, "written");
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub fn fault(
        &mut self,
        (kind, other): Fault,
        warp: &Warp,
        lane: usize,
        line: u32,
        place: Place,
        size: usize,
        how: &str,
    ) {
        let of = match place {
            Place::Global(index, at) => format!("at {at} of buffer {index}"),
            Place::Shared(at) => format!("at {at} of shared memory"),
            Place::Local(at) => format!("at {} of local memory", at % (self.kernel.local as usize).max(1)),
            Place::Param(at) => format!("at {at} of parameters"),
            Place::Const(at) => format!("at {at} of constants"),
        };
        let message = format!("{size} bytes {of} are {how}");
        self.find(kind, line, (other != 0).then_some(other), 32 * warp.index + lane as u32, message);
    }

    /// Counts what an instruction of a warp moves between memory and lanes.
    pub fn count(&mut self, pc: usize, space: Space, addresses: &Lanes, mask: u32, size: u64) {
        let Some(first) = lanes(mask).next().map(|lane| window::resolve(space, addresses[lane]).0) else { return };
        let class = self.kernel.insts[pc].class;
        let Memory { counts, loaded, stored, .. } = &mut self.memory;
        let count = &mut counts[pc];
        match first {
            Space::Global => {
                let (sectors, bytes) = sectors(addresses, mask, size, |sector| {
                    if class.loads() {
                        loaded.insert(sector);
                    }
                    if class.stores() {
                        stored.insert(sector);
                    }
                });
                count.sectors += sectors;
                count.bytes += bytes;
            }
            Space::Shared => {
                let each = size.div_ceil(4) as usize;
                // Turns are of neighbouring lanes, whether or not all of them take part.
                let turn = 32 / each.max(1);
                for start in (0..32).step_by(turn) {
                    let part = mask & (u32::MAX >> (32 - turn)) << start;
                    let words = lanes(part).map(|lane| window::resolve(space, addresses[lane]).1 / 4);
                    count.conflicts += conflicts(words, each);
                }
            }
            _ => {}
        }
    }
}

/// Sectors of 32 bytes that lanes touch, and bytes, each once; `visit` has the address of each sector.
fn sectors(addresses: &Lanes, mask: u32, size: u64, mut visit: impl FnMut(u64)) -> (u64, u64) {
    let (mut sorted, mut n) = ([0; 32], 0);
    // An address that goes astray is a fault of its own.
    for at in lanes(mask).map(|lane| addresses[lane]).filter(|at| at.checked_add(size).is_some()) {
        sorted[n] = at;
        n += 1;
    }
    let sorted = &mut sorted[..n];
    if !sorted.is_sorted() {
        sorted.sort_unstable();
    }
    // The first sector, and the first byte, that none before has touched.
    let (mut sector, mut byte, mut sectors, mut bytes) = (0, 0, 0, 0);
    for &at in sorted.iter() {
        let end = at + size;
        let beyond = end.div_ceil(32);
        for new in sector.max(at / 32)..beyond {
            visit(32 * new);
            sectors += 1;
        }
        bytes += end.saturating_sub(byte.max(at));
        (sector, byte) = (sector.max(beyond), byte.max(end));
    }
    (sectors, bytes)
}

/// Passes beyond the first that shared memory needs for words of a turn's lanes, `each` from the given ones on. It has 32 banks of 4 bytes; 8 bytes
/// a lane take two turns of half a warp, 16 bytes four. (CUDA C++ Programming Guide, compute capability 5.x, shared memory)
fn conflicts(words: impl Iterator<Item = u64>, each: usize) -> u64 {
    let (mut all, mut n) = ([0; 32], 0);
    for word in words.flat_map(|word| (0..each as u64).map(move |i| word.wrapping_add(i))) {
        all[n] = word;
        n += 1;
    }
    let all = &mut all[..n];
    if !all.is_sorted() {
        all.sort_unstable();
    }
    let (mut banks, mut last) = ([0u64; 32], None);
    for &word in all.iter().filter(|&&word| last.replace(word) != Some(word)) {
        banks[(word % 32) as usize] += 1;
    }
    banks.into_iter().max().unwrap_or(0).saturating_sub(1)
}
