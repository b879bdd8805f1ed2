//! What is no PTX, or none that is known, is an error with its line, and nothing worse.

use crate::common::{Random, buffer};
use swint_ptxsim::{Access, Buffer, Config, Module, Param, ParseError, run};

fn error(text: &str) -> ParseError {
    match Module::parse(text) {
        Ok(_) => panic!("this parses: {text}"),
        Err(e) => e,
    }
}

fn kernel(body: &str) -> String {
    format!(
        ".version 8.7\n.target sm_89\n.address_size 64\n.visible .entry k(.param .u64 a)\n{{\n\
         .reg .b16 %h<4>; .reg .b32 %r<9>; .reg .b64 %l<9>; .reg .pred %p<3>; \
         .shared .align 16 .b8 s[64];\n{body}\nret;\n}}\n"
    )
}

/// The line of a body in `kernel`.
const BODY: u32 = 7;

#[test]
fn unknown_instructions_are_named() {
    for (text, named) in [
        ("add.s32 %r1, %r2, %r3;\nfrobnicate.b32 %r1, %r2;", "frobnicate.b32"),
        ("nop2;\n", "nop2"),
        ("mov.u32 %r1, 1;\nwgmma.fence.sync.aligned;", "wgmma.fence.sync.aligned"),
        ("add.rz.f32 %r1, %r2, %r3;", "add.rz.f32"),
        ("add.b32 %r1, %r2, %r3;", "add.b32"),
        ("and.s32 %r1, %r2, %r3;", "and.s32"),
        ("setp.lt.b32 %p1, %r2, %r3;", "setp.lt.b32"),
        ("setp.ltu.s32 %p1, %r2, %r3;", "setp.ltu.s32"),
        ("cvt.s32.f32 %r1, %r2;", "cvt.s32.f32"),
        ("cvt.f16.f32 %h1, %r2;", "cvt.f16.f32"),
        ("min.NaN.f32 %r1, %r2, %r3;", "min.NaN.f32"),
        ("fma.rn.ftz.f16 %h1, %h2, %h3, %h1;", "fma.rn.ftz.f16"),
        ("prmt.b32.f4e %r1, %r2, %r3, %r4;", "prmt.b32.f4e"),
        ("ld.global.v3.u32 {%r1, %r2, %r3}, [%l1];", "ld.global.v3.u32"),
        ("ld.global.v8.u64 {%l1, %l1, %l1, %l1, %l1, %l1, %l1, %l1}, [%l1];", "ld.global.v8.u64"),
        ("cp.async.cg.shared.global [s], [%l1], 8;", "cp.async.cg.shared.global"),
        ("cp.async.cg.shared.global.L2::cache_hint [s], [%l1], 16, %l2;", "cp.async.cg.shared.global.L2::cache_hint"),
        ("bar.sync 0, 64;", "bar.sync"),
        ("mma.sync.aligned.m16n8k64.row.col.s32.s4.s4.s32 {%r1}, {%r1}, {%r1}, {%r1};", "mma.sync.aligned.m16n8k64"),
        ("red.global.cas.b32 [%l1], %r1, %r2;", "red.global.cas.b32"),
        ("atom.global.cas.b32 %r1, [%l1], %r1;", "atom.global.cas.b32"),
        ("membar.proxy;", "membar.proxy"),
        ("trap;", "trap"),
    ] {
        let e = error(&kernel(text));
        let at = text.lines().position(|line| line.contains(named)).unwrap() as u32;
        assert!(e.message.contains(named) && e.line == BODY + at, "{e} for {text}");
    }
}

#[test]
fn wrong_operands() {
    for (text, what) in [
        ("add.s32 %r1, %r2;", "add.s32"),
        ("add.s32 %r1, %r2, %r3, %r4;", "add.s32"),
        ("add.s32;", "add.s32"),
        ("add %r1;", "add"),
        ("add;", "add"),
        ("setp;", "setp"),
        ("setp.eq.;", "setp.eq"),
        ("cvt;", "cvt"),
        ("mov;", "mov"),
        ("ld;", "ld"),
        ("mma;", "mma"),
        (".;", "."),
        ("@%p1 ;", "name"),
        ("add.s32 %r1, %r2, %r99;", "%r99"),
        ("add.s32 %r1, %r2, %r01;", "%r01"),
        ("add.s32 %r1, %r2, %p1;", "%p1"),
        ("add.s32 %r1, %r2, _;", "_"),
        ("add.s32 %r1, %r2, nowhere;", "nowhere"),
        ("add.s32 1, %r2, %r3;", "register"),
        ("mov.u32 %r1, %tid.w;", "%tid.w"),
        ("mov.u32 %r1, %tid;", "%tid"),
        ("mov.u32 %r1, %smid;", "%smid"),
        ("selp.b32 %r1, %r2, %r3, %r4;", "%r4"),
        ("@%r1 mov.u32 %r2, 0;", "%r1"),
        ("bra NOWHERE;", "NOWHERE"),
        ("bra %r1;", "bra"),
        ("brx.idx %r1, NOWHERE;", "NOWHERE"),
        ("T: .branchtargets NOWHERE; brx.idx %r1, T;", "NOWHERE"),
        ("A: A:", "A"),
        ("ld.global.u32 %r1, %l1;", "address"),
        ("ld.global.u32 %r1, [s];", "space"),
        ("ld.shared.v2.u32 {%r1}, [s];", "ld.shared.v2.u32"),
        ("st.const.u32 [%l1], %r1;", "constants"),
        ("mov.b32 {%h1, %h2, %h3}, %r1;", "parts"),
        ("mov.b32 {%h1}, %r1;", "parts"),
        ("mov.b32 {}, %r1;", "operand"),
        ("mov.b32 %r1, {{%h1, %h2}, %h3};", "operand"),
        ("ld.global.u32 %r1, [[%l1]];", "operand"),
        ("bar.sync 16;", "16"),
        ("cp.async.wait_group -1;", "-1"),
        (".reg .b32 %r<5>, x; .reg .b64 x;", "x"),
        (".reg .q32 %z;", "q32"),
    ] {
        let e = error(&kernel(text));
        assert!(e.message.contains(what), "{e} for {text}");
        assert!((BODY..=BODY + 1).contains(&e.line), "{e} for {text}");
    }
}

