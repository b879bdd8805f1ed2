//! Comparisons, selections, and logic of predicates. (PTX ISA 8.7, sections 9.7.6 and 9.7.8)

use crate::common::{INTS, check_text, float::F32, operands};
use std::cmp::Ordering;

type Test = fn(Ordering) -> bool;

const ORDERED: [(&str, Test); 6] = [
    ("eq", Ordering::is_eq),
    ("ne", Ordering::is_ne),
    ("lt", Ordering::is_lt),
    ("le", Ordering::is_le),
    ("gt", Ordering::is_gt),
    ("ge", Ordering::is_ge),
];

#[test]
fn whole_numbers() {
    for ty in INTS {
        let rows = operands(&[ty.width; 2], 60);
        let order = |row: &[u64]| ty.of(row[0]).cmp(&ty.of(row[1]));
        let unsigned: [(&str, Test); 4] =
            [("lo", Ordering::is_lt), ("ls", Ordering::is_le), ("hi", Ordering::is_gt), ("hs", Ordering::is_ge)];
        for (name, test) in ORDERED.into_iter().chain(unsigned.into_iter().filter(|_| !ty.signed)) {
            let text = format!("setp.{name}.{} %d0, %a0, %a1;", ty.name);
            check_text(&text, &[ty.register(); 2], "pred", &rows, |row| test(order(row)).into());
        }
        for (name, test) in &ORDERED[..2] {
            let text = format!("setp.{name}.b{} %d0, %a0, %a1;", ty.width);
            check_text(&text, &[ty.register(); 2], "pred", &rows, |row| test(order(row)).into());
        }
    }
    // An immediate of 16 bits has no ones above.
    let is_last = |row: &[u64]| u64::from(row[0] == 0xffff);
    check_text("setp.eq.s16 %d0, %a0, -1;", &["b16"], "pred", &[vec![0xffff], vec![1]], is_last);
}

/// Ordered comparisons do not hold of what is no number, those with `u` do.
#[test]
fn floats() {
    let single = [
        0u64,
        0x8000_0000,
        1,
        0x8000_0001,
        0x3f80_0000,
        0xbf80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xff80_0001,
    ];
    let double = single.map(|x| match x {
        0x7fc0_0000 | 0xff80_0001 => 0x7ff8_0000_0000_0000,
        1 | 0x8000_0001 => x >> 31 << 63 | 1,
        x => f64::from(f32::from_bits(x as u32)).to_bits(),
    });
    // Signs, exponents at their ends and in the middle.
    let half = [0u64, 0x8000, 1, 0x8001, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 0xfc01];
    let order = |a: f64, b: f64| a.partial_cmp(&b);
    let of_half = |x: u64| match x & 0x7fff {
        0x7c01.. => f64::NAN,
        0x7c00 => f64::INFINITY,
        0x3c00 => 1.0,
        x => x as f64 * 2f64.powi(-24),
    };
    let signed = |x: u64| if x >> 15 == 1 { -of_half(x) } else { of_half(x) };
    let pairs = |all: [u64; 10]| -> Vec<Vec<u64>> { all.iter().flat_map(|&a| all.map(|b| vec![a, b])).collect() };
    let run = |ty: &str, register: &str, rows: &[Vec<u64>], order: &dyn Fn(&[u64]) -> Option<Ordering>| {
        for (name, test) in ORDERED {
            let text = format!("setp.{name}.{ty} %d0, %a0, %a1;");
            check_text(&text, &[register; 2], "pred", rows, |row| order(row).is_some_and(test).into());
            let text = format!("setp.{name}u.{ty} %d0, %a0, %a1;");
            check_text(&text, &[register; 2], "pred", rows, |row| order(row).is_none_or(test).into());
        }
        for (name, wanted) in [("num", true), ("nan", false)] {
            let text = format!("setp.{name}.{ty} %d0, %a0, %a1;");
            check_text(&text, &[register; 2], "pred", rows, |row| (order(row).is_some() == wanted).into());
        }
    };
    let f32s = |x: u64| f64::from(f32::from_bits(x as u32));
    run("f32", "b32", &pairs(single), &|row| order(f32s(row[0]), f32s(row[1])));
    run("f64", "b64", &pairs(double), &|row| order(f64::from_bits(row[0]), f64::from_bits(row[1])));
    run("f16", "b16", &pairs(half), &|row| order(signed(row[0]), signed(row[1])));
    // Subnormals are zeros.
    let flushed = |x: u64| if F32.is_subnormal(x) { 0.0 } else { f32s(x) };
    let holds = |row: &[u64]| u64::from(flushed(row[0]) < flushed(row[1]));
    check_text("setp.lt.ftz.f32 %d0, %a0, %a1;", &["b32"; 2], "pred", &pairs(single), holds);
}

