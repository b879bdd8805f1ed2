//! Arithmetic: what each instruction gives for the bits of its operands.
//!
//! A register is 64 bits wide here, and a value of fewer bits has zeros above. (PTX ISA 8.7, sections 9.7.1 to 9.7.9)

use half::f16;

pub(crate) type Fn1 = fn(u64) -> u64;
pub(crate) type Fn2 = fn(u64, u64) -> u64;
pub(crate) type Fn3 = fn(u64, u64, u64) -> u64;
pub(crate) type Fn4 = fn(u64, u64, u64, u64) -> u64;
pub(crate) type Compare = fn(u64, u64) -> bool;

/// A value of a type, as the low bits of a register.
pub(crate) trait Value: Copy {
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

macro_rules! values {
    ($($ty:ty => $unsigned:ty),*) => { $(impl Value for $ty {
        fn of(bits: u64) -> $ty { bits as $ty }
        fn bits(self) -> u64 { self as $unsigned as u64 }
    })* };
}

values!(u8 => u8, i8 => u8, u16 => u16, i16 => u16, u32 => u32, i32 => u32, u64 => u64, i64 => u64);

impl Value for f32 {
    fn of(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
    fn bits(self) -> u64 {
        // Any NaN that arithmetic gives is the canonical one.
        if self.is_nan() { 0x7fff_ffff } else { self.to_bits().into() }
    }
}

impl Value for f64 {
    fn of(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

impl Value for f16 {
    fn of(bits: u64) -> f16 {
        f16::from_bits(bits as u16)
    }
    fn bits(self) -> u64 {
        if self.is_nan() { 0x7fff } else { self.to_bits().into() }
    }
}

/// A function of values of a type, given by its name, as one of registers: `$T` stands for the type.
macro_rules! by_type {
    ($ty:expr, [$($types:tt)*], $T:ident, |$($arg:ident),*| $body:expr) => {
        by_type!(@match $ty, [$($types)*], $T, ($($arg),*), $body)
    };
    (@match $ty:expr, [$($name:literal: $t:ty),*], $T:ident, $args:tt, $body:expr) => {
        match $ty {
            $($name => by_type!(@arm $t, $T, $args, $body),)*
            _ => None,
        }
    };
    (@arm $t:ty, $T:ident, ($($arg:ident),*), $body:expr) => {{
        type $T = $t;
        let f: fn($(by_type!(@bits $arg)),*) -> u64 = |$($arg),*| { $(let $arg = <$T>::of($arg);)* Value::bits($body) };
        Some(f)
    }};
    (@bits $arg:ident) => { u64 };
}

macro_rules! ints {
    ($ty:expr, $T:ident, |$($arg:ident),*| $body:expr) => {
        by_type!($ty, ["u16": u16, "s16": i16, "u32": u32, "s32": i32, "u64": u64, "s64": i64], $T, |$($arg),*| $body)
    };
}

/// Those whose products fit 128 bits with a sign.
macro_rules! narrow {
    ($ty:expr, $T:ident, |$($arg:ident),*| $body:expr) => {
        by_type!($ty, ["u16": u16, "s16": i16, "u32": u32, "s32": i32, "s64": i64], $T, |$($arg),*| $body)
    };
}

/// Those whose values are but bits.
macro_rules! bits {
    ($ty:expr, $T:ident, |$($arg:ident),*| $body:expr) => {
        by_type!($ty, ["b16": u16, "b32": u32, "b64": u64], $T, |$($arg),*| $body)
    };
}

macro_rules! floats {
    ($ty:expr, |$($arg:ident),*| $body:expr) => { by_type!($ty, ["f32": f32, "f64": f64], T, |$($arg),*| $body) };
}

/// A function of halves, or of each of two.
macro_rules! halves {
    ($ty:expr, |$($arg:ident),*| $body:expr) => {{
        let one: fn($(by_type!(@bits $arg)),*) -> u64 = |$($arg),*| { $(let $arg = f16::of($arg);)* Value::bits($body) };
        let two: fn($(by_type!(@bits $arg)),*) -> u64 = |$($arg),*| {
            let low = { $(let $arg = f16::of($arg);)* Value::bits($body) };
            let high = { $(let $arg = f16::of($arg >> 16);)* Value::bits($body) };
            low | high << 16
        };
        match $ty {
            "f16" => Some(one),
            "f16x2" => Some(two),
            _ => None,
        }
    }};
}

/// Pairs of 16 bits, each half on its own.
fn pairs(op: &str, ty: &str) -> Option<Fn2> {
    fn each(a: u64, b: u64, f: impl Fn(u16, u16) -> u16) -> u64 {
        u64::from(f(a as u16, b as u16)) | u64::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16
    }
    match (op, ty) {
        ("add", "s16x2" | "u16x2") => Some(|a, b| each(a, b, u16::wrapping_add)),
        ("min", "u16x2") => Some(|a, b| each(a, b, u16::min)),
        ("max", "u16x2") => Some(|a, b| each(a, b, u16::max)),
        ("min", "s16x2") => Some(|a, b| each(a, b, |x, y| (x as i16).min(y as i16) as u16)),
        ("max", "s16x2") => Some(|a, b| each(a, b, |x, y| (x as i16).max(y as i16) as u16)),
        _ => None,
    }
}

/// The lesser of two, or what is a number; −0 is less than 0.
macro_rules! lesser {
    ($a:expr, $b:expr, $less:tt) => {{
        let (a, b) = ($a, $b);
        if a.is_nan() { b } else if b.is_nan() { a }
        else if a == b { if a.is_sign_negative() == (0 $less 1) { a } else { b } }
        else if a $less b { a } else { b }
    }};
}

/// Instructions of one operand.
pub(crate) fn unary(op: &str, ty: &str) -> Option<Fn1> {
    match op {
        "mov" => Some(|a| a),
        "not" => bits!(ty, T, |a| !a),
        "cnot" => bits!(ty, T, |a| T::from(a == 0)),
        "neg" => by_type!(ty, ["s16": i16, "s32": i32, "s64": i64], T, |a| a.wrapping_neg())
            .or_else(|| floats!(ty, |a| -a))
            .or_else(|| halves!(ty, |a| -a)),
        "abs" => by_type!(ty, ["s16": i16, "s32": i32, "s64": i64], T, |a| a.wrapping_abs())
            .or_else(|| floats!(ty, |a| a.abs()))
            .or_else(|| halves!(ty, |a| f16::from_bits(a.to_bits() & 0x7fff))),
        "popc" => by_type!(ty, ["b32": u32, "b64": u64], T, |a| a.count_ones()),
        "clz" => by_type!(ty, ["b32": u32, "b64": u64], T, |a| a.leading_zeros()),
        "brev" => by_type!(ty, ["b32": u32, "b64": u64], T, |a| a.reverse_bits()),
        // The most significant bit that is no sign; `-1` where there is none.
        "bfind" => by_type!(ty, ["u32": u32, "u64": u64], T, |a| (T::BITS - 1).wrapping_sub(a.leading_zeros()))
            .or_else(|| {
                by_type!(ty, ["s32": i32, "s64": i64], T, |a| {
                    (T::BITS - 1).wrapping_sub((a ^ (a >> (T::BITS - 1))).leading_zeros())
                })
            }),
        "sqrt" => floats!(ty, |a| a.sqrt()),
        "rcp" => floats!(ty, |a| 1.0 / a),
        "rsqrt" => by_type!(ty, ["f32": f32], T, |a| (1.0 / f64::from(a).sqrt()) as f32)
            .or_else(|| by_type!(ty, ["f64": f64], T, |a| 1.0 / a.sqrt())),
        "ex2" => by_type!(ty, ["f32": f32], T, |a| f64::from(a).exp2() as f32),
        "lg2" => by_type!(ty, ["f32": f32], T, |a| f64::from(a).log2() as f32),
        "sin" => by_type!(ty, ["f32": f32], T, |a| f64::from(a).sin() as f32),
        "cos" => by_type!(ty, ["f32": f32], T, |a| f64::from(a).cos() as f32),
        "tanh" => by_type!(ty, ["f32": f32], T, |a| f64::from(a).tanh() as f32),
        _ => None,
    }
}

/// Instructions of two operands.
pub(crate) fn binary(op: &str, ty: &str) -> Option<Fn2> {
    if ty.ends_with("16x2") && !ty.starts_with('f') {
        return pairs(op, ty);
    }
    match op {
        "add" => ints!(ty, T, |a, b| a.wrapping_add(b))
            .or_else(|| floats!(ty, |a, b| a + b))
            .or_else(|| halves!(ty, |a, b| a + b)),
        "add.sat" => by_type!(ty, ["s32": i32], T, |a, b| a.saturating_add(b)),
        "sub" => ints!(ty, T, |a, b| a.wrapping_sub(b))
            .or_else(|| floats!(ty, |a, b| a - b))
            .or_else(|| halves!(ty, |a, b| a - b)),
        "sub.sat" => by_type!(ty, ["s32": i32], T, |a, b| a.saturating_sub(b)),
        "mul" => floats!(ty, |a, b| a * b).or_else(|| halves!(ty, |a, b| a * b)),
        "mul.lo" => ints!(ty, T, |a, b| a.wrapping_mul(b)),
        "mul.hi" => narrow!(ty, T, |a, b| ((i128::from(a) * i128::from(b)) >> T::BITS) as T)
            .or_else(|| by_type!(ty, ["u64": u64], T, |a, b| ((u128::from(a) * u128::from(b)) >> 64) as T)),
        "mul.wide" => match ty {
            "u16" => Some(|a, b| (u32::from(a as u16) * u32::from(b as u16)).bits()),
            "s16" => Some(|a, b| (i32::from(a as i16) * i32::from(b as i16)).bits()),
            "u32" => Some(|a, b| u64::from(a as u32) * u64::from(b as u32)),
            "s32" => Some(|a, b| (i64::from(a as i32) * i64::from(b as i32)).bits()),
            _ => None,
        },
        // What a division by zero gives is not defined; the machine's quotient has all bits set.
        "div" => ints!(ty, T, |a, b| if b == 0 { !0 } else { a.wrapping_div(b) }).or_else(|| floats!(ty, |a, b| a / b)),
        "rem" => ints!(ty, T, |a, b| if b == 0 { a } else { a.wrapping_rem(b) }),
        "min" => ints!(ty, T, |a, b| a.min(b))
            .or_else(|| floats!(ty, |a, b| lesser!(a, b, <)))
            .or_else(|| halves!(ty, |a, b| lesser!(a, b, <))),
        "max" => ints!(ty, T, |a, b| a.max(b))
            .or_else(|| floats!(ty, |a, b| lesser!(a, b, >)))
            .or_else(|| halves!(ty, |a, b| lesser!(a, b, >))),
        "and" => bits!(ty, T, |a, b| a & b),
        "or" => bits!(ty, T, |a, b| a | b),
        "xor" => bits!(ty, T, |a, b| a ^ b),
        // The amount is 32 bits of any type, and what is shifted out is lost.
        "shl" => match ty {
            "b16" => Some(|a, n| (u64::from(a as u16) << (n as u32).min(32)) & 0xffff),
            "b32" => Some(|a, n| u64::from(a as u32).checked_shl(n as u32).unwrap_or(0) & 0xffff_ffff),
            "b64" => Some(|a, n| a.checked_shl(n as u32).unwrap_or(0)),
            _ => None,
        },
        "shr" => match ty {
            "u16" | "b16" => Some(|a, n| u64::from(a as u16) >> (n as u32).min(63)),
            "s16" => Some(|a, n| (a as i16 >> (n as u32).min(15)).bits()),
            "u32" | "b32" => Some(|a, n| u64::from(a as u32) >> (n as u32).min(63)),
            "s32" => Some(|a, n| (a as i32 >> (n as u32).min(31)).bits()),
            "u64" | "b64" => Some(|a, n| a.checked_shr(n as u32).unwrap_or(0)),
            "s64" => Some(|a, n| (a as i64 >> (n as u32).min(63)).bits()),
            _ => None,
        },
        _ => None,
    }
}

/// Instructions of three operands.
pub(crate) fn ternary(op: &str, ty: &str) -> Option<Fn3> {
    match op {
        "mad.lo" => ints!(ty, T, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        "mad.hi" => narrow!(ty, T, |a, b, c| (((i128::from(a) * i128::from(b)) >> T::BITS) as T).wrapping_add(c))
            .or_else(|| {
                by_type!(ty, ["u64": u64], T, |a, b, c| {
                    (((u128::from(a) * u128::from(b)) >> 64) as T).wrapping_add(c)
                })
            }),
        "mad.wide" => match ty {
            "u16" => Some(|a, b, c| (u32::from(a as u16) * u32::from(b as u16)).wrapping_add(c as u32).bits()),
            "s16" => Some(|a, b, c| (i32::from(a as i16) * i32::from(b as i16)).wrapping_add(c as i32).bits()),
            "u32" => Some(|a, b, c| (u64::from(a as u32) * u64::from(b as u32)).wrapping_add(c)),
            "s32" => Some(|a, b, c| (i64::from(a as i32) * i64::from(b as i32)).wrapping_add(c as i64).bits()),
            _ => None,
        },
        "fma" => floats!(ty, |a, b, c| a.mul_add(b, c)).or_else(|| halves!(ty, |a, b, c| fused(a, b, c))),
        "sad" => ints!(ty, T, |a, b, c| c.wrapping_add(a.abs_diff(b) as T)),
        "bfe" => match ty {
            "u32" => Some(|a, start, n| extract(u64::from(a as u32), start, n, 32, false)),
            "s32" => Some(|a, start, n| extract(a as i32 as i64 as u64, start, n, 32, true)),
            "u64" => Some(|a, start, n| extract(a, start, n, 64, false)),
            "s64" => Some(|a, start, n| extract(a, start, n, 64, true)),
            _ => None,
        },
        "prmt" if ty == "b32" => Some(permute as Fn3),
        _ if op.starts_with("shf.") && ty != "b32" => None,
        "shf.l.wrap" => Some(|a, b, n| (join(a, b) << (n & 31)) >> 32),
        "shf.l.clamp" => Some(|a, b, n| (u128::from(join(a, b)) << (n as u32).min(32) >> 32) as u32 as u64),
        "shf.r.wrap" => Some(|a, b, n| (join(a, b) >> (n & 31)) & 0xffff_ffff),
        "shf.r.clamp" => Some(|a, b, n| (join(a, b) >> (n as u32).min(32)) & 0xffff_ffff),
        "dp4a.s32.s32" => Some(|a, b, c| dot(a, b, c, |x| x as i8 as i32, |y| y as i8 as i32)),
        "dp4a.u32.u32" => Some(|a, b, c| dot(a, b, c, |x| x as u8 as i32, |y| y as u8 as i32)),
        "dp4a.u32.s32" => Some(|a, b, c| dot(a, b, c, |x| x as u8 as i32, |y| y as i8 as i32)),
        "dp4a.s32.u32" => Some(|a, b, c| dot(a, b, c, |x| x as i8 as i32, |y| y as u8 as i32)),
        _ => None,
    }
}

/// Instructions of four operands.
pub(crate) fn quaternary(op: &str, ty: &str) -> Option<Fn4> {
    match (op, ty) {
        ("lop3", "b32") => Some(|a, b, c, table| {
            let minterm = |i: u64| {
                let of = |x: u64, bit: u64| if i & bit != 0 { x } else { !x };
                if table & (1 << i) != 0 { of(a, 4) & of(b, 2) & of(c, 1) } else { 0 }
            };
            (0..8).map(minterm).fold(0, |all, one| all | one) & 0xffff_ffff
        }),
        ("bfi", "b32") => Some(|a, b, start, n| insert(a, b, start, n, 32) & 0xffff_ffff),
        ("bfi", "b64") => Some(|a, b, start, n| insert(a, b, start, n, 64)),
        _ => None,
    }
}

/// Comparisons. (PTX ISA 8.7, section 9.7.6)
pub(crate) fn compare(op: &str, ty: &str) -> Option<Compare> {
    // Of whole numbers without sign these are the older names.
    let op = match (op, ty.get(..1).unwrap_or("")) {
        ("lo", "u") => "lt",
        ("ls", "u") => "le",
        ("hi", "u") => "gt",
        ("hs", "u") => "ge",
        (op, "b") if !matches!(op, "eq" | "ne") => return None,
        _ => op,
    };
    macro_rules! ordered {
        ($t:ty) => {
            match op {
                "eq" => Some((|a, b| <$t>::of(a) == <$t>::of(b)) as Compare),
                "ne" => Some(|a, b| <$t>::of(a) != <$t>::of(b)),
                "lt" => Some(|a, b| <$t>::of(a) < <$t>::of(b)),
                "le" => Some(|a, b| <$t>::of(a) <= <$t>::of(b)),
                "gt" => Some(|a, b| <$t>::of(a) > <$t>::of(b)),
                "ge" => Some(|a, b| <$t>::of(a) >= <$t>::of(b)),
                _ => None,
            }
        };
    }
    // Those with `u` hold where an operand is no number, the others do not.
    macro_rules! float {
        ($t:ty) => {
            match op {
                "equ" => Some((|a, b| unordered::<$t>(a, b) || <$t>::of(a) == <$t>::of(b)) as Compare),
                "neu" => Some(|a, b| <$t>::of(a) != <$t>::of(b)),
                "ne" => Some(|a, b| !unordered::<$t>(a, b) && <$t>::of(a) != <$t>::of(b)),
                "ltu" => Some(|a, b| unordered::<$t>(a, b) || <$t>::of(a) < <$t>::of(b)),
                "leu" => Some(|a, b| unordered::<$t>(a, b) || <$t>::of(a) <= <$t>::of(b)),
                "gtu" => Some(|a, b| unordered::<$t>(a, b) || <$t>::of(a) > <$t>::of(b)),
                "geu" => Some(|a, b| unordered::<$t>(a, b) || <$t>::of(a) >= <$t>::of(b)),
                "num" => Some(|a, b| !unordered::<$t>(a, b)),
                "nan" => Some(|a, b| unordered::<$t>(a, b)),
                _ => ordered!($t),
            }
        };
    }
    match ty {
        "u16" | "b16" => ordered!(u16),
        "s16" => ordered!(i16),
        "u32" | "b32" => ordered!(u32),
        "s32" => ordered!(i32),
        "u64" | "b64" => ordered!(u64),
        "s64" => ordered!(i64),
        "f32" => float!(f32),
        "f64" => float!(f64),
        "f16" => float!(f16),
        _ => None,
    }
}

/// Whether one of two is no number: it does not even equal itself.
#[allow(clippy::eq_op)]
fn unordered<T: Value + PartialEq>(a: u64, b: u64) -> bool {
    T::of(a) != T::of(a) || T::of(b) != T::of(b)
}

fn join(low: u64, high: u64) -> u64 {
    (high & 0xffff_ffff) << 32 | low & 0xffff_ffff
}

/// `bfe`: `n` bits from `start`; what lies beyond the most significant is its sign's.
fn extract(a: u64, start: u64, n: u64, width: u64, signed: bool) -> u64 {
    let (start, n) = (start & 0xff, n & 0xff);
    let mask = if width == 64 { u64::MAX } else { 0xffff_ffff };
    if n == 0 {
        return 0;
    }
    let bit = |i: u64| (a >> i.min(width - 1)) & 1;
    let sign = if signed { bit((start + n - 1).min(width - 1)) } else { 0 };
    let of = |i: u64| if i < n && start + i < width { bit(start + i) } else { sign };
    (0..width).fold(0, |all, i| all | of(i) << i) & mask
}

/// `bfi`: `a`'s low `n` bits in `b` from `start`.
fn insert(a: u64, b: u64, start: u64, n: u64, width: u64) -> u64 {
    let (start, n) = (start & 0xff, n & 0xff);
    (0..n.min(width)).filter(|i| start + i < width).fold(b, |all, i| {
        let at = start + i;
        all & !(1 << at) | ((a >> i) & 1) << at
    })
}

/// `prmt` without mode: four bytes of eight, each with its sign alone where its selector's bit 3 is set.
fn permute(a: u64, b: u64, selectors: u64) -> u64 {
    let bytes = join(a, b).to_le_bytes();
    let pick = |i: u64| {
        let selector = selectors >> (4 * i);
        let byte = bytes[(selector & 7) as usize];
        let byte = if selector & 8 != 0 { (byte as i8 >> 7) as u8 } else { byte };
        u64::from(byte) << (8 * i)
    };
    (0..4).map(pick).sum()
}

fn dot(a: u64, b: u64, c: u64, x: fn(u64) -> i32, y: fn(u64) -> i32) -> u64 {
    let product = |i: u64| x(a >> (8 * i)).wrapping_mul(y(b >> (8 * i)));
    (0..4).map(product).fold(c as i32, i32::wrapping_add).bits()
}

/// `a·b + c` of halves with one rounding. The product is exact in 64 bits; a sum that is not is rounded to odd, which a second rounding to
/// far fewer bits cannot tell from the exact one. (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008)
fn fused(a: f16, b: f16, c: f16) -> f16 {
    let (product, c) = (a.to_f64() * b.to_f64(), c.to_f64());
    let sum = product + c;
    let rest = sum - product;
    let error = (product - (sum - rest)) + (c - rest);
    let is_exact = error == 0.0 || !sum.is_finite() || sum.to_bits() & 1 == 1;
    let odd = match (error > 0.0) == (sum > 0.0) {
        true => f64::from_bits(sum.to_bits() + 1),
        false => f64::from_bits(sum.to_bits() - 1),
    };
    to_half(if is_exact { sum } else { odd })
}

/// The nearest half, ties to even. (`half` cuts a double's low bits before it rounds, and so takes what is just above a tie for one.)
pub(crate) fn to_half(value: f64) -> f16 {
    let (sign, size) = (if value.is_sign_negative() { 0x8000 } else { 0 }, value.abs());
    let bits = if value.is_nan() {
        0x7fff
    } else if size >= 65520.0 {
        sign | 0x7c00
    } else {
        // Halves are multiples of 2^(exponent - 10), and below 2^-14 of 2^-24. Both the scaling and the sum are exact.
        let exponent = ((size.to_bits() >> 52) as i32 - 1023).max(-14);
        let steps = (size * 2f64.powi(10 - exponent)).round_ties_even() as i32;
        sign | (steps + ((exponent + 14) << 10)) as u16
    };
    f16::from_bits(bits)
}
