// AVX-512: the dot products of a graph (kernels.h: dot_bits8, dot_bits16 of its walk, dot_int8 of its links).
//
// Layout: 64 bits of a row are one mask, which picks the entries of y that are added. The walk's caller prefetches.
//
// Bounds: sums of set entries, and of their halves, stay below 2^31 in size; twice them wraps modulo 2^32 and the
// difference is exact.
//
// Instructions: kmovq from memory, masked vmovdqu8 (y stays in registers for dot_bits8, in L1 for dot_bits16), vpdpbusd
// against ones.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/avx512_sums.h"
#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE uint64_t load_mask_avx512_graph(const uint8_t* p) {
  uint64_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return bits;
}

// The last 1 .. 8 of `bytes` bytes: read with the bytes before them where there are enough.
BEBR_INLINE uint64_t load_last_avx512_graph(const uint8_t* row, uint32_t bytes) {
  const uint32_t left = (bytes - 1) % 8 + 1;
  if (bytes >= 8) return load_mask_avx512_graph(row + bytes - 8) >> (64 - 8 * left);
  uint64_t bits = 0;
  for (uint32_t k = 0; k < left; ++k) bits |= uint64_t{row[k]} << (8 * k);
  return bits;
}

// Four rows at a time, whose sums share their last steps; where fewer are left, the last one stands for them.
BEBR_INLINE void dot_bits8_words_avx512(const int words, const uint8_t* data, size_t stride, uint32_t bytes,
                                        const int8_t* y, int32_t total, const uint32_t* rows, size_t count,
                                        int32_t* out) {
  const __m512i ones = _mm512_set1_epi8(1);
  const __m128i totals = _mm_set1_epi32(total);
  __m512i entry[8];
#pragma GCC unroll 8
  for (int w = 0; w < words; ++w) entry[w] = _mm512_loadu_si512(y + 64 * w);
  for (size_t i = 0; i < count; i += 4) {
    const size_t left = count - i;
    __m512i sum[4];
#pragma GCC unroll 4
    for (size_t r = 0; r < 4; ++r) {
      const uint8_t* row = data + rows[i + (r < left ? r : left - 1)] * stride;
      const __m512i last = _mm512_maskz_mov_epi8(load_last_avx512_graph(row, bytes), entry[words - 1]);
      sum[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, last);
#pragma GCC unroll 8
      for (int w = 0; w < words - 1; ++w) {
        const __m512i set = _mm512_maskz_mov_epi8(load_mask_avx512_graph(row + 8 * w), entry[w]);
        sum[r] = _mm512_dpbusd_epi32(sum[r], ones, set);
      }
    }
    const __m128i set = sum_four_avx512(sum[0], sum[1], sum[2], sum[3]);
    const __mmask8 here = left < 4 ? static_cast<__mmask8>((1u << left) - 1) : __mmask8{15};
    _mm_mask_storeu_epi32(out + i, here, _mm_sub_epi32(_mm_slli_epi32(set, 1), totals));
  }
}

void dot_bits8_avx512(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                      const uint32_t* rows, size_t count, int32_t* out) noexcept {
  switch ((bytes + 7) / 8) {
    case 1:
      return dot_bits8_words_avx512(1, data, stride, bytes, y, total, rows, count, out);
    case 2:
      return dot_bits8_words_avx512(2, data, stride, bytes, y, total, rows, count, out);
    case 3:
      return dot_bits8_words_avx512(3, data, stride, bytes, y, total, rows, count, out);
    case 4:
      return dot_bits8_words_avx512(4, data, stride, bytes, y, total, rows, count, out);
    case 5:
      return dot_bits8_words_avx512(5, data, stride, bytes, y, total, rows, count, out);
    case 6:
      return dot_bits8_words_avx512(6, data, stride, bytes, y, total, rows, count, out);
    case 7:
      return dot_bits8_words_avx512(7, data, stride, bytes, y, total, rows, count, out);
    case 8:
      return dot_bits8_words_avx512(8, data, stride, bytes, y, total, rows, count, out);
    default:
      for (size_t i = 0; i < count; ++i) out[i] = 0;
  }
}

// The sums of nr rows' set entries: halves apart, so that the bits of a mask are spread once for both.
BEBR_INLINE void add_rows16_avx512(const int nr, const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* low,
                                   const int8_t* high, const uint8_t* weights, const uint32_t* rows, __m512i* sum) {
  const uint32_t whole = (bytes - 1) / 8 * 8;
  const __m512i last = _mm512_loadu_si512(weights + 8 * size_t{whole});
  const uint8_t* row[4];
  __m512i lows[4], highs[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    const __m512i set = _mm512_maskz_mov_epi8(load_last_avx512_graph(row[r], bytes), last);
    lows[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), set, _mm512_loadu_si512(low + 8 * size_t{whole}));
    highs[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), set, _mm512_loadu_si512(high + 8 * size_t{whole}));
  }