/// Sizes that nothing has are refused before there is memory for them.
#[test]
fn absurd_sizes() {
    for body in [
        ".reg .b32 %z<4000000000>;",
        ".reg .b32 %z<99999999999999999999>;",
        ".shared .b8 x[99999999999999999999];",
        ".shared .b8 x[9999999999999999999];",
        ".shared .b64 x[4294967296][4294967296];",
        ".shared .b64 x[1000000000];",
        ".local .b8 x[4000000000];",
        ".local .b8 x[600000];",
        ".local .align 9223372036854775808 .b8 x[4];",
        ".local .align 3 .b8 x[4];",
        ".local .align 0 .b8 x[4];",
        "mov.u64 %l1, 99999999999999999999;",
        "mov.u64 %l1, 0x11111111111111111;",
    ] {
        error(&kernel(body));
    }
    for text in [
        ".version 8.7 .target sm_89 .global .b8 x[1000000000000];",
        ".version 8.7 .target sm_89 .global .b8 x[60000000]; .global .b8 y[60000000];",
        ".version 8.7 .target sm_89 .const .b8 x[2] = {1, 2, 3};",
        ".version 8.7 .target sm_89 .entry k(.param .b8 p[40000]) { ret; }",
        ".version 8.7 .target sm_89 .entry k() .reqntid 4294967296 { ret; }",
        ".version 8.7 .target sm_89 .entry k() .reqntid 1, 1, 1, 1 { ret; }",
    ] {
        error(text);
    }
    // An offset that wraps is an address like any other.
    let wraps = kernel("ld.global.u32 %r1, [%l1+18446744073709551615+9223372036854775808+-9223372036854775808];");
    Module::parse(&wraps).unwrap();
    // Nesting does not fill the stack.
    error(&kernel(&"[".repeat(1_000_000)));
    error(&kernel(&format!("mov.b32 {};", "{".repeat(1_000_000))));
    error(&kernel(&"{".repeat(1_000_000)));
}

const EVERYTHING: &str = "
    ld.param.u64 %l1, [a]; mov.u32 %r1, %tid.x; mad.wide.u32 %l2, %r1, 4, %l1; mov.u32 %r2, s; and.b32 %r3, %r1, 15;
    shl.b32 %r3, %r3, 2; add.s32 %r3, %r3, %r2; st.shared.u32 [%r3], %r1; bar.sync 0;
TOP:
    ld.shared.v2.u32 {%r4, %r5}, [s+8]; mov.b32 {%h1, %h2}, %r4; cvt.s32.s16 %r6, %h2; mul.hi.u32 %r4, %r4, %r6;
    setp.lt.and.s32 %p1|%p2, %r4, 7, !%p2; selp.b32 %r4, %r5, -3, %p1; dp4a.s32.u32 %r4, %r4, %r5, %r6;
    lop3.b32 %r4, %r4, %r5, %r6, 0x96;
    bfe.u32 %r5, %r4, 3, 9; bfi.b32 %r5, %r4, %r5, 1, 2; prmt.b32 %r6, %r4, %r5, 0x5410;
    shf.l.wrap.b32 %r6, %r4, %r5, 7;
    cvt.rn.f32.s32 %r6, %r6; fma.rn.ftz.f32 %r6, %r6, 0f3F000000, %r6; cvt.rzi.s32.f32 %r6, %r6;
    cvt.rn.f16.f32 %h1, %r6;
    @%p1 shfl.sync.bfly.b32 %r4|%p2, %r4, 1, 31, -1; vote.sync.ballot.b32 %r5, %p2, -1;
    redux.sync.add.s32 %r5, %r5, 0xffffffff;
    cp.async.cg.shared.global [s+16], [%l1], 16; cp.async.commit_group; cp.async.wait_group 0; bar.warp.sync -1;
    ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r4, %r5}, [s]; div.s32 %r5, %r4, %r6; rem.u32 %r5, %r5, 7;
    mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%r4, %r5, %r6, %r7}, {%r4, %r5}, {%r6}, {%r4, %r5, %r6, %r7};
    atom.global.add.u32 %r5, [%l1+128], %r4; red.shared.max.s32 [s+60], %r4; cvta.shared.u64 %l4, %l3;
    st.u8 [%l4+3], %r4;
    t: .branchtargets DONE, TOP; and.b32 %r5, %r5, 1; @%p1 brx.idx %r5, t; @!%p2 bra TOP;