/// `p` is the comparison with `c`, `q` its opposite with `c`; either is cut with `!`. (PTX ISA 8.7, section 9.7.6.2)
#[test]
fn combined_with_a_predicate() {
    let mut rows = operands(&[32; 2], 20);
    rows = rows.iter().flat_map(|row| [0, 1].map(|c| vec![row[0], row[1], c])).collect();
    type Two = fn(bool, bool) -> bool;
    let takes = ["b32", "b32", "pred"];
    let less = |row: &[u64]| (row[0] as u32 as i32) < row[1] as u32 as i32;
    let all: [(&str, Two); 3] = [("and", |t, c| t && c), ("or", |t, c| t || c), ("xor", |t, c| t != c)];
    for (name, f) in all {
        let text = format!("setp.lt.{name}.s32 %d0|%p1, %a0, %a1, %a2;");
        check_text(&text, &takes, "pred", &rows, |row| f(less(row), row[2] == 1).into());
        let text = format!("setp.lt.{name}.s32 %p1|%d0, %a0, %a1, !%a2;");
        check_text(&text, &takes, "pred", &rows, |row| f(!less(row), row[2] == 0).into());
        let text = format!("setp.lt.{name}.s32 _|%d0, %a0, %a1, %a2;");
        check_text(&text, &takes, "pred", &rows, |row| f(!less(row), row[2] == 1).into());
    }
    // The opposite of what does not hold of no number holds.
    let text = "setp.lt.f32 %p1|%d0, %a0, %a1;";
    check_text(text, &["b32"; 2], "pred", &[vec![0x7fc0_0000, 0], vec![0, 0x3f80_0000]], |row| (row[0] != 0).into());
}

#[test]
fn logic_of_predicates() {
    let rows: Vec<Vec<u64>> = (0..4).map(|i| vec![i & 1, i >> 1]).collect();
    type Two = fn(u64, u64) -> u64;
    let all: [(&str, Two); 3] = [("and", |a, b| a & b), ("or", |a, b| a | b), ("xor", |a, b| a ^ b)];
    for (name, f) in all {
        check_text(&format!("{name}.pred %d0, %a0, %a1;"), &["pred"; 2], "pred", &rows, |row| f(row[0], row[1]));
    }
    check_text("not.pred %d0, %a0;", &["pred"; 2], "pred", &rows, |row| 1 - row[0]);
    check_text("mov.pred %d0, %a1;", &["pred"; 2], "pred", &rows, |row| row[1]);
}

#[test]
fn selections() {
    for (width, ty) in [(16, "b16"), (32, "u32"), (32, "f32"), (64, "s64"), (64, "f64")] {
        let register = format!("b{width}");
        let mut rows = operands(&[width; 2], 10);
        rows = rows.iter().flat_map(|row| [0, 1].map(|c| vec![row[0], row[1], c])).collect();
        let text = format!("selp.{ty} %d0, %a0, %a1, %a2;");
        let takes = [&*register, &*register, "pred"];
        check_text(&text, &takes, &register, &rows, |row| if row[2] == 1 { row[0] } else { row[1] });
    }
    // Guards are selections too.
    let text = "mov.u32 %d0, 5; @%a0 mov.u32 %d0, 6; @!%a1 add.s32 %d0, %d0, 10;";
    let rows: Vec<Vec<u64>> = (0..4).map(|i| vec![i & 1, i >> 1]).collect();
    check_text(text, &["pred"; 2], "b32", &rows, |row| 5 + row[0] + 10 * (1 - row[1]));
}
