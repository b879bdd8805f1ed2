//! Loads, stores, atomics, addresses and special registers. (PTX ISA 8.7, sections 9.7.9 and 9.7.13, chapter 10)

use crate::common::{buffer, check_text, cut, launch, map, module, operands, words};
use swint_ptxsim::{Access, Config, Module, Param, run};

/// A value loaded is extended to its register, by its sign where its type has one.
#[test]
fn extension() {
    for space in ["global", "shared", "local", "generic"] {
        for from in [
            ("u8", 8, false),
            ("s8", 8, true),
            ("b8", 8, false),
            ("u16", 16, false),
            ("s16", 16, true),
            ("u32", 32, false),
            ("s32", 32, true),
        ] {
            let (name, width, signed) = from;
            for register in [16, 32, 64].into_iter().filter(|&r| r >= width) {
                let rows = operands(&[width], 30);
                let wide = if width < 16 { 16 } else { width };
                // Each thread has 8 bytes of its own.
                let at = match space {
                    "shared" => {
                        "mov.u32 %r0, %tid.x; shl.b32 %r0, %r0, 3; mov.u32 %r1, s; add.s32 %r1, %r1, %r0;
                            cvt.u64.u32 %l0, %r1;"
                    }
                    "local" => "mov.u64 %l0, l;",
                    "generic" => "mov.u64 %l0, l; cvta.local.u64 %l0, %l0; add.s64 %l0, %l0, 0;",
                    _ => "mov.u64 %l0, %out;",
                };
                let dot = if space == "generic" { String::new() } else { format!(".{space}") };
                let text = format!(
                    ".local .align 8 .b8 l[8]; .shared .align 8 .b8 s[512]; {at} st{dot}.b{width} [%l0], %a0;
                        ld{dot}.{name} %d0, [%l0];"
                );
                check_text(&text, &[&format!("b{wide}")], &format!("b{register}"), &rows, |row| {
                    let value = if signed { sign(width, row[0]) } else { row[0].into() };
                    cut(register, value)
                });
            }
        }
    }
}

fn sign(width: u32, bits: u64) -> i128 {
    let low = i128::from(cut(width, bits.into()));
    if low >= 1 << (width - 1) { low - (1 << width) } else { low }
}

/// Vectors of 2 and 4 elements of 8 to 64 bits: loaded, and stored in reverse.
#[test]
fn vectors() {
    for bits in [8, 16, 32, 64] {
        for n in [2, 4] {
            let (bytes, letter) = (bits / 8 * n, ["h", "h", "r", "l"][(bits as u32).trailing_zeros() as usize - 3]);
            let names: Vec<String> = (1..=n).map(|i| format!("%{letter}{i}")).collect();
            let reversed: Vec<String> = names.iter().rev().cloned().collect();
            for space in ["", ".global"] {
                let body = format!(
                    "ld.param.u64 %l10, [p0]; mov.u32 %r20, %tid.x; mad.wide.u32 %l10, %r20, {}, %l10;
                     ld{space}.v{n}.b{bits} {{{}}}, [%l10]; st{space}.v{n}.b{bits} [%l10+{bytes}], {{{}}}; ret;",
                    2 * bytes,
                    names.join(", "),
                    reversed.join(", ")
                );
                let start: Vec<u8> = (0..40 * 2 * bytes).map(|i| (i * 37 % 251) as u8).collect();
                let mut buffers = [buffer(start.clone(), Access::ReadWrite)];
                let outcome = launch(&module(1, "", &body), &Config::new(1, 40), &mut buffers);
                assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
                for (before, after) in start.chunks(2 * bytes).zip(buffers[0].bytes.chunks(2 * bytes)) {
                    let expected: Vec<u8> = before[..bytes].chunks(bits / 8).rev().flatten().copied().collect();
                    assert_eq!(after, [&before[..bytes], &expected[..]].concat(), "v{n}.b{bits}");
                }
            }
        }
    }
}

