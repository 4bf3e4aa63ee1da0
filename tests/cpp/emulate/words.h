// The words of CUDA C++ that kernels use.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "emulate/block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

inline void __syncthreads(std::source_location at = std::source_location::current()) {
  emulate::Block::current()->barrier(at.line());
}
inline void __syncwarp(uint32_t mask = ~0u) { emulate::Block::current()->meet(mask, 1, nullptr, 0); }

template <typename T>
T __shfl_sync(uint32_t mask, T value, int lane) {
  uint64_t bring = 0;
  std::memcpy(&bring, &value, sizeof value);
  auto* slots = emulate::Block::current()->meet(mask, 2, &bring, 1);
  if ((mask >> (lane & 31) & 1) == 0) emulate::misuse("a value is asked of a lane that the mask leaves out");
  std::memcpy(&value, slots[lane & 31], sizeof value);
  return value;
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int by) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ by);
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote) {
  const uint64_t bring = vote;
  auto* slots = emulate::Block::current()->meet(mask, 3, &bring, 1);
  uint32_t votes = 0;
  for (uint32_t i = 0; i < 32; ++i)
    if (mask >> i & 1) votes |= static_cast<uint32_t>(slots[i][0]) << i;
  return votes;
}

inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<uint32_t>(x)) + 1; }
inline uint32_t atomicAdd(uint32_t* at, uint32_t by) {
  return std::atomic_ref(*at).fetch_add(by, std::memory_order_relaxed);
}
inline uint32_t atomicMin(uint32_t* at, uint32_t value) {
  const std::atomic_ref shared(*at);
  uint32_t before = shared.load(std::memory_order_relaxed);
  while (value < before && !shared.compare_exchange_weak(before, value, std::memory_order_relaxed)) {
  }
  return before;
}
inline unsigned long long atomicMax(unsigned long long* at, unsigned long long value) {
  const std::atomic_ref shared(*at);
  unsigned long long before = shared.load(std::memory_order_relaxed);
  while (value > before && !shared.compare_exchange_weak(before, value, std::memory_order_relaxed)) {
  }
  return before;
}

namespace emulate {

// mma.m16n8k32 as the PTX ISA lays it out (cuda/device.h). Every lane works out its own four sums.
BEBR_UNSEEN inline void mma_u8s8(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const uint64_t bring[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  auto* lanes = Block::current()->meet(~0u, 4, bring, 6);
  const uint32_t g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t row = g + 8 * (i / 2), column = 2 * t + i % 2;
    for (uint32_t k = 0; k < 32; k += 4) {
      const uint32_t quarter = k % 16 / 4, high = k / 16;
      const auto u = static_cast<uint32_t>(lanes[4 * (row % 8) + quarter][2 * high + row / 8]);
      const auto s = static_cast<uint32_t>(lanes[4 * column + quarter][4 + high]);
      for (uint32_t byte = 0; byte < 32; byte += 8)
        c[i] += static_cast<uint8_t>(u >> byte) * static_cast<int8_t>(s >> byte);
    }
  }
}

}  // namespace emulate
