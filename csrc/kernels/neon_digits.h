// The digits of a graph's rows (kernels.h: DigitOrder), as both bundles that multiply them take them.
//
// Layout: tbx of 64 bytes of a row brings the planes of units k and 8 + k into 8 bytes, smallest planes first. Their 8
// x 8 bits are transposed in three steps that swap bits, pairs and nibbles; of the last step only what splits the two
// digits of a byte is left. So 16 bytes are 32 digits after 12 instructions, and no bit needs a mask of its own.
//
// Bounds: of a row its first order.bytes are read. Where these end within 64 bytes, the 64 that end with them are read,
// and indexes point there; of fewer than 64, all, one by one.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"
#include "kernels/neon_planes.h"

namespace bebr {

// 64 bytes of a row that a vector of digits takes some of.
struct DigitSource {
  uint32_t at;
  uint8x16_t index[4];  // of the gathered bytes; 255 for those that are another source's, or zero
};

// The sources of one vector; how many.
BEBR_INLINE uint32_t find_sources_neon(const DigitOrder& order, uint32_t vector, DigitSource* sources) {
  const uint8x16_t one_bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  uint32_t count = 0;
  for (uint32_t s = 0; s < DigitOrder::kSources; ++s) {
    const uint64_t mask = order.masks[DigitOrder::kSources * size_t{vector} + s];
    if (mask == 0) continue;
    DigitSource& source = sources[count++];
    const uint32_t over = order.bytes >= 64 && order.bytes < 64 * (s + 1) ? 64 * (s + 1) - order.bytes : 0;
    source.at = 64 * s - over;
    for (uint32_t m = 0; m < 4; ++m) {
      const uint8x16_t from = vld1q_u8(order.from + 64 * size_t{vector} + 16 * m);
      const uint8x8_t low = vdup_n_u8(static_cast<uint8_t>(mask >> 16 * m)),
                      high = vdup_n_u8(static_cast<uint8_t>(mask >> (16 * m + 8)));
      const uint8x16_t there = vtstq_u8(vcombine_u8(low, high), one_bit);
      const uint8x16_t index = vaddq_u8(from, vdupq_n_u8(static_cast<uint8_t>(over)));
      source.index[m] = vrev64q_u8(vornq_u8(index, there));
    }
  }
  return count;
}

// The gathered bytes of a row.
BEBR_INLINE void gather_digits_neon(const uint8_t* row, uint32_t row_bytes, const DigitSource* sources, uint32_t count,
                                    uint8x16_t* bytes) {
  uint8_t few[64];
  if (row_bytes < 64) {
    std::memset(few, 0, sizeof few);
    std::memcpy(few, row, row_bytes);
    row = few;
  }
#pragma GCC unroll 4
  for (int m = 0; m < 4; ++m) bytes[m] = vdupq_n_u8(0);
  for (const DigitSource* source = sources; source != sources + count; ++source) {
    const uint8x16x4_t table = vld1q_u8_x4(row + source->at);
#pragma GCC unroll 4
    for (int m = 0; m < 4; ++m) bytes[m] = vqtbx4q_u8(bytes[m], table, source->index[m]);
  }
}

// Two digits of each of 16 gathered bytes: of units k and k + 1, and of units 8 + k and 9 + k.
struct TwoDigits {
  uint8x16_t first, second;
};
BEBR_INLINE TwoDigits transpose_digits_neon(uint8x16_t x) {
  const auto mask = [](uint32_t four) { return vreinterpretq_u8_u32(vdupq_n_u32(four)); };
  const uint16x8_t near = vreinterpretq_u16_u8(x);
  const uint8x16_t up = vreinterpretq_u8_u16(vshlq_n_u16(near, 7)), down = vreinterpretq_u8_u16(vshrq_n_u16(near, 7));
  x = insert_bits_neon(insert_bits_neon(x, down, mask(0x00aa00aa)), up, mask(0x55005500));
  const uint32x4_t far = vreinterpretq_u32_u8(x);
  const uint8x16_t far_up = vreinterpretq_u8_u32(vshlq_n_u32(far, 14)),
                   far_down = vreinterpretq_u8_u32(vshrq_n_u32(far, 14));
  x = insert_bits_neon(insert_bits_neon(x, far_down, mask(0x0000cccc)), far_up, mask(0x33330000));
  const uint32x4_t low = vreinterpretq_u32_u8(vandq_u8(x, vdupq_n_u8(15))),
                   high = vreinterpretq_u32_u8(vshrq_n_u8(x, 4));
  return {vreinterpretq_u8_u32(vtrn1q_u32(low, high)), vreinterpretq_u8_u32(vtrn2q_u32(low, high))};
}

// Adds four lanes' sum to one number, modulo 2^32.
BEBR_INLINE int32_t plus_lanes_neon(int32_t to, int32x4_t lanes) {
  return static_cast<int32_t>(static_cast<uint32_t>(to) + vaddvq_u32(vreinterpretq_u32_s32(lanes)));
}

}  // namespace bebr
