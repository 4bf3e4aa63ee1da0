// A warp a vector: lane l holds coordinates l, l + 32, .. of v and g in shared memory, and no other lane touches them.
// 32 coordinates are looked at together; the first of them that moves does, and those behind it are looked at anew.
// Every product and every sum is rounded on its own.
//
// A move reads a row of G, which is larger than shared memory and stays in L2: that bounds the kernel
// (docs/gpu-roofline.md), so coordinates in registers, twice as many kernels, would win little.
#include "cuda/descend.h"
#include "cuda/device.h"

namespace bebr::cuda {
namespace {

constexpr uint32_t kMostWarps = 4;       // a block
constexpr uint32_t kShared = 48 * 1024;  // bytes a block, that every device has
constexpr uint32_t kMoved = 3;           // coordinates moved by a restart

// Of one lane: coordinate s * 32 + lane at [s * 32].
struct Coordinates {
  float *v, *g;
  uint32_t lane;
};

// g -= move * row j of G.
__device__ __forceinline__ void follow(const DescendArgs& args, uint32_t j, float move, const Coordinates& at) {
  const float* row = args.gram + static_cast<uint64_t>(j) * args.stride + at.lane;
#pragma unroll 4
  for (uint32_t s = 0; s < args.stride; s += kWarp) at.g[s] = at.g[s] - move * row[s];
}

// A sweep over all coordinates; whether one of them moved.
__device__ __forceinline__ bool sweep(const DescendArgs& args, const Coordinates& at) {
  bool changed = false;
  for (uint32_t s = 0; s < args.stride; s += kWarp) {
    const float inverse = args.inverse[s + at.lane], step = args.step[s + at.lane];
    const float per_step = float_of(0x7f000000u - bits_of(step)), most = 2 * per_step;  // 1 / step, a power of two
    uint32_t open = kWholeWarp;  // coordinates of these 32 that have not had their turn
    while (open != 0) {
      const float v = at.v[s], target = v + at.g[s] * inverse;
      float i = floorf(target * per_step);
      i = i > -most ? i : -most;
      i = i < most - 1 ? i : most - 1;
      const float nearest = i * step + 0.5f * step;
      const uint32_t movers = __ballot_sync(kWholeWarp, nearest != v) & open;
      if (movers == 0) break;
      const auto mover = static_cast<uint32_t>(__ffs(static_cast<int>(movers))) - 1;
      const float move = __shfl_sync(kWholeWarp, nearest - v, static_cast<int>(mover));
      if (at.lane == mover) at.v[s] = nearest;
      follow(args, s + mover, move, at);
      changed = true;
      open = mover == 31 ? 0 : kWholeWarp << (mover + 1);
    }
  }
  return changed;
}

// (z - v)^T g as energy() of binarizer/descent.cpp sums it: coordinates 16 apart one after the other.
__device__ __forceinline__ float energy(const DescendArgs& args, const float* z, const Coordinates& at) {
  float sum = 0;
  for (uint32_t s = 0; s < args.stride; s += kWarp) {
    const float mine = s + at.lane < args.dims ? (z[s] - at.v[s]) * at.g[s] : 0;
    sum += mine;
    sum += __shfl_xor_sync(kWholeWarp, mine, 16);  // right in lanes below 16, which alone are read
  }
  float total = 0;
  for (int i = 0; i < 16; ++i) total += __shfl_sync(kWholeWarp, sum, i);
  return total;
}

// Moves coordinate j by a step, up where `up`, unless that leaves the grid.
__device__ __forceinline__ void disturb(const DescendArgs& args, uint32_t j, bool up, const Coordinates& at) {
  const uint32_t s = j / kWarp * kWarp, owner = j % kWarp;
  const float v = __shfl_sync(kWholeWarp, at.v[s], static_cast<int>(owner));
  const float step = args.step[j], largest = 2 - 0.5f * step;
  float move = up ? step : -step;
  if (fabsf(v + move) > largest) move = -move;
  if (at.lane == owner) at.v[s] = v + move;
  follow(args, j, move, at);
}

__global__ void __launch_bounds__(kMostWarps* kWarp, 8) descend_kernel(const DescendArgs args) {
  BEBR_SHARED(shared);
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const uint32_t vector = blockIdx.x * (blockDim.x / kWarp) + warp;
  if (vector >= args.rows) return;
  const uint64_t first = static_cast<uint64_t>(vector) * args.stride + lane;
  const float* z = args.z + first;
  float *v = args.v + first, *g = args.g + first;  // the best so far
  float* const mine = reinterpret_cast<float*>(shared) + warp * 2 * args.stride + lane;
  const Coordinates at{mine, mine + args.stride, lane};
  uint32_t random = 0x9e3779b9u;  // the same sequence for every vector
  float best = 0;
  for (uint32_t attempt = 0; attempt <= args.tries; ++attempt) {
    for (uint32_t s = 0; s < args.stride; s += kWarp) {
      at.v[s] = v[s];
      at.g[s] = g[s];
    }
    for (uint32_t n = 0; attempt > 0 && n < kMoved; ++n) {
      random ^= random << 13;
      random ^= random >> 17;
      random ^= random << 5;
      disturb(args, static_cast<uint32_t>((static_cast<uint64_t>(random >> 1) * args.dims) >> 31), (random & 1) != 0,
              at);
    }
    for (uint32_t n = 0; n < args.sweeps; ++n)
      if (!sweep(args, at)) break;
    const float reached = args.tries > 0 ? energy(args, z, at) : 0;
    if (attempt > 0 && !(reached < best)) continue;
    best = reached;
    for (uint32_t s = 0; s < args.stride; s += kWarp) {
      v[s] = at.v[s];
      g[s] = at.g[s];
    }
  }
}

}  // namespace

void descend(const DescendArgs& args) {
  const uint32_t bytes = 2 * args.stride * static_cast<uint32_t>(sizeof(float));  // a vector
  const uint32_t warps = kShared / bytes < kMostWarps ? kShared / bytes : kMostWarps;
  launch(descend_kernel, dim3{(args.rows + warps - 1) / warps, 1, 1}, warps * kWarp, size_t{warps} * bytes, args);
}

}  // namespace bebr::cuda
