//! Each kind of fault has a kernel that has it, found at its line, and a sibling that has not.

mod common;

use common::{buffer, launch, module};
use swint_ptxsim::{Access, Buffer, Config, Finding, Kind, Module, Outcome, Param, run};

/// A kernel starts with its thread's number in `%r0`, its address in shared memory in `%r1`, that of its word of `p0` in `%l1`.
const HEAD: &str = ".shared .align 16 .b8 s[4096]; .local .align 16 .b8 l[64]; ld.param.u64 %l0, [p0]; mov.u32 %r0, %tid.x; \
    mov.u32 %r1, s; mad.lo.s32 %r1, %r0, 4, %r1; mad.wide.u32 %l1, %r0, 4, %l0; mov.u32 %r2, %ctaid.x;\n";

fn outcome(body: &str, config: &Config, access: Access) -> (Outcome, Vec<Buffer>) {
    let mut buffers = vec![buffer(vec![0; 4096], access)];
    (launch(&module(1, "", &format!("{HEAD}{body}\nret;")), config, &mut buffers), buffers)
}

/// The body's line with a mark, if there is one; the body follows line 2.
fn line(body: &str, mark: &str) -> Option<u32> {
    body.lines().position(|line| line.contains(mark)).map(|i| i as u32 + 3)
}

/// Exactly one fault, at the line marked `// here`, with the line marked `// there`.
fn is_found_in(kind: Kind, body: &str, config: &Config, access: Access) -> Finding {
    let (outcome, _) = outcome(body, config, access);
    let found: Vec<_> = outcome.findings.iter().map(|f| (f.kind, f.line, f.other)).collect();
    assert_eq!(
        found,
        [(kind, line(body, "// here").unwrap(), line(body, "// there"))],
        "{:?}\n{body}",
        outcome.findings
    );
    outcome.findings[0].clone()
}

fn is_found(kind: Kind, body: &str, threads: u32) -> Finding {
    is_found_in(kind, body, &Config::new(1, threads), Access::ReadWrite)
}

fn is_fine_in(body: &str, config: &Config, access: Access) {
    let (outcome, _) = outcome(body, config, access);
    assert!(outcome.findings.is_empty(), "{:?}\n{body}", outcome.findings);
}

fn is_fine(body: &str, threads: u32) {
    is_fine_in(body, &Config::new(1, threads), Access::ReadWrite);
}

#[test]
fn races_in_shared_memory() {
    // Warp 1 reads what warp 0 wrote.
    let read = |sync: &str| {
        format!(
            "setp.lt.u32 %p0, %r0, 32;\n@%p0 st.shared.u32 [%r1], %r0; // there\n{sync}\nxor.b32 %r3, %r1, 128;
@!%p0 ld.shared.u32 %r4, [%r3]; // here"
        )
    };
    let finding = is_found(Kind::Race, &read(""), 64);
    assert_eq!(finding.thread, Some(([0; 3], 32)));
    is_fine(&read("bar.sync 0;"), 64);
    // A warp's own barrier orders nothing between warps.
    is_found(Kind::Race, &read("bar.warp.sync -1;"), 64);
    // Warp 1 writes what warp 0 has read.
    let write = |sync: &str| {
        format!(
            "st.shared.u32 [%r1], %r0;\nbar.sync 0;\nsetp.lt.u32 %p0, %r0, 32;\n@%p0 ld.shared.u32 %r4, [%r1]; // there
{sync}\nxor.b32 %r3, %r1, 128;\n@!%p0 st.shared.u32 [%r3], %r4; // here"
        )
    };
    is_found(Kind::Race, &write(""), 64);
    is_fine(&write("bar.sync 0;"), 64);
    // Both write a word.
    let both = |sync: &str| {
        format!(
            "setp.lt.u32 %p0, %r0, 32;\n@%p0 st.shared.u8 [%r1+1], %r0; // there\n{sync}\nxor.b32 %r3, %r1, 128;\n@!%p0 st.shared.u32 [%r3], %r0; // here"
        )
    };
    is_found(Kind::Race, &both(""), 64);
    is_fine(&both("bar.sync 0;"), 64);
    // Neighbouring bytes of a word are places of their own.
    is_fine("add.s32 %r3, %r0, s;\nst.shared.u8 [%r3], %r0;\nld.shared.u8 %r4, [%r3];\nst.shared.u8 [%r3], %r4;", 64);
    // Any number of threads may read.
    is_fine("setp.eq.u32 %p0, %r0, 0;\n@%p0 st.shared.u32 [s], 1;\nbar.sync 0;\nld.shared.u32 %r4, [s];", 96);
    // Of many readers the one that is not ordered is found, whichever it is.
    for reader in [0, 5, 31, 40, 64, 95] {
        let body = |sync: &str| {
            format!(
                "setp.eq.u32 %p0, %r0, {reader};\n@%p0 st.shared.u32 [s], 1;\nbar.sync 0;\nld.shared.u32 %r4, [s]; // there\n{sync}\n@%p0 st.shared.u32 [s], 2; // here"
            )
        };
        is_found(Kind::Race, &body(""), 96);
        is_fine(&body("bar.sync 0;"), 96);
    }
}

