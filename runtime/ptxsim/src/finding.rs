//! What is wrong with a kernel.

use std::fmt;

/// Kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Two threads access a byte, at least one of them writes, and nothing orders them.
    Race,
    /// A byte is read that nothing has written.
    Uninitialised,
    /// An access outside its buffer.
    OutOfBounds,
    /// An address that is no multiple of what is accessed.
    Misaligned,
    /// A buffer is written that the kernel may only read; or one that it may write, or a launch that it overlaps, is read by `ld.global.nc`, which
    /// wants it to stay as it is.
    ReadOnly,
    /// Threads wait at a barrier that others never reach.
    Barrier,
    /// Bytes are used that an asynchronous copy has not yet brought.
    NotWaited,
    /// A thread uses what a launch before may still be at, or ends, before `griddepcontrol.wait` has told it that those have completed.
    Dependency,
    /// An instruction that a whole warp must execute together is reached by a part of it, or names lanes that are not there.
    Diverged,
    /// The kernel runs too long, and is stopped.
    TooLong,
    /// The launch does not fit the kernel.
    Launch,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Race => "race",
            Kind::Uninitialised => "uninitialised read",
            Kind::OutOfBounds => "out of bounds",
            Kind::Misaligned => "misaligned",
            Kind::ReadOnly => "read-only",
            Kind::Barrier => "barrier not reached by all",
            Kind::NotWaited => "asynchronous copy not waited for",
            Kind::Dependency => "launch before not waited for",
            Kind::Diverged => "diverged",
            Kind::TooLong => "too long",
            Kind::Launch => "launch",
        }
    }
}

/// A fault, at its first occurrence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// The kernel's name.
    pub kernel: String,
    /// Line of the PTX, from 1; 0 where it is of the whole launch.
    pub line: u32,
    /// The other line that takes part, if there is one.
    pub other: Option<u32>,
    /// Block and thread.
    pub thread: Option<([u32; 3], u32)>,
    /// The details.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.kernel, self.line, self.kind.name(), self.message)?;
        if let Some(other) = self.other {
            write!(f, "; the other is line {other}")?;
        }
        match self.thread {
            Some(([x, y, z], thread)) => write!(f, " (block {x},{y},{z}, thread {thread})"),
            None => Ok(()),
        }
    }
}
