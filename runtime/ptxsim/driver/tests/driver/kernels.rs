//! Kernels for tests.

/// `gemm_s8(a, b, c, m, n, k)`, as NVIDIA's own compiler translates it.
pub const GEMM: &str = include_str!("../../../tests/isa/kernels/gemm_s8.ptx");

/// `add(a, b, sum, n)`, of 32-bit integers. Nothing may write to `a`.
pub const ADD: &str = "
.version 8.0
.target sm_89
.address_size 64

.visible .entry add(.param .u64 a, .param .u64 b, .param .u64 sum, .param .u32 n) {
    .reg .pred %p<2>;
    .reg .b32 %r<9>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd1, [a];
    ld.param.u64 %rd2, [b];
    ld.param.u64 %rd3, [sum];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra $end;
    mul.wide.u32 %rd4, %r5, 4;
    add.s64 %rd5, %rd1, %rd4;
    add.s64 %rd6, %rd2, %rd4;
    add.s64 %rd7, %rd3, %rd4;
    ld.global.nc.u32 %r6, [%rd5];
    ld.global.u32 %r7, [%rd6];
    add.s32 %r8, %r6, %r7;
    st.global.u32 [%rd7], %r8;
$end:
    ret;
}
";

/// `scale(data, factor)` and `shift(data, distance)`, of 32-bit integers, one a thread of the only block.
pub const SCALE_AND_SHIFT: &str = "
.version 8.0
.target sm_80
.address_size 64

.visible .entry scale(.param .u64 data, .param .u32 factor) {
    .reg .b32 %r<5>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [data];
    ld.param.u32 %r1, [factor];
    mov.u32 %r2, %tid.x;
    mul.wide.u32 %rd2, %r2, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.u32 %r3, [%rd3];
    mul.lo.s32 %r4, %r3, %r1;
    st.global.u32 [%rd3], %r4;
    ret;
}

.visible .entry shift(.param .u64 data, .param .u32 distance) {
    .reg .b32 %r<5>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [data];
    ld.param.u32 %r1, [distance];
    mov.u32 %r2, %tid.x;
    mul.wide.u32 %rd2, %r2, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.u32 %r3, [%rd3];
    add.s32 %r4, %r3, %r1;
    st.global.u32 [%rd3], %r4;
    ret;
}
";

/// `reads_outside(data, more)`: each thread reads the word of `data` after its own.
pub const OUTSIDE: &str = "
.version 8.0
.target sm_80
.address_size 64

.visible .entry reads_outside(.param .u64 data, .param .u64 more) {
    .reg .b32 %r<3>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [data];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.u32 %r2, [%rd3+4];
    ret;
}
";

/// `last_word(result, at)`: passes the size of its dynamic shared memory through the word there.
pub const LONG_SHARED: &str = "
.version 8.0
.target sm_80
.address_size 64

.extern .shared .align 16 .b8 dynamic[];

.visible .entry last_word(.param .u64 result, .param .u32 at) {
    .reg .b32 %r<6>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [result];
    ld.param.u32 %r1, [at];
    mov.u32 %r2, dynamic;
    add.s32 %r3, %r2, %r1;
    mov.u32 %r4, %dynamic_smem_size;
    st.shared.u32 [%r3], %r4;
    ld.shared.u32 %r5, [%r3];
    st.global.u32 [%rd1], %r5;
    ret;
}
";
