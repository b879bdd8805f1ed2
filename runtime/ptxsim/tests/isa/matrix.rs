//! Matrices over the lanes of a warp: fragments by the ISA's tables, products in plain loops. (PTX ISA 8.7, section 9.7.14.5)

use crate::common::{
    Random, buffer,
    float::{Exact, F16, F32, Mode},
    launch, module,
};
use swint_ptxsim::{Access, Config};

/// Row and column of element `i` that a lane holds of an operand.
type Place = fn(group: usize, thread: usize, i: usize) -> (usize, usize);

/// A shape: `k`, elements in a register of `A` and `B`, elements that a lane holds of each, and where they are.
struct Shape {
    name: &'static str,
    k: usize,
    bits: usize,
    a: (usize, Place),
    b: (usize, Place),
}

const SHAPES: [Shape; 4] = [
    // Matrix fragments for mma.m16n8k32 with .s8/.u8
    Shape {
        name: "m16n8k32",
        k: 32,
        bits: 8,
        a: (16, |g, t, i| {
            (if i < 4 || (8..12).contains(&i) { g } else { g + 8 }, t * 4 + (i & 3) + if i < 8 { 0 } else { 16 })
        }),
        b: (8, |g, t, i| (t * 4 + (i & 3) + if i < 4 { 0 } else { 16 }, g)),
    },
    // Matrix fragments for mma.m16n8k16 with .s8/.u8
    Shape {
        name: "m16n8k16",
        k: 16,
        bits: 8,
        a: (8, |g, t, i| (if i < 4 { g } else { g + 8 }, t * 4 + (i & 3))),
        b: (4, |g, t, i| (t * 4 + i, g)),
    },
    // Matrix fragments for mma.m16n8k16 with .f16
    Shape {
        name: "m16n8k16",
        k: 16,
        bits: 16,
        a: (8, |g, t, i| {
            (if i < 2 || (4..6).contains(&i) { g } else { g + 8 }, t * 2 + (i & 1) + if i < 4 { 0 } else { 8 })
        }),
        b: (4, |g, t, i| (t * 2 + (i & 1) + if i < 2 { 0 } else { 8 }, g)),
    },
    // Matrix fragments for mma.m16n8k8 with .f16
    Shape {
        name: "m16n8k8",
        k: 8,
        bits: 16,
        a: (4, |g, t, i| (if i < 2 { g } else { g + 8 }, t * 2 + (i & 1))),
        b: (2, |g, t, i| (t * 2 + i, g)),
    },
];

/// Accumulators are laid out alike in all of them.
const C: (usize, Place) = (4, |g, t, i| (if i < 2 { g } else { g + 8 }, t * 2 + (i & 1)));

/// Registers of all lanes, `bits` of each element from a matrix.
fn fragments((count, place): (usize, Place), bits: usize, matrix: impl Fn(usize, usize) -> u64) -> Vec<u32> {
    let mut registers = Vec::new();
    for lane in 0..32 {
        let mut words = vec![0u32; count * bits / 32];
        for i in 0..count {
            let (row, column) = place(lane >> 2, lane % 4, i);
            words[i * bits / 32] |= (matrix(row, column) as u32) << (i * bits % 32);
        }
        registers.extend(words);
    }
    registers
}

