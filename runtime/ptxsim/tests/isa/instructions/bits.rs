//! Logic, shifts, and instructions of single bits and bytes. (PTX ISA 8.7, sections 9.7.1, 9.7.8 and 9.7.9)

use crate::common::{INTS, Random, check, check_text, cut, operands};

/// A number from its bits, lowest first.
fn number(width: u32, bit: impl Fn(u32) -> bool) -> u64 {
    (0..width).map(|i| u64::from(bit(i)) << i).sum()
}

fn bit(x: u64, i: u32) -> bool {
    x >> i & 1 == 1
}

const WIDTHS: [(u32, &str); 3] = [(16, "b16"), (32, "b32"), (64, "b64")];

#[test]
fn logic() {
    for (width, ty) in WIDTHS {
        let rows = operands(&[width; 2], 100);
        let of = |f: fn(bool, bool) -> bool| move |row: &[u64]| number(width, |i| f(bit(row[0], i), bit(row[1], i)));
        check(&format!("and.{ty}"), &[ty; 2], ty, &rows, of(|a, b| a && b));
        check(&format!("or.{ty}"), &[ty; 2], ty, &rows, of(|a, b| a || b));
        check(&format!("xor.{ty}"), &[ty; 2], ty, &rows, of(|a, b| a != b));
        let rows = operands(&[width], 50);
        check(&format!("not.{ty}"), &[ty], ty, &rows, |row| number(width, |i| !bit(row[0], i)));
        check(&format!("cnot.{ty}"), &[ty], ty, &rows, |row| u64::from(row[0] == 0));
    }
}

/// Amounts beyond the width are clamped to it: only zeros are left, or signs.
#[test]
fn shifts() {
    for (width, ty) in WIDTHS {
        let mut rows = operands(&[width, 32], 100);
        let mut random = Random(1);
        for n in (0..=70).chain([255, 256, 1 << 16, 1 << 31]) {
            rows.push(vec![random.next() >> (64 - width), n]);
            rows.push(vec![1 << (width - 1), n]);
        }
        let n = |row: &[u64]| row[1].min(u64::from(width)) as u32;
        check(&format!("shl.{ty}"), &[ty, "b32"], ty, &rows, |row| {
            number(width, |i| i >= n(row) && bit(row[0], i - n(row)))
        });
        let shifted = |row: &[u64], fill: bool| {
            number(width, |i| if i + n(row) < width { bit(row[0], i + n(row)) } else { fill })
        };
        for name in [ty.to_owned(), format!("u{width}")] {
            check(&format!("shr.{name}"), &[ty, "b32"], ty, &rows, |row| shifted(row, false));
        }
        check(&format!("shr.s{width}"), &[ty, "b32"], ty, &rows, |row| shifted(row, bit(row[0], width - 1)));
    }
}

/// (PTX ISA 8.7, section 9.7.8.7 shf: `[b:a]` is shifted; `.l` gives its upper half, `.r` its lower.)
#[test]
fn funnel_shifts() {
    let mut rows = operands(&[32, 32, 6], 300);
    rows.extend([31u64, 32, 33, 63, 64, 65, 1 << 20].map(|n| vec![0x8765_4321, 0xfedc_ba98, n]));
    type Amount = fn(u64) -> u64;
    for (mode, amount) in [("wrap", (|n| n % 32) as Amount), ("clamp", |n| n.min(32))] {
        check(&format!("shf.l.{mode}.b32"), &["b32"; 3], "b32", &rows, |row| {
            let (a, b, n) = (row[0], row[1], amount(row[2]));
            // (b << n) | (a >> (32 - n))
            (b << n | a >> (32 - n)) & 0xffff_ffff
        });
        check(&format!("shf.r.{mode}.b32"), &["b32"; 3], "b32", &rows, |row| {
            let (a, b, n) = (row[0], row[1], amount(row[2]));
            (b << (32 - n) | a >> n) & 0xffff_ffff
        });
    }
}

#[test]
fn counts_and_order() {
    for (width, ty) in &WIDTHS[1..] {
        let (width, ty) = (*width, *ty);
        let mut rows = operands(&[width], 100);
        rows.extend((0..width).map(|i| vec![1 << i]));
        let highest = |x: u64| (0..width).rev().find(|&i| bit(x, i));
        check(&format!("popc.{ty}"), &[ty], "b32", &rows, |row| (0..width).filter(|&i| bit(row[0], i)).count() as u64);
        check(&format!("clz.{ty}"), &[ty], "b32", &rows, |row| highest(row[0]).map_or(width, |i| width - 1 - i).into());
        check(&format!("brev.{ty}"), &[ty], ty, &rows, |row| number(width, |i| bit(row[0], width - 1 - i)));
        check(&format!("bfind.u{width}"), &[ty], "b32", &rows, |row| highest(row[0]).map_or(0xffff_ffff, u64::from));
        check(&format!("bfind.s{width}"), &[ty], "b32", &rows, |row| {
            let sign = bit(row[0], width - 1);
            (0..width).rev().find(|&i| bit(row[0], i) != sign).map_or(0xffff_ffff, u64::from)
        });
    }
}

