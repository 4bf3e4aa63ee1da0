// How AVX2 and AVX-VNNI read whole codes: the bytes of a plane, of eight rows side by side.
//
// Every function here is always inlined, so none keeps a copy of its own that another machine could run.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC push_options
#pragma GCC target("avx2")

namespace bebr {

inline constexpr uint32_t kTileGroups = 16;  // of a plane that are read at a time: 4 quads

BEBR_INLINE __m256i load_rows_avx2(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// v[i] = dwords i of the four rows v, in each half: quads of rows 0 .. 3 and 4 .. 7 from rows i and i + 4, and back.
BEBR_INLINE void transpose_rows_avx2(__m256i* v) {
  const __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpackhi_epi32(v[0], v[1]);
  const __m256i c = _mm256_unpacklo_epi32(v[2], v[3]), d = _mm256_unpackhi_epi32(v[2], v[3]);
  v[0] = _mm256_unpacklo_epi64(a, c);
  v[1] = _mm256_unpackhi_epi64(a, c);
  v[2] = _mm256_unpacklo_epi64(b, d);
  v[3] = _mm256_unpackhi_epi64(b, d);
}

// Eight rows of a block. `there` of them are in the view, at least one.
struct EightRows {
  const uint8_t* sign;  // of the block
  const uint8_t* rest;  // of the first of them
  const uint8_t* end;   // of the view's rest
  size_t rest_bytes, first, there;
};

// From row `row` of the view on.
BEBR_INLINE EightRows eight_rows_avx2(const ScanView& view, size_t row, size_t there) {
  const size_t rest_bytes = view.spec.rest_bytes();
  return {view.blocks + row / kBlockRows * block_bytes(view.spec),
          view.rest + row * rest_bytes,
          view.rest + view.rows * rest_bytes,
          rest_bytes,
          row % kBlockRows,
          there};
}

BEBR_INLINE __m256i two_rows_avx2(const uint8_t* low, const uint8_t* high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low))),
                                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
}

// Four quads of the sign plane from group `at` on: 4 bytes of each row. Zeros beyond the plane and in rows that the
// view does not have.
BEBR_INLINE void sign_quads_avx2(const EightRows& rows, uint32_t groups, uint32_t at, __m256i* quads) {
  const __m256i there = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(rows.there)),
                                           _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
#pragma GCC unroll 4
  for (uint32_t quad = 0; quad < 4; ++quad) {
    const uint32_t from = at + 4 * quad, left = groups > from ? groups - from : 0;
    const uint8_t* p = rows.sign + size_t{from} * kBlockRows;
    if (left >= 4) {
      quads[quad] = _mm256_and_si256(there, load_rows_avx2(p + 4 * rows.first));
      continue;
    }
    uint8_t some[32] = {};
    for (size_t i = 0; i < 8 && left > 0; ++i)
      for (uint32_t k = 0; k < left; ++k) some[4 * i + k] = p[(rows.first + i) * left + k];
    quads[quad] = _mm256_and_si256(there, load_rows_avx2(some));
  }
}

// The same 16 bytes of a plane of the rest, `left` of them there, from byte `from` of each row on: of rows i and i + 4.
// Nothing is read outside of the view's rest.
BEBR_INLINE void rest_rows_avx2(const EightRows& rows, size_t from, uint32_t left, __m256i* pairs) {
  const uint8_t* p = rows.rest + from;
  if (rows.there == 8 && static_cast<size_t>(rows.end - p) >= 7 * rows.rest_bytes + kTileGroups) {
    const __m256i kept = _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(left < kTileGroups ? left : kTileGroups)),
                                           _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1,
                                                            2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i, p += rows.rest_bytes)
      pairs[i] = _mm256_and_si256(kept, two_rows_avx2(p, p + 4 * rows.rest_bytes));
    return;
  }
  uint8_t some[8][kTileGroups] = {};
  for (size_t i = 0; i < rows.there; ++i, p += rows.rest_bytes)
    for (uint32_t k = 0; k < left && k < kTileGroups; ++k) some[i][k] = p[k];
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) pairs[i] = two_rows_avx2(some[i], some[i + 4]);
}

// Up to 32 bits, zeros above.
BEBR_INLINE uint32_t row_bits_avx2(const uint8_t* p, uint32_t bytes) {
  uint32_t bits = 0;
  if (bytes >= 4)
    std::memcpy(&bits, p, sizeof bits);
  else
    for (uint32_t k = 0; k < bytes; ++k) bits |= uint32_t{p[k]} << (8 * k);
  return bits;
}

}  // namespace bebr

#pragma GCC pop_options
