// NEON with dotprod: products of bits with a query's integers, and of int8 (kernels.h: dot_bits8, dot_bits16,
// dot_int8, raw_dot_i8).
//
// Layout: two bytes of a row stand in all 16-bit lanes, tested against bits 0 0 1 1 .. 7 7: a mask of 16 bytes, -1
// where the bit is set. A query's entries are put into that order once a call: entry 0, 8, 1, 9 ... of every 16. Of
// int16, the low bytes and the high bytes stand apart, which is what trn1 and trn2 of 16 entries make.
//
// Bounds: all sums are taken modulo 2^32. Of dot_bits16, masks become weights.
//
// Instructions: dup of a lane, cmtst, sdot, udot.
//
// Source: docs/experiments/neon.md.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace bebr {
namespace {

constexpr size_t kRawAhead = 4;  // raw rows prefetched ahead, into L1
constexpr size_t kLineBytes = 64;
constexpr uint32_t kPieceBytes = 512;  // of a row, whose entries are split at a time

// All ones in the lanes whose bit is set, of two bytes in all 16-bit lanes.
BEBR_INLINE uint8x16_t mask_neon_dot(uint16_t two) {
  const uint8x16_t one_bit = {1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128};
  return vtstq_u8(vreinterpretq_u8_u16(vdupq_n_u16(two)), one_bit);
}

// Two bytes, or one and zeros.
BEBR_INLINE uint16_t two_bytes_neon_dot(const uint8_t* p, uint32_t bytes) {
  uint16_t two = *p;
  if (bytes >= 2) std::memcpy(&two, p, sizeof two);
  return two;
}

BEBR_INLINE uint16x8_t sixteen_bytes_neon_dot(const uint8_t* p) { return vreinterpretq_u16_u8(vld1q_u8(p)); }

// nr rows of dot_bits8.
BEBR_INLINE void rows8_neon_dot(const int nr, const uint8_t* data, size_t stride, uint32_t bytes,
                                const int8x16_t* entries, int32_t total, const uint32_t* rows, int32_t* out) {
  const uint8_t* row[4];
  int32x4_t acc[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    acc[r] = vdupq_n_s32(0);
  }
  uint32_t at = 0;
  for (; at + 16 <= bytes; at += 16) {
    uint16x8_t bits[4];
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) bits[r] = sixteen_bytes_neon_dot(row[r] + at);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const int8x16_t entry = entries[at / 2 + static_cast<uint32_t>(k)];
#pragma GCC unroll 4
      for (int r = 0; r < nr; ++r) acc[r] = vdotq_s32(acc[r], vreinterpretq_s8_u8(mask_neon_dot(bits[r][k])), entry);
    }
  }
  for (; at < bytes; at += 2) {
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r)
      acc[r] = vdotq_s32(acc[r], vreinterpretq_s8_u8(mask_neon_dot(two_bytes_neon_dot(row[r] + at, bytes - at))),
                         entries[at / 2]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) out[r] = -2 * vaddvq_s32(acc[r]) - total;
}

void dot_bits8_neon_dot(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                        const uint32_t* rows, size_t count, int32_t* out) noexcept {
  int8x16_t entries[32];
  for (uint32_t w = 0; w < (bytes + 1) / 2; ++w) {
    const int8x8x2_t mixed = vzip_s8(vld1_s8(y + 16 * w), vld1_s8(y + 16 * w + 8));
    entries[w] = vcombine_s8(mixed.val[0], mixed.val[1]);
  }
  size_t i = 0;
  for (; i + 4 <= count; i += 4) rows8_neon_dot(4, data, stride, bytes, entries, total, rows + i, out + i);
  if (i + 2 <= count) rows8_neon_dot(2, data, stride, bytes, entries, total, rows + i, out + i), i += 2;
  if (i < count) rows8_neon_dot(1, data, stride, bytes, entries, total, rows + i, out + i);
}