#pragma GCC unroll 2
  for (uint32_t at = 0; at < whole; at += 8) {
    const __m512i l = _mm512_loadu_si512(low + 8 * size_t{at}), h = _mm512_loadu_si512(high + 8 * size_t{at});
    const __m512i weight = _mm512_loadu_si512(weights + 8 * size_t{at});
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) {
      const __m512i set = _mm512_maskz_mov_epi8(load_mask_avx512_graph(row[r] + at), weight);
      lows[r] = _mm512_dpbusd_epi32(lows[r], set, l);
      highs[r] = _mm512_dpbusd_epi32(highs[r], set, h);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) sum[r] = _mm512_add_epi32(lows[r], _mm512_slli_epi32(highs[r], 8));
}

void dot_bits16_avx512(const uint8_t* data, size_t stride, uint32_t bytes, const uint8_t* weights, const int16_t* y,
                       int32_t total, const uint32_t* rows, size_t count, int32_t* out) noexcept {
  if (bytes == 0) {
    for (size_t i = 0; i < count; ++i) out[i] = 0;
    return;
  }
  const auto *low = reinterpret_cast<const int8_t*>(y + bits_stride(bytes)), *high = low + bits_stride(bytes);
  const __m128i totals = _mm_set1_epi32(total);
  __m512i sum[4];
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    add_rows16_avx512(4, data, stride, bytes, low, high, weights, rows + i, sum);
    const __m128i set = sum_four_avx512(sum[0], sum[1], sum[2], sum[3]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm_sub_epi32(_mm_slli_epi32(set, 1), totals));
  }
  const auto result = [total](__m512i of) {
    return static_cast<int32_t>(2 * static_cast<uint32_t>(_mm512_reduce_add_epi32(of)) - static_cast<uint32_t>(total));
  };
  if (i + 2 <= count) {
    add_rows16_avx512(2, data, stride, bytes, low, high, weights, rows + i, sum);
    out[i] = result(sum[0]);
    out[i + 1] = result(sum[1]);
    i += 2;
  }
  if (i < count) {
    add_rows16_avx512(1, data, stride, bytes, low, high, weights, rows + i, sum);
    out[i] = result(sum[0]);
  }
}

// vpdpbusd wants one side unsigned: <a, b> = <a + 128, b> - <128, b>.
void dot_int8_avx512(const int8_t* a, const int8_t* data, size_t dims, const uint32_t* rows, size_t count,
                     int32_t* out) noexcept {
  const __m512i offset = _mm512_set1_epi8(-128);
  for (size_t i = 0; i < count; ++i) {
    const int8_t* row = data + rows[i] * dims;
    __m512i raised = _mm512_setzero_si512(), extra = _mm512_setzero_si512();
    for (size_t j = 0; j < dims; j += 64) {
      const __m512i b = _mm512_loadu_si512(row + j);
      raised = _mm512_dpbusd_epi32(raised, _mm512_xor_si512(_mm512_loadu_si512(a + j), offset), b);
      extra = _mm512_dpbusd_epi32(extra, offset, b);
    }
    out[i] = _mm512_reduce_add_epi32(_mm512_sub_epi32(raised, extra));
  }
}

// Up to 256 bytes are looked up in registers, 64 by two vpermi2b; longer codes byte by byte.
void permute_avx512(const uint8_t* from, const uint16_t* at, size_t bytes, uint8_t* to) noexcept {
  if (bytes > 256) {
    for (size_t i = 0; i < bytes; ++i) to[i] = from[at[i]];
    return;
  }
  const auto first = [bytes](size_t begin) -> __mmask64 {  // of the bytes from `begin` on
    return bytes >= begin + 64 ? ~__mmask64{0} : bytes <= begin ? 0 : (__mmask64{1} << (bytes - begin)) - 1;
  };
  __m512i table[4];
#pragma GCC unroll 4
  for (size_t t = 0; t < 4; ++t) table[t] = _mm512_maskz_loadu_epi8(first(64 * t), from + 64 * t);
  for (size_t i = 0; i < bytes; i += 64) {
    const __mmask64 here = first(i);
    const __m512i low = _mm512_maskz_loadu_epi16(static_cast<__mmask32>(here), at + i);
    const __m512i high = _mm512_maskz_loadu_epi16(static_cast<__mmask32>(here >> 32), at + i + 32);
    const __m512i index =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(low)), _mm512_cvtepi16_epi8(high), 1);
    const __m512i near = _mm512_permutex2var_epi8(table[0], index, table[1]);
    const __m512i far = _mm512_permutex2var_epi8(table[2], index, table[3]);
    _mm512_mask_storeu_epi8(to + i, here, _mm512_mask_mov_epi8(near, _mm512_movepi8_mask(index), far));
  }
}

}  // namespace

void bind_avx512_graph(Kernels& table) noexcept {
  table.permute = permute_avx512;
  table.dot_bits8 = dot_bits8_avx512;
  table.dot_bits16 = dot_bits16_avx512;
  table.dot_int8 = dot_int8_avx512;
}

}  // namespace bebr
