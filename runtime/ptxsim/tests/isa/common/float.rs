//! Floats by their definition (IEEE 754-2019, sections 3.3, 3.4 and 4.3): whole numbers times powers of two, no arithmetic of floats.

/// A format: bits of its fraction, and bias of its exponent.
#[derive(Clone, Copy)]
pub struct Format {
    pub fraction: u32,
    pub bias: i32,
}

pub const F16: Format = Format { fraction: 10, bias: 15 };
pub const F32: Format = Format { fraction: 23, bias: 127 };
pub const F64: Format = Format { fraction: 52, bias: 1023 };

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mode {
    Even,
    Zero,
    Down,
    Up,
}

/// Modes and their names in PTX.
pub const MODES: [(&str, Mode); 4] = [("rn", Mode::Even), ("rz", Mode::Zero), ("rm", Mode::Down), ("rp", Mode::Up)];

/// A value: `whole · 2^power`; zeros have a sign.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Exact {
    pub negative: bool,
    pub whole: u128,
    pub power: i32,
}

impl Format {
    fn sign(self) -> u64 {
        (self.infinity() + (1 << self.fraction)) & !self.infinity()
    }

    pub fn infinity(self) -> u64 {
        (2 * self.bias as u64 + 1) << self.fraction
    }

    pub fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign() - 1) > self.infinity()
    }

    pub fn is_infinite(self, bits: u64) -> bool {
        bits & (self.sign() - 1) == self.infinity()
    }

    pub fn is_negative(self, bits: u64) -> bool {
        bits & self.sign() != 0
    }

    pub fn is_subnormal(self, bits: u64) -> bool {
        let size = bits & (self.sign() - 1);
        size != 0 && size >> self.fraction == 0
    }

    /// The value of finite bits.
    pub fn exact(self, bits: u64) -> Exact {
        let size = bits & (self.sign() - 1);
        let (field, fraction) = ((size >> self.fraction) as i32, size & ((1 << self.fraction) - 1));
        let hidden = if field == 0 { 0 } else { 1u64 << self.fraction };
        let power = field.max(1) - self.bias - self.fraction as i32;
        Exact { negative: self.is_negative(bits), whole: (hidden | fraction).into(), power }
    }

    /// The bits of what a value is rounded to.
    pub fn round(self, mode: Mode, value: Exact) -> u64 {
        let Exact { negative, whole, power } = value;
        let sign = if negative { self.sign() } else { 0 };
        if whole == 0 {
            return sign;
        }
        let top = 127 - whole.leading_zeros() as i32 + power;
        // The power of two of the last place.
        let last = top.max(1 - self.bias) - self.fraction as i32;
        let steps = divide(mode, value, last);
        let field = if top < 1 - self.bias { 0 } else { (top + self.bias - 1) as u64 };
        let bits = (field << self.fraction) + steps as u64;
        if bits < self.infinity() {
            return sign | bits;
        }
        // Beyond the largest: what rounds towards zero stays there.
        match (mode, negative) {
            (Mode::Zero, _) | (Mode::Down, false) | (Mode::Up, true) => sign | (self.infinity() - 1),
            _ => sign | self.infinity(),
        }
    }
}

/// The size of a value in units of `2^last`, rounded to a whole number.
pub fn divide(mode: Mode, value: Exact, last: i32) -> u128 {
    let shift = last - value.power;
    if shift <= 0 {
        return value.whole << -shift;
    }
    let (steps, rest, half) = match shift {
        1..=126 => (value.whole >> shift, value.whole & ((1 << shift) - 1), 1u128 << (shift - 1)),
        _ => (0, value.whole.min(1), 2),
    };
    let up = match mode {
        Mode::Even => rest > half || rest == half && steps % 2 == 1,
        Mode::Zero => false,
        Mode::Down => rest != 0 && value.negative,
        Mode::Up => rest != 0 && !value.negative,
    };
    steps + u128::from(up)
}

/// Sum of two values. A sum of zero is +0 but of two negative zeros.
pub fn add(a: Exact, b: Exact) -> Exact {
    let power = a.power.min(b.power);
    let at = |x: Exact| {
        let size = (x.whole as i128) << (x.power - power);
        assert_eq!(size >> (x.power - power), x.whole as i128, "the test's numbers are too far apart");
        if x.negative { -size } else { size }
    };
    let sum = at(a) + at(b);
    let negative = if sum == 0 { a.negative && b.negative } else { sum < 0 };
    Exact { negative, whole: sum.unsigned_abs(), power }
}

pub fn multiply(a: Exact, b: Exact) -> Exact {
    Exact { negative: a.negative != b.negative, whole: a.whole * b.whole, power: a.power + b.power }
}