// The bytes of 16 entries of int16.
struct Split {
  int8x16_t high;
  uint8x16_t low;
};

// Of `steps` times 16 entries.
BEBR_INLINE void split_neon_dot(const int16_t* y, uint32_t steps, Split* to) {
  for (uint32_t w = 0; w < steps; ++w, y += 16) {
    const uint8x16_t a = vreinterpretq_u8_s16(vld1q_s16(y)), b = vreinterpretq_u8_s16(vld1q_s16(y + 8));
    to[w] = {vreinterpretq_s8_u8(vtrn2q_u8(a, b)), vtrn1q_u8(a, b)};
  }
}

struct Sum {
  int32x4_t high;
  uint32x4_t low;
};

// Weights stand in place of masks.
BEBR_INLINE void add_weighted_neon_dot(Sum* sum, uint16_t two, uint8x16_t weight, const Split& entries) {
  uint8x16_t mask = mask_neon_dot(two);
  __asm__("" : "+w"(mask));  // g++ would take three instructions for cmtst and the next one
  const uint8x16_t set = vandq_u8(mask, weight);
  sum->high = vdotq_s32(sum->high, vreinterpretq_s8_u8(set), entries.high);
  sum->low = vdotq_u32(sum->low, set, entries.low);
}

// nr rows of one piece of dot_bits16; out: the sums so far. weights: in the order of masks.
BEBR_INLINE void rows16_neon_dot(const int nr, const uint8_t* data, size_t stride, uint32_t bytes, const Split* entries,
                                 const uint8x16_t* weights, const uint32_t* rows, const bool first, int32_t* out) {
  const uint8_t* row[4];
  Sum sums[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    sums[r] = {vdupq_n_s32(0), vdupq_n_u32(0)};
  }
  uint32_t at = 0;
  for (; at + 16 <= bytes; at += 16) {
    uint16x8_t bits[4];
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) bits[r] = sixteen_bytes_neon_dot(row[r] + at);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const Split here = entries[k];
      const uint8x16_t weight = weights[k];
#pragma GCC unroll 4
      for (int r = 0; r < nr; ++r) add_weighted_neon_dot(&sums[r], bits[r][k], weight, here);
    }
    entries += 8;
    weights += 8;
  }
  for (; at < bytes; at += 2, ++entries, ++weights) {
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r)
      add_weighted_neon_dot(&sums[r], two_bytes_neon_dot(row[r] + at, bytes - at), *weights, *entries);
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    const uint32_t sum = vaddvq_u32(vaddq_u32(vshlq_n_u32(vreinterpretq_u32_s32(sums[r].high), 8), sums[r].low));
    out[r] = static_cast<int32_t>(sum + (first ? 0 : static_cast<uint32_t>(out[r])));
  }
}

void dot_bits16_neon_dot(const uint8_t* data, size_t stride, uint32_t bytes, const uint8_t* weights, const int16_t* y,
                         int32_t total, const uint32_t* rows, size_t count, int32_t* out) noexcept {
  Split entries[kPieceBytes / 2];
  uint8x16_t mixed[kPieceBytes / 2];
  for (uint32_t from = 0; from < bytes; from += kPieceBytes) {
    const uint32_t here = bytes - from < kPieceBytes ? bytes - from : kPieceBytes;
    split_neon_dot(y + 8 * size_t{from}, (here + 1) / 2, entries);
    for (uint32_t w = 0; w < (here + 1) / 2; ++w) {
      const uint8x16_t natural = vld1q_u8(weights + 8 * size_t{from} + 16 * w);
      mixed[w] = vzip1q_u8(natural, vextq_u8(natural, natural, 8));
    }
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
      rows16_neon_dot(4, data + from, stride, here, entries, mixed, rows + i, from == 0, out + i);
    for (; i < count; ++i) rows16_neon_dot(1, data + from, stride, here, entries, mixed, rows + i, from == 0, out + i);
  }
  for (size_t i = 0; i < count; ++i)
    out[i] = static_cast<int32_t>(2 * static_cast<uint32_t>(out[i]) - static_cast<uint32_t>(total));
}

