// NEON with dotprod: whole codes of a graph by digits (kernels.h: dot_digits).
//
// Layout: neon_digits.h; two rows side by side.
//
// Bounds: sums wrap modulo 2^32 as those of dot_bits16 do.
//
// Instructions: sdot of digits with the low and the high halves of entries.
#include <arm_neon.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"
#include "kernels/neon_digits.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace bebr {
namespace {

// Sums of nr rows' digits of one vector, each in four lanes. low, high: its entries' halves.
BEBR_INLINE void add_rows_neon_digits(const int nr, const uint8_t* data, size_t stride, uint32_t row_bytes,
                                      const uint32_t* rows, const DigitSource* sources, uint32_t count,
                                      const int8_t* low, const int8_t* high, int32x4_t* sum) {
  uint8x16_t bytes[2][4];
  int32x4_t lows[2], highs[2];
#pragma GCC unroll 2
  for (int r = 0; r < nr; ++r) {
    gather_digits_neon(data + rows[r] * stride, row_bytes, sources, count, bytes[r]);
    lows[r] = highs[r] = vdupq_n_s32(0);
  }
#pragma GCC unroll 4
  for (int m = 0; m < 4; ++m) {
    const int8x16_t low0 = vld1q_s8(low + 16 * m), low1 = vld1q_s8(low + 64 + 16 * m);
    const int8x16_t high0 = vld1q_s8(high + 16 * m), high1 = vld1q_s8(high + 64 + 16 * m);
#pragma GCC unroll 2
    for (int r = 0; r < nr; ++r) {
      const TwoDigits digits = transpose_digits_neon(bytes[r][m]);
      const int8x16_t first = vreinterpretq_s8_u8(digits.first), second = vreinterpretq_s8_u8(digits.second);
      lows[r] = vdotq_s32(vdotq_s32(lows[r], first, low0), second, low1);
      highs[r] = vdotq_s32(vdotq_s32(highs[r], first, high0), second, high1);
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < nr; ++r) sum[r] = vaddq_s32(lows[r], vshlq_n_s32(highs[r], 8));
}

void dot_digits_neon_dot(const uint8_t* data, size_t stride, const DigitOrder& order, const int16_t* y, int32_t total,
                         const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const size_t n = order.entries();
  const auto *low = reinterpret_cast<const int8_t*>(y + n), *high = low + n;
  DigitSource sources[DigitOrder::kSources];
  int32x4_t sum[2];
  std::fill_n(out, count, 0);
  for (uint32_t v = 0; v < order.vectors; ++v, low += 128, high += 128) {
    const uint32_t used = find_sources_neon(order, v, sources);
    size_t i = 0;
    for (; i + 2 <= count; i += 2) {
      add_rows_neon_digits(2, data, stride, order.bytes, rows + i, sources, used, low, high, sum);
      out[i] = plus_lanes_neon(out[i], sum[0]);
      out[i + 1] = plus_lanes_neon(out[i + 1], sum[1]);
    }
    if (i == count) continue;
    add_rows_neon_digits(1, data, stride, order.bytes, rows + i, sources, used, low, high, sum);
    out[i] = plus_lanes_neon(out[i], sum[0]);
  }
  for (size_t i = 0; i < count; ++i)
    out[i] = static_cast<int32_t>(2 * static_cast<uint32_t>(out[i]) - static_cast<uint32_t>(total));
}

}  // namespace

void bind_neon_dot_digits(Kernels& table) noexcept { table.dot_digits = dot_digits_neon_dot; }

}  // namespace bebr

#if defined(__clang__)
#pragma clang attribute pop
#endif
