//! What has happened to each byte: who wrote it, who read it, and whether these are ordered.
//!
//! Two accesses of a byte, not both of them reads or atomic, must be by one thread, or have a barrier between them that both threads wait at; blocks
//! of a launch are never ordered. That is the definition of happens-before, so what is found does not depend on the order in which threads
//! happened to run here. (Lamport, Time, Clocks, and the Ordering of Events, 1978; barriers make the clocks of a block one number.)

use crate::finding::Kind;

/// An access.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Access {
    /// Line of the PTX; 0 where there was none.
    pub line: u32,
    pub block: u32,
    pub thread: u32,
    /// Barriers that the block has passed.
    pub epoch: u32,
    /// Barriers that the warp has passed.
    pub warp_epoch: u32,
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
        !self.is_before(now) && !(self.atomic && now.atomic)
    }
}

/// A byte's history.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    writer: Access,
    /// Two readers of different threads, where there were two; of different warps and blocks, where there were such.
    readers: [Access; 2],
    written: bool,
    /// Line of an asynchronous copy that is on its way here.
    pending: u32,
}

/// The history of a memory.
pub(crate) struct Shadow {
    cells: Vec<Cell>,
    /// Whether every block has a memory of its own.
    per_block: bool,
    /// The block whose memory each cell is of, then.
    owners: Vec<u32>,
}

/// What is wrong with an access, and the line of the other one.
pub(crate) type Fault = (Kind, u32);

impl Shadow {
    /// Of memory that each block has for itself, empty at first.
    pub fn of_blocks(bytes: usize) -> Shadow {
        Shadow { cells: vec![Cell::default(); bytes], per_block: true, owners: vec![u32::MAX; bytes] }
    }

    /// Of memory that all share; `written` says whether it has values.
    pub fn of_all(bytes: usize, written: bool) -> Shadow {
        Shadow { cells: vec![Cell { written, ..Cell::default() }; bytes], per_block: false, owners: Vec::new() }
    }

    fn cell(&mut self, at: usize, block: u32) -> &mut Cell {
        if self.per_block && self.owners[at] != block {
            self.owners[at] = block;
            self.cells[at] = Cell::default();
        }
        &mut self.cells[at]
    }

    /// A byte is read.
    pub fn read(&mut self, at: usize, now: Access) -> Result<(), Fault> {
        let cell = self.cell(at, now.block);
        if cell.pending != 0 {
            return Err((Kind::NotWaited, cell.pending));
        }
        if !cell.written {
            return Err((Kind::Uninitialised, 0));
        }
        if cell.writer.conflicts(&now) {
            return Err((Kind::Race, cell.writer.line));
        }
        let [a, b] = &mut cell.readers;
        let place = |x: &Access| (x.block, x.thread / 32);
        if a.is_before(&now) {
            *a = now;
        } else if b.is_before(&now)
            || b.block == a.block && now.block != a.block
            || place(b) == place(a) && place(&now) != place(a)
        {
            *b = now;
        }
        Ok(())
    }

    /// A byte is written.
    pub fn write(&mut self, at: usize, now: Access) -> Result<(), Fault> {
        let cell = self.cell(at, now.block);
        if cell.pending != 0 {
            return Err((Kind::NotWaited, cell.pending));
        }
        let conflict =
            [&cell.writer, &cell.readers[0], &cell.readers[1]].into_iter().find(|access| access.conflicts(&now));
        if let Some(line) = conflict.map(|access| access.line) {
            return Err((Kind::Race, line));
        }
        *cell = Cell { writer: now, written: true, ..Cell::default() };
        Ok(())
    }

    /// An asynchronous copy to a byte begins: until it is waited for, the byte must not be used.
    pub fn begin(&mut self, at: usize, now: Access) -> Result<(), Fault> {
        self.write(at, now)?;
        self.cells[at].pending = now.line;
        Ok(())
    }

    /// An asynchronous copy to a byte ends: it counts as a write of the thread that waited for it.
    pub fn end(&mut self, at: usize, now: Access) {
        let cell = self.cell(at, now.block);
        *cell = Cell { writer: now, written: true, ..Cell::default() };
    }
}