/// Of a vector, elements that are not wanted are `_`; offsets may be negative; immediates may be stored.
#[test]
fn forms_of_operands() {
    let body = "ld.param.u64 %l0, [p0]; st.global.v2.u32 [%l0+8], {7, -1}; add.s64 %l0, %l0, 16;
        ld.global.v2.u32 {_, %r0}, [%l0+-8]; ld.global.v2.u32 {%r1, _}, [%l0-8]; st.global.u32 [%l0], %r0;
        st.global.u32 [%l0+4], %r1; st.global.f32 [%l0+8], 0f40000000;
        st.global.f32 [%l0+12], 0d3FF0000000000000; ret;";
    assert_eq!(words(body, &Config::new(1, 1), 8), [0, 0, 7, u32::MAX, u32::MAX, 7, 0x4000_0000, 0x3f80_0000]);
}

/// To generic addresses and back, of each space; a generic access finds the space.
#[test]
fn generic_addresses() {
    let body = ".shared .align 8 .b8 s[64]; .local .align 8 .b8 l[64]; ld.param.u64 %l0, [p0];
        mov.u64 %l1, s; add.s64 %l1, %l1, 16; cvta.shared.u64 %l2, %l1; st.u32 [%l2], 11; cvta.to.shared.u64 %l3, %l2;
        ld.shared.u32 %r1, [%l3]; ld.shared.u32 %r2, [s+16];
        mov.u64 %l1, l; cvta.local.u64 %l2, %l1; st.u32 [%l2+4], 12; cvta.to.local.u64 %l3, %l2;
        ld.local.u32 %r3, [%l3+4]; ld.u32 %r4, [%l2+4]; ld.local.u32 %r5, [l+4];
        cvta.global.u64 %l2, %l0; cvta.to.global.u64 %l3, %l2; st.global.v2.u32 [%l3], {%r1, %r2}; st.u32 [%l2+8], %r3;
        st.global.u32 [%l0+12], %r4; st.global.u32 [%l0+16], %r5; ret;";
    assert_eq!(words(body, &Config::new(1, 1), 5), [11, 11, 12, 12, 12]);
}

/// Parameters of all sizes at their alignments, and tables of the module in either space.
#[test]
fn parameters_and_tables() {
    let text = ".version 8.7
        .target sm_90a
        .address_size 64
        .const .align 4 .b8 bytes[6] = {1, 2, 0xff, -1};
        .global .align 8 .u64 wide[2] = {0x1122334455667788, -2};
        .global .s16 narrow[3] = {-3, 4, 5};
        .const .f32 reals[2] = {0f3F800000, -0f40000000};
        .extern .shared .align 16 .b8 dynamic[];
        .visible .entry k(.param .u8 a, .param .u16 b, .param .u32 c, .param .u64 .ptr .global .align 16 out, .param .align 4 .b8 d[12])
        .reqntid 1, 1, 1 {
            .reg .b32 %r<20>; .reg .b64 %l<20>; .shared .b32 fixed[5];
            ld.param.u64 %l0, [out];
            ld.param.u8 %r0, [a]; ld.param.s16 %r1, [b]; ld.param.u32 %r2, [c]; ld.param.u32 %r3, [d+8];
            ld.param.u8 %r4, [d+1];
            st.global.v4.u32 [%l0], {%r0, %r1, %r2, %r3}; st.global.u32 [%l0+16], %r4;
            ld.const.u8 %r5, [bytes+1]; mov.u64 %l1, bytes; ld.const.s8 %r6, [%l1+3]; ld.const.u8 %r7, [bytes+5];
            st.global.v2.u32 [%l0+24], {%r5, %r6}; st.global.u32 [%l0+32], %r7;
            ld.global.u64 %l2, [wide]; mov.u64 %l3, wide; ld.global.nc.u64 %l4, [%l3+8]; ld.u64 %l5, [%l3];
            st.global.u64 [%l0+40], %l2; st.global.u64 [%l0+48], %l4; st.global.u64 [%l0+56], %l5;
            cvta.global.u64 %l6, narrow; cvta.to.global.u64 %l7, %l6; ld.global.s16 %r8, [%l7];
            ld.const.u32 %r9, [reals+4];
            st.global.v2.u32 [%l0+64], {%r8, %r9};
            mov.u32 %r10, dynamic; mov.u32 %r11, fixed; mov.u32 %r12, %dynamic_smem_size;
            mov.u32 %r13, %total_smem_size;
            st.global.v4.u32 [%l0+80], {%r10, %r11, %r12, %r13};
            ret;
        }";
    let module = Module::parse(text).unwrap();
    assert_eq!((&*module.target, module.kernels[0].block), ("sm_90a", Some([1, 1, 1])));
    let mut buffers = [buffer(vec![0; 96], Access::ReadWrite)];
    let d: Vec<u8> = (0..12).collect();
    let params = [vec![200], vec![0xfe, 0xff], vec![1, 2, 3, 4]].map(Param::Bytes);
    let params = [&params[..], &[Param::Buffer(0), Param::Bytes(d)]].concat();
    let config = Config { dynamic_shared: 32, ..Config::new(1, 1) };
    let outcome = run(&module.kernels[0], &config, &params, &mut buffers);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
    let word = |i: usize| u32::from_le_bytes(buffers[0].bytes[4 * i..][..4].try_into().unwrap());
    assert_eq!([0, 1, 2, 3, 4].map(word), [200, -2i32 as u32, 0x0403_0201, 0x0b0a_0908, 1]);
    assert_eq!([6, 7, 8].map(word), [2, u32::MAX, 0]);
    let wide = [0x5566_7788, 0x1122_3344, -2i32 as u32, u32::MAX, 0x5566_7788, 0x1122_3344];
    assert_eq!([10, 11, 12, 13, 14, 15].map(word), wide);
    assert_eq!([16, 17].map(word), [-3i32 as u32, 0xc000_0000]);
    // What the launch adds comes after what the kernel declares, at its alignment.
    assert_eq!([20, 21, 22, 23].map(word), [32, 0, 32, 64]);
}