#[test]
fn races_within_a_warp() {
    let read = |sync: &str| {
        format!("st.shared.u32 [%r1], %r0; // there\n{sync}\nxor.b32 %r3, %r1, 4;\nld.shared.u32 %r4, [%r3]; // here")
    };
    is_found(Kind::Race, &read(""), 32);
    is_fine(&read("bar.warp.sync -1;"), 32);
    is_fine(&read("bar.sync 0;"), 32);
    // An exchange of registers orders no memory.
    is_found(Kind::Race, &read("shfl.sync.idx.b32 %r5, %r0, 0, 31, -1;"), 32);
    // Two lanes write a word at once.
    is_found(Kind::Race, "and.b32 %r3, %r1, -8;\nst.shared.u32 [%r3], %r0; // here // there", 32);
    // A barrier of half the lanes orders nothing for the other half.
    let half = "st.shared.u32 [%r1], %r0; // there\nsetp.lt.u32 %p0, %r0, 16;\n@%p0 bar.warp.sync 0xffff;\nxor.b32 %r3, %r1, 64;\nld.shared.u32 %r4, [%r3]; // here";
    is_found(Kind::Race, half, 32);
}

#[test]
fn races_between_blocks() {
    let two = Config::new(2, 32);
    is_found_in(Kind::Race, "st.global.u32 [%l1], %r0; // here // there", &two, Access::ReadWrite);
    is_found_in(Kind::Race, "st.global.u32 [%l1], %r0; // here // there", &two, Access::Write);
    // A barrier is of one block.
    let read = "ld.global.u32 %r3, [%l1]; // there\nbar.sync 0;\nsetp.eq.u32 %p0, %r2, 1;\n@%p0 st.global.u32 [%l1], 1; // here";
    is_found_in(Kind::Race, read, &two, Access::ReadWrite);
    let own = "mad.wide.u32 %l2, %r2, 128, %l1;\nst.global.u32 [%l2], %r0;\nld.global.u32 %r3, [%l2];";
    is_fine_in(own, &two, Access::Write);
    // Atomics are ordered among themselves, but not with others; whichever of them came last.
    is_fine_in("red.global.add.u32 [%l0], 1;", &two, Access::ReadWrite);
    for reader in [0, 1] {
        let body = format!(
            "red.global.add.u32 [%l0], 1; // there\nsetp.eq.u32 %p0, %r0, {reader};\n@%p0 ld.global.u32 %r3, [%l0]; // here"
        );
        is_found_in(Kind::Race, &body, &Config::new(1, 2), Access::ReadWrite);
        let body = body.replace("setp", "bar.sync 0; setp");
        is_fine_in(&body, &Config::new(1, 2), Access::ReadWrite);
    }
}

