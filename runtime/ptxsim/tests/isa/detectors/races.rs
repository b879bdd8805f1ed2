//! Accesses that nothing orders, and copies that are not waited for.

use super::*;

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
            "setp.lt.u32 %p0, %r0, 32;\n@%p0 st.shared.u8 [%r1+1], %r0; // there\n{sync}\n\
                xor.b32 %r3, %r1, 128;\n@!%p0 st.shared.u32 [%r3], %r0; // here"
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
                "setp.eq.u32 %p0, %r0, {reader};\n@%p0 st.shared.u32 [s], 1;\nbar.sync 0;\n\
                    ld.shared.u32 %r4, [s]; // there\n{sync}\n@%p0 st.shared.u32 [s], 2; // here"
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
    let half = "st.shared.u32 [%r1], %r0; // there\nsetp.lt.u32 %p0, %r0, 16;\n\
        @%p0 bar.warp.sync 0xffff;\nxor.b32 %r3, %r1, 64;\nld.shared.u32 %r4, [%r3]; // here";
    is_found(Kind::Race, half, 32);
}

#[test]
fn races_between_blocks() {
    let two = Config::new(2, 32);
    is_found_in(Kind::Race, "st.global.u32 [%l1], %r0; // here // there", &two, Access::ReadWrite);
    is_found_in(Kind::Race, "st.global.u32 [%l1], %r0; // here // there", &two, Access::Write);
    // A barrier is of one block.
    let read = "ld.global.u32 %r3, [%l1]; // there\nbar.sync 0;\nsetp.eq.u32 %p0, %r2, 1;\n\
        @%p0 st.global.u32 [%l1], 1; // here";
    is_found_in(Kind::Race, read, &two, Access::ReadWrite);
    let own = "mad.wide.u32 %l2, %r2, 128, %l1;\nst.global.u32 [%l2], %r0;\nld.global.u32 %r3, [%l2];";
    is_fine_in(own, &two, Access::Write);
    // Atomics are ordered among themselves, but not with others; whichever of them came last.
    is_fine_in("red.global.add.u32 [%l0], 1;", &two, Access::ReadWrite);
    for reader in [0, 1] {
        let body = format!(
            "red.global.add.u32 [%l0], 1; // there\nsetp.eq.u32 %p0, %r0, {reader};\n\
                @%p0 ld.global.u32 %r3, [%l0]; // here"
        );
        is_found_in(Kind::Race, &body, &Config::new(1, 2), Access::ReadWrite);
        let body = body.replace("setp", "bar.sync 0; setp");
        is_fine_in(&body, &Config::new(1, 2), Access::ReadWrite);
    }
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
            "{copy}{issue}cp.async.commit_group;\ncp.async.cg.shared.global [%r3+512], [%l2], 16; {}\n\
                cp.async.commit_group;\ncp.async.wait_group {left};\n\
                ld.shared.u32 %r4, [%r3+{at}]; // here",
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
            "{copy}st.shared.v4.u32 [%r3], {{%r0, %r0, %r0, %r0}};\nbar.sync 0;\nxor.b32 %r5, %r3, 16;\n\
                ld.shared.u32 %r4, [%r5]; // there\n{sync}\n\
                cp.async.cg.shared.global [%r3], [%l2], 16; // here"
        )
    };
    is_found(Kind::Race, &before(""), 32);
    is_fine(&before("bar.sync 0;"), 32);
    // Of a part that is wanted the rest is zeros, and may lie outside.
    let part = |at: u32, wanted: u32| {
        format!(
            "mov.u32 %r6, {wanted};\ncp.async.ca.shared.global [s], [%l0+{at}], 16, %r6; // here\n\
                cp.async.wait_all;\nld.shared.v4.u32 {{%r7, %r8, %r9, %r10}}, [s];"
        )
    };
    is_fine(&part(4096, 0), 1);
    is_found(Kind::OutOfBounds, &part(4096, 4).replace("ld.shared", "//"), 1);
    is_found(Kind::Misaligned, &part(8, 4).replace("ld.shared", "//"), 1);
    // Six bytes of six; a misaligned load tells of what is not as it should be.
    let uneven = module(
        1,
        "",
        "ld.param.u64 %l0, [p0];\n.shared .align 16 .b8 s[16]; mov.u32 %r6, 6;\n\
            cp.async.ca.shared.global [s], [%l0], 16, %r6;\n\
            cp.async.wait_all; ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [s];\n\
            setp.ne.u32 %p0, %r1, 0x605; @%p0 ld.global.u32 %r0, [%l0+1]; or.b32 %r2, %r2, %r3;\n\
            setp.ne.u32 %p0, %r2, 0; @%p0 ld.global.u32 %r0, [%l0+1]; ret;",
    );
    let outcome = launch(&uneven, &Config::new(1, 1), &mut [buffer(vec![1, 2, 3, 4, 5, 6], Access::Read)]);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
}

/// An atomic access orders nothing: what its thread did before, not atomically, is a race with others' all the same, whoever comes first.
#[test]
fn atomics_after_accesses_that_are_not() {
    let counter = |sync: &str| {
        format!(
            "setp.eq.u32 %p0, %r0, 0;\n@%p0 st.shared.u32 [s], 0; // there\n{sync}\natom.shared.add.u32 %r3, [s], 1; // here"
        )
    };
    is_found(Kind::Race, &counter(""), 64);
    is_fine(&counter("bar.sync 0;"), 64);
    for reader in [0, 32] {
        let body = format!(
            "setp.eq.u32 %p0, %r0, {reader};\n@%p0 ld.global.u32 %r3, [%l0];\nand.b32 %r4, %r0, 31;\nsetp.eq.u32 %p1, %r4, 0;\n\
             @%p1 red.global.add.u32 [%l0], 1;"
        );
        let (found, _) = outcome(&body, &Config::new(1, 64), Access::ReadWrite);
        assert_eq!(found.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [Kind::Race], "thread {reader} reads");
    }
    // Blocks have no barrier in common.
    let blocks = "mad.lo.s32 %r3, %r2, 1024, %r0;\nsetp.eq.u32 %p0, %r3, 0;\n@%p0 st.global.u32 [%l0], 0; // there\nbar.sync 0;\n\
                  red.global.add.u32 [%l0], 1; // here";
    is_found_in(Kind::Race, blocks, &Config::new(2, 32), Access::ReadWrite);
    is_fine_in(blocks, &Config::new(1, 32), Access::ReadWrite);
}
