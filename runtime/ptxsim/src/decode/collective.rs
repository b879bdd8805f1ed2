//! What lanes, warps or a block do together. (PTX ISA 8.7, sections 9.7.9.6, 9.7.13 and 9.7.14)

use super::{Decoder, Known, half};
use crate::{
    alu,
    matrix::Shape,
    parse::Operand,
    program::{Class, Op, Shuffle, Vote},
};

impl Decoder<'_> {
    pub(super) fn collective(&mut self, words: &[&str], operands: &[Operand]) -> Known {
        Ok(match (words, operands) {
            (["bar", "warp", "sync"], [mask]) => Some((Class::Sync, Op::WarpBarrier { mask: self.src(mask)? })),
            // With a number of threads it waits for some of the block only.
            (
                ["bar" | "barrier", "sync"]
                | ["bar" | "barrier", "sync", "aligned"]
                | ["bar" | "barrier", "cta", "sync"]
                | ["bar" | "barrier", "cta", "sync", "aligned"],
                [id],
            ) => {
                if matches!(id, Operand::Int(id) if !(0..16).contains(id)) {
                    return Err("there are 16 barriers".to_owned());
                }
                Some((Class::Sync, Op::Barrier { id: self.src(id)? }))
            }
            (["membar", "cta" | "gl" | "sys"], []) => Some((Class::Sync, Op::Nop)),
            (["fence", rest @ ..], []) if is_fence(rest) => Some((Class::Sync, Op::Nop)),
            // Launches run one after the other here: that the next one may start changes nothing.
            (["griddepcontrol", "launch_dependents"], []) => Some((Class::Sync, Op::Nop)),
            (["griddepcontrol", "wait"], []) => Some((Class::Sync, Op::Depend)),
            (["shfl", "sync", how, "b32"], [d, a, b, c, mask]) => {
                let how = match *how {
                    "up" => Shuffle::Up,
                    "down" => Shuffle::Down,
                    "bfly" => Shuffle::Butterfly,
                    "idx" => Shuffle::Index,
                    _ => return Ok(None),
                };
                let (d, p) = match d {
                    Operand::Pair(d, p) => (self.dest(&half(d))?, Some(self.pred_dest(&half(p))?)),
                    d => (self.dest(d)?, None),
                };
                let mut src = |operand| self.immediate(operand, "b32");
                let (a, b, c, mask) = (src(a)?, src(b)?, src(c)?, src(mask)?);
                Some((Class::Warp, Op::Shuffle { how, d, p, a, b, c, mask }))
            }
            (["vote", "sync", "ballot", "b32"], [d, p, mask]) => {
                Some((Class::Warp, Op::Ballot { d: self.dest(d)?, p: self.pred(p)?, mask: self.src(mask)? }))
            }
            (["vote", "sync", how, "pred"], [d, p, mask]) => {
                let how = match *how {
                    "all" => Vote::All,
                    "any" => Vote::Any,
                    "uni" => Vote::Uniform,
                    _ => return Ok(None),
                };
                Some((Class::Warp, Op::Vote { how, d: self.pred_dest(d)?, p: self.pred(p)?, mask: self.src(mask)? }))
            }
            (["activemask", "b32"], [d]) => Some((Class::Warp, Op::ActiveMask { d: self.dest(d)? })),
            (["redux", "sync", f, ty], [d, a, mask]) => {
                let known = matches!((*f, *ty), ("add" | "min" | "max", "u32" | "s32") | ("and" | "or" | "xor", "b32"));
                let Some(f) = alu::binary(f, ty).filter(|_| known) else { return Ok(None) };
                let (d, a, mask) = (self.dest(d)?, self.immediate(a, ty)?, self.src(mask)?);
                Some((Class::Warp, Op::Reduce { f, d, a, mask }))
            }
            (["mma", rest @ ..], [d, a, b, c]) => {
                let Some(shape) = Shape::from_words(rest) else { return Ok(None) };
                let d = self.list(d)?;
                let mut sources = |operand| self.sources(operand, "b32");
                let (a, b, c) = (sources(a)?, sources(b)?, sources(c)?);
                let fits = [a.len(), b.len(), c.len(), d.len()] == shape.registers();
                fits.then_some((Class::Mma, Op::Mma { shape, d, a, b, c }))
            }
            _ => None,
        })
    }
}

/// Whether these words make a fence among threads; blocks run one after the other here, so it has nothing to do.
fn is_fence(words: &[&str]) -> bool {
    let words = match words {
        ["sc" | "acq_rel" | "acquire" | "release", rest @ ..] => rest,
        rest => rest,
    };
    matches!(words, ["cta" | "cluster" | "gpu" | "sys"])
}
