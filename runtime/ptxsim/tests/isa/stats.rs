//! Counts: sectors, bank conflicts, instructions by class.

use crate::common::{buffer, launch, module};
use swint_ptxsim::{Access, Buffer, Class, Config, Stats};

fn stats(body: &str, threads: u32) -> Stats {
    stats_with(body, &Config::new(1, threads), &mut [buffer(vec![0; 1 << 16], Access::ReadWrite)])
}

fn stats_with(body: &str, config: &Config, buffers: &mut [Buffer]) -> Stats {
    let head = ".shared .align 16 .b8 s[8192]; ld.param.u64 %l0, [p0]; mov.u32 %r0, %tid.x; mov.u32 %r1, s;\n";
    let outcome = launch(&module(buffers.len(), "", &format!("{head}{body}\nret;")), config, buffers);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
    outcome.stats
}

/// A load of a warp whose lanes are `stride` bytes apart: sectors, bytes.
fn loaded(ty: &str, registers: &str, stride: u32, start: u32) -> (u64, u64) {
    let body = format!("mad.wide.u32 %l1, %r0, {stride}, %l0; ld.global.{ty} {registers}, [%l1+{start}];");
    let stats = stats(&body, 32);
    assert_eq!((stats.stored_sectors, stats.stored_bytes), (0, 0));
    (stats.loaded_sectors, stats.loaded_bytes)
}

#[test]
fn sectors_of_loads() {
    assert_eq!(loaded("u32", "%r2", 4, 0), (4, 128));
    // From the middle of a sector there is one more.
    assert_eq!(loaded("u32", "%r2", 4, 16), (5, 128));
    assert_eq!(loaded("u32", "%r2", 32, 0), (32, 128));
    assert_eq!(loaded("u32", "%r2", 1024, 0), (32, 128));
    assert_eq!(loaded("u32", "%r2", 8, 0), (8, 128));
    // All lanes read one word.
    assert_eq!(loaded("u32", "%r2", 0, 0), (1, 4));
    assert_eq!(loaded("u8", "%r2", 1, 0), (1, 32));
    assert_eq!(loaded("v4.u32", "{%r2, %r3, %r4, %r5}", 16, 0), (16, 512));
    assert_eq!(loaded("v4.u64", "{%l2, %l3, %l4, %l5}", 32, 0), (32, 1024));
    let some = stats(
        "setp.lt.u32 %p0, %r0, 3; mad.wide.u32 %l1, %r0, 64, %l0; @%p0 ld.global.u32 %r2, [%l1];
            @%p0 st.global.u32 [%l1], 1;",
        64,
    );
    assert_eq!((some.loaded_sectors, some.loaded_bytes, some.stored_sectors, some.stored_bytes), (3, 12, 3, 12));
    assert_eq!(some.coalescing(), Some(24.0 / 192.0));
    let copy = stats(
        "mad.wide.u32 %l1, %r0, 16, %l0; mad.lo.s32 %r1, %r0, 16, %r1; cp.async.cg.shared.global [%r1], [%l1], 16;",
        32,
    );
    assert_eq!((copy.loaded_sectors, copy.loaded_bytes), (16, 512));
    // A copy of zeros alone reads nothing.
    let copy = stats(
        "setp.lt.u32 %p0, %r0, 5; selp.b32 %r2, 4, 0, %p0; mad.wide.u32 %l1, %r0, 32, %l0; mad.lo.s32 %r1, %r0, 16, %r1;
            cp.async.cg.shared.global [%r1], [%l1], 16, %r2;",
        32,
    );
    assert_eq!((copy.loaded_sectors, copy.distinct_loaded_sectors), (5, 5));
    let atomic = stats("mad.wide.u32 %l1, %r0, 16, %l0; red.global.add.u32 [%l1], 1;", 32);
    assert_eq!((atomic.loaded_sectors, atomic.loaded_bytes), (16, 128));
    assert_eq!((atomic.stored_sectors, atomic.stored_bytes), (16, 128));
}

fn distinct(stats: &Stats) -> (u64, u64) {
    (stats.distinct_loaded_sectors, stats.distinct_stored_sectors)
}

