//! Statements to instructions: operands, guards and branches here, the rest by what it does.

mod arithmetic;
mod collective;
mod convert;
mod memory;

use crate::{
    meets::meets,
    parse::{Operand, ParseError, Parsed, Space, Statement, size_of},
    program::{Address, Class, Inst, Kernel, Logic, Op, Pred, Special, Src},
    window,
};
use std::{collections::HashMap, sync::Arc};

/// Makes a kernel of what was parsed.
pub(crate) fn decode(parsed: Parsed, constants: Arc<[u8]>) -> Result<Kernel, ParseError> {
    let mut decoder = Decoder {
        numbers: HashMap::new(),
        predicates: HashMap::new(),
        registers: NOWHERE + 1,
        specials: Vec::new(),
        parsed: &parsed,
    };
    let insts = parsed.statements.iter().map(|statement| {
        decoder.instruction(statement).map_err(|message| ParseError { line: statement.line, message })
    });
    let insts = insts.collect::<Result<Vec<Inst>, _>>()?;
    let meets = meets(&insts);
    Ok(Kernel {
        registers: decoder.registers as usize,
        predicates: decoder.predicates.len() + 1,
        specials: decoder.specials,
        name: parsed.name,
        params: parsed.params,
        block: parsed.reqntid,
        most_threads: parsed.most_threads,
        shared: parsed.shared,
        local: parsed.local,
        constants,
        insts,
        meets,
    })
}

/// Register and predicate of results that are not wanted.
const NOWHERE: u32 = 0;

struct Decoder<'a> {
    /// Registers have numbers in the order of their first use; those that no instruction names take no room.
    numbers: HashMap<String, u32>,
    predicates: HashMap<String, u32>,
    /// How many have numbers.
    registers: u32,
    /// Special registers that the kernel reads, with numbers among the others.
    specials: Vec<(Special, u32)>,
    parsed: &'a Parsed,
}

type Decoded<T> = Result<T, String>;

/// An instruction and its class; `None` where it is not known.
type Known = Decoded<Option<(Class, Op)>>;

fn special(name: &str) -> Option<Special> {
    let dimension = |rest: &str| ["x", "y", "z"].iter().position(|d| *d == rest);
    let (base, rest) = name.split_once('.').unwrap_or((name, ""));
    Some(match (base, rest) {
        ("%tid", d) => Special::Tid(dimension(d)?),
        ("%ntid", d) => Special::Ntid(dimension(d)?),
        ("%ctaid", d) => Special::Ctaid(dimension(d)?),
        ("%nctaid", d) => Special::Nctaid(dimension(d)?),
        ("%laneid", "") => Special::Lane,
        ("%warpid", "") => Special::Warp,
        ("%nwarpid", "") => Special::Warps,
        ("%lanemask_eq", "") => Special::MaskEq,
        ("%lanemask_lt", "") => Special::MaskLt,
        ("%lanemask_le", "") => Special::MaskLe,
        ("%lanemask_gt", "") => Special::MaskGt,
        ("%lanemask_ge", "") => Special::MaskGe,
        ("%dynamic_smem_size", "") => Special::DynamicShared,
        ("%total_smem_size", "") => Special::TotalShared,
        _ => return None,
    })
}

fn space_of(word: &str) -> Option<Space> {
    Some(match word {
        "global" => Space::Global,
        "shared" | "shared::cta" => Space::Shared,
        "local" => Space::Local,
        "param" | "param::entry" => Space::Param,
        "const" => Space::Const,
        _ => return None,
    })
}

fn and(a: u32, b: u32) -> u32 {
    a & b
}

fn or(a: u32, b: u32) -> u32 {
    a | b
}

fn xor(a: u32, b: u32) -> u32 {
    a ^ b
}

fn logic(word: &str) -> Option<Logic> {
    Some(match word {
        "and" => and,
        "or" => or,
        "xor" => xor,
        _ => return None,
    })
}

/// All bits of a type.
fn bits_of(ty: &str) -> u64 {
    u64::MAX >> (64 - 8 * size_of(ty).unwrap_or(8))
}

/// One of the two names of `p|q`.
fn half(name: &str) -> Operand {
    if name == "_" { Operand::Sink } else { Operand::Reg(name.to_owned()) }
}

