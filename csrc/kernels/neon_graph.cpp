// NEON: the dot products of a graph (kernels.h: dot_bits8, dot_bits16 for its walk, dot_int8 for its links). Machines
// with dotprod take those of neon_dot.cpp.
//
// Layout: tbl repeats two bytes of a row for their 8 bits each, and cmtst makes masks of them. Four rows share a
// query's entries.
//
// Bounds: a 16-bit lane of dot_bits8 takes 2 entries of at most 128 in size for every 16 bits, 32 times: 8192. One of
// dot_bits16 takes two products of a weight and half of an entry for every 16 bits, each from -1024 to 1016, 16 times:
// -32768 to 32512. Two products of dot_int8 are at most 32258.
//
// Instructions: tbl, cmtst, sadalp; smull and smlal.
#include <arm_neon.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// The 16 bytes of a row that are tested two by two, and the index of the first two.
struct Sixteen {
  uint8x16_t bytes, index;
};

// From byte `at` on, of a row of `bytes` bytes. Fewer than 16 are read with those before them; zeros follow them.
BEBR_INLINE Sixteen sixteen_neon_graph(const uint8_t* row, uint32_t at, uint32_t bytes) {
  const uint8x16_t first = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  if (at + 16 <= bytes) return {vld1q_u8(row + at), first};
  if (bytes >= 16)
    return {vld1q_u8(row + bytes - 16), vaddq_u8(first, vdupq_n_u8(static_cast<uint8_t>(at + 16 - bytes)))};
  uint8_t some[16] = {};
  for (uint32_t k = 0; k < bytes; ++k) some[k] = row[k];
  return {vld1q_u8(some), first};
}

// Of nr rows; the index is the same for all.
BEBR_INLINE uint8x16_t read_rows_neon_graph(const int nr, const uint8_t* const* row, uint32_t at, uint32_t bytes,
                                            uint8x16_t* to) {
  Sixteen read{};
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    read = sixteen_neon_graph(row[r], at, bytes);
    to[r] = read.bytes;
  }
  return read.index;
}

// All ones for the bits that are set.
BEBR_INLINE uint8x16_t mask_neon_graph(uint8x16_t bytes, uint8x16_t index) {
  uint8x16_t mask = vtstq_u8(vqtbl1q_u8(bytes, index), vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u)));
  __asm__("" : "+w"(mask));  // g++ would take three instructions for cmtst and the next one
  return mask;
}

// Writes twice the sums of nr rows' lanes, less the total.
BEBR_INLINE void write_sums_neon_graph(const int nr, const int32x4_t* sums, int32_t total, int32_t* out) {
  if (nr == 4) {
    const int32x4_t set = vpaddq_s32(vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3]));
    vst1q_s32(out, vsubq_s32(vaddq_s32(set, set), vdupq_n_s32(total)));
    return;
  }
  out[0] = static_cast<int32_t>(2 * vaddvq_u32(vreinterpretq_u32_s32(sums[0])) - static_cast<uint32_t>(total));
}

// `steps` times two bytes of nr rows.
BEBR_INLINE void add8_neon_graph(const int nr, const uint32_t steps, const uint8x16_t* bytes, uint8x16_t index,
                                 const int8_t* y, int16x8_t* acc) {
#pragma GCC unroll 8
  for (uint32_t k = 0; k < steps; ++k, index = vaddq_u8(index, vdupq_n_u8(2))) {
    const int8x16_t entries = vld1q_s8(y + 16 * k);
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r)
      acc[r] = vpadalq_s8(acc[r], vandq_s8(vreinterpretq_s8_u8(mask_neon_graph(bytes[r], index)), entries));
  }
}

BEBR_INLINE void rows8_neon_graph(const int nr, const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y,
                                  int32_t total, const uint32_t* rows, int32_t* out) {
  const uint8_t* row[4];
  uint8x16_t read[4];
  int16x8_t acc[4];
  int32x4_t sums[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    acc[r] = vdupq_n_s16(0);
  }
  uint32_t at = 0;
  for (; at + 16 <= bytes; at += 16) {
    const uint8x16_t index = read_rows_neon_graph(nr, row, at, bytes, read);
    add8_neon_graph(nr, 8, read, index, y + 8 * at, acc);
  }
  if (at < bytes) {
    const uint8x16_t index = read_rows_neon_graph(nr, row, at, bytes, read);
    add8_neon_graph(nr, (bytes - at + 1) / 2, read, index, y + 8 * at, acc);
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) sums[r] = vpaddlq_s16(acc[r]);
  write_sums_neon_graph(nr, sums, total, out);
}