/// Runs an `mma` of a warp; registers lane by lane in and out.
fn multiply(opcode: &str, operands: [&[u32]; 3], d_words: usize) -> Vec<u32> {
    let names = |letter: char, n: usize| (0..n).map(|i| format!("%{letter}{i}")).collect::<Vec<_>>();
    let mut body = String::from(".reg .b32 %a<4>, %b<4>, %c<4>, %d<4>; mov.u32 %r0, %tid.x;\n");
    for (i, (letter, words)) in ['a', 'b', 'c'].into_iter().zip(operands).enumerate() {
        let n = words.len() / 32;
        body += &format!("ld.param.u64 %l0, [p{i}]; mad.wide.u32 %l0, %r0, {}, %l0;\n", 4 * n);
        names(letter, n)
            .iter()
            .enumerate()
            .for_each(|(j, x)| body += &format!("ld.global.b32 {x}, [%l0+{}];\n", 4 * j));
    }
    let list = |letter: char, n: usize| format!("{{{}}}", names(letter, n).join(", "));
    let [a, b, c] = operands.map(|x| x.len() / 32);
    body += &format!("{opcode} {}, {}, {}, {};\n", list('d', d_words), list('a', a), list('b', b), list('c', c));
    body += &format!("ld.param.u64 %l0, [p3]; mad.wide.u32 %l0, %r0, {}, %l0;\n", 4 * d_words);
    names('d', d_words).iter().enumerate().for_each(|(j, x)| body += &format!("st.global.b32 [%l0+{}], {x};\n", 4 * j));
    let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let mut buffers = operands.map(|x| buffer(bytes(x), Access::Read)).to_vec();
    buffers.push(buffer(vec![0; 128 * d_words], Access::Write));
    let outcome = launch(&module(4, "", &(body + "ret;")), &Config::new(1, 32), &mut buffers);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
    assert_eq!(outcome.stats.mma, 1);
    buffers[3].bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn bytes() {
    let mut random = Random(1);
    for shape in &SHAPES[..2] {
        for (a_type, b_type) in [("s8", "s8"), ("s8", "u8"), ("u8", "s8"), ("u8", "u8")] {
            for (saturates, extreme) in [(false, false), (true, false), (false, true), (true, true)] {
                // Either any bytes, or those of the largest products and sums beyond 32 bits.
                let mut byte =
                    || if extreme { [0x7f, 0x80, 0xff][random.below(3) as usize] } else { random.next() & 0xff };
                let a: Vec<u64> = (0..16 * shape.k).map(|_| byte()).collect();
                let b: Vec<u64> = (0..shape.k * 8).map(|_| byte()).collect();
                let c: Vec<i32> = (0..128)
                    .map(|i| if extreme { [i32::MAX - 5, i32::MIN + 5][i % 2] } else { random.next() as i32 >> 8 })
                    .collect();
                let value = |x: u64, ty: &str| if ty == "s8" && x > 127 { x as i64 - 256 } else { x as i64 };
                let satfinite = if saturates { ".satfinite" } else { "" };
                let opcode = format!("mma.sync.aligned.{}.row.col{satfinite}.s32.{a_type}.{b_type}.s32", shape.name);
                let operands = [
                    fragments(shape.a, 8, |row, k| a[row * shape.k + k]),
                    fragments(shape.b, 8, |k, column| b[k * 8 + column]),
                    fragments(C, 32, |row, column| c[row * 8 + column] as u32 as u64),
                ];
                let given = multiply(&opcode, [&operands[0], &operands[1], &operands[2]], 4);
                let expected = fragments(C, 32, |row, column| {
                    let product = |k: usize| value(a[row * shape.k + k], a_type) * value(b[k * 8 + column], b_type);
                    let sum = (0..shape.k).map(product).sum::<i64>() + i64::from(c[row * 8 + column]);
                    let sum = if saturates { sum.clamp(i32::MIN.into(), i32::MAX.into()) } else { sum };
                    u64::from(sum as u32)
                });
                assert_eq!(given, expected, "{opcode}");
            }
        }
    }
}

#[test]
fn halves() {
    let mut random = Random(2);
    // Quarters, whose products and sums are exact in sixteenths until they are rounded to the result.
    let exact = |x: i64, power: i32| Exact { negative: x < 0, whole: x.unsigned_abs().into(), power };
    let half = |x: i64| F16.round(Mode::Even, exact(x, -2));
    for shape in &SHAPES[2..] {
        for (d_type, c_type) in [("f32", "f32"), ("f16", "f16"), ("f32", "f16"), ("f16", "f32")] {
            let mut number = |n: u64| random.below(2 * n) as i64 - n as i64;
            let a: Vec<i64> = (0..16 * shape.k).map(|_| number(200)).collect();
            let b: Vec<i64> = (0..shape.k * 8).map(|_| number(200)).collect();
            let c: Vec<i64> = (0..128).map(|_| number(1000)).collect();
            let bits = |ty: &str| if ty == "f16" { 16 } else { 32 };
            let form =
                |ty: &str, x: Exact| if ty == "f16" { F16.round(Mode::Even, x) } else { F32.round(Mode::Even, x) };
            let opcode = format!("mma.sync.aligned.{}.row.col.{d_type}.f16.f16.{c_type}", shape.name);
            let operands = [
                fragments(shape.a, shape.bits, |row, k| half(a[row * shape.k + k])),
                fragments(shape.b, shape.bits, |k, column| half(b[k * 8 + column])),
                fragments(C, bits(c_type), |row, column| form(c_type, exact(c[row * 8 + column], -2))),
            ];
            let given = multiply(&opcode, [&operands[0], &operands[1], &operands[2]], 4 * bits(d_type) / 32);
            let expected = fragments(C, bits(d_type), |row, column| {
                let product = |k: usize| a[row * shape.k + k] * b[k * 8 + column];
                form(d_type, exact((0..shape.k).map(product).sum::<i64>() + 4 * c[row * 8 + column], -4))
            });
            assert_eq!(given, expected, "{opcode}");
        }
    }
}

/// Where row `r` of matrix `i` is among 512 bytes and some: in no order.
fn row_at(i: usize, r: usize) -> usize {
    16 * ((8 * i + r) * 5 % 32) + 16
}

/// Shared memory of halves, each its own number, and a register that has the lane's row.
const ROWS: &str = "
    .shared .align 16 .b8 s[544]; mov.u32 %r0, %tid.x; mov.u32 %r1, s; mul.lo.s32 %r2, %r0, 5; and.b32 %r2, %r2, 31;
    shl.b32 %r2, %r2, 4; add.s32 %r2, %r2, %r1; mov.u32 %r3, 0; mad.lo.s32 %r4, %r0, 2, %r1;
    ld.param.u64 %l0, [p0]; mad.wide.u32 %l0, %r0, 16, %l0;\n";

#[test]
fn loads() {
    for n in [1, 2, 4] {
        for transposed in [false, true] {
            let trans = if transposed { ".trans" } else { "" };
            let list = ["%r10", "%r11", "%r12", "%r13"][..n].join(", ");
            let mut body = String::from(ROWS);
            (0..9).for_each(|i| {
                // 32 halves at a time: the one at 2j is j + 7.
                if i < 8 {
                    body += &format!(
                        "add.s32 %r5, %r0, {}; cvt.u16.u32 %h0, %r5;
                        st.shared.b16 [%r4+{}], %h0;\n",
                        32 * i + 7,
                        64 * i
                    );
                } else {
                    body += &format!(
                        "setp.lt.u32 %p0, %r0, 16; add.s32 %r5, %r0, {}; cvt.u16.u32 %h0, %r5;
                        @%p0 st.shared.b16 [%r4+{}], %h0;\n",
                        32 * i + 7,
                        64 * i
                    );
                }
            });
            body += "bar.warp.sync -1; mov.u32 %r10, 0; mov.u32 %r11, 0; mov.u32 %r12, 0; mov.u32 %r13, 0;\n";
            body += &format!("ldmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16 {{{list}}}, [%r2+16];\n");
            body += "st.global.v4.b32 [%l0], {%r10, %r11, %r12, %r13}; ret;";
            let given = crate::common::words(&body, &Config::new(1, 32), 128);
            for (lane, words) in given.chunks(4).enumerate() {
                for (i, word) in words.iter().enumerate() {
                    let element = |e: usize| {
                        let (r, c) = (lane / 4, 2 * (lane % 4) + e);
                        let (r, c) = if transposed { (c, r) } else { (r, c) };
                        (row_at(i, r) / 2 + c + 7) as u32
                    };
                    let expected = if i < n { element(0) | element(1) << 16 } else { 0 };
                    assert_eq!(*word, expected, "x{n}{trans}, lane {lane}, register {i}");
                }
            }
        }
    }
}

#[test]
fn stores() {
    for n in [1, 2, 4] {
        for transposed in [false, true] {
            let trans = if transposed { ".trans" } else { "" };
            let list = ["%r10", "%r11", "%r12", "%r13"][..n].join(", ");
            let mut body = String::from(ROWS);
            (0..4).for_each(|i| {
                body += &format!("mad.lo.s32 %r1{i}, %r0, 0x20002, {};\n", 0x1_0000 + 100 * i * 0x1_0001)
            });
            body += &format!(
                "stmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16 [%r2+16], {{{list}}}; bar.warp.sync 0xffffffff;\n"
            );
            // Each of the lanes whose row was stored gives it back.
            body += &format!(
                "setp.lt.u32 %p0, %r0, {}; @!%p0 ret; ld.shared.v4.b32 {{%r10, %r11, %r12, %r13}}, [%r2+16];\n",
                8 * n
            );
            body += "st.global.v4.b32 [%l0], {%r10, %r11, %r12, %r13}; ret;";
            let given = crate::common::words(&body, &Config::new(1, 32), 128);
            for (lane, words) in given.chunks(4).enumerate() {
                for c in 0..8 {
                    let half = words[c / 2] >> (16 * (c % 2)) & 0xffff;
                    let (i, r) = (lane / 8, lane % 8);
                    let (row, column) = if transposed { (c, r) } else { (r, c) };
                    // Lane l's register i has 2l + 100i and one more above.
                    let expected = 2 * (row * 4 + column / 2) + 100 * i + column % 2;
                    assert_eq!(half, if i < n { expected as u32 } else { 0 }, "x{n}{trans}, row {lane}, column {c}");
                }
            }
        }
    }
}
