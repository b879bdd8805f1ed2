//! Arithmetic of floats. (PTX ISA 8.7, sections 9.7.3 and 9.7.4)

use crate::common::{
    Random, check,
    float::{Exact, F16, F32, Format, Mode, add, multiply},
    operands,
};

/// Of 32 bits: what is special, numbers of usual size, and any bits.
const SPECIAL: [u32; 18] = [
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x8080_0000,
    0x3380_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3fc0_0000,
    0x4b00_0001,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0001,
    0xff80_0001,
];

fn singles(n: usize) -> Vec<Vec<u64>> {
    let mut rows = vec![Vec::new()];
    for _ in 0..n.min(2) {
        rows = rows.iter().flat_map(|row| SPECIAL.map(|x| [&row[..], &[x.into()]].concat())).collect();
    }
    let mut random = Random(n as u64);
    rows.iter_mut().for_each(|row| row.resize_with(n, || SPECIAL[random.below(18) as usize].into()));
    for i in 0..400 {
        // Exponents near each other, so that sums neither vanish nor stay exact.
        let usual = |bits: u64| bits & 0x807f_ffff | (120 + (bits >> 23 & 15)) << 23;
        rows.push(
            (0..n).map(|_| random.next() >> 32).map(|bits| if i % 4 == 0 { bits } else { usual(bits) }).collect(),
        );
    }
    rows
}

/// The bits of a result; what is no number is the canonical one.
fn bits(x: f32) -> u64 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits().into() }
}

fn flush(x: f32) -> f32 {
    if x != 0.0 && x.abs() < f32::MIN_POSITIVE { 0f32.copysign(x) } else { x }
}

fn saturate(x: f32) -> f32 {
    if x >= 1.0 {
        1.0
    } else if x > 0.0 {
        x
    } else {
        0.0
    }
}

/// Checks an instruction, and where they exist its forms with `.ftz` and `.sat`.
fn single(name: &str, n: usize, saturates: bool, f: impl Fn(&[f32]) -> f32) {
    let rows = singles(n);
    let of = |row: &[u64], flushes: bool| -> Vec<f32> {
        row.iter().map(|&x| f32::from_bits(x as u32)).map(|x| if flushes { flush(x) } else { x }).collect()
    };
    let takes = vec!["b32"; n];
    check(&format!("{name}.f32"), &takes, "b32", &rows, |row| bits(f(&of(row, false))));
    check(&format!("{name}.ftz.f32"), &takes, "b32", &rows, |row| bits(flush(f(&of(row, true)))));
    if saturates {
        check(&format!("{name}.sat.f32"), &takes, "b32", &rows, |row| bits(saturate(f(&of(row, false)))));
        let both = |row: &[u64]| bits(saturate(flush(f(&of(row, true)))));
        check(&format!("{name}.ftz.sat.f32"), &takes, "b32", &rows, both);
    }
}

#[test]
fn f32_arithmetic() {
    for rounding in ["", ".rn"] {
        single(&format!("add{rounding}"), 2, true, |x| x[0] + x[1]);
        single(&format!("sub{rounding}"), 2, true, |x| x[0] - x[1]);
        single(&format!("mul{rounding}"), 2, true, |x| x[0] * x[1]);
    }
    for how in ["rn", "full", "approx"] {
        single(&format!("div.{how}"), 2, false, |x| x[0] / x[1]);
    }
    single("rcp.rn", 1, false, |x| 1.0 / x[0]);
    single("sqrt.rn", 1, false, |x| x[0].sqrt());
    single("fma.rn", 3, true, |x| x[0].mul_add(x[1], x[2]));
    single("mad.rn", 3, true, |x| x[0].mul_add(x[1], x[2]));
    // A sign of what is no number is not specified.
    let number = |x: f32, y: f32| if x.is_nan() { f32::NAN } else { y };
    single("neg", 1, false, |x| number(x[0], f32::from_bits(x[0].to_bits() ^ 1 << 31)));
    single("abs", 1, false, |x| number(x[0], f32::from_bits(x[0].to_bits() & 0x7fff_ffff)));
}

