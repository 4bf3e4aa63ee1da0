// AVX2: the dot products of a graph (kernels.h: dot_bits8, dot_bits16 for its walk, dot_int8 for its links).
//
// Layout: 32 bits of a row become 32 byte masks (16: 16 word masks) by a shuffle, an and, and a comparison.
//
// Bounds: a 16-bit lane of dot_bits8 takes 2 entries of at most 127 for every 32 bits, 16 times: 4064.
//
// Instructions: vpshufb, vpcmpeqb, vpmaddubsw and vpmaddwd against ones.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx2,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

// Up to 4 bytes from p on.
BEBR_INLINE uint32_t load_bits_avx2_graph(const uint8_t* p, uint32_t bytes) {
  uint32_t bits = 0;
  if (bytes >= 4) {
    std::memcpy(&bits, p, 4);
    return bits;
  }
  for (uint32_t k = 0; k < bytes; ++k) bits |= uint32_t{p[k]} << (8 * k);
  return bits;
}

BEBR_INLINE int32_t sum_lanes_avx2_graph(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

void dot_bits8_avx2(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                    const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const __m256i byte_of_lane =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i one_bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i ones = _mm256_set1_epi8(1);
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + rows[i] * stride;
    __m256i acc = _mm256_setzero_si256();
    for (uint32_t at = 0; at < bytes; at += 4) {
      const uint32_t bits = load_bits_avx2_graph(row + at, bytes - at);
      const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int32_t>(bits)), byte_of_lane);
      const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, one_bit), one_bit);
      const __m256i entry = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y + 8 * at));
      acc = _mm256_add_epi16(acc, _mm256_maddubs_epi16(ones, _mm256_and_si256(set, entry)));
    }
    out[i] = 2 * sum_lanes_avx2_graph(_mm256_madd_epi16(acc, _mm256_set1_epi16(1))) - total;
  }
}

void dot_bits16_avx2(const uint8_t* data, size_t stride, uint32_t bytes, const int16_t* y, int32_t total,
                     const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const __m256i one_bit =
      _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
  const __m256i ones = _mm256_set1_epi16(1);
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + rows[i] * stride;
    __m256i acc = _mm256_setzero_si256();
    for (uint32_t at = 0; at < bytes; at += 2) {
      const uint32_t bits = load_bits_avx2_graph(row + at, bytes - at < 2 ? 1 : 2);
      const __m256i set =
          _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(static_cast<int16_t>(bits)), one_bit), one_bit);
      const __m256i entry = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y + 8 * at));
      acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_and_si256(set, entry), ones));
    }
    const auto set = static_cast<uint32_t>(sum_lanes_avx2_graph(acc));
    out[i] = static_cast<int32_t>(2 * set - static_cast<uint32_t>(total));
  }
}

void dot_int8_avx2(const int8_t* a, const int8_t* data, size_t dims, const uint32_t* rows, size_t count,
                   int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const int8_t* row = data + rows[i] * dims;
    __m256i acc = _mm256_setzero_si256();
    for (size_t j = 0; j < dims; j += 16) {
      const __m256i left = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + j)));
      const __m256i right = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + j)));
      acc = _mm256_add_epi32(acc, _mm256_madd_epi16(left, right));
    }
    out[i] = sum_lanes_avx2_graph(acc);
  }
}

}  // namespace

void bind_avx2_graph(Kernels& table) noexcept {
  table.dot_bits8 = dot_bits8_avx2;
  table.dot_bits16 = dot_bits16_avx2;
  table.dot_int8 = dot_int8_avx2;
}

}  // namespace bebr
