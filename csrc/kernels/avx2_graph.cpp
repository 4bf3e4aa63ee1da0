// AVX2: the dot products of a graph (kernels.h: dot_bits8, dot_bits16 for its walk, dot_int8 for its links).
//
// Layout: 32 bits of a row are spread over 32 bytes (16 over 16 words) by a shuffle and an and. Of bytes, vpsignb then
// takes the entry or 0, or its negative where the bit is the sign bit: those entries are negated once a call. Of words,
// a comparison makes 0 or -1, and the sum of products is subtracted.
//
// Bounds: a 16-bit lane of dot_bits8 takes 2 entries of at most 128 in size for every 32 bits, 16 times: 4096. Where an
// entry is -128, its negative is -128 again, and negated twice it is right.
//
// Instructions: vpbroadcastd, vpshufb, vpsignb, vpcmpeqw, vpmaddubsw against ones, vpmaddwd.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx2,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE __m256i broadcast_avx2_graph(const uint8_t* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm256_set1_epi32(bits);
}

// Fewer than 4 bytes.
BEBR_INLINE __m256i broadcast_last_avx2_graph(const uint8_t* p, uint32_t bytes) {
  uint32_t bits = 0;
  for (uint32_t k = 0; k < bytes; ++k) bits |= uint32_t{p[k]} << (8 * k);
  return _mm256_set1_epi32(static_cast<int32_t>(bits));
}

BEBR_INLINE int32_t sum_lanes_avx2_graph(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

// Sums of pairs of the entries whose bits are set. entries: those of the highest bit of each byte are negated.
BEBR_INLINE __m256i pairs8_avx2_graph(__m256i bits, __m256i entries) {
  const __m256i byte_of_lane =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i one_bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i bit = _mm256_and_si256(_mm256_shuffle_epi8(bits, byte_of_lane), one_bit);
  return _mm256_maddubs_epi16(_mm256_set1_epi8(1), _mm256_sign_epi8(entries, bit));
}

void dot_bits8_avx2(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                    const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const __m256i highest_negated = _mm256_set1_epi64x(static_cast<int64_t>(0xff01010101010101u));
  const uint32_t whole = bytes / 4;
  __m256i entries[16];
  for (uint32_t w = 0; w < (bytes + 3) / 4; ++w)
    entries[w] =
        _mm256_sign_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(y + 32 * size_t{w})), highest_negated);
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + rows[i] * stride;
    __m256i acc = _mm256_setzero_si256();
    for (uint32_t w = 0; w < whole; ++w)
      acc = _mm256_add_epi16(acc, pairs8_avx2_graph(broadcast_avx2_graph(row + 4 * w), entries[w]));
    if (bytes % 4 != 0) {
      const __m256i bits = broadcast_last_avx2_graph(row + 4 * whole, bytes % 4);
      acc = _mm256_add_epi16(acc, pairs8_avx2_graph(bits, entries[whole]));
    }
    out[i] = 2 * sum_lanes_avx2_graph(_mm256_madd_epi16(acc, _mm256_set1_epi16(1))) - total;
  }
}

// The negative sums of pairs of the entries whose bits are set: of the first 16 bits, or of the next.
BEBR_INLINE __m256i pairs16_avx2_graph(__m256i bits, const int which, const int16_t* y) {
  const __m256i word = _mm256_shuffle_epi8(bits, _mm256_set1_epi16(which == 0 ? 0x0100 : 0x0302));
  const __m256i one_bit =
      _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
  const __m256i set = _mm256_cmpeq_epi16(_mm256_and_si256(word, one_bit), one_bit);
  return _mm256_madd_epi16(set, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y)));
}

void dot_bits16_avx2(const uint8_t* data, size_t stride, uint32_t bytes, const int16_t* y, int32_t total,
                     const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const uint32_t whole = bytes / 4 * 4;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + rows[i] * stride;
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (uint32_t at = 0; at < whole; at += 4) {
      const __m256i bits = broadcast_avx2_graph(row + at);
      even = _mm256_sub_epi32(even, pairs16_avx2_graph(bits, 0, y + 8 * at));
      odd = _mm256_sub_epi32(odd, pairs16_avx2_graph(bits, 1, y + 8 * at + 16));
    }
    if (whole < bytes) {
      const __m256i bits = broadcast_last_avx2_graph(row + whole, bytes - whole);
      even = _mm256_sub_epi32(even, pairs16_avx2_graph(bits, 0, y + 8 * whole));
      odd = _mm256_sub_epi32(odd, pairs16_avx2_graph(bits, 1, y + 8 * whole + 16));
    }
    const auto set = static_cast<uint32_t>(sum_lanes_avx2_graph(_mm256_add_epi32(even, odd)));
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
