//! Loads, stores, atomics, copies, and matrices in shared memory. (PTX ISA 8.7, sections 9.7.9, 9.7.13 and 9.7.14)

use super::{Decoder, Known, space_of};
use crate::{
    alu,
    memory::WIDEST,
    parse::{Operand, Space, size_of},
    program::{Atomic, Class, Op, Src},
};

/// Words of loads, stores and atomics that change no result here: who caches it, who sees it when.
const HINTS: &[&str] = &[
    "nc",
    "volatile",
    "relaxed",
    "acquire",
    "release",
    "acq_rel",
    "weak",
    "cta",
    "gpu",
    "sys",
    "cluster",
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "L1::no_allocate",
    "L1::evict_last",
    "L1::evict_first",
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L2::64B",
    "L2::128B",
    "L2::256B",
    "noftz",
    "unified",
    "mmio",
];

/// The words of an access.
struct Access<'a> {
    space: Space,
    vector: usize,
    ty: &'a str,
    bytes: u32,
    function: Option<&'a str>,
}

impl<'a> Access<'a> {
    fn from_words(words: &[&'a str]) -> Option<Access<'a>> {
        let (ty, words) = words.split_last()?;
        let bytes = size_of(ty)? as u32;
        let mut access = Access { space: Space::Generic, vector: 1, ty, bytes, function: None };
        for &word in words {
            match word {
                "v2" => access.vector = 2,
                "v4" => access.vector = 4,
                "v8" => access.vector = 8,
                "add" | "min" | "max" | "and" | "or" | "xor" | "exch" | "cas" => access.function = Some(word),
                hint if HINTS.contains(&hint) => {}
                word => access.space = space_of(word)?,
            }
        }
        (access.vector * bytes as usize <= WIDEST).then_some(access)
    }
}

impl Decoder<'_> {
    pub(super) fn memory(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        match words[0] {
            "cp" => return self.copies(words, operands),
            "ldmatrix" | "stmatrix" => return self.matrices(words, operands),
            _ => {}
        }
        let Some(access) = Access::from_words(&words[1..]) else { return Ok(None) };
        let Access { space, vector, ty, bytes, function } = access;
        let is_atomic = matches!(words[0], "atom" | "red");
        if is_atomic != function.is_some() {
            return Ok(None);
        }
        match (words[0], operands) {
            ("ld" | "ldu", [d, address]) => {
                let address = self.address(space, address)?;
                let masks: Vec<u64> = match d {
                    Operand::List(list) => list.iter().map(|one| self.mask(one)).collect(),
                    one => vec![self.mask(one)],
                };
                let class = match space {
                    Space::Global | Space::Generic => Class::GlobalLoad,
                    Space::Shared => Class::SharedLoad,
                    Space::Local => Class::LocalLoad,
                    Space::Param | Space::Const => Class::ParamLoad,
                };
                let d = self.list(d)?;
                let fits = d.len() == vector;
                let op =
                    Op::Load { address, bytes, signed: ty.starts_with('s'), frozen: words.contains(&"nc"), masks, d };
                Ok(fits.then_some((class, op)))
            }
            ("st", [address, value]) => {
                let class = match space {
                    Space::Global | Space::Generic => Class::GlobalStore,
                    Space::Shared => Class::SharedStore,
                    Space::Local => Class::LocalStore,
                    Space::Param | Space::Const => return Err("parameters and constants cannot be written".to_owned()),
                };
                let (address, sources) = (self.address(space, address)?, self.sources(value, ty)?);
                Ok((sources.len() == vector).then_some((class, Op::Store { sources, address, bytes })))
            }
            ("atom" | "red", operands) => {
                let (d, operands) = match (words[0], operands) {
                    ("atom", [d, rest @ ..]) => (Some(self.dest(d)?), rest),
                    (_, rest) => (None, rest),
                };
                if vector != 1 || !matches!(space, Space::Global | Space::Shared | Space::Generic) {
                    return Ok(None);
                }
                let (how, address, b, c) = match (function, operands) {
                    (Some("cas"), [address, b, c]) if d.is_some() && ty.starts_with('b') => {
                        (Atomic::CompareAndSwap, address, b, self.immediate(c, ty)?)
                    }
                    (Some("exch"), [address, b]) if d.is_some() && ty.starts_with('b') => {
                        (Atomic::Exchange, address, b, Src::Imm(0))
                    }
                    (Some(function), [address, b]) => {
                        let Some(f) = alu::binary(function, ty) else { return Ok(None) };
                        (Atomic::Of(f), address, b, Src::Imm(0))
                    }
                    _ => return Ok(None),
                };
                let (address, b) = (self.address(space, address)?, self.immediate(b, ty)?);
                Ok(Some((Class::Atomic, Op::Atomic { d, address, bytes, how, b, c })))
            }
            _ => Ok(None),
        }
    }

    /// `cp.async` and what waits for it. (PTX ISA 8.7, section 9.7.9.25.3)
    fn copies(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        match (&words[1..], operands) {
            (["async", "commit_group"], []) => Ok(Some((Class::CopyAsync, Op::CommitGroup))),
            (["async", "wait_all"], []) => Ok(Some((Class::Sync, Op::WaitGroup { left: 0, open: true }))),
            (["async", "wait_group"], [Operand::Int(left)]) => {
                let left = usize::try_from(*left).map_err(|_| format!("{left} is no number of groups"))?;
                Ok(Some((Class::Sync, Op::WaitGroup { left, open: false })))
            }
            (
                ["async", cache @ ("ca" | "cg"), "shared" | "shared::cta", "global", hints @ ..],
                [to, from, Operand::Int(bytes), rest @ ..],
            ) => {
                let known = matches!((*cache, *bytes), ("ca", 4 | 8) | (_, 16));
                if !known || !matches!(hints, [] | ["L2::64B" | "L2::128B" | "L2::256B"]) {
                    return Ok(None);
                }
                let source_bytes = match rest {
                    [] => Src::Imm(*bytes as u64),
                    [n] => self.immediate(n, "u32")?,
                    _ => return Ok(None),
                };
                let (to, from) = (self.address(Space::Shared, to)?, self.address(Space::Global, from)?);
                Ok(Some((Class::CopyAsync, Op::CopyAsync { to, from, bytes: *bytes as u32, source_bytes })))
            }
            _ => Ok(None),
        }
    }

    /// `ldmatrix` and `stmatrix`. (PTX ISA 8.7, sections 9.7.14.5.15 and 9.7.14.5.16)
    fn matrices(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        let (["sync", "aligned", "m8n8", count, rest @ ..], [first, second]) = (&words[1..], operands) else {
            return Ok(None);
        };
        let n = match *count {
            "x1" => 1,
            "x2" => 2,
            "x4" => 4,
            _ => return Ok(None),
        };
        let (transposed, rest) = match rest {
            ["trans", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let ["shared" | "shared::cta", "b16"] = rest else { return Ok(None) };
        let (given, class, op) = if words[0] == "ldmatrix" {
            let (d, address) = (self.list(first)?, self.address(Space::Shared, second)?);
            (d.len(), Class::SharedLoad, Op::LoadMatrix { d, address, transposed })
        } else {
            let (sources, address) = (self.sources(second, "b32")?, self.address(Space::Shared, first)?);
            (sources.len(), Class::SharedStore, Op::StoreMatrix { sources, address, transposed })
        };
        Ok((given == n).then_some((class, op)))
    }
}
