//! Where memory is accessed, and what is there.

use super::*;

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
        "ld.param.u64 %l0, [p0];\nld.global.u32 %r0, [%l0];\nld.global.u16 %h0, [%l0+4];\n\
            ld.global.u32 %r0, [%l0+4];\nret;",
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

/// `ld.global.nc` may find what was there before the kernel wrote it.
#[test]
fn reads_that_want_memory_to_stay() {
    let config = Config::new(1, 1);
    is_found_in(Kind::ReadOnly, "ld.global.nc.u32 %r3, [%l0]; // here", &config, Access::ReadWrite);
    is_fine_in("ld.global.nc.u32 %r3, [%l0];", &config, Access::Read);
}

/// A global address is none of shared memory, though its lower bits might be.
#[test]
fn addresses_of_another_space() {
    is_found(Kind::OutOfBounds, "ld.shared.u32 %r3, [%l1]; // here", 1);
    is_found(Kind::OutOfBounds, "cvta.to.shared.u64 %l1, %l1;\nst.shared.u32 [%l1], 1; // here", 1);
    is_fine("mov.u64 %l1, s;\ncvta.shared.u64 %l1, %l1;\ncvta.to.shared.u64 %l1, %l1;\nst.shared.u32 [%l1], 1;", 1);
}

/// What is not written has no value to count on; and of a result it is known how much of it is missing.
#[test]
fn values_that_were_never_given() {
    let config = Config::new(1, 32);
    let (_, buffers) = outcome("st.global.u32 [%l1], %r9;", &config, Access::Write);
    let words: std::collections::BTreeSet<&[u8]> = buffers[0].bytes[..128].chunks(4).collect();
    assert_eq!(words.len(), 32);
    let (found, _) = outcome("setp.gt.u32 %p0, %r0, 2;\n@%p0 st.global.u16 [%l1], 1;", &config, Access::Write);
    assert_eq!(found.unwritten, [4096 - 29 * 2]);
    assert_eq!(outcome("", &config, Access::ReadWrite).0.unwritten, [0]);
}
