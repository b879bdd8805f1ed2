//! `mma`: shapes, and which element each register of each lane holds.
//!
//! (PTX ISA 8.7, sections 9.7.14.5.8 m16n8k16 for `.f16`, 9.7.14.5.9 for 8 bits, 9.7.14.5.10 m16n8k32, and 9.7.14.5.14 mma)

use crate::{
    alu::{Value, to_half},
    warp::Lanes,
};
use half::f16;

/// Elements of a matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Element {
    S8,
    U8,
    F16,
    F32,
    S32,
}

impl Element {
    pub fn from_name(name: &str) -> Option<Element> {
        Some(match name {
            "s8" => Element::S8,
            "u8" => Element::U8,
            "f16" => Element::F16,
            "f32" => Element::F32,
            "s32" => Element::S32,
            _ => return None,
        })
    }

    fn bits(self) -> usize {
        match self {
            Element::S8 | Element::U8 => 8,
            Element::F16 => 16,
            Element::F32 | Element::S32 => 32,
        }
    }
}

/// `D = A·B + C` with `A` `[16, k]`, `B` `[k, 8]`, `C` and `D` `[16, 8]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub k: usize,
    pub a: Element,
    pub b: Element,
    pub c: Element,
    pub d: Element,
    pub saturate: bool,
}

impl Shape {
    /// The shape of an opcode's words after `mma`, if it is one that is known here.
    pub fn from_words(words: &[&str]) -> Option<Shape> {
        let ["sync", "aligned", shape, "row", "col", rest @ ..] = words else { return None };
        let (saturate, rest) = match rest {
            ["satfinite", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let [d, a, b, c] = rest else { return None };
        let of = Element::from_name;
        let shape = Shape {
            k: shape.strip_prefix("m16n8k")?.parse().ok()?,
            a: of(a)?,
            b: of(b)?,
            c: of(c)?,
            d: of(d)?,
            saturate,
        };
        let eight = |e| matches!(e, Element::S8 | Element::U8);
        let is_int = eight(shape.a)
            && eight(shape.b)
            && matches!(shape.k, 16 | 32)
            && (shape.c, shape.d) == (Element::S32, Element::S32);
        let wide = |e| matches!(e, Element::F16 | Element::F32);
        let is_half = (shape.a, shape.b) == (Element::F16, Element::F16)
            && matches!(shape.k, 8 | 16)
            && wide(shape.c)
            && wide(shape.d)
            && !saturate;
        (is_int || is_half).then_some(shape)
    }

    /// Registers of a lane for `A`, `B`, `C` and `D`.
    pub fn registers(&self) -> [usize; 4] {
        let of = |elements: usize, element: Element| elements * element.bits() / 32 / 32;
        [of(16 * self.k, self.a), of(self.k * 8, self.b), of(128, self.c), of(128, self.d)]
    }

    /// Computes `D`'s registers, lane by lane, from those of `A`, `B` and `C`.
    pub fn apply(&self, a: &[Lanes], b: &[Lanes], c: &[Lanes]) -> Vec<Lanes> {
        if self.a == Element::F16 { self.halves(a, b, c) } else { self.bytes(a, b, c) }
    }

    fn bytes(&self, a: &[Lanes], b: &[Lanes], c: &[Lanes]) -> Vec<Lanes> {
        let value = |bits: u64, element| if element == Element::S8 { i32::from(bits as i8) } else { bits as i32 };
        let row = |row: usize| self.operand(|k| value(read(a, operand_a(row, k, 8), 8), self.a), 0);
        let column = |column: usize| self.operand(|k| value(read(b, operand_b(k, column, 8), 8), self.b), 0);
        let columns: [[i32; MOST_K]; 8] = std::array::from_fn(column);
        self.results(row, |x, at, column| {
            // Products of bytes, at most 32 of them, have room in 32 bits.
            let sum = x.iter().zip(&columns[column]).map(|(x, y)| x * y).sum::<i32>();
            let sum = i64::from(sum) + i64::from(read(c, at, 32) as i32);
            let sum = if self.saturate { sum.clamp(i32::MIN.into(), i32::MAX.into()) } else { sum };
            (sum as i32).bits()
        })
    }

    fn halves(&self, a: &[Lanes], b: &[Lanes], c: &[Lanes]) -> Vec<Lanes> {
        let value = |bits: u64| f16::of(bits).to_f64();
        let row = |row: usize| self.operand(|k| value(read(a, operand_a(row, k, 16), 16)), 0.0);
        let column = |column: usize| self.operand(|k| value(read(b, operand_b(k, column, 16), 16)), 0.0);
        let columns: [[f64; MOST_K]; 8] = std::array::from_fn(column);
        self.results(row, |x, at, column| {
            let start = match self.c {
                Element::F16 => value(read(c, at, 16)),
                _ => f64::from(f32::of(read(c, at, 32))),
            };
            // The order and width of the machine's sums are not specified. Here they have 64 bits, and are rounded to the result once more.
            let products = x.iter().zip(&columns[column]).take(self.k).map(|(x, y)| x * y);
            let sum = products.sum::<f64>() + start;
            if self.d == Element::F16 { to_half(sum).bits() } else { (sum as f32).bits() }
        })
    }

    /// A row of `A` or a column of `B`, with `zero` where it has ended.
    fn operand<T: Copy>(&self, value: impl Fn(usize) -> T, zero: T) -> [T; MOST_K] {
        std::array::from_fn(|k| if k < self.k { value(k) } else { zero })
    }

    /// `D`'s registers from its elements, given `A`'s row, where `C`'s element is, and the column.
    fn results<T>(&self, row: impl Fn(usize) -> T, element: impl Fn(&T, Place, usize) -> u64) -> Vec<Lanes> {
        let mut d = vec![[0; 32]; self.registers()[3]];
        for i in 0..16 {
            let row = row(i);
            for j in 0..8 {
                let bits = element(&row, accumulator(i, j, self.c.bits()), j);
                let (register, lane, shift) = accumulator(i, j, self.d.bits());
                d[register][lane] |= bits << shift;
            }
        }
        d
    }
}

/// The largest `k`.
const MOST_K: usize = 32;

/// Register, lane and lowest bit of an element.
pub(crate) type Place = (usize, usize, usize);

fn read(registers: &[Lanes], (register, lane, shift): Place, bits: usize) -> u64 {
    registers[register][lane] >> shift & ((1 << bits) - 1)
}

/// Where `A[row, k]` is. A lane of four in a group holds 32 bits of a row at a time; rows 8 to 15 come in the next register, and the second half
/// of `k` after both.
pub(crate) fn operand_a(row: usize, k: usize, bits: usize) -> Place {
    let each = 32 / bits;
    let (half, within) = (k / (4 * each), k % (4 * each));
    (row / 8 + 2 * half, row % 8 * 4 + within / each, within % each * bits)
}

/// Where `B[k, column]` is.
pub(crate) fn operand_b(k: usize, column: usize, bits: usize) -> Place {
    let each = 32 / bits;
    let (half, within) = (k / (4 * each), k % (4 * each));
    (half, column * 4 + within / each, within % each * bits)
}

/// Where `C[row, column]` is, and `D`'s.
pub(crate) fn accumulator(row: usize, column: usize, bits: usize) -> Place {
    let lane = row % 8 * 4 + column / 2;
    if bits == 16 { (row / 8, lane, column % 2 * 16) } else { (row / 8 * 2 + column % 2, lane, 0) }
}
