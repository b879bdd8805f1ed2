//! What has happened to each byte: who wrote it, who read it, and whether these are ordered.
//!
//! Two accesses of a byte, not both of them reads or atomic, must be by one thread, or have a barrier between them that both threads wait at; blocks
//! of a launch are never ordered. That is the definition of happens-before, so what is found does not depend on the order in which threads
//! happened to run here. (Lamport, Time, Clocks, and the Ordering of Events, 1978; barriers make the clocks of a block one number.) A word of four
//! bytes has one history until a part of it is accessed.

use crate::finding::Kind;

/// An access.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Access {
    /// Line of the PTX; 0 where there was none.
    pub line: u32,
    pub block: u32,
    /// Barriers that the block has passed.
    pub epoch: u32,
    /// Barriers that the warp has passed.
    pub warp_epoch: u32,
    pub thread: u16,
    pub atomic: bool,
}

impl Access {
    fn is_before(&self, now: &Access) -> bool {
        self.line == 0
            || self.block == now.block
                && (self.thread == now.thread
                    || self.epoch < now.epoch
                    || self.thread / 32 == now.thread / 32 && self.warp_epoch < now.warp_epoch)
    }

    fn conflicts(&self, now: &Access) -> bool {
        !(self.is_before(now) || self.atomic && now.atomic)
    }
}

/// The history of a byte, or of the four of a word that have always been accessed together.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    writer: Access,
    /// Two readers of different threads, where there were two; of different warps and blocks, where there were such. Atomics before the last
    /// are here too.
    readers: [Access; 2],
    /// The last write and the last read that were not atomic, where an atomic access has come after: another thread's atomic access is a race
    /// with them, though not with what came after.
    plain: [Access; 2],
    /// Line of an asynchronous copy that is on its way here.
    pending: u32,
    /// The block whose memory it is, where each has its own.
    owner: u32,
    /// From 1, where the histories of a word's bytes are; 0 where they have but one.
    split: u32,
    written: bool,
}

/// What is wrong with an access, and the line of the other one.
pub(crate) type Fault = (Kind, u32);

impl Cell {
    fn read(&mut self, now: &Access) -> Result<(), Fault> {
        if self.pending != 0 {
            return Err((Kind::NotWaited, self.pending));
        }
        if !self.written {
            return Err((Kind::Uninitialised, 0));
        }
        let atomics = self.readers.iter().filter(|reader| reader.atomic);
        if let Some(other) =
            [&self.writer, &self.plain[0]].into_iter().chain(atomics).find(|access| access.conflicts(now))
        {
            return Err((Kind::Race, other.line));
        }
        self.keep(*now);
        Ok(())
    }

    /// Remembers an access beside the last write.
    fn keep(&mut self, now: Access) {
        if now.atomic {
            self.keep_plain(&now);
        }
        let [a, b] = &mut self.readers;
        let place = |x: &Access| (x.block, x.thread / 32);
        if a.is_before(&now) {
            *a = now;
        } else if b.is_before(&now)
            || b.block == a.block && now.block != a.block
            || place(b) == place(a) && place(&now) != place(a)
        {
            *b = now;
        }
    }

    /// Remembers what an atomic access is about to supersede.
    fn keep_plain(&mut self, now: &Access) {
        if self.writer.line != 0 && !self.writer.atomic {
            self.plain[0] = self.writer;
        }
        if let Some(reader) = self.readers.iter().find(|r| r.line != 0 && !r.atomic && r.is_before(now)) {
            self.plain[1] = *reader;
        }
    }

    fn write(&mut self, now: &Access) -> Result<(), Fault> {
        if self.pending != 0 {
            return Err((Kind::NotWaited, self.pending));
        }
        let all = [&self.writer, &self.readers[0], &self.readers[1], &self.plain[0], &self.plain[1]];
        if let Some(other) = all.into_iter().find(|access| access.conflicts(now)) {
            return Err((Kind::Race, other.line));
        }
        let last = self.writer;
        self.set(now);
        if !last.is_before(now) {
            // Both are atomic, and what comes later may be ordered with one of them only.
            self.keep(last);
        }
        Ok(())
    }

    /// The value is this access's; of others those are remembered that it is not ordered with.
    fn set(&mut self, now: &Access) {
        if now.atomic {
            self.keep_plain(now);
        } else {
            self.plain = [Access::default(); 2];
        }
        self.readers.iter_mut().filter(|reader| reader.is_before(now)).for_each(|reader| *reader = Access::default());
        (self.writer, self.written, self.pending) = (*now, true, 0);
    }

    fn begin(&mut self, now: &Access) -> Result<(), Fault> {
        self.write(now)?;
        self.pending = now.line;
        Ok(())
    }

