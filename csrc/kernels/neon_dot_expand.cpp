// NEON with dotprod: products of whole codes with many queries (kernels.h: dot_expanded).
//
// Layout: a register has 4 dims of 4 rows, as neon_expand.cpp writes them; sdot multiplies them with 4 bytes of a
// query.
//
// Bounds: scalar_expand.cpp. sdot takes signed bytes: u - 128, and 128 times the query's sum is added at the end.
//
// Instructions: sdot by lane, of 16 rows x 4 queries (16 sums in registers).
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace bebr {
namespace {

constexpr size_t kTogether = 64;  // queries whose sums are kept while a block passes

// nq queries with the 16 rows of one block; `steps` times 16 dims.
BEBR_INLINE void dot_few_neon_dot(const int nq, const uint8_t* expanded, uint32_t steps, const int8_t* y8, size_t y_row,
                                  const int32_t* add, int32_t* sums, size_t stride) {
  int32x4_t acc[4][4];
#pragma GCC unroll 4
  for (int q = 0; q < nq; ++q) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) acc[q][r] = vdupq_n_s32(add[q]);
  }
  const uint8x16_t middle = vdupq_n_u8(128);
  for (uint32_t step = 0; step < steps; ++step, expanded += 256) {
    int32x4_t y[4];
#pragma GCC unroll 4
    for (int q = 0; q < nq; ++q)
      y[q] = vreinterpretq_s32_s8(vld1q_s8(y8 + static_cast<size_t>(q) * y_row + 16 * size_t{step}));
#pragma GCC unroll 4
    for (int quad = 0; quad < 4; ++quad) {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        const int8x16_t u = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(expanded + 64 * quad + 16 * r), middle));
#pragma GCC unroll 4
        for (int q = 0; q < nq; ++q) acc[q][r] = vdotq_s32(acc[q][r], u, vreinterpretq_s8_s32(vdupq_n_s32(y[q][quad])));
      }
    }
  }
#pragma GCC unroll 4
  for (int q = 0; q < nq; ++q) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) vst1q_s32(sums + static_cast<size_t>(q) * stride + 4 * r, acc[q][r]);
  }
}

// 128 times the sum of a query's entries.
BEBR_INLINE int32_t added_neon_dot(const int8_t* y, uint32_t steps) {
  int32x4_t acc = vdupq_n_s32(0);
  for (uint32_t step = 0; step < steps; ++step) acc = vdotq_s32(acc, vld1q_s8(y + 16 * size_t{step}), vdupq_n_s8(1));
  return 128 * vaddvq_s32(acc);
}

void dot_expanded_neon_dot(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                           int32_t* sums, size_t stride) noexcept {
  const size_t y_row = y8_stride(groups), block = expanded_bytes(groups);
  const uint32_t steps = (groups + 1) / 2;
  for (; count > 0; y8 += kTogether * y_row, sums += kTogether * stride) {
    const size_t here = count < kTogether ? count : kTogether;
    int32_t add[kTogether];
    for (size_t q = 0; q < here; ++q) add[q] = added_neon_dot(y8 + q * y_row, steps);
    for (size_t b = 0; b < blocks; ++b) {
      const uint8_t* rows = expanded + b * block;
      int32_t* to = sums + b * kBlockRows;
      size_t q = 0;
      for (; q + 4 <= here; q += 4)
        dot_few_neon_dot(4, rows, steps, y8 + q * y_row, y_row, add + q, to + q * stride, stride);
      for (; q < here; ++q) dot_few_neon_dot(1, rows, steps, y8 + q * y_row, y_row, add + q, to + q * stride, stride);
    }
    count -= here;
  }
}

}  // namespace

void bind_neon_dot_expand(Kernels& table) noexcept {
  table.dot_expanded = dot_expanded_neon_dot;
  table.expand_queries = 8;
}

}  // namespace bebr

#if defined(__clang__)
#pragma clang attribute pop
#endif