void dot_bits8_neon(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                    const uint32_t* rows, size_t count, int32_t* out) noexcept {
  size_t i = 0;
  for (; i + 4 <= count; i += 4) rows8_neon_graph(4, data, stride, bytes, y, total, rows + i, out + i);
  for (; i < count; ++i) rows8_neon_graph(1, data, stride, bytes, y, total, rows + i, out + i);
}

// A query of dot_bits16; in the course of a row, what of it is left.
struct Weighted {
  const uint8_t* weights;
  const int8_t *low, *high;
  int32_t total;
};

// `steps` times two bytes of nr rows. Pointers that move: from one place on g++ would add up each load's address.
BEBR_INLINE void add16_neon_graph(const int nr, const uint32_t steps, const uint8x16_t* bytes, uint8x16_t index,
                                  Weighted& query, int16x8_t* low, int16x8_t* high) {
#pragma GCC unroll 8
  for (uint32_t k = 0; k < steps; ++k, index = vaddq_u8(index, vdupq_n_u8(2))) {
    const uint8x16_t weight = vld1q_u8(query.weights + 16 * k);
    const int8x16_t y_low = vld1q_s8(query.low + 16 * k), y_high = vld1q_s8(query.high + 16 * k);
    __asm__("" : "+w"(index));  // g++ would load each as a constant, by two instructions
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) {
      const int8x16_t x = vreinterpretq_s8_u8(vandq_u8(mask_neon_graph(bytes[r], index), weight));
      low[r] = vmlal_high_s8(vmlal_s8(low[r], vget_low_s8(x), vget_low_s8(y_low)), x, y_low);
      high[r] = vmlal_high_s8(vmlal_s8(high[r], vget_low_s8(x), vget_low_s8(y_high)), x, y_high);
      __asm__ volatile("" : "+w"(low[r]), "+w"(high[r]));  // one after the other: g++ would copy sums
    }
  }
  query.weights += 16 * steps;
  query.low += 16 * steps;
  query.high += 16 * steps;
}

// 32 bytes of nr rows from byte `at` on, or, where these are not `whole`, those that there are.
BEBR_INLINE void add_piece_neon_graph(const int nr, const bool whole, const uint8_t* const* row, uint32_t at,
                                      uint32_t bytes, Weighted& query, int32x4_t* low, int32x4_t* high) {
  int16x8_t few_low[4], few_high[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) few_low[r] = few_high[r] = vdupq_n_s16(0);
  for (const uint32_t end = whole ? at + 32 : bytes; at < end; at += 16) {
    uint8x16_t read[4];
    const uint8x16_t index = read_rows_neon_graph(nr, row, at, whole ? at + 16 : bytes, read);
    add16_neon_graph(nr, whole ? 8 : std::min((bytes - at + 1) / 2, 8u), read, index, query, few_low, few_high);
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    low[r] = vpadalq_s16(low[r], few_low[r]);
    high[r] = vpadalq_s16(high[r], few_high[r]);
  }
}

BEBR_INLINE void rows16_neon_graph(const int nr, const uint8_t* data, size_t stride, uint32_t bytes, Weighted query,
                                   const uint32_t* rows, int32_t* out) {
  const uint8_t* row[4];
  int32x4_t low[4], high[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    low[r] = high[r] = vdupq_n_s32(0);
  }
  uint32_t at = 0;
  for (; at + 32 <= bytes; at += 32) add_piece_neon_graph(nr, true, row, at, bytes, query, low, high);
  if (at < bytes) add_piece_neon_graph(nr, false, row, at, bytes, query, low, high);
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) low[r] = vaddq_s32(low[r], vshlq_n_s32(high[r], 8));
  write_sums_neon_graph(nr, low, query.total, out);
}

void dot_bits16_neon(const uint8_t* data, size_t stride, uint32_t bytes, const uint8_t* weights, const int16_t* y,
                     int32_t total, const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const size_t n = bits_stride(bytes);
  const auto* low = reinterpret_cast<const int8_t*>(y + n);
  const Weighted query = {weights, low, low + n, total};
  size_t i = 0;
  for (; i + 4 <= count; i += 4) rows16_neon_graph(4, data, stride, bytes, query, rows + i, out + i);
  for (; i < count; ++i) rows16_neon_graph(1, data, stride, bytes, query, rows + i, out + i);
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
