//! What tests share: kernels around a few instructions, operands, floats by their definition.

pub mod float;

use swint_ptxsim::{Access, Buffer, Config, Module, Outcome, Param, run};

/// Registers that every kernel here has for its own use.
const SCRATCH: &str = ".reg .b16 %h<10>; .reg .b32 %r<40>; .reg .b64 %l<20>; .reg .f32 %f<40>; .reg .pred %p<10>;";

/// A module of one kernel named `k` with parameters `p0`, `p1`, … of 64 bits. The body starts at line 2.
pub fn module(params: usize, globals: &str, body: &str) -> String {
    let params: Vec<String> = (0..params).map(|i| format!(".param .u64 p{i}")).collect();
    let head = ".version 8.7 .target sm_89 .address_size 64";
    format!("{head} {globals} .visible .entry k({}) {{ {SCRATCH}\n{body}\n}}\n", params.join(", "))
}

pub fn buffer(bytes: Vec<u8>, access: Access) -> Buffer {
    Buffer { bytes, access, low: 0 }
}

/// Runs a module's kernel with a parameter for each buffer.
pub fn launch(text: &str, config: &Config, buffers: &mut [Buffer]) -> Outcome {
    let module = Module::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let params: Vec<Param> = (0..buffers.len()).map(Param::Buffer).collect();
    run(&module.kernels[0], config, &params, buffers)
}

/// Runs a body with one buffer `p0` of zeros that may be read and written, which must find nothing; gives its words.
pub fn words(body: &str, config: &Config, count: usize) -> Vec<u32> {
    let mut buffers = [buffer(vec![0; 4 * count], Access::ReadWrite)];
    let outcome = launch(&module(1, "", body), config, &mut buffers);
    assert!(outcome.findings.is_empty(), "{:?}\n{body}", outcome.findings);
    buffers[0].bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Runs instructions for each row of operands, a thread each. `%a0`, `%a1`, … have the row's values, in registers of the given types
/// (`b16`, `b32`, `b64`, `pred`); of each row the results are what `%d0`, `%d1`, … have in the end.
pub fn map(takes: &[&str], gives: &[&str], globals: &str, body: &str, rows: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let (blocks, n, m) = (rows.len().div_ceil(64).max(1), takes.len(), gives.len());
    let mut text = String::from(".reg .b64 %in, %out; .reg .b32 %row, %cta, %pred;\n");
    let mut after = String::new();
    for (i, ty) in takes.iter().enumerate() {
        text += &format!(".reg .{ty} %a{i};\n");
        match *ty {
            "pred" => after += &format!("ld.global.b32 %pred, [%in+{}]; setp.ne.b32 %a{i}, %pred, 0;\n", 8 * i),
            ty => after += &format!("ld.global.{ty} %a{i}, [%in+{}];\n", 8 * i),
        }
    }
    gives.iter().enumerate().for_each(|(i, ty)| text += &format!(".reg .{ty} %d{i};\n"));
    text += "ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1];
        mov.u32 %row, %tid.x; mov.u32 %cta, %ctaid.x; mad.lo.s32 %row, %cta, 64, %row;\n";
    text += &format!("mad.wide.u32 %in, %row, {}, %in; mad.wide.u32 %out, %row, {}, %out;\n", 8 * n, 8 * m);
    text += &format!("{after}{body}\n");
    for (i, ty) in gives.iter().enumerate() {
        match *ty {
            "pred" => text += &format!("selp.b32 %pred, 1, 0, %d{i}; st.global.b32 [%out+{}], %pred;\n", 8 * i),
            ty => text += &format!("st.global.{ty} [%out+{}], %d{i};\n", 8 * i),
        }
    }
    let mut bytes: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    bytes.resize(64 * blocks * 8 * n, 0);
    let mut buffers = [buffer(bytes, Access::Read), buffer(vec![0; 64 * blocks * 8 * m], Access::ReadWrite)];
    let outcome = launch(&module(2, globals, &(text + "ret;")), &Config::new(blocks as u32, 64), &mut buffers);
    assert!(outcome.findings.is_empty(), "{:?}\n{body}", outcome.findings);
    let values: Vec<u64> = buffers[1].bytes.chunks(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect();
    values.chunks(m).take(rows.len()).map(<[u64]>::to_vec).collect()
}

/// Checks one instruction `d0 ← a0, a1, …` against its definition.
pub fn check(instruction: &str, takes: &[&str], gives: &str, rows: &[Vec<u64>], expected: impl Fn(&[u64]) -> u64) {
    let operands: Vec<String> = (0..takes.len()).map(|i| format!("%a{i}")).collect();
    check_text(&format!("{instruction} %d0, {};", operands.join(", ")), takes, gives, rows, expected);
}

/// As `check`, for any text that leaves its result in `%d0`.
pub fn check_text(text: &str, takes: &[&str], gives: &str, rows: &[Vec<u64>], expected: impl Fn(&[u64]) -> u64) {
    for (row, given) in rows.iter().zip(map(takes, &[gives], "", text, rows)) {
        let (given, expected) = (given[0], expected(row));
        assert_eq!(given, expected, "{text} of {row:x?} is {given:#x}, not {expected:#x}");
    }
}

/// A type of whole numbers.
#[derive(Clone, Copy, Debug)]
pub struct Int {
    pub name: &'static str,
    pub width: u32,
    pub signed: bool,
}

const fn int(name: &'static str, width: u32, signed: bool) -> Int {
    Int { name, width, signed }
}

pub const BYTES: [Int; 2] = [int("u8", 8, false), int("s8", 8, true)];
pub const INTS: [Int; 6] = [
    int("u16", 16, false),
    int("s16", 16, true),
    int("u32", 32, false),
    int("s32", 32, true),
    int("u64", 64, false),
    int("s64", 64, true),
];

impl Int {
    /// The value of its bits.
    pub fn of(self, bits: u64) -> i128 {
        let low = i128::from(cut(self.width, bits.into()));
        if self.signed && low >> (self.width - 1) == 1 { low - (1 << self.width) } else { low }
    }

    /// The register that holds it.
    pub fn register(self) -> &'static str {
        match self.width {
            64 => "b64",
            32 => "b32",
            _ => "b16",
        }
    }

    pub fn least(self) -> i128 {
        if self.signed { -(1 << (self.width - 1)) } else { 0 }
    }

    pub fn most(self) -> i128 {
        if self.signed { (1 << (self.width - 1)) - 1 } else { (1 << self.width) - 1 }
    }
}

/// The lowest bits of a number.
pub fn cut(width: u32, value: i128) -> u64 {
    (value & ((1 << width) - 1)) as u64
}

/// Numbers that look random, the same every time.
pub struct Random(pub u64);

impl Random {
    /// (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014)
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Rows of operands of so many bits each: every combination of values at the edges, and random ones.
pub fn operands(widths: &[u32], random: usize) -> Vec<Vec<u64>> {
    let edges = |width: u32| {
        let high = 1u64 << (width - 1);
        let all = high | (high - 1);
        if widths.len() > 2 {
            vec![0, 1, high - 1, high, all]
        } else {
            vec![0, 1, 2, 7, high - 1, high, high + 1, all - 1, all]
        }
    };
    let mut rows = vec![Vec::new()];
    for &width in widths {
        rows =
            rows.into_iter().flat_map(|row| edges(width).into_iter().map(move |x| [&row[..], &[x]].concat())).collect();
    }
    let mut source = Random(widths.iter().map(|&w| u64::from(w)).sum());
    rows.extend((0..random).map(|_| widths.iter().map(|&w| source.next() >> (64 - w)).collect()));
    rows
}
