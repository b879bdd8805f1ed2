// C[m,n] = sum over k of A[m,k] * B[n,k]: 8-bit integers, 64x64 tiles of C, two stages of cp.async, ldmatrix, mma m16n8k32.
// m and n are multiples of 64, k of 64. Compiled to gemm_s8.ptx by NVRTC 13.5 with --gpu-architecture=sm_89.

static __device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// Rows of 64 bytes, whose pieces of 16 are permuted so that eight rows of a column of pieces lie in all 32 banks.
static __device__ unsigned place(unsigned row, unsigned piece) { return row * 64 + ((piece ^ (row >> 1)) & 3) * 16; }

extern "C" __global__ void __launch_bounds__(128)
gemm_s8(const signed char* __restrict__ a, const signed char* __restrict__ b, int* __restrict__ c, int m, int n, int k) {
    __shared__ __align__(128) signed char tile_a[2][64 * 64];
    __shared__ __align__(128) signed char tile_b[2][64 * 64];
    const unsigned thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
    const unsigned row0 = blockIdx.y * 64, column0 = blockIdx.x * 64;
    int sums[2][4][4] = {};

    auto load = [&](int stage, int k0) {
        for (unsigned i = thread; i < 256; i += 128) {
            const unsigned row = i >> 2, piece = i & 3;
            const unsigned to_a = shared_address(tile_a[stage]) + place(row, piece);
            const unsigned to_b = shared_address(tile_b[stage]) + place(row, piece);
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to_a), "l"(a + (row0 + row) * k + k0 + piece * 16) : "memory");
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to_b), "l"(b + (column0 + row) * k + k0 + piece * 16) : "memory");
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };

    const unsigned warp_row = (warp >> 1) * 32, warp_column = (warp & 1) * 32;
    load(0, 0);
    for (int k0 = 0, stage = 0; k0 < k; k0 += 64, stage ^= 1) {
        if (k0 + 64 < k) {
            load(stage ^ 1, k0 + 64);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncthreads();
        for (unsigned step = 0; step < 2; step++) {
            unsigned fa[2][4], fb[4][2];
            for (unsigned i = 0; i < 2; i++) {
                const unsigned at = shared_address(tile_a[stage]) + place(warp_row + 16 * i + (lane & 15), 2 * step + (lane >> 4));
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                             : "=r"(fa[i][0]), "=r"(fa[i][1]), "=r"(fa[i][2]), "=r"(fa[i][3]) : "r"(at) : "memory");
            }
            for (unsigned j = 0; j < 2; j++) {
                const unsigned row = warp_column + 16 * j + (lane & 7) + ((lane >> 4) << 3);
                const unsigned at = shared_address(tile_b[stage]) + place(row, 2 * step + ((lane >> 3) & 1));
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                             : "=r"(fb[2 * j][0]), "=r"(fb[2 * j][1]), "=r"(fb[2 * j + 1][0]), "=r"(fb[2 * j + 1][1]) : "r"(at) : "memory");
            }
            for (unsigned i = 0; i < 2; i++) {
                for (unsigned j = 0; j < 4; j++) {
                    int* s = sums[i][j];
                    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                                 : "+r"(s[0]), "+r"(s[1]), "+r"(s[2]), "+r"(s[3])
                                 : "r"(fa[i][0]), "r"(fa[i][1]), "r"(fa[i][2]), "r"(fa[i][3]), "r"(fb[j][0]), "r"(fb[j][1]));
                }
            }
        }
        __syncthreads();
    }
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned j = 0; j < 4; j++) {
            for (unsigned half = 0; half < 2; half++) {
                const unsigned row = row0 + warp_row + 16 * i + 8 * half + (lane >> 2);
                const unsigned column = column0 + warp_column + 8 * j + 2 * (lane & 3);
                *(int2*)(c + row * n + column) = make_int2(sums[i][j][2 * half], sums[i][j][2 * half + 1]);
            }
        }
    }
}
