//! Integer arithmetic. (PTX ISA 8.7, section 9.7.1)

use crate::common::{INTS, Int, check, cut, operands};

/// Checks an instruction of two operands of each type.
fn each(name: &str, types: &[Int], f: impl Fn(Int, i128, i128) -> Option<i128>) {
    for &ty in types {
        let rows = operands(&[ty.width; 2], 200);
        let rows: Vec<Vec<u64>> =
            rows.into_iter().filter(|row| f(ty, ty.of(row[0]), ty.of(row[1])).is_some()).collect();
        let expected = |row: &[u64]| cut(ty.width, f(ty, ty.of(row[0]), ty.of(row[1])).expect("defined"));
        check(&format!("{name}.{}", ty.name), &[ty.register(); 2], ty.register(), &rows, expected);
    }
}

#[test]
fn sums_products_and_quotients() {
    each("add", &INTS, |_, a, b| Some(a + b));
    each("sub", &INTS, |_, a, b| Some(a - b));
    each("mul.lo", &INTS, |_, a, b| Some(a.wrapping_mul(b)));
    each("min", &INTS, |_, a, b| Some(a.min(b)));
    each("max", &INTS, |_, a, b| Some(a.max(b)));
    // The quotient is cut towards zero, the remainder has the sign of the dividend; by zero there is none.
    each("div", &INTS, |_, a, b| (b != 0).then(|| a / b));
    each("rem", &INTS, |_, a, b| (b != 0).then(|| a - a / b * b));
}

#[test]
fn upper_halves_of_products() {
    each("mul.hi", &INTS[..4], |ty, a, b| Some((a * b) >> ty.width));
    each("mul.hi", &INTS[5..], |ty, a, b| Some((a * b) >> ty.width));
    // Of 64 bits without sign by halves, as on paper.
    let high = |a: u64, b: u64| {
        let (a1, a0, b1, b0) = (a >> 32, a & 0xffff_ffff, b >> 32, b & 0xffff_ffff);
        let middle = a1 * b0 + ((a0 * b0) >> 32);
        let other = a0 * b1 + (middle & 0xffff_ffff);
        a1 * b1 + (middle >> 32) + (other >> 32)
    };
    check("mul.hi.u64", &["b64"; 2], "b64", &operands(&[64; 2], 300), |row| high(row[0], row[1]));
    check("mad.hi.u64", &["b64"; 3], "b64", &operands(&[64; 3], 300), |row| high(row[0], row[1]).wrapping_add(row[2]));
}

#[test]
fn products_of_twice_the_bits() {
    for (ty, wide) in [(INTS[0], INTS[2]), (INTS[1], INTS[3]), (INTS[2], INTS[4]), (INTS[3], INTS[5])] {
        let (narrow, register) = (ty.register(), wide.register());
        let product = |row: &[u64]| ty.of(row[0]) * ty.of(row[1]);
        let rows = operands(&[ty.width; 2], 200);
        check(&format!("mul.wide.{}", ty.name), &[narrow; 2], register, &rows, |row| cut(wide.width, product(row)));
        let rows = operands(&[ty.width, ty.width, wide.width], 200);
        let expected = |row: &[u64]| cut(wide.width, product(row) + wide.of(row[2]));
        check(&format!("mad.wide.{}", ty.name), &[narrow, narrow, register], register, &rows, expected);
    }
}

#[test]
fn products_and_sums() {
    for ty in INTS {
        let rows = operands(&[ty.width; 3], 200);
        let of = |row: &[u64]| [ty.of(row[0]), ty.of(row[1]), ty.of(row[2])];
        check(&format!("mad.lo.{}", ty.name), &[ty.register(); 3], ty.register(), &rows, |row| {
            let [a, b, c] = of(row);
            cut(ty.width, a.wrapping_mul(b).wrapping_add(c))
        });
        check(&format!("sad.{}", ty.name), &[ty.register(); 3], ty.register(), &rows, |row| {
            let [a, b, c] = of(row);
            cut(ty.width, c + (a - b).abs())
        });
        if ty.name != "u64" {
            check(&format!("mad.hi.{}", ty.name), &[ty.register(); 3], ty.register(), &rows, |row| {
                let [a, b, c] = of(row);
                cut(ty.width, ((a * b) >> ty.width) + c)
            });
        }
    }
}

#[test]
fn saturation() {
    let clamp = |x: i128| Some(x.clamp(-0x8000_0000, 0x7fff_ffff));
    each("add.sat", &INTS[3..4], |_, a, b| clamp(a + b));
    each("sub.sat", &INTS[3..4], |_, a, b| clamp(a - b));
}

#[test]
fn negation_and_size() {
    for ty in [INTS[1], INTS[3], INTS[5]] {
        let rows = operands(&[ty.width], 100);
        check(&format!("neg.{}", ty.name), &[ty.register()], ty.register(), &rows, |row| cut(ty.width, -ty.of(row[0])));
        check(&format!("abs.{}", ty.name), &[ty.register()], ty.register(), &rows, |row| {
            cut(ty.width, ty.of(row[0]).abs())
        });
    }
}

/// `dp4a`: four products of bytes and a sum. (PTX ISA 8.7, section 9.7.1.23)
#[test]
fn dot_products_of_bytes() {
    let byte = |x: u64, i: u32, signed: bool| {
        let byte = i128::from(x >> (8 * i) & 0xff);
        if signed && byte > 127 { byte - 256 } else { byte }
    };
    for (a_type, a_signed) in [("u32", false), ("s32", true)] {
        for (b_type, b_signed) in [("u32", false), ("s32", true)] {
            let name = format!("dp4a.{a_type}.{b_type}");
            check(&name, &["b32"; 3], "b32", &operands(&[32; 3], 400), |row| {
                let sum: i128 = (0..4).map(|i| byte(row[0], i, a_signed) * byte(row[1], i, b_signed)).sum();
                cut(32, sum + i128::from(row[2]))
            });
        }
    }
}

/// Immediates have the type of their place: what is added to a wide product has all its bits, and an amount 32 bits whatever is shifted.
#[test]
fn immediates() {
    use crate::common::check_text;
    let rows = operands(&[32], 20);
    let signed = |row: &[u64]| INTS[3].of(row[0]);
    check_text("mad.wide.s32 %d0, %a0, -3, -5;", &["b32"], "b64", &rows, |row| cut(64, signed(row) * -3 - 5));
    check_text("add.s32 %d0, %a0, -1;", &["b32"], "b32", &rows, |row| cut(32, signed(row) - 1));
    check_text("add.s64 %d0, %a0, -1;", &["b64"], "b64", &rows, |row| cut(64, i128::from(row[0]) - 1));
    check_text("max.s16 %d0, %a0, -2;", &["b16"], "b16", &operands(&[16], 20), |row| {
        cut(16, INTS[1].of(row[0]).max(-2))
    });
    check_text("shl.b16 %d0, %a0, 65537;", &["b16"], "b16", &operands(&[16], 20), |_| 0);
    check_text("mul.lo.s32 %d0, %a0, 0x10;", &["b32"], "b32", &rows, |row| cut(32, signed(row) * 16));
    check_text("mul.lo.s32 %d0, %a0, 010;", &["b32"], "b32", &rows, |row| cut(32, signed(row) * 8));
    check_text("mul.lo.u32 %d0, %a0, 0b101U;", &["b32"], "b32", &rows, |row| cut(32, signed(row) * 5));
}
