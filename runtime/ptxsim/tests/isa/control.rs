//! Branches, divergence and what lanes do together, against the same in Rust.

use crate::common::{Random, words};
use swint_ptxsim::Config;

/// What each thread stores at its place: `%r1` of a body that finds its number in `%r0`.
fn threads(body: &str, config: &Config) -> Vec<u32> {
    let text = format!(
        "ld.param.u64 %l0, [p0]; mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x;
         mad.lo.s32 %r0, %r3, %r4, %r2; mad.wide.u32 %l0, %r0, 4, %l0; mov.u32 %r1, 0;
         {body} st.global.u32 [%l0], %r1; ret;"
    );
    words(&text, config, (config.grid[0] * config.block[0]) as usize)
}

fn each(body: &str, f: impl Fn(u32) -> u32) {
    // The last warp of the second has 6 threads, the third is a single thread.
    for config in [Config::new(1, 32), Config::new(3, 70), Config::new(1, 1), Config::new(2, 64)] {
        let given = threads(body, &config);
        given.iter().enumerate().for_each(|(i, &x)| assert_eq!(x, f(i as u32), "thread {i}: {body}"));
    }
}

#[test]
fn nested_branches() {
    let body = "
        and.b32 %r5, %r0, 1; setp.eq.s32 %p0, %r5, 0; @%p0 bra EVEN;
        and.b32 %r5, %r0, 2; setp.eq.s32 %p1, %r5, 0; @!%p1 bra B;
        add.s32 %r1, %r1, 100; bra JOIN;
      B: add.s32 %r1, %r1, 200; bra.uni JOIN;
      EVEN: setp.gt.u32 %p2, %r0, 20; @%p2 bra LARGE;
        add.s32 %r1, %r1, 1000; bra JOIN;
      LARGE: add.s32 %r1, %r1, 2000;
      JOIN: add.s32 %r1, %r1, %r0;
        // All lanes are together again.
        activemask.b32 %r6; popc.b32 %r6, %r6; shl.b32 %r6, %r6, 16; add.s32 %r1, %r1, %r6;";
    for config in [Config::new(1, 32), Config::new(2, 70)] {
        for (i, x) in threads(body, &config).into_iter().enumerate() {
            let (i, t) = (i as u32, i as u32 % config.block[0]);
            let branch = match (i % 2, i & 2, i > 20) {
                (1, 0, _) => 100,
                (1, ..) => 200,
                (_, _, true) => 2000,
                _ => 1000,
            };
            let lanes = (config.block[0] - t / 32 * 32).min(32);
            assert_eq!(x, branch + i + (lanes << 16));
        }
    }
}

#[test]
fn loops_of_different_lengths() {
    // The number of steps of Collatz's problem: lanes leave the loop at different times, with a branch within it.
    let body = "
        add.s32 %r5, %r0, 1;
      TOP: setp.eq.s32 %p0, %r5, 1; @%p0 bra DONE;
        and.b32 %r6, %r5, 1; setp.eq.s32 %p1, %r6, 0; @%p1 bra EVEN;
        mad.lo.s32 %r5, %r5, 3, 1; bra NEXT;
      EVEN: shr.u32 %r5, %r5, 1;
      NEXT: add.s32 %r1, %r1, 1; bra TOP;
      DONE:";
    let steps = |mut n: u32| {
        let mut count = 0;
        while n != 1 {
            n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
            count += 1;
        }
        count
    };
    each(body, |i| steps(i + 1));
}

#[test]
fn loops_with_break_and_continue() {
    let body = "
        mov.u32 %r5, 0; and.b32 %r7, %r0, 15;
      OUTER: mov.u32 %r6, 0;
      INNER: add.s32 %r8, %r5, %r6; setp.eq.s32 %p0, %r8, %r7; @%p0 bra OUT;
        and.b32 %r9, %r8, 3; setp.eq.s32 %p1, %r9, 2; @%p1 bra CONTINUE;
        mad.lo.s32 %r1, %r1, 3, %r8;
      CONTINUE: add.s32 %r6, %r6, 1; setp.lt.s32 %p2, %r6, 4; @%p2 bra INNER;
        add.s32 %r5, %r5, 3; setp.lt.s32 %p3, %r5, 9; @%p3 bra OUTER;
        add.s32 %r1, %r1, 1000000;
      OUT:";
    each(body, |i| {
        let mut x = 0u32;
        for a in [0, 3, 6] {
            for b in 0..4 {
                if a + b == i & 15 {
                    return x;
                }
                if (a + b) % 4 != 2 {
                    x = x.wrapping_mul(3).wrapping_add(a + b);
                }
            }
        }
        x.wrapping_add(1_000_000)
    });
}