#[test]
fn uninitialised_reads() {
    is_found(Kind::Uninitialised, "ld.shared.u32 %r3, [s+16]; // here", 1);
    is_fine("st.shared.u32 [s+16], %r0;\nld.shared.u32 %r3, [s+16];", 1);
    // Three bytes of four are not enough.
    let three = "st.shared.u16 [s], %r0;\nst.shared.u8 [s+2], %r0;\nld.shared.u32 %r3, [s]; // here";
    is_found(Kind::Uninitialised, three, 1);
    is_fine(&three.replace("ld.shared", "st.shared.u8 [s+3], %r0; ld.shared"), 1);
    is_found(Kind::Uninitialised, "ld.local.u32 %r3, [l+16]; // here", 2);
    is_fine("st.local.u32 [l+16], %r0;\nld.local.u32 %r3, [l+16];", 2);
    let one = "setp.eq.u32 %p0, %r0, 0;\n@%p0 st.local.u32 [l], %r0;\nld.local.u32 %r3, [l]; // here";
    assert_eq!(is_found(Kind::Uninitialised, one, 2).thread, Some(([0; 3], 1)));
    // An output has no values of its own.
    let output = "ld.global.u32 %r3, [%l1]; // here";
    is_found_in(Kind::Uninitialised, output, &Config::new(1, 4), Access::Write);
    is_fine_in(output, &Config::new(1, 4), Access::ReadWrite);
    is_fine_in(&format!("st.global.u32 [%l1], 0;\n{output}"), &Config::new(1, 4), Access::Write);
    // Each block starts with nothing in its shared memory.
    let next = "setp.eq.u32 %p0, %r2, 0;\n@%p0 st.shared.u32 [s], %r0;\nld.shared.u32 %r3, [s]; // here";
    assert_eq!(is_found_in(Kind::Uninitialised, next, &Config::new(2, 1), Access::Read).thread, Some(([1, 0, 0], 0)));
}

#[test]
fn accesses_out_of_bounds() {
    for (space, base, end, byte) in
        [("global", "%l0", 4096, "ld"), ("shared", "s", 4096, "st"), ("local", "l", 64, "st"), ("param", "p0", 8, "ld")]
    {
        let access = |at: i64, size: u32| {
            let registers = if byte == "ld" { format!("%r3, [{base}+{at}]") } else { format!("[{base}+{at}], %r3") };
            format!("{byte}.{space}.u{size} {registers}; // here")
        };
        // One byte past the end, one before the start, and a word of which but a part is within.
        for (at, size) in [(end, 8), (-1, 8), (end, 32), (end - 2, 32)] {
            if (end - 2) % 4 != 0 && at == end - 2 {
                continue;
            }
            let kind = if at % (size / 8) == 0 { Kind::OutOfBounds } else { Kind::Misaligned };
            is_found(kind, &access(at, size as u32), 1);
        }
        is_fine(&access(end - 1, 8), 1);
        is_fine(&access(end - 4, 32), 1);
    }
    let none = "mov.u64 %l2, 0;\nld.global.u32 %r3, [%l2]; // here";
    is_found(Kind::OutOfBounds, none, 1);
    for address in ["-4", "0xfffffffffffffff0", "0x7000000000000000", "0x5000000000000000"] {
        is_found(Kind::OutOfBounds, &none.replace(", 0;", &format!(", {address};")).replace(".global", ""), 1);
        is_found(Kind::OutOfBounds, &none.replace(", 0;", &format!(", {address};")), 1);
    }
    // A generic address is none of shared memory.
    let generic = "mov.u64 %l2, s;\ncvta.shared.u64 %l2, %l2;\nst.shared.u32 [%l2], %r0; // here";
    is_found(Kind::OutOfBounds, generic, 1);
    is_fine(&generic.replace("st.shared", "st"), 1);
    // A buffer that is no multiple of what is accessed ends where it ends.
    let mut buffers = [buffer(vec![0; 6], Access::ReadWrite)];
    let text = module(
        1,
        "",
        "ld.param.u64 %l0, [p0];\nld.global.u32 %r0, [%l0];\nld.global.u16 %h0, [%l0+4];\nld.global.u32 %r0, [%l0+4];\nret;",
    );
    let findings = launch(&text, &Config::new(1, 1), &mut buffers).findings;
    assert_eq!(findings.iter().map(|f| (f.kind, f.line)).collect::<Vec<_>>(), [(Kind::OutOfBounds, 5)]);
    // Tables of branches have ends too.
    is_found(Kind::OutOfBounds, "t: .branchtargets A, B;\nbrx.idx 2, t; // here\nA: B:", 1);
}

