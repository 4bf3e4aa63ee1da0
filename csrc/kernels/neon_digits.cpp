// NEON: whole codes of a graph by digits (kernels.h: dot_digits). Machines with dotprod take those of
// neon_dot_digits.cpp.
//
// Layout: neon_digits.h.
//
// Bounds: sums wrap modulo 2^32 as those of dot_bits16 do.
//
// Instructions: ushll, smlal.
#include "kernels/neon_digits.h"

#include <arm_neon.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// Sixteen digits and their entries.
BEBR_INLINE int32x4_t add_sixteen_neon_digits(int32x4_t sum, uint8x16_t digits, const int16_t* y) {
  const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(digits))),
                  high = vreinterpretq_s16_u16(vmovl_high_u8(digits));
  const int16x8_t y_low = vld1q_s16(y), y_high = vld1q_s16(y + 8);
  sum = vmlal_high_s16(vmlal_s16(sum, vget_low_s16(low), vget_low_s16(y_low)), low, y_low);
  return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(high), vget_low_s16(y_high)), high, y_high);
}

void dot_digits_neon(const uint8_t* data, size_t stride, const DigitOrder& order, const int16_t* y, int32_t total,
                     const uint32_t* rows, size_t count, int32_t* out) noexcept {
  DigitSource sources[DigitOrder::kSources];
  std::fill_n(out, count, 0);
  for (uint32_t v = 0; v < order.vectors; ++v, y += 128) {
    const uint32_t used = find_sources_neon(order, v, sources);
    for (size_t i = 0; i < count; ++i) {
      uint8x16_t bytes[4];
      gather_digits_neon(data + rows[i] * stride, order.bytes, sources, used, bytes);
      int32x4_t first = vdupq_n_s32(0), second = first;
#pragma GCC unroll 4
      for (int m = 0; m < 4; ++m) {
        const TwoDigits digits = transpose_digits_neon(bytes[m]);
        first = add_sixteen_neon_digits(first, digits.first, y + 16 * m);
        second = add_sixteen_neon_digits(second, digits.second, y + 64 + 16 * m);
      }
      out[i] = plus_lanes_neon(out[i], vaddq_s32(first, second));
    }
  }
  for (size_t i = 0; i < count; ++i)
    out[i] = static_cast<int32_t>(2 * static_cast<uint32_t>(out[i]) - static_cast<uint32_t>(total));
}

}  // namespace

void bind_neon_digits(Kernels& table) noexcept { table.dot_digits = dot_digits_neon; }

}  // namespace bebr
