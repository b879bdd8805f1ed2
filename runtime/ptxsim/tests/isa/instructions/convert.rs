//! Conversions. (PTX ISA 8.7, section 9.7.9.21)

use crate::common::{
    BYTES, INTS, Int, Random, check_text, cut,
    float::{Exact, F16, F32, F64, Format, MODES, Mode, divide},
    operands,
};

fn all() -> impl Iterator<Item = Int> {
    BYTES.into_iter().chain(INTS)
}

/// The value of bits in a type, then cut or clamped; a signed result is extended to the register that holds it.
#[test]
fn between_whole_numbers() {
    for from in all() {
        for to in all() {
            let rows = operands(&[from.register_width()], 60);
            for (saturates, suffix) in [(false, ""), (true, ".sat")] {
                let text = format!("cvt{suffix}.{}.{} %d0, %a0;", to.name, from.name);
                // Of the smaller types, the register may be wider than they are.
                for register in [16, 32, 64].into_iter().filter(|&width| width >= to.width) {
                    check_text(&text, &[from.register()], &format!("b{register}"), &rows, |row| {
                        let value = from.of(row[0]);
                        let value = if saturates { value.clamp(to.least(), to.most()) } else { value };
                        cut(register, to.of(cut(to.width, value)))
                    });
                }
            }
        }
    }
}

trait Register {
    fn register_width(self) -> u32;
}

impl Register for Int {
    fn register_width(self) -> u32 {
        self.width.max(16)
    }
}

const FORMATS: [(&str, Format, &str); 3] = [("f16", F16, "b16"), ("f32", F32, "b32"), ("f64", F64, "b64")];

/// Floats of a format: around whole numbers and the ends of the types of whole numbers, special ones, any.
fn floats(format: Format) -> Vec<Vec<u64>> {
    let mut values: Vec<f64> = vec![0.0, 0.5, 1.5, 2.5, 0.49, 0.51, 0.99, 1e-3, 126.5, 127.5, 254.5, 255.5, 1e30];
    values.extend([7, 8, 15, 16, 31, 32, 63, 64].into_iter().flat_map(|n| {
        let end = 2f64.powi(n);
        [end, end - 1.0, end - 0.5, end + 1.0, end.next_down(), (end as f32).next_down().into()]
    }));
    let mut bits: Vec<u64> = values.iter().map(|x| format.round(Mode::Zero, F64.exact(x.to_bits()))).collect();
    let (one, sign) = (format.infinity() + (1 << format.fraction), 1u64 << format.fraction);
    let sign = sign * (2 * format.bias as u64 + 2);
    bits.extend([format.infinity(), format.infinity() | 1 << (format.fraction - 1), 1, sign >> 1 & !one]);
    let mut random = Random(3);
    bits.extend((0..200).map(|_| random.next() & (sign - 1)));
    // Of whole numbers' size.
    let size = |x: u64| (format.bias as u64 - 2 + x % 16) << format.fraction | x >> 8 & ((1 << format.fraction) - 1);
    bits.extend((0..200).map(|_| size(random.next())));
    bits.iter().flat_map(|&x| [vec![x], vec![x | sign]]).collect()
}

/// A float as a whole number: rounded, then clamped. What is no number gives 0, or the highest bit alone where 64 bits take part.
#[test]
fn floats_to_whole_numbers() {
    for (name, format, register) in FORMATS {
        let rows = floats(format);
        for to in all() {
            for (rounding, mode) in MODES {
                let text = format!("cvt.{rounding}i.{}.{name} %d0, %a0;", to.name);
                let gives = if to.width == 8 { "b32" } else { to.register() };
                check_text(&text, &[register], gives, &rows, |row| {
                    let bits = row[0];
                    let value = if format.is_nan(bits) {
                        let highest = name == "f64" || to.width == 64;
                        if highest { to.of(1 << (to.width - 1)) } else { 0 }
                    } else if format.is_infinite(bits) || format.exact(bits).power > 64 {
                        if format.is_negative(bits) { to.least() } else { to.most() }
                    } else {
                        let exact = format.exact(bits);
                        let size = divide(mode, exact, 0) as i128;
                        if exact.negative { -size } else { size }
                    };
                    let width = if to.width == 8 { 32 } else { to.width };
                    cut(width, value.clamp(to.least(), to.most()))
                });
            }
        }
    }
    // Subnormals are zeros with `.ftz`, even where they are rounded up.
    check_text("cvt.rpi.ftz.s32.f32 %d0, %a0;", &["b32"], "b32", &[vec![1]], |_| 0);
    check_text("cvt.rpi.s32.f32 %d0, %a0;", &["b32"], "b32", &[vec![1]], |_| 1);
}

