// What launches, barriers and code cost on a GPU of compute capability 9.0, whatever kernels compute. A launch is the 64th part of the median of 250
// replays of a CUDA graph of 64, a barrier of as many in one cooperative launch.
//
//     nvcc -O2 -arch=sm_90 -o launches launches.cu && ./launches

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                        \
  do {                                                                     \
    cudaError_t status = (call);                                           \
    if (status != cudaSuccess) {                                           \
      std::fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(status)); \
      std::exit(1);                                                        \
    }                                                                      \
  } while (0)

constexpr int LAUNCHES = 64;

// When a launch lets the next one start: when it has ended, or at its end or its start; then it waits itself for the one before.
enum Overlap { NONE, AT_THE_END, AT_THE_START };

__device__ int other(const int* x) {
  const int threads = gridDim.x * blockDim.x;
  return ((volatile const int*)x)[((blockIdx.x * blockDim.x + threadIdx.x) * 7 + 13) % threads];
}

__device__ void let_the_next_start() { asm volatile("griddepcontrol.launch_dependents;"); }
__device__ void wait_for_the_one_before() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

__global__ void word(const int* x, int* y, Overlap overlap) {
  if (overlap == AT_THE_START) let_the_next_start();
  if (overlap != NONE) wait_for_the_one_before();
  y[blockIdx.x * blockDim.x + threadIdx.x] = other(x) + 1;
  if (overlap == AT_THE_END) let_the_next_start();
}

// Some 4,000 instructions in a row, others for every ID.
template <int ID>
__global__ void code(const int* x, int* y, Overlap) {
  let_the_next_start();
  wait_for_the_one_before();
  int a = other(x), b = a ^ ID, c = a + 3, d = a - 5;
#pragma unroll
  for (int k = 0; k < 500; k++) {
    a = a * (ID * 1000 + k * 7 + 3) + b;
    b = (b ^ (k * 77 + ID)) * c;
    c = c * (k + ID + 9) + d;
    d = (d + k * 13) ^ b;
  }
  y[blockIdx.x * blockDim.x + threadIdx.x] = a + b + c + d;
}

// The same words in one launch, with a barrier of all blocks in place of each launch.
__global__ void barriers(int* x, int* y, unsigned* arrived, int count) {
  for (int k = 0; k < count; k++) {
    y[blockIdx.x * blockDim.x + threadIdx.x] = other(x) + 1;
    __syncthreads();
    if (threadIdx.x == 0) {
      const unsigned all = (k + 1) * gridDim.x;
      unsigned seen;
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
      do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(arrived) : "memory");
      } while (seen < all);
    }
    __syncthreads();
    int* swapped = x;
    x = y;
    y = swapped;
  }
}

cudaStream_t stream;
int *first, *second;

template <class Run>
float median_us(Run run) {
  cudaEvent_t before, after;
  CHECK(cudaEventCreate(&before));
  CHECK(cudaEventCreate(&after));
  std::vector<float> times;
  for (int i = 0; i < 300; i++) {
    float ms;
    CHECK(cudaEventRecord(before, stream));
    run();
    CHECK(cudaEventRecord(after, stream));
    CHECK(cudaEventSynchronize(after));
    CHECK(cudaEventElapsedTime(&ms, before, after));
    if (i >= 50) times.push_back(ms * 1e3f);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

using Kernel = void (*)(const int*, int*, Overlap);

// Microseconds of a launch in a row of them, of kernels in turns.
float launch_us(const std::vector<Kernel>& kernels, int blocks, int threads, Overlap overlap) {
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int k = 0; k < LAUNCHES; k++) {
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(threads);
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = overlap != NONE;
    const int* x = k % 2 ? second : first;
    int* y = k % 2 ? first : second;
    CHECK(cudaLaunchKernelEx(&config, kernels[k % kernels.size()], x, y, overlap));
  }
  CHECK(cudaStreamEndCapture(stream, &graph));
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  return median_us([&] { CHECK(cudaGraphLaunch(exec, stream)); }) / LAUNCHES;
}

float barrier_us(unsigned* arrived, int blocks, int threads) {
  const auto with = [&](int count) {
    void* arguments[] = {&first, &second, &arrived, &count};
    return median_us([&] {
      CHECK(cudaMemsetAsync(arrived, 0, sizeof *arrived, stream));
      CHECK(cudaLaunchCooperativeKernel((void*)barriers, dim3(blocks), dim3(threads), arguments, 0, stream));
    });
  };
  return (with(LAUNCHES) - with(0)) / LAUNCHES;
}

int main() {
  unsigned* arrived;
  CHECK(cudaMalloc(&first, 1 << 22));
  CHECK(cudaMalloc(&second, 1 << 22));
  CHECK(cudaMalloc(&arrived, sizeof *arrived));
  CHECK(cudaMemset(first, 0, 1 << 22));
  CHECK(cudaStreamCreate(&stream));
  std::puts("blocks threads  us a launch: no overlap, let at the end, at the start  us a barrier");
  for (int blocks : {49, 132, 264})
    for (int threads : {128, 256}) {
      std::printf("%6d %7d", blocks, threads);
      for (Overlap overlap : {NONE, AT_THE_END, AT_THE_START}) std::printf("  %.3f", launch_us({word}, blocks, threads, overlap));
      std::printf("  %.3f\n", barrier_us(arrived, blocks, threads));
    }
  const std::vector<Kernel> all = {code<0>, code<1>, code<2>, code<3>, code<4>, code<5>, code<6>, code<7>};
  for (size_t count : {1, 2, 4, 8}) {
    const std::vector<Kernel> some(all.begin(), all.begin() + count);
    std::printf("%zu kernels of long code in turns: %.3f us a launch\n", count, launch_us(some, 98, 96, AT_THE_START));
  }
  CHECK(cudaDeviceSynchronize());
}
