//! A kernel ready to run: instructions with their registers numbered, and where diverging lanes meet again.

use crate::{
    alu::{Compare, Fn1, Fn2, Fn3, Fn4},
    convert::Conversion,
    matrix::Shape,
    parse::Space,
};

/// Where an operand comes from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Src {
    Reg(u32),
    Imm(u64),
}

/// A predicate, perhaps negated, or a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pred {
    Reg(u32),
    Not(u32),
    Const(bool),
}

/// An address: base and offset.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Address {
    pub space: Space,
    pub base: Src,
    pub offset: i64,
}

/// What f32 instructions do beside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Modifiers {
    /// Subnormal operands and results are zero.
    pub flush: bool,
    /// The result is clamped to [0, 1].
    pub saturate: bool,
}

/// How lanes exchange values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// What lanes agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Vote {
    All,
    Any,
    Uniform,
}

/// What an atomic instruction does with the old value and its operands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Atomic {
    Exchange,
    CompareAndSwap,
    Of(Fn2),
}

/// An instruction.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Nop,
    Unary {
        f: Fn1,
        d: u32,
        a: Src,
    },
    Binary {
        f: Fn2,
        d: u32,
        a: Src,
        b: Src,
    },
    Ternary {
        f: Fn3,
        d: u32,
        a: Src,
        b: Src,
        c: Src,
    },
    Quaternary {
        f: Fn4,
        d: u32,
        a: Src,
        b: Src,
        c: Src,
        e: Src,
    },
    /// An f32 function of three operands with modifiers.
    Modified {
        f: Arity,
        modifiers: Modifiers,
        d: u32,
        sources: [Src; 3],
    },
    Convert {
        how: Conversion,
        d: u32,
        a: Src,
        mask: u64,
    },
    Compare {
        f: Compare,
        d: u32,
        complement: Option<u32>,
        a: Src,
        b: Src,
        with: Option<(Logic, Pred)>,
        flush: bool,
    },
    Select {
        d: u32,
        a: Src,
        b: Src,
        p: Pred,
    },
    Logic {
        f: Logic,
        d: u32,
        a: Pred,
        b: Pred,
    },
    /// Parts of `width` bits, lowest first, into one.
    Pack {
        d: u32,
        parts: Vec<Src>,
        width: u32,
    },
    Unpack {
        parts: Vec<u32>,
        a: Src,
        width: u32,
    },
    Branch {
        target: usize,
    },
    BranchTable {
        targets: Vec<usize>,
        a: Src,
    },
    Exit,
    Load {
        d: Vec<u32>,
        address: Address,
        bytes: u32,
        signed: bool,
        /// Whether nothing may write there while the kernel runs.
        frozen: bool,
        masks: Vec<u64>,
    },
    Store {
        sources: Vec<Src>,
        address: Address,
        bytes: u32,
    },
    Atomic {
        d: Option<u32>,
        address: Address,
        bytes: u32,
        how: Atomic,
        b: Src,
        c: Src,
    },
    Barrier {
        id: Src,
    },
    WarpBarrier {
        mask: Src,
    },
    Shuffle {
        how: Shuffle,
        d: u32,
        p: Option<u32>,
        a: Src,
        b: Src,
        c: Src,
        mask: Src,
    },
    Vote {
        how: Vote,
        d: u32,
        p: Pred,
        mask: Src,
    },
    Ballot {
        d: u32,
        p: Pred,
        mask: Src,
    },
    ActiveMask {
        d: u32,
    },
    /// Until the launches before have completed.
    Depend,
    Reduce {
        f: Fn2,
        d: u32,
        a: Src,
        mask: Src,
    },
    CopyAsync {
        to: Address,
        from: Address,
        bytes: u32,
        source_bytes: Src,
    },
    CommitGroup,
    /// Until at most so many groups are on their way, and nothing that has no group.
    WaitGroup {
        left: usize,
        open: bool,
    },
    LoadMatrix {
        d: Vec<u32>,
        address: Address,
        transposed: bool,
    },
    StoreMatrix {
        sources: Vec<Src>,
        address: Address,
        transposed: bool,
    },
    Mma {
        shape: Shape,
        d: Vec<u32>,
        a: Vec<Src>,
        b: Vec<Src>,
        c: Vec<Src>,
    },
}

