// What both completions of rows have in common (kernels.h: complete): a row's planes as digits, a query's entries in
// their order, and asking for rows ahead.
//
// Layout: 16 bytes of up to four planes are 128 digits (neon_planes.h), eight registers. The digits of bit d of each
// byte meet the entries d, 8 + d .. 120 + d, whose low bytes and high bytes stand apart.
//
// Bounds: of a row's rest no byte outside it is read; of the sign plane, those of the row itself.
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"
#include "kernels/neon_planes.h"

namespace bebr {

inline constexpr size_t kRowsAhead = 10;     // survivors prefetched ahead, into L2
inline constexpr uint32_t kPieceDims = 128;  // 16 bytes of a plane

// Of 128 entries.
struct DigitEntries {
  uint8x16_t low[8];
  int8x16_t high[8];
};

// Of `dims` entries, those that y16_stride adds included. to: a place for every 128.
BEBR_INLINE void split_entries_neon(const int16_t* y16, size_t dims, DigitEntries* to) {
  for (size_t j = 0; j < dims; j += kPieceDims, ++to) {
    int16x8_t entry[8][2] = {};
#pragma GCC unroll 2
    for (size_t half = 0; half < 2; ++half) {
      if (j + 64 * half >= dims) break;
      const int16x8x4_t a = vld4q_s16(y16 + j + 64 * half), b = vld4q_s16(y16 + j + 64 * half + 32);
#pragma GCC unroll 4
      for (int d = 0; d < 4; ++d) {
        entry[d][half] = vuzp1q_s16(a.val[d], b.val[d]);
        entry[d + 4][half] = vuzp2q_s16(a.val[d], b.val[d]);
      }
    }
#pragma GCC unroll 8
    for (int d = 0; d < 8; ++d) {
      const uint8x16_t first = vreinterpretq_u8_s16(entry[d][0]), second = vreinterpretq_u8_s16(entry[d][1]);
      to->low[d] = vuzp1q_u8(first, second);
      to->high[d] = vreinterpretq_s8_u8(vuzp2q_u8(first, second));
    }
  }
}

// The sign plane of a row of a block as contiguous bytes, with zeros up to a multiple of 16: of each quad 4 bytes, of a
// last one 1 to 3.
BEBR_INLINE void gather_sign_neon(const uint8_t* block, uint32_t row, uint32_t groups, uint8x16_t* sign) {
  uint32_t g = 0;
  for (; g + 16 <= groups; g += 16) *sign++ = four_words_neon(block + g * kBlockRows + row * 4, kQuadBytes);
  if (g == groups) return;
  uint8_t end[16] = {};
  for (uint32_t k = 0; g < groups; g += 4) {
    const uint32_t left = std::min(groups - g, 4u);
    for (uint32_t i = 0; i < left; ++i) end[k++] = block[g * kBlockRows + row * left + i];
  }
  *sign = vld1q_u8(end);
}

// Up to four planes of up to two rows.
struct DigitPlanes {
  const uint8_t* rest[2];  // of each row
  const uint8_t* plane[2][4];
  uint32_t bytes[4];  // of a plane; of the sign plane, as gathered
};

// 16 bytes of a plane from byte `at` on, with zeros beyond it.
BEBR_INLINE uint8x16_t some_bytes_neon(const DigitPlanes& planes, int r, int t, uint32_t at) {
  const uint32_t bytes = planes.bytes[t], left = bytes > at ? bytes - at : 0;
  const uint8_t* plane = planes.plane[r][t];
  if (left >= 16) return vld1q_u8(plane + at);
  if (plane + bytes - planes.rest[r] >= 16) {  // the 16 that end with it; tbl makes a zero of an index beyond them
    const uint8x16_t number = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint8x16_t index = vaddq_u8(number, vdupq_n_u8(static_cast<uint8_t>(16 - left)));
    return vqtbl1q_u8(vld1q_u8(plane + bytes - 16), index);
  }
  uint8_t some[16] = {};
  for (uint32_t k = 0; k < left; ++k) some[k] = plane[at + k];
  return vld1q_u8(some);
}

// The digits of n planes of row r, of 128 dims: bit d of every byte in digits[d].
BEBR_INLINE void read_digits_neon(const int n, const DigitPlanes& planes, int r, uint32_t at, uint8x16_t* digits) {
  uint8x16_t plane[4], pairs[4];
  const bool whole = at + 16 <= planes.bytes[n - 1];  // the shortest one
#pragma GCC unroll 4
  for (int t = 0; t < n; ++t)
    plane[4 - n + t] = whole ? vld1q_u8(planes.plane[r][t] + at) : some_bytes_neon(planes, r, t, at);
  pair_digits_neon(n, plane, pairs);
#pragma GCC unroll 4
  for (int d = 0; d < 4; ++d) {
    digits[d] = vandq_u8(pairs[d], vdupq_n_u8(15));
    digits[d + 4] = vshrq_n_u8(pairs[d], 4);
  }
}

// The planes of a completion of nr rows, four at a time.
struct PlanesOfRows {
  DigitPlanes planes;
  uint32_t next;  // bytes of the rest before the next ones
  uint8x16_t sign[2][kMaxDims / kPieceDims];
};

BEBR_INLINE void first_planes_neon(const int nr, const ScanView& view, uint32_t from, const uint32_t* rows,
                                   const PlaneRange& range, PlanesOfRows& of) {
  const CodeSpec& spec = view.spec;
  of.next = from;
#pragma GCC unroll 2
  for (int r = 0; r < nr; ++r) {
    of.planes.rest[r] = view.rest + size_t{rows[r]} * spec.rest_bytes();
    if (range.first == 0)
      gather_sign_neon(view.blocks + rows[r] / kBlockRows * block_bytes(spec), rows[r] % kBlockRows, spec.groups(),
                       of.sign[r]);
  }
}

// Planes first .. first + n - 1.
BEBR_INLINE void take_planes_neon(const int nr, const CodeSpec& spec, uint32_t first, uint32_t n, PlanesOfRows& of) {
  for (uint32_t t = 0; t < n; ++t) {
    const bool sign = first + t == 0;
    const uint32_t bytes = spec.widths[first + t] / 8;
    of.planes.bytes[t] = sign ? (bytes + 15) / 16 * 16 : bytes;
#pragma GCC unroll 2
    for (int r = 0; r < nr; ++r)
      of.planes.plane[r][t] = sign ? reinterpret_cast<const uint8_t*>(of.sign[r]) : of.planes.rest[r] + of.next;
    of.next += sign ? 0 : bytes;
  }
}

// Bytes of a row's rest before the range.
BEBR_INLINE uint32_t bytes_before_neon(const CodeSpec& spec, const PlaneRange& range) {
  uint32_t from = 0;
  for (uint32_t t = 1; t < range.first; ++t) from += spec.widths[t] / 8;
  return from;
}

// Into L2. All of a block where its sign plane is read: a row has 4 bytes in each of its lines.
BEBR_INLINE void ask_for_row_neon(const ScanView& view, const PlaneRange& range, uint32_t from, size_t row) {
  const size_t sign_bytes = block_bytes(view.spec), rest_bytes = view.spec.rest_bytes();
  const uint8_t *sign = view.blocks + row / kBlockRows * sign_bytes, *rest = view.rest + row * rest_bytes;
  if (range.first == 0)
    for (size_t at = 0; at < sign_bytes; at += 64) __builtin_prefetch(sign + at, 0, 2);
  for (size_t at = from; at < rest_bytes; at += 64) __builtin_prefetch(rest + at, 0, 2);
}

}  // namespace bebr