DONE:
    st.global.u32 [%l2], %r4; sad.u32 %r4, %r4, %r5, 1; abs.s32 %r4, %r4; neg.s64 %l3, %l3; popc.b64 %r4, %l3;";

/// Text with words taken out, doubled, replaced or exchanged parses or does not; if it does it runs, with faults or without.
#[test]
fn mutations_do_not_panic() {
    let original = format!(".const .align 4 .b8 c[4] = {{1, -2, 0xff, 4}};\n{}", kernel(EVERYTHING));
    assert_eq!(Module::parse(&original).err(), None);
    let mut tokens: Vec<&str> = Vec::new();
    let mut rest = &*original;
    // Words, and what stands between them a character each.
    while let Some(c) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"%_$".contains(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(if word == 0 { c.len_utf8() } else { word });
        tokens.push(token);
        rest = after;
    }
    let strange = [
        "",
        "0",
        "-1",
        "1",
        "255",
        "4294967295",
        "18446744073709551615",
        "0x",
        "0f",
        "0f7FC00000",
        "0d0000000000000000",
        "'",
        "\"",
        "/*",
        "é",
        "{",
        "}",
        "[",
        "]",
        ";",
        ":",
        "|",
        "!",
        "_",
        "%p1",
        "%h1",
        "%r1",
        "%l1",
        "%tid",
        "%laneid",
        "s",
        "c",
        "TOP",
        ".",
        ".v4",
        ".v8",
        ".u8",
        ".s64",
        ".f16x2",
        ".f64",
        ".pred",
        ".b64",
        ".sat",
        ".ftz",
        ".hi",
        ".x4",
        ".trans",
        ".global",
        ".shared",
        ".local",
        ".const",
        ".param",
        ".reg",
        "<",
        ">",
        "=",
    ];
    let (mut random, mut parsed, mut ran) = (Random(11), 0, 0);
    for _ in 0..8000 {
        let mut text = tokens.clone();
        for _ in 0..1 + random.below(2) {
            let at = random.below(text.len() as u64) as usize;
            let other = random.below(text.len() as u64) as usize;
            match random.below(5) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, text[at]),
                2 => text[at] = tokens[random.below(tokens.len() as u64) as usize],
                3 => text[at] = strange[random.below(strange.len() as u64) as usize],
                _ => text.swap(at, other),
            }
        }
        if random.below(40) == 0 {
            text.truncate(random.below(text.len() as u64) as usize);
        }
        let Ok(module) = Module::parse(&text.concat()) else { continue };
        parsed += 1;
        for kernel in &module.kernels {
            let mut buffers = [Buffer { low: 0, ..buffer(vec![0x5a; 200], Access::ReadWrite) }];
            let params: Vec<Param> = kernel
                .params
                .iter()
                .enumerate()
                .map(
                    |(i, (_, size))| {
                        if i == 0 && *size == 8 { Param::Buffer(0) } else { Param::Bytes(vec![1; *size as usize]) }
                    },
                )
                .collect();
            let config = Config { limit: 3000, ..Config::new(2, 64) };
            let block = kernel.block.unwrap_or(config.block);
            ran += usize::from(!run(kernel, &Config { block, ..config }, &params, &mut buffers).stats.warps.is_empty());
        }
    }
    assert!(parsed > 500 && ran > 500, "{parsed} of them parse, {ran} of them run");
}

/// Any cut of a module is an error or a smaller module.
#[test]
fn truncations_do_not_panic() {
    let text = kernel(EVERYTHING);
    let end = text.rfind('}').unwrap();
    for n in 0..text.len() {
        let parsed = Module::parse(&text[..n]);
        assert_eq!(
            parsed.is_ok(),
            n > end || parsed.is_ok_and(|module| module.kernels.is_empty()),
            "the first {n} bytes"
        );
    }
}

#[test]
fn lines_are_counted_through_comments() {
    let text = kernel("/* one\ntwo */ // three\n\nadd.s32 %r1, %r2, %r3; frob %r1; \"x\ny\"");
    assert_eq!(error(&text).line, BODY + 4);
    let text = kernel("/* one\ntwo */ // three ;\n\nadd.s32 %r1, %r2, %r3; frob %r1;");
    assert_eq!(error(&text).line, BODY + 3);
}