/// Rows with position and length at their edges: only their lowest 8 bits count.
fn fields(width: u32, values: usize) -> Vec<Vec<u64>> {
    let (mut rows, mut random) = (Vec::new(), Random(2));
    for start in [0, 1, 5, 31, 32, 33, 63, 64, 200, 255, 256, 257] {
        for n in [0, 1, 4, 31, 32, 33, 63, 64, 65, 255, 256, 260] {
            let values = (0..values).map(|_| random.next() >> (64 - width));
            rows.push(values.chain([start, n]).collect());
        }
    }
    rows
}

/// (PTX ISA 8.7, section 9.7.1.21 bfe, by its pseudo code)
#[test]
fn fields_taken() {
    for ty in &INTS[2..] {
        let (width, register) = (ty.width, ty.register());
        check(&format!("bfe.{}", ty.name), &[register, "b32", "b32"], register, &fields(width, 1), |row| {
            let (msb, pos, len) = (width - 1, (row[1] & 0xff) as u32, (row[2] & 0xff) as u32);
            let sbit = ty.signed && len != 0 && bit(row[0], (pos + len - 1).min(msb));
            number(width, |i| if i < len && pos + i <= msb { bit(row[0], pos + i) } else { sbit })
        });
    }
}

/// (PTX ISA 8.7, section 9.7.1.22 bfi, by its pseudo code)
#[test]
fn fields_set() {
    for (width, ty) in &WIDTHS[1..] {
        check(&format!("bfi.{ty}"), &[ty, ty, "b32", "b32"], ty, &fields(*width, 2), |row| {
            let (pos, len) = ((row[2] & 0xff) as u32, (row[3] & 0xff) as u32);
            number(*width, |i| if i >= pos && i - pos < len { bit(row[0], i - pos) } else { bit(row[1], i) })
        });
    }
}

/// All tables: bit `4a + 2b + c` of the table is the result. (PTX ISA 8.7, section 9.7.8.6: 0xF0, 0xCC and 0xAA stand for a, b and c.)
#[test]
fn lookup_tables() {
    let mut rows = operands(&[32; 3], 5);
    rows.truncate(40);
    rows.push(vec![0xf0, 0xcc, 0xaa]);
    for table in 0..256u64 {
        let text = format!("lop3.b32 %d0, %a0, %a1, %a2, {table};");
        check_text(&text, &["b32"; 3], "b32", &rows, |row| {
            let index = |i| 4 * u32::from(bit(row[0], i)) + 2 * u32::from(bit(row[1], i)) + u32::from(bit(row[2], i));
            number(32, |i| bit(table, index(i)))
        });
    }
}

/// Each selector names a byte of `{b, a}`, and whether its sign is repeated instead. (PTX ISA 8.7, section 9.7.9.7)
#[test]
fn permutations() {
    let mut rows = operands(&[32; 3], 400);
    rows.push(vec![0x8483_8281, 0x8807_8605, 0xfedc]);
    check("prmt.b32", &["b32"; 3], "b32", &rows, |row| {
        let all = row[1] << 32 | row[0];
        let byte = |i: u32| {
            let selector = row[2] >> (4 * i) & 15;
            let byte = all >> (8 * (selector % 8)) & 0xff;
            if selector >= 8 { if byte >= 128 { 0xff } else { 0 } } else { byte }
        };
        (0..4).map(|i| byte(i) << (8 * i)).sum()
    });
}

#[test]
fn packing() {
    let rows = operands(&[64], 40);
    let halves = "mov.b64 {%r0, %r1}, %a0; mov.b64 %d0, {%r1, %r0};";
    check_text(halves, &["b64"], "b64", &rows, |row| row[0].rotate_left(32));
    let quarters = "mov.b64 {%h0, %h1, %h2, %h3}, %a0; mov.b64 %d0, {%h3, %h2, %h1, %h0};";
    let part = |x: u64, i: u32| x >> (16 * i) & 0xffff;
    check_text(quarters, &["b64"], "b64", &rows, |row| (0..4).map(|i| part(row[0], i) << (48 - 16 * i)).sum());
    let words = "mov.b32 {%h0, %h1}, %a0; mov.b32 %d0, {%h1, %h0};";
    check_text(words, &["b32"], "b32", &operands(&[32], 40), |row| cut(32, (row[0] << 16 | row[0] >> 16).into()));
    let upper = "mov.b32 {_, %d0}, %a0;";
    check_text(upper, &["b32"], "b16", &operands(&[32], 40), |row| row[0] >> 16);
    // Bytes of 16 bits come and go through `.b8` registers.
    let bytes = ".reg .b8 %x, %y; mov.b16 {%x, %y}, %a0; mov.b16 %d0, {%y, %x};";
    check_text(bytes, &["b16"], "b16", &operands(&[16], 40), |row| cut(16, (row[0] << 8 | row[0] >> 8).into()));
    check_text("mov.u16 %d0, -1;", &["b16"], "b16", &[vec![0]], |_| 0xffff);
    check_text("mov.f32 %d0, 0f3F800000;", &["b32"], "b32", &[vec![0]], |_| 0x3f80_0000);
    check_text("mov.f32 %d0, 0d3FF0000000000000;", &["b32"], "b32", &[vec![0]], |_| 0x3f80_0000);
    check_text("mov.f64 %d0, -0d3FF0000000000000;", &["b64"], "b64", &[vec![0]], |_| 0xbff0_0000_0000_0000);
}
