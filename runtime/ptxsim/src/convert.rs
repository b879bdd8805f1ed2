//! `cvt`. (PTX ISA 8.7, section 9.7.9.21)

use crate::alu::{Value, to_half};
use half::f16;

/// A type that is converted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Signed(u32),
    Unsigned(u32),
    F16,
    F32,
    F64,
}

impl Kind {
    pub fn from_name(name: &str) -> Option<Kind> {
        Some(match name {
            "f16" => Kind::F16,
            "f32" => Kind::F32,
            "f64" => Kind::F64,
            "s8" | "s16" | "s32" | "s64" => Kind::Signed(name[1..].parse().ok()?),
            "u8" | "u16" | "u32" | "u64" => Kind::Unsigned(name[1..].parse().ok()?),
            _ => return None,
        })
    }

    fn bits(self) -> u32 {
        match self {
            Kind::Signed(bits) | Kind::Unsigned(bits) => bits,
            Kind::F16 => 16,
            Kind::F32 => 32,
            Kind::F64 => 64,
        }
    }

    fn is_int(self) -> bool {
        matches!(self, Kind::Signed(_) | Kind::Unsigned(_))
    }
}

/// How a value is rounded: to nearest, ties to even; towards zero; down; up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Round {
    Even,
    Zero,
    Down,
    Up,
}

/// A conversion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Conversion {
    pub from: Kind,
    pub to: Kind,
    /// How a float is rounded to a whole number, or a number to a float.
    pub round: Option<Round>,
    /// Whether rounding gives whole numbers.
    pub whole: bool,
    pub saturate: bool,
    pub flush: bool,
}

impl Conversion {
    /// Whether it is defined, and done here.
    pub fn is_known(&self) -> bool {
        match (self.from.is_int(), self.to.is_int()) {
            (true, true) => self.round.is_none() && !self.flush,
            (false, true) => self.whole,
            // Roundings other than to nearest are done for what is common only.
            (true, false) => {
                !self.whole && (self.round == Some(Round::Even) || self.round.is_some() && self.to == Kind::F32)
            }
            (false, false) if self.from == self.to => self.whole || self.round.is_none(),
            (false, false) if self.from.bits() < self.to.bits() => self.round.is_none(),
            (false, false) => self.round == Some(Round::Even) && !self.whole,
        }
    }

    /// The bits of the result; a signed one is extended to 64 bits.
    pub fn apply(&self, bits: u64) -> u64 {
        if self.from.is_int() {
            let value: i128 = match self.from {
                Kind::Signed(width) => i128::from((bits << (64 - width)) as i64 >> (64 - width)),
                Kind::Unsigned(width) => i128::from(bits & (u64::MAX >> (64 - width))),
                _ => unreachable!("a whole number"),
            };
            return match self.to {
                Kind::Signed(_) | Kind::Unsigned(_) if self.saturate => clamp(value, self.to),
                Kind::Signed(width) => (((value as i64) << (64 - width)) >> (64 - width)) as u64,
                Kind::Unsigned(width) => value as u64 & (u64::MAX >> (64 - width)),
                Kind::F16 => to_half(value as f64).bits(),
                Kind::F32 => to_f32(value, self.round.unwrap_or(Round::Even)).bits(),
                Kind::F64 => (value as f64).bits(),
            };
        }
        let value = match self.from {
            Kind::F16 => f16::of(bits).to_f64(),
            Kind::F32 => {
                let value = f32::of(bits);
                f64::from(if self.flush && value.is_subnormal() { 0.0f32.copysign(value) } else { value })
            }
            _ => f64::of(bits),
        };
        let value = match self.round.filter(|_| self.whole || self.to.is_int()) {
            None => value,
            Some(Round::Even) => value.round_ties_even(),
            Some(Round::Zero) => value.trunc(),
            Some(Round::Down) => value.floor(),
            Some(Round::Up) => value.ceil(),
        };
        // What is no number saturates to 0, and so does −0.
        let value = match self.saturate && !self.to.is_int() {
            true if value > 0.0 => value.min(1.0),
            true => 0.0,
            false => value,
        };
        match self.to {
            Kind::F16 => to_half(value).bits(),
            Kind::F32 => {
                let value = value as f32;
                (if self.flush && value.is_subnormal() { 0.0f32.copysign(value) } else { value }).bits()
            }
            Kind::F64 => value.bits(),
            Kind::Signed(width) | Kind::Unsigned(width) if value.is_nan() => {
                if self.from == Kind::F64 || width == 64 {
                    // Its highest bit alone, extended where that is a sign.
                    let bits = 1u64 << (width - 1);
                    if matches!(self.to, Kind::Signed(_)) { bits.wrapping_neg() } else { bits }
                } else {
                    0
                }
            }
            to => clamp(value as i128, to),
        }
    }
}

fn clamp(value: i128, to: Kind) -> u64 {
    match to {
        Kind::Signed(width) => value.clamp(-(1 << (width - 1)), (1 << (width - 1)) - 1) as i64 as u64,
        Kind::Unsigned(width) => value.clamp(0, (1i128 << width) - 1) as u64,
        _ => unreachable!("a whole number"),
    }
}

fn to_f32(value: i128, round: Round) -> f32 {
    let nearest = value as f32;
    let exact = nearest as i128;
    let step = |up: bool| {
        let bits = nearest.to_bits();
        f32::from_bits(if (nearest > 0.0) == up { bits + 1 } else { bits - 1 })
    };
    match round {
        Round::Down if exact > value => step(false),
        Round::Up if exact < value => step(true),
        Round::Zero if exact.abs() > value.abs() => step(value < 0),
        _ => nearest,
    }
}