/// What is no number loses against what is one, and −0 is less than +0.
#[test]
fn f32_extremes() {
    // As whole numbers, with those below zero turned round, floats are in their order, the zeros too.
    let order = |x: f32| {
        let bits = x.to_bits() as i32;
        if bits < 0 { i32::MIN.wrapping_sub(bits).wrapping_sub(1) } else { bits }
    };
    let pick = move |x: &[f32], second: bool| match (x[0].is_nan(), x[1].is_nan()) {
        (true, _) => x[1],
        (_, true) => x[0],
        _ => x[usize::from(second)],
    };
    single("min", 2, false, |x| pick(x, order(x[1]) < order(x[0])));
    single("max", 2, false, |x| pick(x, order(x[1]) > order(x[0])));
}

/// One rounding, where product and sum would each have rounded; values from exact whole numbers.
#[test]
fn fma_rounds_once() {
    // (1 + 2^-12)² − (1 + 2^-11) = 2^-24, which the rounded product has lost.
    let row = vec![0x3f80_0800, 0x3f80_0800, 0xbf80_1000];
    check("fma.rn.f32", &["b32"; 3], "b32", &[row], |_| 0x3380_0000);
    let mut random = Random(5);
    let usual = |bits: u64| bits & 0x807f_ffff | (115 + (bits >> 23) % 24) << 23;
    let rows: Vec<Vec<u64>> = (0..3000).map(|_| (0..3).map(|_| usual(random.next() >> 32)).collect()).collect();
    check("fma.rn.f32", &["b32"; 3], "b32", &rows, |row| {
        let [a, b, c] = [row[0], row[1], row[2]].map(|x| F32.exact(x));
        F32.round(Mode::Even, add(multiply(a, b), c))
    });
}

/// A result of halves by exact numbers, where all operands are finite.
fn half(row: &[u64], f: impl Fn(&[Exact]) -> Exact) -> u64 {
    let values: Vec<Exact> = row.iter().map(|&x| F16.exact(x)).collect();
    F16.round(Mode::Even, f(&values))
}

fn finite(n: usize, random: usize) -> Vec<Vec<u64>> {
    let mut rows = operands(&vec![16; n], random);
    rows.extend(operands(&vec![16; n], random).into_iter().map(|row| {
        // Of about the same size.
        row.into_iter().map(|x| x & 0x83ff | (10 + (x >> 10) % 8) << 10).collect()
    }));
    rows.retain(|row| row.iter().all(|&x| x & 0x7c00 != 0x7c00));
    rows
}

#[test]
fn f16_arithmetic() {
    let minus = |x: Exact| Exact { negative: !x.negative, ..x };
    type Two = fn(&[Exact]) -> Exact;
    let difference = |x: &[Exact]| add(x[0], Exact { negative: !x[1].negative, ..x[1] });
    let two: [(&str, Two); 3] = [("add", |x| add(x[0], x[1])), ("sub", difference), ("mul", |x| multiply(x[0], x[1]))];
    for (name, f) in two {
        let rows = finite(2, 2000);
        check(&format!("{name}.rn.f16"), &["b16"; 2], "b16", &rows, |row| half(row, f));
        // Two of them: each half of the words on its own.
        let pairs: Vec<Vec<u64>> =
            rows.chunks_exact(2).map(|two| (0..2).map(|i| two[0][i] | two[1][i] << 16).collect()).collect();
        check(&format!("{name}.f16x2"), &["b32"; 2], "b32", &pairs, |row| {
            let of = |shift: u32| half(&[row[0] >> shift & 0xffff, row[1] >> shift & 0xffff], f);
            of(0) | of(16) << 16
        });
    }
    let fma = |x: &[Exact]| add(multiply(x[0], x[1]), x[2]);
    check("fma.rn.f16", &["b16"; 3], "b16", &finite(3, 3000), |row| half(row, fma));
    check("neg.f16", &["b16"], "b16", &finite(1, 50), |row| half(row, |x| minus(x[0])));
    check("abs.f16", &["b16"], "b16", &finite(1, 50), |row| half(row, |x| Exact { negative: false, ..x[0] }));
    let order = |x: u64| if x >> 15 == 1 { -((x & 0x7fff) as i64) - 1 } else { x as i64 };
    check(
        "min.f16",
        &["b16"; 2],
        "b16",
        &finite(2, 200),
        |row| if order(row[1]) < order(row[0]) { row[1] } else { row[0] },
    );
    check(
        "max.f16",
        &["b16"; 2],
        "b16",
        &finite(2, 200),
        |row| if order(row[1]) > order(row[0]) { row[1] } else { row[0] },
    );
    // (1 + 2^-10)² − 1 is a tie; (1 + 2^-10) · (2^-11 − 2^-21) + 1 + 2^-10 is just below one, which a first rounding to f32 loses.
    let rows =
        [vec![0x3c01, 0x3c01, 0xbc00], vec![0x3c01, 0x0ffe, 0x3c01], vec![0x7c00, 0x0000, 0x3c00], vec![0x7e00, 0, 0]];
    let expected = [0x1800, 0x3c01, 0x7fff, 0x7fff];
    check("fma.rn.f16", &["b16"; 3], "b16", &rows, |row| expected[rows.iter().position(|r| r == row).unwrap()]);
}

