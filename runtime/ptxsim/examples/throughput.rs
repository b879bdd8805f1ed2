//! How fast kernels run here: millions of thread-instructions a second on one core.
//!
//! ```text
//! cargo run --release -p swint-ptxsim --example throughput
//! ```

use std::time::Instant;
use swint_ptxsim::{Access, Buffer, Config, Module, Param, run};

/// Instructions of a loop, between their kernel's head and tail: `%r0` counts rounds, `%l1` is the thread's word of the input.
const LOOPS: [(&str, &str); 5] = [
    (
        "integers and loads",
        "ld.global.u32 %r2, [%l1]; dp4a.s32.s32 %r3, %r2, %r4, %r3; add.s32 %r4, %r4, %r3; shr.u32 %r5, %r4, 3;
         xor.b32 %r4, %r4, %r5; mad.lo.s32 %r6, %r4, 5, %r2; max.s32 %r3, %r3, %r6;",
    ),
    (
        "integers",
        "add.s32 %r3, %r3, %r4; xor.b32 %r4, %r4, %r3; mul.lo.s32 %r5, %r4, 7; prmt.b32 %r4, %r4, %r5, 0x5410;",
    ),
    (
        "floats",
        "fma.rn.f32 %f1, %f1, %f2, %f3; add.ftz.f32 %f2, %f2, %f1; cvt.rni.s32.f32 %r3, %f2; cvt.rn.f32.s32 %f3, %r3;",
    ),
    (
        "shared memory",
        "st.shared.v2.u32 [%r7], {%r3, %r4}; ld.shared.v2.u32 {%r4, %r3}, [%r7]; st.shared.u8 [%r7+4], %r3;
            bar.sync 0;",
    ),
    (
        "mma",
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r3, %r4, %r5, %r6}, {%r1, %r1, %r1, %r1}, {%r1, %r1}, {%r3, %r4, %r5, %r6};",
    ),
];

fn main() {
    for (name, body) in LOOPS {
        let text = format!(
            ".version 8.7 .target sm_89 .address_size 64
             .visible .entry k(.param .u64 input, .param .u64 output) {{
                 .reg .b32 %r<9>; .reg .b64 %l<9>; .reg .f32 %f<9>; .reg .pred %p<2>; .shared .align 8 .b8 s[2048];
                 ld.param.u64 %l0, [input]; mov.u32 %r1, %tid.x; mad.wide.u32 %l1, %r1, 4, %l0; mov.u32 %r7, s;
                 mad.lo.s32 %r7, %r1, 8, %r7; mov.u32 %r0, 0;
              TOP: {body}
                 add.s32 %r0, %r0, 1; setp.lt.u32 %p1, %r0, 2000; @%p1 bra TOP;
                 ld.param.u64 %l0, [output]; mov.u32 %r8, %ctaid.x; mad.lo.s32 %r8, %r8, 256, %r1;
                 mad.wide.u32 %l1, %r8, 4, %l0;
                 add.s32 %r3, %r3, %r4; st.global.u32 [%l1], %r3; ret;
             }}"
        );
        let module = Module::parse(&text).expect("the kernel is right");
        let mut buffers = [
            Buffer { bytes: vec![3; 1024], access: Access::Read, low: 0 },
            Buffer { bytes: vec![0; 4096], access: Access::Write, low: 0 },
        ];
        let start = Instant::now();
        let outcome =
            run(&module.kernels[0], &Config::new(4, 256), &[Param::Buffer(0), Param::Buffer(1)], &mut buffers);
        let seconds = start.elapsed().as_secs_f64();
        assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
        let instructions = outcome.stats.instructions() as f64;
        println!("{name}: {:.0} million thread-instructions a second ({seconds:.2} s)", instructions / seconds / 1e6);
    }
}
