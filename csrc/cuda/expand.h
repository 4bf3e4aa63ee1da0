// From the fields of codes.h to bytes, in registers.
#pragma once

#include "cuda/codes.h"
#include "cuda/device.h"

namespace bebr::cuda {

// Dims 4 half .. 4 half + 3 of a group of row `row` of 16, as Kernels::expand has them: u = c << (planes - depth).
// group: of all 16 rows. kDepth: its depth where the compiler may know it, which leaves 3 instructions of some 20; else
// 0, and `depth` says it.
template <uint32_t kDepth>
__device__ __forceinline__ uint32_t expand4(const uint8_t* group, uint32_t row, uint32_t half, uint32_t depth,
                                            uint32_t planes) {
  if (kDepth != 0) depth = kDepth;
  uint32_t u = 0;
  if (depth & 8) {
    u = load<uint32_t>(group + row * 8 + half * 4);
    group += 128;
  }
  if (depth & 4) {
    u = u << 4 | (load<uint32_t>(group + row * 4) >> 4 * half & 0x0f0f0f0fu);
    group += 64;
  }
  if (depth & 2) {
    const uint32_t spread = group[row * 2 + half] * 0x1001u & 0x000f000fu;
    u = u << 2 | (spread * 0x41u & 0x03030303u);
    group += 32;
  }
  if (depth & 1) u = u << 1 | ((group[row] >> 4 * half & 15u) * 0x00204081u & 0x01010101u);
  return u << (planes - depth);
}

__device__ __forceinline__ float factor_value(const FactorView& factors, uint32_t row) {
  const uint8_t* at = factors.stored + static_cast<uint64_t>(row) * factors.bytes;
  if (factors.bytes == 1) return half_value(factors.low + *at * factors.step);
  if (factors.bytes == 2) return half_value(load<uint16_t>(at));
  return load<float>(at);
}

}  // namespace bebr::cuda