impl Decoder<'_> {
    fn dest(&mut self, operand: &Operand) -> Decoded<u32> {
        match operand {
            Operand::Reg(name) | Operand::Name(name) => match self.parsed.registers.type_of(name) {
                None => Err(format!("{name} is not declared")),
                Some("pred") => Err(format!("{name} is a predicate")),
                Some(_) => {
                    let next = self.registers;
                    let number = *self.numbers.entry(name.clone()).or_insert(next);
                    self.registers += u32::from(number == next);
                    Ok(number)
                }
            },
            Operand::Sink => Ok(NOWHERE),
            _ => Err("a register expected".to_owned()),
        }
    }

    /// All bits of the register's type.
    fn mask(&self, operand: &Operand) -> u64 {
        match operand {
            Operand::Reg(name) | Operand::Name(name) => self.parsed.registers.type_of(name).map_or(u64::MAX, bits_of),
            _ => u64::MAX,
        }
    }

    /// An operand, with all bits that are written.
    fn src(&mut self, operand: &Operand) -> Decoded<Src> {
        Ok(match operand {
            Operand::Int(value) => Src::Imm(*value as u64),
            Operand::F32(bits) => Src::Imm((*bits).into()),
            Operand::F64(bits) => Src::Imm(*bits),
            Operand::Name(name) if self.parsed.registers.type_of(name).is_none() => {
                match (special(name), self.parsed.variables.get(name)) {
                    (Some(special), _) => Src::Reg(self.special(special)),
                    (_, Some(variable)) if variable.space == Space::Const => Src::Imm(window::CONST + variable.offset),
                    (_, Some(variable)) => Src::Imm(variable.offset),
                    _ => return Err(format!("{name} is not known")),
                }
            }
            Operand::Sink => return Err("`_` has no value".to_owned()),
            operand => Src::Reg(self.dest(operand)?),
        })
    }

    fn special(&mut self, special: Special) -> u32 {
        match self.specials.iter().find(|(known, _)| *known == special) {
            Some((_, register)) => *register,
            None => {
                let register = self.registers;
                self.registers += 1;
                self.specials.push((special, register));
                register
            }
        }
    }

    /// An operand of a type, whose immediate is cut to it: `-1` of 16 bits has no ones above.
    fn immediate(&mut self, operand: &Operand, ty: &str) -> Decoded<Src> {
        Ok(match self.src(operand)? {
            // An f32 may be written with the bits of an f64.
            Src::Imm(bits) if ty == "f32" && matches!(operand, Operand::F64(_)) => {
                Src::Imm((f64::from_bits(bits) as f32).to_bits().into())
            }
            Src::Imm(bits) => Src::Imm(bits & bits_of(ty)),
            register => register,
        })
    }

    fn list(&mut self, operand: &Operand) -> Decoded<Vec<u32>> {
        match operand {
            Operand::List(list) => list.iter().map(|one| self.dest(one)).collect(),
            one => Ok(vec![self.dest(one)?]),
        }
    }

    fn sources(&mut self, operand: &Operand, ty: &str) -> Decoded<Vec<Src>> {
        match operand {
            Operand::List(list) => list.iter().map(|one| self.immediate(one, ty)).collect(),
            one => Ok(vec![self.immediate(one, ty)?]),
        }
    }

    fn predicate(&mut self, name: &str) -> Decoded<u32> {
        if self.parsed.registers.type_of(name) != Some("pred") {
            return Err(format!("{name} is no predicate"));
        }
        let next = self.predicates.len() as u32 + NOWHERE + 1;
        Ok(*self.predicates.entry(name.to_owned()).or_insert(next))
    }

    fn pred(&mut self, operand: &Operand) -> Decoded<Pred> {
        match operand {
            Operand::Reg(name) | Operand::Name(name) => Ok(Pred::Reg(self.predicate(name)?)),
            Operand::Not(name) => Ok(Pred::Not(self.predicate(name)?)),
            Operand::Int(value) => Ok(Pred::Const(*value != 0)),
            _ => Err("a predicate expected".to_owned()),
        }
    }

    fn pred_dest(&mut self, operand: &Operand) -> Decoded<u32> {
        match operand {
            Operand::Reg(name) | Operand::Name(name) => self.predicate(name),
            Operand::Sink => Ok(NOWHERE),
            _ => Err("a predicate expected".to_owned()),
        }
    }

    fn address(&mut self, space: Space, operand: &Operand) -> Decoded<Address> {
        let Operand::Address(base, offset) = operand else { return Err("an address expected".to_owned()) };
        let variable = match &**base {
            Operand::Name(name) => self.parsed.variables.get(name).map(|variable| variable.space),
            _ => None,
        };
        if variable.is_some_and(|of| of != space && !(of == Space::Const && space == Space::Global)) {
            return Err("the variable is in another space".to_owned());
        }
        Ok(Address { space, base: self.src(base)?, offset: *offset })
    }

    fn label(&self, name: &str) -> Decoded<usize> {
        self.parsed.labels.get(name).copied().ok_or_else(|| format!("{name} is no label"))
    }

    fn instruction(&mut self, statement: &Statement) -> Decoded<Inst> {
        let guard = match &statement.guard {
            None => Pred::Const(true),
            Some((name, false)) => Pred::Reg(self.predicate(name)?),
            Some((name, true)) => Pred::Not(self.predicate(name)?),
        };
        let opcode = statement.opcode.join(".");
        let words: Vec<&str> = statement.opcode.iter().map(String::as_str).collect();
        let operands = &statement.operands[..];
        let known = match words[0] {
            "ld" | "ldu" | "st" | "atom" | "red" | "cp" | "ldmatrix" | "stmatrix" => self.memory(&words, operands),
            "bar" | "barrier" | "shfl" | "vote" | "activemask" | "redux" | "mma" | "membar" | "fence"
            | "griddepcontrol" => self.collective(&words, operands),
            "bra" | "brx" | "ret" | "exit" => self.branch(&words, operands),
            "cvt" => self.conversion(&words, operands),
            "setp" => self.comparison(&words, operands),
            _ => self.arithmetic(&words, operands),
        };
        let known = known.map_err(|message| format!("{opcode}: {message}"))?;
        let (class, op) =
            known.ok_or_else(|| format!("{opcode} with {} operands is not known to the simulator", operands.len()))?;
        Ok(Inst { line: statement.line, guard, class, op })
    }

    fn branch(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        let op = match (words, operands) {
            (["bra"] | ["bra", "uni"], [Operand::Name(label)]) => Op::Branch { target: self.label(label)? },
            (["brx", "idx"] | ["brx", "idx", "uni"], [index, Operand::Name(table)]) => {
                let table = self.parsed.tables.get(table).ok_or_else(|| format!("{table} is no table of labels"))?;
                let targets = table.iter().map(|name| self.label(name)).collect::<Decoded<_>>()?;
                Op::BranchTable { targets, a: self.immediate(index, "u32")? }
            }
            (["ret" | "exit"] | ["ret", "uni"], []) => Op::Exit,
            _ => return Ok(None),
        };
        Ok(Some((Class::Branch, op)))
    }
}
