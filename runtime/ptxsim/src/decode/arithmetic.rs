//! Arithmetic, logic, moves. (PTX ISA 8.7, sections 9.7.1 to 9.7.9)

use super::{Decoder, Known, bits_of, logic, or, space_of, xor};
use crate::{
    alu,
    parse::{Operand, Space, size_of},
    program::{Arity, Class, Logic, Modifiers, Op, Pred, Src},
    window,
};

impl Decoder<'_> {
    pub(super) fn arithmetic(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        let [name, middle @ .., ty] = words else { return Ok(None) };
        match (*name, *ty, operands) {
            ("mov", "pred", [d, a]) => {
                let op = Op::Logic { f: or, d: self.pred_dest(d)?, a: self.pred(a)?, b: Pred::Const(false) };
                return Ok(Some((Class::Predicate, op)));
            }
            ("mov", _, [d, a]) if middle.is_empty() => return self.mov(ty, d, a),
            ("mov" | "cvta", ..) => return if *name == "cvta" { self.cvta(words, operands) } else { Ok(None) },
            ("selp", _, [d, a, b, p]) if middle.is_empty() && size_of(ty).is_some_and(|size| size > 1) => {
                let (a, b) = (self.immediate(a, ty)?, self.immediate(b, ty)?);
                return Ok(Some((Class::Move, Op::Select { d: self.dest(d)?, a, b, p: self.pred(p)? })));
            }
            ("not", "pred", [d, a]) => {
                let op = Op::Logic { f: xor as Logic, d: self.pred_dest(d)?, a: self.pred(a)?, b: Pred::Const(true) };
                return Ok(Some((Class::Predicate, op)));
            }
            (_, "pred", [d, a, b]) if middle.is_empty() => {
                let Some(f) = logic(name) else { return Ok(None) };
                let op = Op::Logic { f, d: self.pred_dest(d)?, a: self.pred(a)?, b: self.pred(b)? };
                return Ok(Some((Class::Predicate, op)));
            }
            _ => {}
        }
        let is_float = ty.starts_with('f');
        // What changes no result here: rounding to nearest is the only rounding that arithmetic does, and `.approx` is as exact as can be.
        let ignored = |w: &&str| is_float && matches!(*w, "rn" | "approx" | "full" | "ftz" | "sat");
        // Floats have no halves of a product, and `mad` rounds once as `fma` does.
        let mut full = if is_float && *name == "mad" { "fma" } else { name }.to_owned();
        for word in middle.iter().filter(|w| !ignored(w)) {
            full = format!("{full}.{word}");
        }
        if *name == "dp4a" {
            full = format!("{full}.{ty}");
        }
        let has = |word: &str| is_float && middle.contains(&word);
        let modifiers = Modifiers { flush: has("ftz"), saturate: has("sat") };
        let is_modified = modifiers != Modifiers::default();
        if is_modified && *ty != "f32" {
            return Ok(None);
        }
        let Some((d, sources)) = operands.split_first() else { return Ok(None) };
        let d = self.dest(d)?;
        let sources = sources.iter().enumerate().map(|(i, operand)| match self.src(operand)? {
            // What does not have the instruction's type: amounts are of 32 bits, what is added to a wide product has twice the bits.
            Src::Imm(bits) if matches!((*name, i), ("shl" | "shr", 1) | ("bfe", 1..) | ("bfi", 2..)) => {
                Ok(Src::Imm(bits & bits_of("u32")))
            }
            Src::Imm(bits) if i == 2 && full == "mad.wide" => {
                Ok(Src::Imm(bits & (bits_of(ty) << (bits_of(ty).count_ones() % 64) | bits_of(ty))))
            }
            _ => self.immediate(operand, ty),
        });
        let sources = sources.collect::<Result<Vec<Src>, String>>()?;
        let zero = Src::Imm(0);
        let op = match sources[..] {
            [a] => alu::unary(&full, ty).map(|f| match is_modified {
                true => Op::Modified { f: Arity::One(f), modifiers, d, sources: [a, zero, zero] },
                false => Op::Unary { f, d, a },
            }),
            [a, b] => alu::binary(&full, ty).map(|f| match is_modified {
                true => Op::Modified { f: Arity::Two(f), modifiers, d, sources: [a, b, zero] },
                false => Op::Binary { f, d, a, b },
            }),
            [a, b, c] => alu::ternary(&full, ty).map(|f| match is_modified {
                true => Op::Modified { f: Arity::Three(f), modifiers, d, sources: [a, b, c] },
                false => Op::Ternary { f, d, a, b, c },
            }),
            [a, b, c, e] => alu::quaternary(&full, ty).map(|f| Op::Quaternary { f, d, a, b, c, e }),
            _ => None,
        };
        let class = if is_float { Class::Float } else { Class::Integer };
        Ok(op.map(|op| (class, op)))
    }

    /// `mov`, also of what is packed: `{lo, hi}` on either side. (PTX ISA 8.7, section 9.7.9.5)
    fn mov(&mut self, ty: &str, d: &Operand, a: &Operand) -> Known {
        let Some(bits) = size_of(ty).filter(|size| *size > 1).map(|size| 8 * size as u32) else { return Ok(None) };
        let width = |parts: &[Operand]| {
            let fits = matches!(parts.len(), 2 | 4) && ty.starts_with('b');
            if fits { Ok(bits / parts.len() as u32) } else { Err("two or four parts of bits expected".to_owned()) }
        };
        let op = match (d, a) {
            (Operand::List(parts), _) => {
                Op::Unpack { width: width(parts)?, parts: self.list(d)?, a: self.immediate(a, ty)? }
            }
            (_, Operand::List(parts)) => {
                Op::Pack { width: width(parts)?, d: self.dest(d)?, parts: self.sources(a, ty)? }
            }
            _ => Op::Unary { f: |a| a, d: self.dest(d)?, a: self.immediate(a, ty)? },
        };
        Ok(Some((Class::Move, op)))
    }

    /// `cvta`: between generic addresses and those of a space. (PTX ISA 8.7, section 9.7.9.20)
    fn cvta(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        let [d, a] = operands else { return Ok(None) };
        let (to, space) = match words[1..] {
            ["to", space, "u64"] => (true, space),
            [space, "u64"] => (false, space),
            _ => return Ok(None),
        };
        let base = match space_of(space) {
            Some(Space::Shared) => window::SHARED,
            Some(Space::Local) => window::LOCAL,
            Some(Space::Param) => window::PARAM,
            // Global addresses and those of constants are the same everywhere.
            Some(Space::Global | Space::Const) => 0,
            _ => return Ok(None),
        };
        let b = Src::Imm(if to { base.wrapping_neg() } else { base });
        let op = Op::Binary { f: |a, b| a.wrapping_add(b), d: self.dest(d)?, a: self.src(a)?, b };
        Ok(Some((Class::Move, op)))
    }
}