#[test]
fn misaligned_accesses() {
    is_found(Kind::Misaligned, "ld.global.u32 %r3, [%l0+2]; // here", 1);
    is_found(Kind::Misaligned, "st.shared.v4.u32 [s+8], {%r0, %r0, %r0, %r0}; // here", 1);
    is_fine("st.shared.v2.u32 [s+8], {%r0, %r0};", 1);
    is_fine("ld.global.u16 %r3, [%l0+2];", 1);
    // Alignment is of the address, not of the place in its buffer.
    let text = module(1, "", "ld.param.u64 %l0, [p0];\nld.global.v2.u32 {%r0, %r1}, [%l0];\nret;");
    for (low, found) in [(0, 0), (8, 0), (4, 1), (252, 1)] {
        let mut buffers = [Buffer { low, ..buffer(vec![0; 64], Access::Read) }];
        assert_eq!(launch(&text, &Config::new(1, 1), &mut buffers).findings.len(), found);
    }
}

#[test]
fn writes_to_what_may_be_read_only() {
    let config = Config::new(1, 1);
    is_found_in(Kind::ReadOnly, "st.global.u32 [%l0], 1; // here", &config, Access::Read);
    is_found_in(Kind::ReadOnly, "red.global.add.u32 [%l0], 1; // here", &config, Access::Read);
    is_fine_in("ld.global.u32 %r3, [%l0];", &config, Access::Read);
    is_fine_in("st.global.u32 [%l0], 1;", &config, Access::Write);
    assert!(Module::parse(&module(1, "", "st.param.u64 [p0], 1; ret;")).is_err());
    let table = module(1, ".global .u32 t[2] = {1, 2};", "st.global.u32 [t], 1;\nret;");
    let findings = launch(&table, &config, &mut [buffer(vec![], Access::Read)]).findings;
    assert_eq!(findings.iter().map(|f| (f.kind, f.line)).collect::<Vec<_>>(), [(Kind::ReadOnly, 2)]);
}

#[test]
fn barriers_that_not_all_reach() {
    // A warp ends before it, or waits at another.
    let ends = "setp.lt.u32 %p0, %r0, 32;\n@%p0 ret;\nbar.sync 0; // here";
    is_found(Kind::Barrier, ends, 64);
    is_fine(&ends.replace("32;", "0;"), 64);
    let two = |id: u32| {
        format!("setp.lt.u32 %p0, %r0, 32;\n@%p0 bra A;\nbar.sync {id}; // there\nbra B;\nA: bar.sync 1; // here\nB:")
    };
    is_found(Kind::Barrier, &two(2), 64);
    is_fine(&two(1), 64);
    // A part of a warp reaches it.
    let part = "setp.lt.u32 %p0, %r0, 16;\n@%p0 bar.sync 0; // here";
    is_found(Kind::Diverged, part, 32);
    is_fine(&part.replace("16;", "32;"), 32);
    // In a loop of different lengths.
    let turns =
        "mov.u32 %r3, %r0;\nT: bar.sync 0; // here\nadd.s32 %r3, %r3, 1;\nsetp.lt.u32 %p0, %r3, 33;\n@%p0 bra T;";
    is_found(Kind::Diverged, turns, 32);
    is_fine(&turns.replace("%r3, %r0;", "%r3, 30;"), 32);
}

#[test]
fn instructions_of_whole_warps() {
    let mma = "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%r10, %r11, %r12, %r13}, {%r0, %r0}, {%r0}, {%r0, %r0, %r0, %r0}; // here";
    let matrix = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r10}, [%r3]; // here";
    let back = "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r3], {%r10}; // here";
    for instruction in [mma, matrix, back] {
        let body = |most: u32| {
            format!(
                "mad.lo.s32 %r3, %r0, 16, s;\nst.shared.v4.u32 [%r3], {{%r0, %r0, %r0, %r0}};\nbar.warp.sync -1;\n\
                 setp.gt.u32 %p0, %r0, {most};\n@%p0 bra OUT;\n{instruction}\nOUT:"
            )
        };
        is_found(Kind::Diverged, &body(15), 32);
        is_fine(&body(31), 32);
        // With lanes that never were, it is as undefined.
        is_found(Kind::Diverged, &body(31), 24);
    }
    // Lanes name those that exchange, and they must be there.
    let shuffle = |mask: u32, most: u32| {
        format!(
            "setp.gt.u32 %p0, %r0, {most};\n@%p0 bra OUT;\nshfl.sync.bfly.b32 %r3, %r0, 1, 31, {mask:#x}; // here\nOUT:"
        )
    };
    is_found(Kind::Diverged, &shuffle(u32::MAX, 15), 32);
    is_found(Kind::Diverged, &shuffle(0xff, 15), 32);
    is_fine(&shuffle(0xffff, 15), 32);
    is_fine(&shuffle(u32::MAX, 31), 32);
    for instruction in [
        "vote.sync.any.pred %p1, %p0, -1;",
        "redux.sync.add.s32 %r3, %r0, -1;",
        "bar.warp.sync -1;",
        "vote.sync.ballot.b32 %r3, %p0, -1;",
    ] {
        let body = format!("setp.gt.u32 %p0, %r0, 7;\n@%p0 {instruction} // here");
        is_found(Kind::Diverged, &body, 32);
        is_fine(&body.replace("@%p0", ""), 32);
    }
    // A lane that takes no part has nothing to give.
    let absent = |from: u32| {
        format!(
            "setp.gt.u32 %p0, %r0, 15;\n@%p0 bra OUT;\nshfl.sync.idx.b32 %r3, %r0, {from}, 31, 0xffff; // here\nOUT:"
        )
    };
    is_found(Kind::Diverged, &absent(16), 32);
    is_fine(&absent(15), 32);
}