/// A function by how many operands it has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arity {
    One(Fn1),
    Two(Fn2),
    Three(Fn3),
}

/// A function of predicates, all lanes at once.
pub(crate) type Logic = fn(u32, u32) -> u32;

/// What instructions are counted as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Arithmetic, logic and shifts of integers.
    Integer,
    /// Arithmetic of floats.
    Float,
    /// Conversions between types.
    Convert,
    /// Moves, selections, address conversions.
    Move,
    /// Comparisons and logic of predicates.
    Predicate,
    /// Branches and exits.
    Branch,
    /// Loads of global memory.
    GlobalLoad,
    /// Stores to global memory.
    GlobalStore,
    /// Loads of shared memory, matrices too.
    SharedLoad,
    /// Stores to shared memory, matrices too.
    SharedStore,
    /// Loads of a thread's own memory.
    LocalLoad,
    /// Stores to a thread's own memory.
    LocalStore,
    /// Loads of parameters and constants.
    ParamLoad,
    /// Atomic operations.
    Atomic,
    /// Asynchronous copies.
    CopyAsync,
    /// Barriers, fences and waits.
    Sync,
    /// Exchanges within a warp.
    Warp,
    /// Matrix multiplications on tensor cores.
    Mma,
}

impl Class {
    /// Whether what it touches of global memory is loaded.
    pub(crate) fn loads(self) -> bool {
        self != Class::GlobalStore
    }

    /// Whether what it touches of global memory is stored.
    pub(crate) fn stores(self) -> bool {
        matches!(self, Class::GlobalStore | Class::Atomic)
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Class::Integer => "integer",
            Class::Float => "float",
            Class::Convert => "convert",
            Class::Move => "move",
            Class::Predicate => "predicate",
            Class::Branch => "branch",
            Class::GlobalLoad => "global load",
            Class::GlobalStore => "global store",
            Class::SharedLoad => "shared load",
            Class::SharedStore => "shared store",
            Class::LocalLoad => "local load",
            Class::LocalStore => "local store",
            Class::ParamLoad => "param load",
            Class::Atomic => "atomic",
            Class::CopyAsync => "cp.async",
            Class::Sync => "sync",
            Class::Warp => "warp",
            Class::Mma => "mma",
        }
    }
}

/// An instruction at its place.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub line: u32,
    pub guard: Pred,
    pub class: Class,
    pub op: Op,
}

/// A special register that a kernel reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Special {
    Tid(usize),
    Ntid(usize),
    Ctaid(usize),
    Nctaid(usize),
    Lane,
    Warp,
    Warps,
    MaskEq,
    MaskLt,
    MaskLe,
    MaskGt,
    MaskGe,
    DynamicShared,
    TotalShared,
}

/// A kernel that can be run.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Name of its entry.
    pub name: String,
    /// Offset and size in bytes of each parameter.
    pub params: Vec<(u64, u64)>,
    /// Threads of a block in each dimension, where the kernel demands them.
    pub block: Option<[u32; 3]>,
    /// Most threads of a block that the kernel allows.
    pub most_threads: Option<u64>,
    /// Bytes of shared memory that it declares.
    pub shared: u64,
    /// Bytes of local memory of each thread.
    pub local: u64,
    pub(crate) constants: std::sync::Arc<[u8]>,
    pub(crate) insts: Vec<Inst>,
    /// Of each branch, where its lanes meet again: its immediate postdominator; the number of instructions is the end.
    pub(crate) meets: Vec<usize>,
    pub(crate) registers: usize,
    pub(crate) predicates: usize,
    pub(crate) specials: Vec<(Special, u32)>,
}