#[test]
fn whole_numbers_to_floats() {
    for from in all() {
        let mut rows = operands(&[from.register_width()], 400);
        rows.extend((0..from.register_width()).map(|i| vec![(1u64 << i) | (1 << i >> 24) | (1 << i >> 25)]));
        for (name, format, register) in FORMATS {
            let modes = if name == "f32" { &MODES[..] } else { &MODES[..1] };
            for (rounding, mode) in modes {
                let text = format!("cvt.{rounding}.{name}.{} %d0, %a0;", from.name);
                check_text(&text, &[from.register()], register, &rows, |row| {
                    let value = from.of(row[0]);
                    format.round(*mode, Exact { negative: value < 0, whole: value.unsigned_abs(), power: 0 })
                });
            }
        }
    }
}

/// The bits of a format that are another's, rounded.
fn reformed(from: Format, to: Format, bits: u64) -> u64 {
    if from.is_nan(bits) {
        return to.infinity() | ((1 << to.fraction) - 1);
    }
    let sign = u64::from(from.is_negative(bits)) * (to.infinity() + (1 << to.fraction));
    if from.is_infinite(bits) { sign | to.infinity() } else { to.round(Mode::Even, from.exact(bits)) }
}

#[test]
fn between_floats() {
    // Just above, at and just below what lies between two halves; a double shows it in its last bit only.
    let ties = [0x3ff0_0200_0000_0000u64, 0x3ff0_0600_0000_0000, 0x40ef_fdff_ffff_ffff, 0x3e50_0000_0000_0000];
    let near = ties.iter().flat_map(|&x| [x - 1, x, x + 1, x + (1 << 29), x - (1 << 29)]);
    let near: Vec<u64> = near.collect();
    for (from_name, from, takes) in FORMATS {
        let mut rows = floats(from);
        match from_name {
            "f64" => rows.extend(near.iter().map(|&x| vec![x])),
            "f32" => rows.extend(near.iter().map(|&x| vec![F32.round(Mode::Zero, F64.exact(x))])),
            _ => rows = (0..0x1_0000).map(|x| vec![x]).collect(),
        }
        for (to_name, to, gives) in FORMATS {
            if from_name == to_name {
                continue;
            }
            let rounding = if to.fraction < from.fraction { ".rn" } else { "" };
            // The payload of an f64 that is no number is not specified.
            let rows: Vec<Vec<u64>> =
                rows.iter().filter(|row| to_name != "f64" || !from.is_nan(row[0])).cloned().collect();
            let text = format!("cvt{rounding}.{to_name}.{from_name} %d0, %a0;");
            check_text(&text, &[takes], gives, &rows, |row| reformed(from, to, row[0]));
        }
    }
}

/// Rounding to whole numbers that stay floats, and `.sat` and `.ftz` of floats.
#[test]
fn floats_in_place() {
    let rows: Vec<Vec<u64>> = floats(F32).into_iter().filter(|row| !F32.is_nan(row[0])).collect();
    for (rounding, mode) in MODES {
        check_text(&format!("cvt.{rounding}i.f32.f32 %d0, %a0;"), &["b32"], "b32", &rows, |row| {
            if F32.is_infinite(row[0]) || F32.exact(row[0]).power >= 0 {
                return row[0];
            }
            let exact = F32.exact(row[0]);
            F32.round(Mode::Even, Exact { whole: divide(mode, exact, 0), power: 0, ..exact })
        });
    }
    let rows = floats(F32);
    let one = 0x3f80_0000;
    check_text("cvt.sat.f32.f32 %d0, %a0;", &["b32"], "b32", &rows, |row| match row[0] {
        x if F32.is_nan(x) || F32.is_negative(x) => 0,
        x => x.min(one),
    });
    check_text("cvt.ftz.f32.f32 %d0, %a0;", &["b32"], "b32", &rows, |row| match row[0] {
        x if F32.is_nan(x) => 0x7fff_ffff,
        x if F32.is_subnormal(x) => x & 0x8000_0000,
        x => x,
    });
    let tiny = [vec![1], vec![0x8000_0001], vec![0x007f_ffff]];
    check_text("cvt.ftz.f64.f32 %d0, %a0;", &["b32"], "b64", &tiny, |row| row[0] >> 31 << 63);
}

/// Two values, saturated, above each other; bytes below the lower half of a third.
#[test]
fn packed() {
    for to in all() {
        let of = |value: u64| to.of(cut(to.width, i128::from(value as u32 as i32).clamp(to.least(), to.most())));
        match to.width {
            8 => {
                let text = format!("cvt.pack.sat.{}.s32.b32 %d0, %a0, %a1, %a2;", to.name);
                check_text(&text, &["b32"; 3], "b32", &operands(&[32; 3], 200), |row| {
                    (row[2] & 0xffff) << 16 | cut(8, of(row[0])) << 8 | cut(8, of(row[1]))
                });
            }
            16 => {
                let text = format!("cvt.pack.sat.{}.s32 %d0, %a0, %a1;", to.name);
                check_text(&text, &["b32"; 2], "b32", &operands(&[32; 2], 200), |row| {
                    cut(16, of(row[0])) << 16 | cut(16, of(row[1]))
                });
            }
            _ => {}
        }
    }
}