#[test]
fn asynchronous_copies() {
    let copy = "mad.wide.u32 %l2, %r0, 16, %l0;\nmad.lo.s32 %r3, %r0, 16, s;\n";
    let issue = "cp.async.cg.shared.global [%r3], [%l2], 16; // there\n";
    let read = "ld.shared.u32 %r4, [%r3]; // here";
    let is_late = |between: &str| is_found(Kind::NotWaited, &format!("{copy}{issue}{between}\n{read}"), 32);
    let is_in_time = |between: &str| is_fine(&format!("{copy}{issue}{between}\n{read}"), 32);
    is_late("");
    is_late("cp.async.commit_group;");
    is_late("cp.async.commit_group; cp.async.wait_group 1;");
    // A barrier does not wait for copies, nor does a wait for groups for what has none.
    is_late("bar.sync 0;");
    is_late("cp.async.wait_group 0;");
    is_in_time("cp.async.wait_all;");
    is_in_time("cp.async.commit_group; cp.async.wait_group 0;");
    // Empty groups count.
    is_in_time("cp.async.commit_group; cp.async.commit_group; cp.async.wait_group 1;");
    // The place must not be written in the meantime, by another copy neither.
    let write = |between: &str, how: &str| format!("{copy}{issue}{between}\n{how} // here");
    for how in ["st.shared.u32 [%r3], %r0;", "cp.async.ca.shared.global [%r3], [%l2], 16;"] {
        is_found(Kind::NotWaited, &write("", how), 32);
        is_fine(&write("cp.async.wait_all;", how), 32);
    }
    // Of two groups, waiting for all but one brings the older.
    let groups = |left: u32, at: u32| {
        format!(
            "{copy}{issue}cp.async.commit_group;\ncp.async.cg.shared.global [%r3+512], [%l2], 16; {}\ncp.async.commit_group;\ncp.async.wait_group {left};\nld.shared.u32 %r4, [%r3+{at}]; // here",
            if at == 512 { "// newer" } else { "" }
        )
    };
    is_fine(&groups(1, 0), 32);
    is_fine(&groups(0, 512), 32);
    is_found(Kind::NotWaited, &groups(2, 0), 32);
    let newer = groups(1, 512).replace("// there", "").replace("// newer", "// there");
    is_found(Kind::NotWaited, &newer, 32);
    // Others see what a thread has waited for after a barrier only.
    let others = |sync: &str| {
        format!("{copy}{issue}cp.async.wait_all;\n{sync}\nxor.b32 %r5, %r3, 16;\nld.shared.u32 %r4, [%r5]; // here")
    };
    is_found(Kind::Race, &others(""), 32);
    is_fine(&others("bar.sync 0;"), 32);
    // Others' reads come before.
    let before = |sync: &str| {
        format!(
            "{copy}st.shared.v4.u32 [%r3], {{%r0, %r0, %r0, %r0}};\nbar.sync 0;\nxor.b32 %r5, %r3, 16;\nld.shared.u32 %r4, [%r5]; // there\n{sync}\ncp.async.cg.shared.global [%r3], [%l2], 16; // here"
        )
    };
    is_found(Kind::Race, &before(""), 32);
    is_fine(&before("bar.sync 0;"), 32);
    // Of a part that is wanted the rest is zeros, and may lie outside.
    let part = |at: u32, wanted: u32| {
        format!(
            "mov.u32 %r6, {wanted};\ncp.async.ca.shared.global [s], [%l0+{at}], 16, %r6; // here\ncp.async.wait_all;\nld.shared.v4.u32 {{%r7, %r8, %r9, %r10}}, [s];"
        )
    };
    is_fine(&part(4096, 0), 1);
    is_found(Kind::OutOfBounds, &part(4096, 4).replace("ld.shared", "//"), 1);
    is_found(Kind::Misaligned, &part(8, 4).replace("ld.shared", "//"), 1);
    let uneven = module(
        1,
        "",
        "ld.param.u64 %l0, [p0];\n.shared .align 16 .b8 s[16]; mov.u32 %r6, 6;\ncp.async.ca.shared.global [s], [%l0], 16, %r6;\ncp.async.wait_all; ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [s];\nsetp.ne.u32 %p0, %r1, 0x605; @%p0 ld.global.u32 %r0, [%l0+1]; or.b32 %r2, %r2, %r3; setp.ne.u32 %p0, %r2, 0; @%p0 ld.global.u32 %r0, [%l0+1]; ret;",
    );
    let outcome = launch(&uneven, &Config::new(1, 1), &mut [buffer(vec![1, 2, 3, 4, 5, 6], Access::Read)]);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
}

