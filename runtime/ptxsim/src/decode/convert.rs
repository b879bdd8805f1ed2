//! Conversions and comparisons. (PTX ISA 8.7, sections 9.7.9.21 and 9.7.6)

use super::{Decoder, Known, logic};
use crate::{
    alu,
    convert::{Conversion, Kind, Round},
    parse::Operand,
    program::{Class, Op},
};

impl Decoder<'_> {
    pub(super) fn conversion(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        if let ["cvt", "pack", rest @ ..] = words {
            return self.packing(rest, operands);
        }
        let ([modifiers @ .., to, from], [d, a]) = (&words[1..], operands) else { return Ok(None) };
        let (Some(to_kind), Some(from_kind)) = (Kind::from_name(to), Kind::from_name(from)) else { return Ok(None) };
        let mut how =
            Conversion { from: from_kind, to: to_kind, round: None, whole: false, saturate: false, flush: false };
        for &modifier in modifiers {
            match modifier {
                "rn" | "rni" => how.round = Some(Round::Even),
                "rz" | "rzi" => how.round = Some(Round::Zero),
                "rm" | "rmi" => how.round = Some(Round::Down),
                "rp" | "rpi" => how.round = Some(Round::Up),
                "sat" => how.saturate = true,
                "ftz" => how.flush = true,
                _ => return Ok(None),
            }
            how.whole |= modifier.ends_with('i');
        }
        if !how.is_known() {
            return Ok(None);
        }
        // A signed result is extended to the register, an unsigned one has zeros above.
        let mask = self.mask(d);
        let (d, a) = (self.dest(d)?, self.src(a)?);
        // The common ones have functions of their own.
        let simple: Option<alu::Fn1> = match (*from, *to) {
            _ if how.saturate => None,
            ("u8", "u16" | "s16" | "u32" | "s32" | "u64" | "s64") => Some(|a| a & 0xff),
            ("u16", "u32" | "s32" | "u64" | "s64") | ("u32" | "s32" | "u64" | "s64", "u16") => Some(|a| a & 0xffff),
            ("u32", "u64" | "s64") | ("u64" | "s64", "u32") => Some(|a| a & 0xffff_ffff),
            ("u64" | "s64", "s32") if mask == 0xffff_ffff => Some(|a| a & 0xffff_ffff),
            ("s8", "s16") if mask == 0xffff => Some(|a| (a as i8 as i16 as u16).into()),
            ("s8", "s32") if mask == 0xffff_ffff => Some(|a| (a as i8 as i32 as u32).into()),
            ("s16", "s32") if mask == 0xffff_ffff => Some(|a| (a as i16 as i32 as u32).into()),
            ("s32", "s64") => Some(|a| a as i32 as i64 as u64),
            _ => None,
        };
        Ok(Some((
            Class::Convert,
            match simple {
                Some(f) => Op::Unary { f, d, a },
                None => Op::Convert { how, d, a, mask },
            },
        )))
    }

    /// `cvt.pack`: two values, saturated, above each other; those of bytes below the lower half of a third operand. (PTX ISA 8.7, section
    /// 9.7.9.22)
    fn packing(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        fn saturated<const LOW: i32, const HIGH: i32>(value: u64) -> u64 {
            i64::from((value as i32).clamp(LOW, HIGH)) as u64
        }
        fn halves<const LOW: i32, const HIGH: i32>(a: u64, b: u64) -> u64 {
            (saturated::<LOW, HIGH>(a) & 0xffff) << 16 | saturated::<LOW, HIGH>(b) & 0xffff
        }
        fn bytes<const LOW: i32, const HIGH: i32>(a: u64, b: u64, c: u64) -> u64 {
            (c & 0xffff) << 16 | (saturated::<LOW, HIGH>(a) & 0xff) << 8 | saturated::<LOW, HIGH>(b) & 0xff
        }
        let (op, d, rest) = match (words, operands) {
            (["sat", "s16", "s32"], [d, rest @ ..]) => (Ok(halves::<-0x8000, 0x7fff> as alu::Fn2), d, rest),
            (["sat", "u16", "s32"], [d, rest @ ..]) => (Ok(halves::<0, 0xffff> as alu::Fn2), d, rest),
            (["sat", "s8", "s32", "b32"], [d, rest @ ..]) => (Err(bytes::<-0x80, 0x7f> as alu::Fn3), d, rest),
            (["sat", "u8", "s32", "b32"], [d, rest @ ..]) => (Err(bytes::<0, 0xff> as alu::Fn3), d, rest),
            _ => return Ok(None),
        };
        let d = self.dest(d)?;
        let op = match (op, rest) {
            (Ok(f), [a, b]) => Op::Binary { f, d, a: self.immediate(a, "s32")?, b: self.immediate(b, "s32")? },
            (Err(f), [a, b, c]) => {
                let (a, b) = (self.immediate(a, "s32")?, self.immediate(b, "s32")?);
                Op::Ternary { f, d, a, b, c: self.immediate(c, "b32")? }
            }
            _ => return Ok(None),
        };
        Ok(Some((Class::Convert, op)))
    }

    pub(super) fn comparison(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        let [_, comparison, middle @ .., ty] = words else { return Ok(None) };
        let (logical, flush) = match middle {
            [] => (None, false),
            ["ftz"] => (None, true),
            [by] => (logic(by), false),
            [by, "ftz"] => (logic(by), true),
            _ => return Ok(None),
        };
        if flush && *ty != "f32" {
            return Ok(None);
        }
        let [d, a, b, rest @ ..] = operands else { return Ok(None) };
        let with = match (logical, rest) {
            (Some(f), [c]) => Some((f, self.pred(c)?)),
            (None, []) => None,
            _ => return Ok(None),
        };
        let (d, complement) = match d {
            Operand::Pair(p, q) => (self.pred_dest(&super::half(p))?, Some(self.pred_dest(&super::half(q))?)),
            d => (self.pred_dest(d)?, None),
        };
        let (a, b) = (self.immediate(a, ty)?, self.immediate(b, ty)?);
        let f = alu::compare(comparison, ty);
        Ok(f.map(|f| (Class::Predicate, Op::Compare { f, d, complement, a, b, with, flush })))
    }
}