/// However many instructions, warps and blocks touch a sector, it is one.
#[test]
fn distinct_sectors_of_a_launch() {
    let lane = "and.b32 %r2, %r0, 31;";
    let loads = format!("{lane} mad.wide.u32 %l1, %r2, 4, %l0; ld.global.u32 %r3, [%l1]; ld.u8 %h0, [%l0+128];");
    let mut once = stats(&loads, 128);
    assert_eq!((once.loaded_sectors, distinct(&once)), (4 * 5, (5, 0)));
    let blocks = stats_with(&loads, &Config::new(3, 64), &mut [buffer(vec![0; 256], Access::Read)]);
    assert_eq!((blocks.loaded_sectors, distinct(&blocks)), (6 * 5, (5, 0)));
    // Launches have each their own.
    once.add(&blocks);
    assert_eq!(distinct(&once), (10, 0));
    // Warps store a half each.
    let halves = format!("{lane} mul.wide.u32 %l1, %r2, 32; shr.u32 %r3, %r0, 5; mul.wide.u32 %l2, %r3, 16;");
    let store = format!("{halves} add.s64 %l1, %l1, %l2; add.s64 %l1, %l1, %l0; st.global.v2.u64 [%l1], {{%l1, %l2}};");
    let store = stats(&store, 64);
    assert_eq!((store.stored_sectors, distinct(&store)), (64, (0, 32)));
    let copy = format!(
        "{lane} mad.wide.u32 %l1, %r2, 16, %l0; mad.lo.s32 %r1, %r0, 16, %r1;
            cp.async.cg.shared.global [%r1], [%l1], 16;"
    );
    assert_eq!(distinct(&stats(&copy, 128)), (16, 0));
    assert_eq!(distinct(&stats("red.global.add.u32 [%l0], 1; atom.global.exch.b32 %r2, [%l0+32], 1;", 64)), (2, 2));
    assert_eq!(distinct(&stats("st.global.u8 [%l0], 1; ld.global.u8 %h0, [%l0];", 1)), (1, 1));
    assert_eq!(distinct(&stats("st.shared.u32 [s], 1; ld.shared.u32 %r2, [s]; red.shared.add.u32 [s], 1;", 1)), (0, 0));
    let two = "ld.param.u64 %l1, [p1]; ld.global.u32 %r2, [%l0]; ld.global.u32 %r2, [%l1];";
    let mut buffers = [(); 2].map(|()| buffer(vec![0; 32], Access::Read));
    assert_eq!(distinct(&stats_with(two, &Config::new(1, 32), &mut buffers)), (2, 0));
}

#[test]
fn distinct_sectors_of_strides() {
    for (stride, sectors) in [(0, 1), (4, 16), (8, 32), (16, 64), (32, 128), (48, 128), (512, 128)] {
        let body = format!("mad.wide.u32 %l1, %r0, {stride}, %l0; ld.global.u32 %r2, [%l1];");
        assert_eq!(distinct(&stats(&body, 128)), (sectors, 0), "{stride}");
    }
}

/// Sectors are of addresses, not of places in a buffer: one that begins within a sector has a sector more.
#[test]
fn distinct_sectors_of_unaligned_buffers() {
    for (low, sectors) in [(0, 64), (16, 65), (32, 64), (240, 65)] {
        let mut buffers = [Buffer { low, ..buffer(vec![0; 2048], Access::ReadWrite) }];
        let body = "mad.wide.u32 %l1, %r0, 4, %l0; ld.global.u32 %r2, [%l1]; st.global.u32 [%l1], %r2;";
        let all = stats_with(body, &Config::new(1, 512), &mut buffers);
        assert_eq!(distinct(&all), (sectors, sectors), "{low}");
    }
    // Vectors from the first whole sector on are in one each.
    let mut buffers = [Buffer { low: 16, ..buffer(vec![0; 2048], Access::Read) }];
    let body = "mad.wide.u32 %l1, %r0, 32, %l0; ld.global.v4.u64 {%l2, %l3, %l4, %l5}, [%l1+16];";
    assert_eq!(distinct(&stats_with(body, &Config::new(1, 63), &mut buffers)), (63, 0));
}

fn conflicts(ty: &str, registers: &str, stride: u32) -> u64 {
    stats(&format!("mad.lo.s32 %r2, %r0, {stride}, %r1; st.shared.{ty} [%r2], {registers};"), 32).conflicts
}

