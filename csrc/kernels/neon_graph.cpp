// NEON: the dot products of a graph (kernels.h: dot_bits8, dot_bits16 for its walk, dot_int8 for its links). Machines
// with dotprod take those of neon_dot.cpp.
//
// Layout: two bytes of a row stand in all 16-bit lanes. For dot_bits8 the query's entries are put into the order of
// bytes there once a call: bit 0 of the first byte, bit 0 of the second, bit 1 of the first ...
//
// Bounds: a 16-bit lane of dot_bits8 takes 2 entries of at most 128 in size for every 16 bits, 32 times: 8192. Two
// products of dot_int8 are at most 32258.
//
// Instructions: dup, cmtst (bits to masks), sadalp; smull and smlal.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// Two bytes, or one and zeros.
BEBR_INLINE uint16x8_t two_bytes_neon_graph(const uint8_t* p, uint32_t bytes) {
  uint16_t bits = *p;
  if (bytes >= 2) std::memcpy(&bits, p, sizeof bits);
  return vdupq_n_u16(bits);
}

BEBR_INLINE int16x8_t add8_neon_graph(int16x8_t acc, uint16x8_t bits, int8x16_t entries) {
  const uint8x16_t one_bit = {1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128};
  return vpadalq_s8(acc, vandq_s8(vreinterpretq_s8_u8(vtstq_u8(vreinterpretq_u8_u16(bits), one_bit)), entries));
}

void dot_bits8_neon(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                    const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const uint32_t steps = (bytes + 1) / 2;
  int8x16_t entries[32];
  for (uint32_t w = 0; w < steps; ++w) {
    const int8x8x2_t both = {{vld1_s8(y + 16 * w), vld1_s8(y + 16 * w + 8)}};
    const int8x8x2_t mixed = vzip_s8(both.val[0], both.val[1]);
    entries[w] = vcombine_s8(mixed.val[0], mixed.val[1]);
  }
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + rows[i] * stride;
    int16x8_t acc = vdupq_n_s16(0);
    uint32_t w = 0;
    for (; 2 * w + 2 <= bytes; ++w) acc = add8_neon_graph(acc, two_bytes_neon_graph(row + 2 * w, 2), entries[w]);
    if (w < steps) acc = add8_neon_graph(acc, two_bytes_neon_graph(row + 2 * w, 1), entries[w]);
    out[i] = 2 * vaddlvq_s16(acc) - total;
  }
}

// Entries of 8 bits from y on, times their weights.
BEBR_INLINE int32x4_t add8_of16_neon_graph(int32x4_t acc, uint16x8_t bits, uint16x8_t of_bits, const uint8_t* weights,
                                           const int16_t* y) {
  const uint16x8_t weight = vandq_u16(vtstq_u16(bits, of_bits), vmovl_u8(vld1_u8(weights)));
  const int16x8_t set = vreinterpretq_s16_u16(weight), entries = vld1q_s16(y);
  return vmlal_high_s16(vmlal_s16(acc, vget_low_s16(set), vget_low_s16(entries)), set, entries);
}

// Of 16 bits.
BEBR_INLINE int32x4_t add16_neon_graph(int32x4_t acc, uint16x8_t bits, const uint8_t* weights, const int16_t* y) {
  const uint16x8_t low = {1, 2, 4, 8, 16, 32, 64, 128}, high = vshlq_n_u16(low, 8);
  return add8_of16_neon_graph(add8_of16_neon_graph(acc, bits, low, weights, y), bits, high, weights + 8, y + 8);
}

void dot_bits16_neon(const uint8_t* data, size_t stride, uint32_t bytes, const uint8_t* weights, const int16_t* y,
                     int32_t total, const uint32_t* rows, size_t count, int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + rows[i] * stride;
    int32x4_t even = vdupq_n_s32(0), odd = even;
    uint32_t at = 0;
    for (; at + 4 <= bytes; at += 4) {
      const size_t bit = 8 * size_t{at};
      even = add16_neon_graph(even, two_bytes_neon_graph(row + at, 2), weights + bit, y + bit);
      odd = add16_neon_graph(odd, two_bytes_neon_graph(row + at + 2, 2), weights + bit + 16, y + bit + 16);
    }
    for (; at < bytes; at += 2) {
      const size_t bit = 8 * size_t{at};
      even = add16_neon_graph(even, two_bytes_neon_graph(row + at, bytes - at), weights + bit, y + bit);
    }
    const auto set = static_cast<uint32_t>(vaddvq_s32(vaddq_s32(even, odd)));
    out[i] = static_cast<int32_t>(2 * set - static_cast<uint32_t>(total));
  }
}

void dot_int8_neon(const int8_t* a, const int8_t* data, size_t dims, const uint32_t* rows, size_t count,
                   int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const int8_t* row = data + rows[i] * dims;
    int32x4_t even = vdupq_n_s32(0), odd = even;
    for (size_t j = 0; j < dims; j += 32) {
      const int8x16_t a0 = vld1q_s8(a + j), b0 = vld1q_s8(row + j);
      const int8x16_t a1 = vld1q_s8(a + j + 16), b1 = vld1q_s8(row + j + 16);
      even = vpadalq_s16(even, vmlal_high_s8(vmull_s8(vget_low_s8(a0), vget_low_s8(b0)), a0, b0));
      odd = vpadalq_s16(odd, vmlal_high_s8(vmull_s8(vget_low_s8(a1), vget_low_s8(b1)), a1, b1));
    }
    out[i] = vaddvq_s32(vaddq_s32(even, odd));
  }
}

}  // namespace

void bind_neon_graph(Kernels& table) noexcept {
  table.dot_bits8 = dot_bits8_neon;
  table.dot_bits16 = dot_bits16_neon;
  table.dot_int8 = dot_int8_neon;
}

}  // namespace bebr