void dot_int8_neon_dot(const int8_t* a, const int8_t* data, size_t dims, const uint32_t* rows, size_t count,
                       int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const int8_t* row = data + rows[i] * dims;
    int32x4_t acc[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (size_t j = 0; j < dims; j += 64) {
#pragma GCC unroll 4
      for (size_t k = 0; k < 4; ++k) acc[k] = vdotq_s32(acc[k], vld1q_s8(a + j + 16 * k), vld1q_s8(row + j + 16 * k));
    }
    out[i] = vaddvq_s32(vaddq_s32(vaddq_s32(acc[0], acc[1]), vaddq_s32(acc[2], acc[3])));
  }
}

BEBR_INLINE void ask_for_neon_dot(const uint8_t* row, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kLineBytes) __builtin_prefetch(row + at);
  __builtin_prefetch(row + bytes - 1);
}

// Raw rows of int8. q = 256 high + low + 128, with low the low byte less 128, so <q, x> = 256 <high, x> + <low, x> +
// 128 sum(x).
struct RawSums {
  int32x4_t high = vdupq_n_s32(0), low = vdupq_n_s32(0), all = vdupq_n_s32(0), squares = vdupq_n_s32(0);
};

BEBR_INLINE void add_sixteen_neon_dot(const int16_t* q, const uint8_t* row, RawSums* sums) {
  const int8x16_t x = vreinterpretq_s8_u8(vld1q_u8(row));
  const int8x16x2_t bytes = vld2q_s8(reinterpret_cast<const int8_t*>(q));
  sums->high = vdotq_s32(sums->high, bytes.val[1], x);
  sums->low = vdotq_s32(sums->low, veorq_s8(bytes.val[0], vdupq_n_s8(-128)), x);
  sums->all = vdotq_s32(sums->all, vdupq_n_s8(1), x);
  sums->squares = vdotq_s32(sums->squares, x, x);
}

void raw_dot_i8_neon_dot(const int16_t* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                         size_t count, int32_t* dots, int32_t* squares) noexcept {
  const size_t whole = dim / 16 * 16, left = dim - whole;
  int16_t q_end[16] = {};
  if (left > 0) std::memcpy(q_end, q + whole, left * sizeof(int16_t));
  for (size_t i = 0; i < kRawAhead && i < count; ++i) ask_for_neon_dot(data + rows[i] * stride, dim);
  for (size_t i = 0; i < count; ++i) {
    if (i + kRawAhead < count) ask_for_neon_dot(data + rows[i + kRawAhead] * stride, dim);
    const uint8_t* row = data + rows[i] * stride;
    RawSums sums;
    for (size_t j = 0; j < whole; j += 16) add_sixteen_neon_dot(q + j, row + j, &sums);
    if (left > 0) {
      uint8_t end[16] = {};
      std::memcpy(end, row + whole, left);
      add_sixteen_neon_dot(q_end, end, &sums);
    }
    const auto high = static_cast<uint32_t>(vaddvq_s32(sums.high)), low = static_cast<uint32_t>(vaddvq_s32(sums.low));
    dots[i] = static_cast<int32_t>(256 * high + low + 128 * static_cast<uint32_t>(vaddvq_s32(sums.all)));
    squares[i] = vaddvq_s32(sums.squares);
  }
}

}  // namespace

void bind_neon_dot(Kernels& table) noexcept {
  table.dot_bits8 = dot_bits8_neon_dot;
  table.dot_bits16 = dot_bits16_neon_dot;
  table.dot_int8 = dot_int8_neon_dot;
  table.raw_dot_i8 = raw_dot_i8_neon_dot;
}

}  // namespace bebr

#if defined(__clang__)
#pragma clang attribute pop
#endif