#[test]
fn f64_arithmetic() {
    let rows = operands(&[64; 2], 300);
    let number = |x: f64| if x.is_nan() { None } else { Some(x.to_bits()) };
    type Two = fn(f64, f64) -> f64;
    for (name, f) in [
        ("add.f64", (|a, b| a + b) as Two),
        ("sub.rn.f64", |a, b| a - b),
        ("mul.f64", |a, b| a * b),
        ("div.rn.f64", |a, b| a / b),
    ] {
        let of = |row: &[u64]| number(f(f64::from_bits(row[0]), f64::from_bits(row[1])));
        let rows: Vec<Vec<u64>> = rows.iter().filter(|row| of(row).is_some()).cloned().collect();
        check(name, &["b64"; 2], "b64", &rows, |row| of(row).unwrap());
    }
    // (1 + 2^-30)² − 1 = 2^-29 + 2^-60
    let row = vec![0x3ff0_0000_0040_0000, 0x3ff0_0000_0040_0000, 0xbff0_0000_0000_0000];
    check("fma.rn.f64", &["b64"; 3], "b64", &[row], |_| (2f64.powi(-29) + 2f64.powi(-60)).to_bits());
}

/// Approximations are within one unit in the last place, and exact where the ISA's tables of special values say so.
#[test]
fn approximations() {
    type One = fn(f64) -> f64;
    let all: [(&str, One); 7] = [
        ("ex2.approx", f64::exp2),
        ("lg2.approx", f64::log2),
        ("sin.approx", f64::sin),
        ("cos.approx", f64::cos),
        ("tanh.approx", f64::tanh),
        ("rsqrt.approx", |x| 1.0 / x.sqrt()),
        ("sqrt.approx", f64::sqrt),
    ];
    for (name, f) in all {
        let rows: Vec<Vec<u64>> = singles(1);
        let given = crate::common::map(&["b32"], &["b32"], "", &format!("{name}.f32 %d0, %a0;"), &rows);
        for (row, given) in rows.iter().zip(given) {
            let (expected, given) = (f(f32::from_bits(row[0] as u32).into()) as f32, f32::from_bits(given[0] as u32));
            let near = (expected.to_bits() as i64 - given.to_bits() as i64).abs() <= 1;
            assert!(near || expected.is_nan() && given.is_nan(), "{name} of {:#x}: {given}, not {expected}", row[0]);
        }
    }
    let table = [(0xff80_0000, 0), (0x8000_0000, 0x3f80_0000), (0x7f80_0000, 0x7f80_0000), (0x7fc0_0000, 0x7fff_ffff)];
    for (x, y) in table {
        check("ex2.approx.ftz.f32", &["b32"], "b32", &[vec![x]], |_| y);
    }
    for (x, y) in [(0x8000_0000, 0xff80_0000), (1, 0x7f80_0000), (0xff80_0000, 0x8000_0000), (0x4000_0000, 0x3f00_0000)]
    {
        check("rcp.approx.ftz.f32", &["b32"], "b32", &[vec![x]], |_| y);
    }
}

/// The formats of the tests agree with Rust's own.
#[test]
fn formats() {
    let mut random = Random(9);
    for _ in 0..2000 {
        let x = f64::from_bits(random.next() & 0x800f_ffff_ffff_ffff | (1023 - 160 + random.below(320)) << 52);
        let exact = crate::common::float::F64.exact(x.to_bits());
        assert_eq!(F32.round(Mode::Even, exact), u64::from((x as f32).to_bits()), "{x:e}");
        let f: Format = F32;
        let size = x.abs() as f32;
        if size.is_finite() {
            let down = f32::from_bits(f.round(Mode::Down, exact) as u32);
            let up = f32::from_bits(f.round(Mode::Up, exact) as u32);
            assert!(f64::from(down) <= x && x <= f64::from(up) && (down.next_up() >= up || down == up));
        }
    }
}
