// AVX-512 with GFNI: whole codes of a graph by digits (kernels.h: dot_digits).
//
// Layout: vpermb brings the four bytes of each of 16 units to one vector, and the two units of a quad word lie so that
// a transposition of its 8 x 8 bits makes 8 bytes of two digits each: vgf2p8affineqb of the identity by the bytes. So
// 128 digits, up to 512 bits, take 4 vpdpbusd in place of 16, and no masks. The walk's caller prefetches.
//
// Bounds: sums wrap modulo 2^32 as those of dot_bits16 do. Of a row the bytes that DigitOrder names are read, by masked
// loads.
//
// Instructions: vpermb, vgf2p8affineqb, vpdpbusd.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512_sums.h"
#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,gfni,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

// The sums of nr rows' digits; of four, where fewer are asked for the last ones are those of the first row.
BEBR_INLINE void add_rows_digits(const int nr, const int sources, const uint8_t* data, size_t stride,
                                 const DigitOrder& order, const int8_t* low, const int8_t* high, const uint32_t* rows,
                                 __m512i* sum) {
  const __m512i identity = _mm512_set1_epi64(static_cast<int64_t>(0x8040201008040201u)), four = _mm512_set1_epi8(15);
  const __mmask64 last = ~__mmask64{0} >> (64 * static_cast<uint32_t>(sources) - order.bytes);
  const uint8_t* row[4];
  __m512i lows[4], highs[4], ends[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    ends[r] = _mm512_maskz_loadu_epi8(last, row[r] + 64 * (sources - 1));
    lows[r] = highs[r] = _mm512_setzero_si512();
  }
  for (uint32_t c = 0; c < order.vectors; ++c) {
    const __m512i from = _mm512_loadu_si512(order.from + 64 * size_t{c});
    const uint64_t* masks = order.masks + DigitOrder::kSources * size_t{c};
    const __m512i low0 = _mm512_loadu_si512(low + 128 * size_t{c}),
                  low1 = _mm512_loadu_si512(low + 128 * size_t{c} + 64);
    const __m512i high0 = _mm512_loadu_si512(high + 128 * size_t{c}),
                  high1 = _mm512_loadu_si512(high + 128 * size_t{c} + 64);
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) {
      __m512i bytes = _mm512_maskz_permutexvar_epi8(masks[sources - 1], from, ends[r]);
#pragma GCC unroll 3
      for (int s = 0; s < sources - 1; ++s)
        bytes = _mm512_mask_permutexvar_epi8(bytes, masks[s], from, _mm512_loadu_si512(row[r] + 64 * s));
      const __m512i digits = _mm512_gf2p8affine_epi64_epi8(identity, bytes, 0);
      const __m512i first = _mm512_and_si512(digits, four),
                    second = _mm512_and_si512(_mm512_srli_epi16(digits, 4), four);
      lows[r] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(lows[r], first, low0), second, low1);
      highs[r] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(highs[r], first, high0), second, high1);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) sum[r] = _mm512_add_epi32(lows[r], _mm512_slli_epi32(highs[r], 8));
}

BEBR_INLINE void dot_digits_sources(const int sources, const uint8_t* data, size_t stride, const DigitOrder& order,
                                    const int16_t* entries, int32_t total, const uint32_t* rows, size_t count,
                                    int32_t* out) {
  const size_t n = order.entries();
  const auto *low = reinterpret_cast<const int8_t*>(entries + n), *high = low + n;
  const __m128i totals = _mm_set1_epi32(total);
  __m512i sum[4];
  for (size_t i = 0; i < count; i += 4) {
    const size_t left = count - i;
    if (left >= 3) {
      const uint32_t four[4] = {rows[i], rows[i + 1], rows[i + 2], rows[left > 3 ? i + 3 : i]};
      add_rows_digits(4, sources, data, stride, order, low, high, four, sum);
    } else if (left == 2) {
      add_rows_digits(2, sources, data, stride, order, low, high, rows + i, sum);
      sum[2] = sum[3] = sum[0];
    } else {
      add_rows_digits(1, sources, data, stride, order, low, high, rows + i, sum);
      sum[1] = sum[2] = sum[3] = sum[0];
    }
    const __m128i set = sum_four_avx512(sum[0], sum[1], sum[2], sum[3]);
    const __mmask8 here = left < 4 ? static_cast<__mmask8>((1u << left) - 1) : __mmask8{15};
    _mm_mask_storeu_epi32(out + i, here, _mm_sub_epi32(_mm_slli_epi32(set, 1), totals));
  }
}

void dot_digits_avx512(const uint8_t* data, size_t stride, const DigitOrder& order, const int16_t* entries,
                       int32_t total, const uint32_t* rows, size_t count, int32_t* out) noexcept {
  switch ((order.bytes + 63) / 64) {
    case 1:
      return dot_digits_sources(1, data, stride, order, entries, total, rows, count, out);
    case 2:
      return dot_digits_sources(2, data, stride, order, entries, total, rows, count, out);
    case 3:
      return dot_digits_sources(3, data, stride, order, entries, total, rows, count, out);
    default:
      return dot_digits_sources(4, data, stride, order, entries, total, rows, count, out);
  }
}

}  // namespace

void bind_avx512_digits(Kernels& table) noexcept { table.dot_digits = dot_digits_avx512; }

}  // namespace bebr