/// Lanes that return within a loop or a branch are gone; the others go on.
#[test]
fn early_returns() {
    let body = "
        mov.u32 %r5, 0;
      TOP: setp.eq.s32 %p0, %r5, %r0; @%p0 ret;
        add.s32 %r1, %r1, 2; st.global.u32 [%l0], %r1; add.s32 %r5, %r5, 1; setp.lt.s32 %p1, %r5, 20; @%p1 bra TOP;
        and.b32 %r6, %r0, 1; setp.ne.s32 %p2, %r6, 0; @!%p2 bra GO; exit;
      GO: add.s32 %r1, %r1, 5;";
    each(body, |i| match i {
        0..20 => 2 * i,
        _ if i % 2 == 1 => 40,
        _ => 45,
    });
}

#[test]
fn tables_of_branches() {
    let body = "
        rem.u32 %r5, %r0, 5; table: .branchtargets A, B, C, A, D;
        setp.ne.s32 %p0, %r0, 7; @%p0 brx.idx %r5, table;
        mov.u32 %r1, 70; bra JOIN;
      A: add.s32 %r1, %r1, 1; bra JOIN;
      B: add.s32 %r1, %r1, 2;
      C: add.s32 %r1, %r1, 4; bra JOIN;
      D: add.s32 %r1, %r1, 8;
      JOIN: activemask.b32 %r6; setp.eq.u32 %p1, %r6, 0; @%p1 add.s32 %r1, %r1, 100;";
    each(body, |i| if i == 7 { 70 } else { [1, 6, 4, 1, 8][i as usize % 5] });
}

/// Programs of random nested branches and loops, and what they give.
#[test]
fn random_programs() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (program, mut labels) = (block(&mut random, 3), 0);
        let text = program.iter().map(|s| s.text(&mut labels)).collect::<String>();
        for config in [Config::new(1, 32), Config::new(1, 45)] {
            for (i, x) in threads(&format!("mov.u32 %r1, %r0; {text}"), &config).into_iter().enumerate() {
                let mut value = i as u32;
                run(&program, &mut value, i as u32);
                assert_eq!(x, value, "seed {seed}, thread {i}");
            }
        }
    }
}

enum Step {
    /// `x = 3x + n`
    Add(u32),
    /// Whether bit `n` of `x` is set.
    If(u32, Vec<Step>, Vec<Step>),
    /// As many times as the thread's number modulo `n`.
    Loop(u32, Vec<Step>),
    /// Stores and ends where bit `n` is set.
    Return(u32),
}

fn block(random: &mut Random, depth: u32) -> Vec<Step> {
    let step = |random: &mut Random| match random.below(if depth == 0 { 2 } else { 6 }) {
        0 => Step::Add(random.below(100) as u32),
        1 => {
            if random.below(4) == 0 {
                Step::Return(random.below(12) as u32)
            } else {
                Step::Add(7)
            }
        }
        2 | 3 => Step::If(random.below(6) as u32, block(random, depth - 1), block(random, depth - 1)),
        _ => Step::Loop(2 + random.below(4) as u32, block(random, depth - 1)),
    };
    (0..1 + random.below(3)).map(|_| step(random)).collect()
}

impl Step {
    fn text(&self, labels: &mut u32) -> String {
        *labels += 1;
        let l = *labels;
        let mut all = |steps: &[Step]| steps.iter().map(|s| s.text(labels)).collect::<String>();
        match self {
            Step::Add(n) => format!("mad.lo.s32 %r1, %r1, 3, {n};\n"),
            Step::If(n, yes, no) => format!(
                "shr.u32 %r5, %r1, {n}; and.b32 %r5, %r5, 1; setp.eq.s32 %p0, %r5, 0; @%p0 bra NO{l};
                 {} bra JOIN{l}; NO{l}: {} JOIN{l}:\n",
                all(yes),
                all(no)
            ),
            Step::Loop(n, steps) => format!(
                ".reg .b32 %i{l}; rem.u32 %i{l}, %r0, {n};
                 TOP{l}: setp.eq.s32 %p0, %i{l}, 0; @%p0 bra OUT{l}; sub.s32 %i{l}, %i{l}, 1; {} bra TOP{l}; OUT{l}:\n",
                all(steps)
            ),
            Step::Return(n) => format!(
                "shr.u32 %r5, %r1, {n}; and.b32 %r5, %r5, 1; setp.eq.s32 %p0, %r5, 1;
                 @%p0 st.global.u32 [%l0], %r1; @%p0 ret;\n"
            ),
        }
    }
}

