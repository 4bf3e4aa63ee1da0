// From the fields of codes.h to bytes, in registers.
#pragma once

#include "cuda/codes.h"
#include "cuda/device.h"

namespace bebr::cuda {

struct alignas(8) TwoWords {
  uint32_t words[2];
};

// Dims 4 half .. 4 half + 3 of a group, of rows `row` and row + 8 of 16, as Kernels::expand has them: u = c << (planes
// - depth). group: of all 16 rows; row: below 8. kDepth: its depth where the compiler may know it, which leaves a third
// of the instructions; else 0, and `depth` says it.
template <uint32_t kDepth>
__device__ __forceinline__ TwoWords expand4(const uint8_t* group, uint32_t row, uint32_t half, uint32_t depth,
                                            uint32_t planes) {
  if (kDepth != 0) depth = kDepth;
  const uint32_t up = planes - depth;  // by the last field, whose products can be made so much larger
  TwoWords u{{0, 0}};
  if (depth & 8) {
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) u.words[i] = load<uint32_t>(group + (row * 2 + i) * 8 + half * 4);
    group += 128;
  }
  if (depth & 4) {
    const uint32_t by = depth & 3 ? 0 : up;
    const TwoWords field = load<TwoWords>(group + row * 8);
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) u.words[i] = (u.words[i] << 4 | (field.words[i] >> 4 * half & 0x0f0f0f0fu)) << by;
    group += 64;
  }
  if (depth & 2) {
    const uint32_t by = depth & 1 ? 0 : up;
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      const uint32_t spread = group[(row * 2 + i) * 2 + half] * 0x1001u & 0x000f000fu;
      u.words[i] = u.words[i] << (2 + by) | (spread * (0x41u << by) & 0x03030303u << by);
    }
    group += 32;
  }
  if (depth & 1) {
    const uint32_t field = load<uint16_t>(group + row * 2) >> 4 * half;
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i)
      u.words[i] = u.words[i] << (1 + up) | ((field >> 8 * i & 15u) * (0x00204081u << up) & 0x01010101u << up);
  }
  return u;
}

__device__ __forceinline__ float factor_value(const FactorView& factors, uint32_t row) {
  const uint8_t* at = factors.stored + static_cast<uint64_t>(row) * factors.bytes;
  if (factors.bytes == 1) return half_value(factors.low + *at * factors.step);
  if (factors.bytes == 2) return half_value(load<uint16_t>(at));
  return load<float>(at);
}

}  // namespace bebr::cuda
