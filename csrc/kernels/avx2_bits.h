// How AVX2 and AVX-VNNI read the bits of a graph's code, and add up the lanes of their sums.
//
// Every function here is always inlined, so none keeps a copy of its own that another machine could run.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/inline.h"

#pragma GCC push_options
#pragma GCC target("avx2")

namespace bebr {

BEBR_INLINE __m256i broadcast_avx2(const uint8_t* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm256_set1_epi32(bits);
}

// The last 1 to 3 of `bytes` bytes, zeros above: read with those before them where there are enough.
BEBR_INLINE __m256i broadcast_last_avx2(const uint8_t* row, uint32_t bytes) {
  const uint32_t left = bytes % 4;
  uint32_t bits = 0;
  if (bytes >= 4) {
    std::memcpy(&bits, row + bytes - 4, sizeof bits);
    bits >>= 8 * (4 - left);
  } else {
    for (uint32_t k = 0; k < left; ++k) bits |= uint32_t{row[k]} << (8 * k);
  }
  return _mm256_set1_epi32(static_cast<int32_t>(bits));
}

BEBR_INLINE int32_t sum_lanes_avx2(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

// Sums of the lanes of four vectors.
BEBR_INLINE __m128i sum_four_avx2(const __m256i* v) {
  const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
  const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
  const __m256i all = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

}  // namespace bebr

#pragma GCC pop_options