/// Runs steps; `false` where they return.
fn run(steps: &[Step], x: &mut u32, thread: u32) -> bool {
    steps.iter().all(|step| match step {
        Step::Add(n) => {
            *x = x.wrapping_mul(3).wrapping_add(*n);
            true
        }
        Step::If(n, yes, no) => run(if *x >> n & 1 == 1 { yes } else { no }, x, thread),
        Step::Loop(n, steps) => (0..thread % n).all(|_| run(steps, x, thread)),
        Step::Return(n) => *x >> n & 1 == 0,
    })
}

/// By the ISA's pseudo code: where a lane reads, and what its predicate is. (PTX ISA 8.7, section 9.7.9.6)
fn shuffle(mode: &str, lane: i32, b: i32, c: i32) -> (i32, bool) {
    let (bval, cval, mask) = (b & 31, c & 31, c >> 8 & 31);
    let max_lane = lane & mask | cval & !mask;
    let min_lane = lane & mask;
    let (j, pval) = match mode {
        "up" => (lane - bval, lane - bval >= max_lane),
        "down" => (lane + bval, lane + bval <= max_lane),
        "bfly" => (lane ^ bval, (lane ^ bval) <= max_lane),
        _ => (min_lane | bval & !mask, (min_lane | bval & !mask) <= max_lane),
    };
    (if pval { j } else { lane }, pval)
}

#[test]
fn shuffles() {
    for mode in ["up", "down", "bfly", "idx"] {
        // Whole warps, and segments of 16, 8 and 4; clamped as compilers do, and elsewhere.
        for c in [0, 31, 0x1000, 0x101f, 0x181f, 0x1800, 0x1c1f, 0x1c03, 15, 7, 0x1f1f] {
            for b in ["0", "1", "2", "5", "16", "31", "33", "%r0"] {
                let body = format!(
                    "xor.b32 %r5, %r0, 0x5a; shfl.sync.{mode}.b32 %r1|%p0, %r5, {b}, {c}, -1;
                        @%p0 add.s32 %r1, %r1, 1000;
                     shfl.sync.{mode}.b32 %r6, %r5, {b}, {c}, 0xffffffff; xor.b32 %r6, %r6, %r5;
                     shl.b32 %r6, %r6, 16; add.s32 %r1, %r1, %r6;"
                );
                for (i, x) in threads(&body, &Config::new(1, 64)).into_iter().enumerate() {
                    let (i, lane) = (i as u32, i as i32 % 32);
                    let (from, p) = shuffle(mode, lane, b.parse().unwrap_or(i as i32), c);
                    let value = (i - lane as u32 + from as u32) ^ 0x5a;
                    let expected = value + 1000 * u32::from(p) + ((value ^ i ^ 0x5a) << 16);
                    assert_eq!(x, expected, "{mode} by {b}, c = {c:#x}, thread {i}");
                }
            }
        }
    }
}

