// NEON with i8mm: products of whole codes with many queries, and of tails (kernels.h: dot_expanded, dot_tail).
//
// Layout: usmmla multiplies 8 dims of two rows with those of two queries. zip of two quads makes them out of what
// expand wrote: dims 0 .. 3 and 4 .. 7 of a row side by side.
//
// Bounds: scalar_expand.cpp; bytes of a code are unsigned here, a query's signed.
//
// Instructions: usmmla, of 16 rows x 4 queries (16 sums in registers); usdot of four tails side by side.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("i8mm"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#endif

namespace bebr {
namespace {

// Two quads of 4 rows: 8 dims of two rows each.
struct Rows {
  uint8x16_t first, second;
};
BEBR_INLINE Rows rows_neon_i8mm(const uint8_t* quads) {
  const uint32x4_t a = vreinterpretq_u32_u8(vld1q_u8(quads)), b = vreinterpretq_u32_u8(vld1q_u8(quads + 64));
  return {vreinterpretq_u8_u32(vzip1q_u32(a, b)), vreinterpretq_u8_u32(vzip2q_u32(a, b))};
}

// `pairs` pairs of queries with the 16 rows of one block, `steps` times 16 dims. Of the last pair the second query is
// left out where it is not `whole`.
BEBR_INLINE void dot_few_neon_i8mm(const int pairs, const bool whole, const uint8_t* expanded, uint32_t steps,
                                   const int8_t* y8, size_t y_row, int32_t* sums, size_t stride) {
  int32x4_t acc[2][8];
#pragma GCC unroll 2
  for (int p = 0; p < pairs; ++p) {
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) acc[p][r] = vdupq_n_s32(0);
  }
  for (uint32_t step = 0; step < steps; ++step, expanded += 256) {
    int8x16_t y[2][2];
#pragma GCC unroll 2
    for (int p = 0; p < pairs; ++p) {
      const int8_t* first = y8 + 2 * static_cast<size_t>(p) * y_row + 16 * size_t{step};
      const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(first)),
                      b = whole ? vreinterpretq_s64_s8(vld1q_s8(first + y_row)) : a;
      y[p][0] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
      y[p][1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
    }
#pragma GCC unroll 2
    for (int eight = 0; eight < 2; ++eight) {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        const Rows u = rows_neon_i8mm(expanded + 128 * eight + 16 * r);
#pragma GCC unroll 2
        for (int p = 0; p < pairs; ++p) {
          acc[p][2 * r] = vusmmlaq_s32(acc[p][2 * r], u.first, y[p][eight]);
          acc[p][2 * r + 1] = vusmmlaq_s32(acc[p][2 * r + 1], u.second, y[p][eight]);
        }
      }
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < pairs; ++p, sums += 2 * stride) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      vst1q_s32(sums + 4 * r, vuzp1q_s32(acc[p][2 * r], acc[p][2 * r + 1]));
      if (whole) vst1q_s32(sums + stride + 4 * r, vuzp2q_s32(acc[p][2 * r], acc[p][2 * r + 1]));
    }
  }
}

void dot_expanded_neon_i8mm(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                            int32_t* sums, size_t stride) noexcept {
  const size_t y_row = y8_stride(groups);
  const uint32_t steps = (groups + 1) / 2;
  for (size_t b = 0; b < blocks; ++b, expanded += expanded_bytes(groups), sums += kBlockRows) {
    size_t q = 0;
    for (; q + 4 <= count; q += 4)
      dot_few_neon_i8mm(2, true, expanded, steps, y8 + q * y_row, y_row, sums + q * stride, stride);
    if (q + 2 <= count)
      dot_few_neon_i8mm(1, true, expanded, steps, y8 + q * y_row, y_row, sums + q * stride, stride), q += 2;
    if (q < count) dot_few_neon_i8mm(1, false, expanded, steps, y8 + q * y_row, y_row, sums + q * stride, stride);
  }
}

// The sums of nr rows' tails, each in four lanes.
BEBR_INLINE void dot_rows_neon_i8mm(const int nr, const uint8_t* tails, size_t bytes, const int8_t* y8,
                                    const uint32_t* rows, uint32_t first, int32x4_t* acc) {
  const uint8_t* u[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    u[r] = tails + (rows[r] - first) * bytes;
    acc[r] = vdupq_n_s32(0);
  }
  for (size_t j = 0; j < bytes; j += 64) {
#pragma GCC unroll 4
    for (size_t k = j; k < j + 64; k += 16) {
      const int8x16_t y = vld1q_s8(y8 + k);
#pragma GCC unroll 4
      for (int r = 0; r < nr; ++r) acc[r] = vusdotq_s32(acc[r], vld1q_u8(u[r] + k), y);
    }
  }
}

void dot_tail_neon_i8mm(const uint8_t* tails, size_t bytes, const int8_t* y8, const uint32_t* rows, size_t count,
                        uint32_t first, int32_t* out) noexcept {
  int32x4_t acc[4];
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    dot_rows_neon_i8mm(4, tails, bytes, y8, rows + i, first, acc);
    vst1q_s32(out + i, vpaddq_s32(vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3])));
  }
  for (; i < count; ++i) {
    dot_rows_neon_i8mm(1, tails, bytes, y8, rows + i, first, acc);
    out[i] = vaddvq_s32(acc[0]);
  }
}

}  // namespace

void bind_neon_i8mm(Kernels& table) noexcept {
  table.dot_expanded = dot_expanded_neon_i8mm;
  table.dot_tail = dot_tail_neon_i8mm;
}

}  // namespace bebr

#if defined(__clang__)
#pragma clang attribute pop
#endif