/// Passes beyond the first. A bank is a word wide; 8 bytes a lane take two turns of half a warp, 16 bytes four of a quarter.
#[test]
fn bank_conflicts() {
    assert_eq!(conflicts("u32", "%r0", 4), 0);
    assert_eq!(conflicts("u32", "%r0", 8), 1);
    assert_eq!(conflicts("u32", "%r0", 12), 0);
    assert_eq!(conflicts("u32", "%r0", 16), 3);
    assert_eq!(conflicts("u32", "%r0", 128), 31);
    assert_eq!(conflicts("u32", "%r0", 132), 0);
    assert_eq!(conflicts("u8", "%r0", 1), 0);
    assert_eq!(conflicts("v2.u32", "{%r0, %r0}", 8), 0);
    assert_eq!(conflicts("v2.u32", "{%r0, %r0}", 16), 2);
    assert_eq!(conflicts("v2.u32", "{%r0, %r0}", 128), 30);
    assert_eq!(conflicts("v4.u32", "{%r0, %r0, %r0, %r0}", 16), 0);
    assert_eq!(conflicts("v4.u32", "{%r0, %r0, %r0, %r0}", 32), 4);
    assert_eq!(conflicts("v4.u32", "{%r0, %r0, %r0, %r0}", 128), 28);
    // A word that all read is read once.
    let broadcast = "setp.eq.u32 %p0, %r0, 0; @%p0 st.shared.u32 [s], 1; bar.sync 0; ld.shared.u32 %r2, [s];";
    assert_eq!(stats(broadcast, 32).conflicts, 0);
    // Atomics are accesses, too.
    let atomic = "mad.lo.s32 %r2, %r0, 8, %r1; st.shared.u32 [%r2], 1; red.shared.add.u32 [%r2], 1;";
    assert_eq!(stats(atomic, 32).conflicts, 1 + 1);
    // Turns are of neighbouring lanes: here each has but half of its own, all in two banks.
    let half = "and.b32 %r2, %r0, 1; setp.eq.u32 %p0, %r2, 0; mad.lo.s32 %r2, %r0, 128, %r1;
        @%p0 st.shared.v2.u32 [%r2], {%r0, %r0};";
    assert_eq!(stats(half, 32).conflicts, 14);
    // The 8 rows of a matrix: apart by 16 bytes, by 128, by 144.
    for (stride, expected) in [(16, 0), (128, 14), (144, 0)] {
        let body = format!(
            "mad.lo.s32 %r2, %r0, {stride}, %r1; st.shared.v4.u32 [%r2], {{%r0, %r0, %r0, %r0}}; bar.sync 0;
             ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r3, %r4}}, [%r2];"
        );
        let store =
            format!("mad.lo.s32 %r2, %r0, {stride}, %r1; st.shared.v4.u32 [%r2], {{%r0, %r0, %r0, %r0}}; bar.sync 0;");
        assert_eq!(stats(&body, 32).conflicts - stats(&store, 32).conflicts, expected);
    }
}

#[test]
fn instructions_by_class() {
    let mma = "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%r2, %r3, %r4, %r5}, {%r0, %r0}, {%r0}, {%r0, %r0, %r0, %r0};";
    let mut all = stats(
        &format!(
            "{mma}{mma} setp.lt.u32 %p0, %r0, 5; @%p0 add.s32 %r2, %r2, 1; @!%p0 bra A;
                fma.rn.f32 %f0, %f0, %f0, %f0; A:"
        ),
        64,
    );
    let of = |stats: &Stats, class| {
        (stats.warps.get(&class).copied().unwrap_or(0), stats.threads.get(&class).copied().unwrap_or(0))
    };
    assert_eq!(all.mma, 4);
    assert_eq!(of(&all, Class::Mma), (4, 128));
    assert_eq!(of(&all, Class::Move), (4, 128));
    assert_eq!(of(&all, Class::ParamLoad), (2, 64));
    assert_eq!(of(&all, Class::Predicate), (2, 64));
    // Guarded and divergent ones count the lanes that take part.
    assert_eq!(of(&all, Class::Integer), (1, 5));
    assert_eq!(of(&all, Class::Float), (1, 5));
    // Lanes that go straight to the end do not wait for the others there: a return more.
    assert_eq!(of(&all, Class::Branch), (2 + 3, 59 + 64));
    assert_eq!(all.instructions(), all.threads.values().sum::<u64>());
    let once = all.clone();
    all.add(&once);
    assert_eq!((all.mma, all.instructions()), (8, 2 * once.instructions()));
}
