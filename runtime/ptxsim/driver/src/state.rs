//! What all functions of the driver share.

use crate::{
    device::Device,
    event::Event,
    function::Function,
    launch::Launch,
    memory::Memory,
    module::Module,
    status::{Result, Status},
    stream::Stream,
};
use std::{
    alloc::Layout,
    cell::Cell,
    collections::HashMap,
    mem::MaybeUninit,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{LazyLock, Mutex, PoisonError},
};

/// A context, stream, module and so on, as callers have it. None is given twice, and null is none.
pub(crate) type Handle = usize;

/// Where a result goes; `None` where the caller gave null.
pub(crate) type Out<'a, T> = Option<&'a mut MaybeUninit<T>>;

/// Writes a result.
pub(crate) fn put<T>(to: Out<T>, value: T) -> Result {
    to.ok_or(Status::ERROR_INVALID_VALUE)?.write(value);
    Ok(())
}

/// What a stream does, or a graph remembers of it.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Launch(Launch),
    Copy { to: Place, from: Place, bytes: usize },
    Fill { at: u64, value: u8, bytes: usize },
}

/// An address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Host(usize),
    Device(u64),
}

/// The driver.
#[derive(Default)]
pub(crate) struct Driver {
    /// Since `cuInit`.
    pub device: Option<Device>,
    /// The device's context, if there is one, and how often it has been retained.
    pub context: Option<(Handle, u32)>,
    /// Why the context can no longer be used.
    pub fault: Option<Status>,
    pub memory: Memory,
    pub pinned: HashMap<usize, Layout>,
    pub modules: HashMap<Handle, Module>,
    pub functions: HashMap<Handle, Function>,
    pub streams: HashMap<Handle, Stream>,
    pub events: HashMap<Handle, Event>,
    /// Of each graph, what it does in order.
    pub graphs: HashMap<Handle, Vec<Op>>,
    /// As `graphs`, of those that can be launched.
    pub executables: HashMap<Handle, Vec<Op>>,
    last: Handle,
}

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The context of the calling thread.
    pub(crate) static CURRENT: Cell<Handle> = const { Cell::new(0) };
}

/// What a call wants of the driver's state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// An initialised driver.
    Device,
    /// A context, even one that can no longer be used: what gives something back.
    Context,
    /// A context that can be used.
    Work,
}

/// A call: its body runs if the driver has what it needs. No panic leaves it.
pub(crate) fn call(need: Need, body: impl FnOnce(&mut Driver) -> Result) -> Status {
    let run = || {
        // A call that panicked has failed, and has said so.
        let mut driver = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
        driver.check_need(need)?;
        body(&mut driver)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Status::SUCCESS,
        Ok(Err(status)) => status,
        Err(_) => Status::ERROR_UNKNOWN,
    }
}

impl Driver {
    fn check_need(&self, need: Need) -> Result {
        if need != Need::Nothing && self.device.is_none() {
            return Err(Status::ERROR_NOT_INITIALIZED);
        }
        if matches!(need, Need::Nothing | Need::Device) {
            return Ok(());
        }
        let current = CURRENT.get();
        if self.context.is_none_or(|(context, _)| context != current) {
            return Err(Status::ERROR_INVALID_CONTEXT);
        }
        match self.fault {
            Some(fault) if need == Need::Work => Err(fault),
            _ => Ok(()),
        }
    }

    pub fn device(&self) -> Result<&Device> {
        self.device.as_ref().ok_or(Status::ERROR_NOT_INITIALIZED)
    }

    /// A handle that has not been given yet; neither is it one of those that have a meaning of their own.
    pub fn new_handle(&mut self) -> Handle {
        self.last = self.last.max(0x1000) + 0x10;
        self.last
    }

    /// Does what is captured, or has come to its turn.
    ///
    /// # Safety
    /// Host memory that it names is there.
    pub unsafe fn execute(&mut self, op: &Op) -> Result {
        match op {
            Op::Launch(launch) => self.launch(launch),
            // SAFETY: as the caller says.
            Op::Copy { to, from, bytes } => unsafe { self.memory.copy(*to, *from, *bytes) },
            Op::Fill { at, value, bytes } => {
                self.memory.slice_mut(*at, *bytes)?.fill(*value);
                Ok(())
            }
        }
    }

    /// Whether something can be done, as far as can be told before it is.
    pub fn check(&self, op: &Op) -> Result {
        match op {
            Op::Launch(launch) => self.check_launch(launch),
            Op::Copy { to, from, bytes } => [to, from].into_iter().try_for_each(|place| match *place {
                Place::Host(0) if *bytes > 0 => Err(Status::ERROR_INVALID_VALUE),
                Place::Host(_) => Ok(()),
                Place::Device(at) => self.memory.slice(at, *bytes).map(|_| ()),
            }),
            Op::Fill { at, bytes, .. } => self.memory.slice(*at, *bytes).map(|_| ()),
        }
    }
}
