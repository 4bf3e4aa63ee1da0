// AVX2: the dot products of a graph (kernels.h: dot_bits8, dot_bits16 for its walk, dot_int8 for its links).
//
// Layout: 32 bits of a row are spread over 32 bytes by a shuffle and an and. Against bytes of a query these become 0 or
// 1; against words 0 or the bit's weight, which vpsignb picks (the last bit of a byte is a negative number, so its
// weight is made one before) and zeros widen to 16 bits. Four rows at a time share the loop, the weights and the last
// steps of their sums.
//
// Bounds: a 16-bit lane of dot_bits8 takes 2 entries of at most 128 in size for every 32 bits, 16 times: 4096.
//
// Instructions: vpbroadcastd, vpshufb, vpminub, vpmaddubsw; vpsignb, vpunpckl/hbw, vpmaddwd.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2_bits.h"
#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx2,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

// Each of 32 bits, which every lane has, where its entry is.
BEBR_INLINE __m256i spread_avx2_graph(__m256i bits, __m256i byte_of_lane) {
  const __m256i one_bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  return _mm256_and_si256(_mm256_shuffle_epi8(bits, byte_of_lane), one_bit);
}

// acc + sums of pairs of the entries whose bits are set.
BEBR_INLINE __m256i add_avx2_graph(__m256i acc, __m256i bits, const int8_t* y) {
  const __m256i byte_of_lane =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i set = _mm256_min_epu8(spread_avx2_graph(bits, byte_of_lane), _mm256_set1_epi8(1));
  return _mm256_add_epi16(acc, _mm256_maddubs_epi16(set, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y))));
}

// Weights of 32 bits as the next function takes them: in the order of its bytes, with the sign of each byte's last bit.
BEBR_INLINE __m256i weights_avx2_graph(const uint8_t* weights) {
  const __m256i sign = _mm256_set1_epi64x(static_cast<int64_t>(0xff01010101010101u));
  const __m256i natural = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
  return _mm256_sign_epi8(_mm256_permute4x64_epi64(natural, 0xd8), sign);
}

// acc + sums of pairs of the entries whose bits are set, times their weights. Bytes of the mask are ordered so that
// widening the low and the high ones keeps the order.
BEBR_INLINE __m256i add_avx2_graph(__m256i acc, __m256i bits, __m256i weights, const int16_t* y) {
  const __m256i byte_of_lane =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i set = _mm256_sign_epi8(weights, spread_avx2_graph(bits, byte_of_lane)), zero = _mm256_setzero_si256();
  const __m256i *first = reinterpret_cast<const __m256i*>(y), *second = first + 1;
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_unpacklo_epi8(set, zero), _mm256_loadu_si256(first)));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_unpackhi_epi8(set, zero), _mm256_loadu_si256(second)));
}

// Where the nr rows are.
BEBR_INLINE void find_rows_avx2_graph(const int nr, const uint8_t* data, size_t stride, const uint32_t* rows,
                                      const uint8_t** row, __m256i* acc) {
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    acc[r] = _mm256_setzero_si256();
  }
}

// What the bits of nr rows add up to, in 16-bit lanes.
BEBR_INLINE void add_rows_avx2_graph(const int nr, const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y,
                                     const uint32_t* rows, __m256i* acc) {
  const uint32_t whole = bytes / 4 * 4;
  const uint8_t* row[4];
  find_rows_avx2_graph(nr, data, stride, rows, row, acc);
  for (uint32_t at = 0; at < whole; at += 4) {
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) acc[r] = add_avx2_graph(acc[r], broadcast_avx2(row[r] + at), y + 8 * at);
  }
  if (whole == bytes) return;
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) acc[r] = add_avx2_graph(acc[r], broadcast_last_avx2(row[r], bytes), y + 8 * whole);
}

// The same with weights, in 32-bit lanes.
BEBR_INLINE void add_rows_avx2_graph(const int nr, const uint8_t* data, size_t stride, uint32_t bytes,
                                     const uint8_t* weights, const int16_t* y, const uint32_t* rows, __m256i* acc) {
  const uint32_t whole = bytes / 4 * 4;
  const uint8_t* row[4];
  find_rows_avx2_graph(nr, data, stride, rows, row, acc);
  for (uint32_t at = 0; at < whole; at += 4) {
    const __m256i here = weights_avx2_graph(weights + 8 * at);
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) acc[r] = add_avx2_graph(acc[r], broadcast_avx2(row[r] + at), here, y + 8 * at);
  }
  if (whole == bytes) return;
  const __m256i here = weights_avx2_graph(weights + 8 * whole);
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) acc[r] = add_avx2_graph(acc[r], broadcast_last_avx2(row[r], bytes), here, y + 8 * whole);
}

void dot_bits8_avx2(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                    const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i acc[4];
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    add_rows_avx2_graph(4, data, stride, bytes, y, rows + i, acc);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) acc[r] = _mm256_madd_epi16(acc[r], ones);
    const __m128i set = sum_four_avx2(acc);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                     _mm_sub_epi32(_mm_add_epi32(set, set), _mm_set1_epi32(total)));
  }
  for (; i < count; ++i) {
    add_rows_avx2_graph(1, data, stride, bytes, y, rows + i, acc);
    out[i] = 2 * sum_lanes_avx2(_mm256_madd_epi16(acc[0], ones)) - total;
  }
}

void dot_bits16_avx2(const uint8_t* data, size_t stride, uint32_t bytes, const uint8_t* weights, const int16_t* y,
                     int32_t total, const uint32_t* rows, size_t count, int32_t* out) noexcept {
  __m256i acc[4];
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    add_rows_avx2_graph(4, data, stride, bytes, weights, y, rows + i, acc);
    const __m128i set = sum_four_avx2(acc), twice = _mm_add_epi32(set, set);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm_sub_epi32(twice, _mm_set1_epi32(total)));
  }
  for (; i < count; ++i) {
    add_rows_avx2_graph(1, data, stride, bytes, weights, y, rows + i, acc);
    const auto set = static_cast<uint32_t>(sum_lanes_avx2(acc[0]));
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
    out[i] = sum_lanes_avx2(acc);
  }
}

}  // namespace

void bind_avx2_graph(Kernels& table) noexcept {
  table.dot_bits8 = dot_bits8_avx2;
  table.dot_bits16 = dot_bits16_avx2;
  table.dot_int8 = dot_int8_avx2;
}

}  // namespace bebr
