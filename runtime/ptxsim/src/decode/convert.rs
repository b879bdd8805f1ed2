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