#[test]
fn votes() {
    let all = "setp.lt.u32 %p0, %r2, %r5; vote.sync.all.pred %p1, %p0, -1; vote.sync.any.pred %p2, %p0, -1;
        vote.sync.uni.pred %p3, !%p0, -1; vote.sync.ballot.b32 %r6, !%p0, -1;
        @%p1 add.s32 %r1, %r1, 1; @%p2 add.s32 %r1, %r1, 2; @%p3 add.s32 %r1, %r1, 4; popc.b32 %r6, %r6;
        mad.lo.s32 %r1, %r6, 8, %r1;";
    for least in [0, 1, 16, 32, 40] {
        for (t, x) in threads(&format!("mov.u32 %r5, {least}; {all}"), &Config::new(1, 64)).into_iter().enumerate() {
            let warp = t as u32 / 32 * 32;
            let yes = (warp..warp + 32).filter(|&t| t < least).count() as u32;
            let expected =
                u32::from(yes == 32) + 2 * u32::from(yes > 0) + 4 * u32::from(yes == 0 || yes == 32) + 8 * (32 - yes);
            assert_eq!(x, expected);
        }
    }
    // Lanes apart from others see themselves.
    let body = "and.b32 %r5, %r0, 3; setp.eq.s32 %p0, %r5, 1; @%p0 bra ONE; activemask.b32 %r1; bra JOIN;
        ONE: setp.gt.u32 %p1, %r0, 15; vote.sync.ballot.b32 %r1, %p1, 0x22222222; JOIN:";
    let given = threads(body, &Config::new(1, 32));
    (0..32).for_each(|i| assert_eq!(given[i], if i % 4 == 1 { 0x2222_0000 } else { 0xdddd_dddd }));
}

#[test]
fn reductions() {
    let value = |t: u32| t.wrapping_mul(0x9e37_79b9) ^ 0x8000_0001;
    let text = "mul.lo.s32 %r5, %r2, 0x9e3779b9; xor.b32 %r5, %r5, 0x80000001;";
    type Fold = fn(u32, u32) -> u32;
    let all: [(&str, Fold); 9] = [
        ("add.s32", u32::wrapping_add),
        ("add.u32", u32::wrapping_add),
        ("min.u32", u32::min),
        ("max.u32", u32::max),
        ("min.s32", |a, b| (a as i32).min(b as i32) as u32),
        ("max.s32", |a, b| (a as i32).max(b as i32) as u32),
        ("and.b32", |a, b| a & b),
        ("or.b32", |a, b| a | b),
        ("xor.b32", |a, b| a ^ b),
    ];
    for (name, f) in all {
        let body = format!("{text} redux.sync.{name} %r1, %r5, 0xffffffff;");
        let expected = (0..32).map(value).reduce(f).unwrap();
        assert_eq!(threads(&body, &Config::new(1, 32)), [expected; 32], "{name}");
    }
    // Of half a warp.
    let body = format!("{text} setp.lt.u32 %p0, %r2, 16; @!%p0 bra OUT; redux.sync.add.s32 %r1, %r5, 0xffff; OUT:");
    let sum = (0..16).map(value).reduce(u32::wrapping_add).unwrap();
    let given = threads(&body, &Config::new(1, 32));
    (0..32).for_each(|i| assert_eq!(given[i], if i < 16 { sum } else { 0 }));
}

/// A block's threads turn a row round through shared memory, twice, with a loop of barriers.
#[test]
fn barriers() {
    let body = "
        .shared .b32 s[100]; mov.u32 %r5, s; shl.b32 %r6, %r2, 2; add.s32 %r6, %r5, %r6;
        sub.s32 %r7, %r4, %r2; add.s32 %r7, %r7, -1; shl.b32 %r7, %r7, 2; add.s32 %r7, %r5, %r7;
        mul.lo.s32 %r1, %r0, 7; mov.u32 %r8, 0;
      TOP: st.shared.u32 [%r6], %r1; bar.sync 0; ld.shared.u32 %r1, [%r7]; add.s32 %r1, %r1, %r2; bar.sync 0;
        add.s32 %r8, %r8, 1; setp.lt.s32 %p0, %r8, 3; @%p0 bra TOP;";
    for n in [32, 64, 100, 7] {
        let mut row: Vec<u32> = (0..n).map(|t| 7 * t).collect();
        for _ in 0..3 {
            row = (0..n).map(|t| row[(n - 1 - t) as usize] + t).collect();
        }
        assert_eq!(threads(body, &Config::new(1, n)), row);
    }
}

/// Registers without `%` and blocks in braces, as in inline assembly.
#[test]
fn inner_blocks() {
    let body = "{ .reg .pred odd; .reg .b32 t; and.b32 t, %r0, 1; setp.ne.b32 odd, t, 0;
        @odd add.s32 %r1, t, 5; @!odd mov.b32 %r1, t; }
        { .reg .pred odd; setp.gt.u32 odd, %r0, 3; @odd add.s32 %r1, %r1, 10; }";
    each(body, |i| if i % 2 == 1 { 6 } else { 0 } + if i > 3 { 10 } else { 0 });
}