#[test]
fn kernels_without_end() {
    let config = Config { limit: 1000, ..Config::new(1, 32) };
    is_found_in(Kind::TooLong, "T: bra T; // here", &config, Access::Read);
    let body = "mov.u32 %r3, 0;\nT: add.s32 %r3, %r3, 1;\nsetp.lt.u32 %p0, %r3, 300;\n@%p0 bra T;";
    is_fine_in(body, &config, Access::Read);
}

#[test]
fn launches_that_do_not_fit() {
    let text = ".version 8.7 .target sm_89 .address_size 64 .visible .entry k(.param .u64 a, .param .u32 b) .reqntid 32, 2 { .shared .b8 s[1024]; ret; }";
    let kernel = &Module::parse(text).unwrap().kernels[0];
    let good = [Param::Buffer(0), Param::Bytes(vec![0; 4])];
    let fits = Config { block: [32, 2, 1], ..Config::new(1, 1) };
    let is_fine = |config: &Config, params: &[Param]| {
        let findings = run(kernel, config, params, &mut [buffer(vec![0; 4], Access::Read)]).findings;
        assert!(findings.iter().all(|f| f.kind == Kind::Launch && f.line == 0) && findings.len() < 2);
        findings.is_empty()
    };
    assert!(is_fine(&fits, &good));
    let most = 227 * 1024 - 1024;
    assert!(is_fine(&Config { dynamic_shared: most, ..fits.clone() }, &good));
    for config in [
        Config { block: [64, 1, 1], ..fits.clone() },
        Config { block: [0, 1, 1], ..fits.clone() },
        Config { block: [u32::MAX; 3], ..fits.clone() },
        Config { grid: [1, 0, 1], ..fits.clone() },
        Config { grid: [1, 65536, 1], ..fits.clone() },
        Config { dynamic_shared: most + 1, ..fits.clone() },
        Config { dynamic_shared: u64::MAX, ..fits.clone() },
    ] {
        assert!(!is_fine(&config, &good), "{config:?}");
    }
    assert!(!is_fine(&fits, &good[..1]));
    assert!(!is_fine(&fits, &[Param::Buffer(1), good[1].clone()]));
    assert!(!is_fine(&fits, &[Param::Buffer(0), Param::Bytes(vec![0; 8])]));
    assert!(!is_fine(&fits, &[Param::Buffer(0), Param::Buffer(0)]));
    // More threads than any block has.
    let free = &Module::parse(&module(0, "", "ret;")).unwrap().kernels[0];
    assert!(run(free, &Config::new(1, 1024), &[], &mut []).findings.is_empty());
    assert_eq!(run(free, &Config::new(1, 1025), &[], &mut []).findings[0].kind, Kind::Launch);
}