#[test]
fn special_registers() {
    let names = ["%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z"];
    let more = ["%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid", "%warpid", "%nwarpid"];
    let masks = ["%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge"];
    let all = [&names[..], &more[..], &masks[..]].concat();
    for (grid, block) in
        [([3, 1, 1], [70, 1, 1]), ([2, 3, 1], [5, 7, 1]), ([2, 1, 3], [4, 3, 6]), ([1, 1, 1], [1, 1, 33])]
    {
        let linear = |x: &str| {
            format!(
                "mov.u32 %r1, %{x}id.x; mov.u32 %r2, %{x}id.y; mov.u32 %r3, %{x}id.z;
                 mov.u32 %r4, %n{x}id.x; mov.u32 %r5, %n{x}id.y; mad.lo.s32 %r6, %r3, %r5, %r2;
                 mad.lo.s32 %r6, %r6, %r4, %r1;"
            )
        };
        let threads: u32 = block.iter().product();
        let mut body = format!("{} mov.u32 %r10, %r6; {} ", linear("cta"), linear("t"));
        body += &format!(
            "mad.lo.s32 %r11, %r10, {threads}, %r6; ld.param.u64 %l0, [p0]; mad.wide.u32 %l0, %r11, {}, %l0;\n",
            4 * all.len()
        );
        for (i, name) in all.iter().enumerate() {
            body += &format!("mov.u32 %r20, {name}; st.global.u32 [%l0+{}], %r20;\n", 4 * i);
        }
        let blocks: u32 = grid.iter().product();
        let config = Config { grid, block, ..Config::new(1, 1) };
        let given = words(&(body + "ret;"), &config, all.len() * (blocks * threads) as usize);
        let mut given = given.chunks(all.len());
        for cta in 0..blocks {
            for t in 0..threads {
                let place = |n: u32, of: [u32; 3]| [n % of[0], n / of[0] % of[1], n / of[0] / of[1]];
                let (lane, bit) = (t % 32, 1u32 << (t % 32));
                let below = bit - 1;
                let expected = [place(t, block), block, place(cta, grid), grid, [lane, t / 32, threads.div_ceil(32)]];
                let masks = [bit, below, below | bit, !(below | bit), !below];
                assert_eq!(given.next().unwrap(), [&expected.concat()[..], &masks].concat());
            }
        }
    }
}