    fn end(&mut self, now: &Access) -> Result<(), Fault> {
        self.set(now);
        Ok(())
    }
}

/// The history of a memory.
pub(crate) struct Shadow {
    /// One a word of four bytes.
    cells: Vec<Cell>,
    /// Bytes of words of which parts have been accessed, and which of them are of no use any more.
    bytes: Vec<[Cell; 4]>,
    free: Vec<u32>,
    /// Whether every block has a memory of its own.
    per_block: bool,
}

impl Shadow {
    /// Of memory that each block has for itself, empty at first.
    pub fn of_blocks(bytes: usize) -> Shadow {
        let cells = vec![Cell { owner: u32::MAX, ..Cell::default() }; bytes.div_ceil(4)];
        Shadow { cells, bytes: Vec::new(), free: Vec::new(), per_block: true }
    }

    /// Of memory that all share; `written` says whether it has values.
    pub fn of_all(bytes: usize, written: bool) -> Shadow {
        let cells = vec![Cell { written, ..Cell::default() }; bytes.div_ceil(4)];
        Shadow { cells, bytes: Vec::new(), free: Vec::new(), per_block: false }
    }

    /// How many of the first bytes nothing has written.
    pub fn unwritten(&self, bytes: usize) -> usize {
        let of = |i: &usize| {
            let cell = &self.cells[i / 4];
            if cell.split == 0 { cell.written } else { self.bytes[cell.split as usize - 1][i % 4].written }
        };
        (0..bytes).filter(|i| !of(i)).count()
    }

    /// Does something to all bytes of an access, and gives the first fault.
    #[inline]
    fn each(
        &mut self,
        at: usize,
        size: usize,
        now: &Access,
        f: impl Fn(&mut Cell, &Access) -> Result<(), Fault>,
    ) -> Option<Fault> {
        let (mut i, end, mut fault) = (at, at + size, None);
        while i < end {
            let next = (i / 4 * 4 + 4).min(end);
            let cell = &mut self.cells[i / 4];
            if self.per_block && cell.owner != now.block {
                if cell.split != 0 {
                    self.free.push(cell.split);
                }
                *cell = Cell { owner: now.block, ..Cell::default() };
            }
            if cell.split == 0 && next - i == 4 {
                fault = fault.or(f(cell, now).err());
            } else {
                for byte in &mut self.split(i / 4)[i % 4..][..next - i] {
                    fault = fault.or(f(byte, now).err());
                }
            }
            i = next;
        }
        fault
    }

    /// The histories of a word's bytes.
    fn split(&mut self, word: usize) -> &mut [Cell; 4] {
        let cell = &mut self.cells[word];
        if cell.split == 0 {
            let copies = [*cell; 4];
            cell.split = self.free.pop().unwrap_or_else(|| {
                self.bytes.push(copies);
                self.bytes.len() as u32
            });
            self.bytes[cell.split as usize - 1] = copies;
        }
        &mut self.bytes[cell.split as usize - 1]
    }

    /// Bytes are read.
    pub fn read(&mut self, at: usize, size: usize, now: &Access) -> Option<Fault> {
        self.each(at, size, now, Cell::read)
    }

    /// Bytes are written.
    pub fn write(&mut self, at: usize, size: usize, now: &Access) -> Option<Fault> {
        self.each(at, size, now, Cell::write)
    }

    /// An asynchronous copy to bytes begins: until it is waited for, they must not be used.
    pub fn begin(&mut self, at: usize, size: usize, now: &Access) -> Option<Fault> {
        self.each(at, size, now, Cell::begin)
    }

    /// An asynchronous copy to bytes ends: it counts as a write of the thread that waited for it.
    pub fn end(&mut self, at: usize, size: usize, now: &Access) {
        self.each(at, size, now, Cell::end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found does not depend on the order of reads, some of which no order of warps gives here.
    #[test]
    fn all_orders_of_readers() {
        let access = |thread: u16, warp_epoch: u32| Access { line: 1, thread, warp_epoch, ..Access::default() };
        let readers = [access(0, 0), access(1, 0), access(32, 0), access(1, 1)];
        for order in [[0, 1, 2, 3], [2, 0, 1, 3], [0, 2, 1, 3], [0, 1, 3, 2], [1, 3, 0, 2]] {
            let mut shadow = Shadow::of_all(4, true);
            assert!(order.iter().all(|&i| shadow.read(0, 4, &readers[i]).is_none()));
            // Ordered with all of its own warp, but not with the other.
            assert_eq!(shadow.write(0, 4, &access(0, 2)), Some((Kind::Race, 1)), "{order:?}");
        }
    }
}
