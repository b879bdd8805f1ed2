//! What warps and lanes must do together, and launches.

use super::*;

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
            "setp.gt.u32 %p0, %r0, {most};\n@%p0 bra OUT;\nshfl.sync.bfly.b32 %r3, %r0, 1, 31, {mask:#x}; // here\nOUT: mov.u32 %r4, %r0;"
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
fn kernels_without_end() {
    let config = Config { limit: 1000, ..Config::new(1, 32) };
    is_found_in(Kind::TooLong, "T: bra T; // here", &config, Access::Read);
    let body = "mov.u32 %r3, 0;\nT: add.s32 %r3, %r3, 1;\nsetp.lt.u32 %p0, %r3, 300;\n@%p0 bra T;";
    is_fine_in(body, &config, Access::Read);
    // The last instruction that the limit allows is executed.
    let all = outcome(body, &config, Access::Read).0.stats.warps.values().sum::<u64>();
    // The branch that none takes at last is not counted there.
    let all = all + 1;
    is_fine_in(body, &Config { limit: all, ..config.clone() }, Access::Read);
    let (last, _) = outcome(body, &Config { limit: all - 1, ..config }, Access::Read);
    assert_eq!(last.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [Kind::TooLong]);
}

#[test]
fn launches_that_do_not_fit() {
    let text = ".version 8.7 .target sm_89 .address_size 64
        .visible .entry k(.param .u64 a, .param .u32 b) .reqntid 32, 2 { .shared .b8 s[1024]; ret; }";
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
    for block in [[1025, 1, 1], [32, 32, 2], [1, 1, 65]] {
        let config = Config { block, ..Config::new(1, 1) };
        assert_eq!(run(free, &config, &[], &mut []).findings[0].kind, Kind::Launch, "{block:?}");
    }
}

/// Where lanes end in between, the others still meet: those that have ended, and those that never do, keep nobody from the barrier.
#[test]
fn lanes_that_end_early() {
    let branch = |inner: &str, after: &str| {
        format!(
            "and.b32 %r3, %r0, 1;\nsetp.eq.u32 %p0, %r3, 0;\n@%p0 bra EVEN;\nsetp.gt.u32 %p1, %r0, 1000;\n{inner}\nadd.s32 %r4, %r0, 1;\n\
             EVEN:\n{after}\nDONE:"
        )
    };
    let shuffle = "shfl.sync.bfly.b32 %r3, %r0, 1, 31, 0xffffffff;";
    for inner in ["@%p1 ret;", "@%p1 bra DONE;"] {
        for after in ["bar.sync 0;", shuffle] {
            is_fine(&branch(inner, after), 64);
            is_fine(&branch(&inner.replace("p1", "p0"), after), 64);
        }
    }
    // A loop that each lane may leave for good.
    is_fine(
        &format!(
            "mov.u32 %r3, 0;\nTOP:\nadd.s32 %r3, %r3, 1;\nsetp.gt.u32 %p0, %r3, 100;\n@%p0 ret;\nsetp.lt.u32 %p1, %r3, %r0;\n@%p1 bra TOP;\n{shuffle}"
        ),
        32,
    );
}