/// All threads of several blocks on one word each; results do not depend on the order.
#[test]
fn atomics() {
    let (threads, blocks) = (64u32, 3);
    let value = |i: u32| i.wrapping_mul(0x9e37_79b9) ^ i;
    let values: Vec<u32> = (0..threads * blocks).map(value).collect();
    type Fold = fn(u32, u32) -> u32;
    let all: [(&str, u32, Fold); 8] = [
        ("add.u32", 5, u32::wrapping_add),
        ("add.s32", 5, u32::wrapping_add),
        ("min.u32", u32::MAX, u32::min),
        ("max.u32", 0, u32::max),
        ("min.s32", 3, |a, b| (a as i32).min(b as i32) as u32),
        ("max.s32", 3, |a, b| (a as i32).max(b as i32) as u32),
        ("and.b32", u32::MAX, |a, b| a & b),
        ("xor.b32", 1, |a, b| a ^ b),
    ];
    for (name, start, f) in all {
        for (how, d) in [("red", ""), ("atom", "%r9, ")] {
            for space in ["", ".global"] {
                let body = format!(
                    "ld.param.u64 %l0, [p0]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;
                        mad.lo.s32 %r1, %r2, {threads}, %r1;
                     mul.lo.s32 %r3, %r1, 0x9e3779b9; xor.b32 %r3, %r3, %r1; {how}{space}.{name} {d}[%l0], %r3; ret;"
                );
                let mut buffers = [buffer(start.to_le_bytes().to_vec(), Access::ReadWrite)];
                let outcome = launch(&module(1, "", &body), &Config::new(blocks, threads), &mut buffers);
                assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
                assert_eq!(buffers[0].bytes, values.iter().fold(start, |a, &b| f(a, b)).to_le_bytes(), "{name}");
            }
        }
    }
}

/// What an atomic gives is what was there before it.
#[test]
fn values_before_atomics() {
    let old = |row: &[u64]| row[0];
    let rows = operands(&[32; 2], 20);
    for name in ["exch.b32", "add.u32", "or.b32", "min.s32"] {
        let text = format!("st.global.b32 [%out], %a0; atom.global.{name} %d0, [%out], %a1;");
        check_text(&text, &["b32"; 2], "b32", &rows, old);
    }
    let text = "st.global.b64 [%out], %a0; atom.global.add.u64 %l0, [%out], %a1; ld.global.b64 %d0, [%out];";
    check_text(text, &["b64"; 2], "b64", &operands(&[64; 2], 20), |row| row[0].wrapping_add(row[1]));
    let text = "st.global.b32 [%out], %a0; atom.global.exch.b32 %r0, [%out], %a1; ld.global.b32 %d0, [%out];";
    check_text(text, &["b32"; 2], "b32", &rows, |row| row[1]);
    let text = "st.global.f32 [%out], %a0; red.global.add.f32 [%out], %a1; ld.global.f32 %d0, [%out];";
    let row = vec![0x3fc0_0000, 0x4020_0000];
    check_text(text, &["b32"; 2], "b32", &[row], |_| 0x4080_0000);
    // Written only where it has the value that is expected.
    let text = "st.global.b32 [%out], %a0; atom.global.cas.b32 %d0, [%out], %a1, 77; ld.global.b32 %d1, [%out];";
    for (row, given) in rows.iter().zip(map(&["b32"; 2], &["b32", "b32"], "", text, &rows)) {
        assert_eq!(given, [row[0], if row[0] == row[1] { 77 } else { row[0] }]);
    }
    let text = ".shared .b32 s[64]; mov.u32 %r0, %tid.x; shl.b32 %r0, %r0, 2; mov.u32 %r1, s; add.s32 %r0, %r0, %r1;
        st.shared.u32 [%r0], %a0; atom.shared.add.u32 %d0, [%r0], %a1; ld.shared.u32 %d1, [%r0];";
    for (row, given) in rows.iter().zip(map(&["b32"; 2], &["b32", "b32"], "", text, &rows)) {
        assert_eq!(given, [row[0], cut(32, i128::from(row[0]) + i128::from(row[1]))]);
    }
}
