// AVX-VNNI with GFNI: the dot products of a graph (kernels.h: dot_bits8, dot_bits16 for its walk, dot_int8 for its
// links).
//
// Layout: 32 bits of a row are spread over 32 bytes by a shuffle and by vgf2p8affineqb, of whose product with the unit
// vectors byte j has bit j of a quad word's byte: as its lowest bit (dot_bits8), or as all 8 (dot_bits16, where the
// bit's weight is kept of it). Four rows at a time share the loop, the entries and the last steps of their sums.
//
// Bounds: as avx512_graph.cpp.
//
// Instructions: vpbroadcastd, vpshufb, vgf2p8affineqb, vpdpbusd.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2_bits.h"
#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx2,f16c,fma,popcnt,bmi2,avxvnni,gfni")

namespace bebr {
namespace {

BEBR_INLINE __m256i load_avxvnni_graph(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// Of 32 bits, which every lane has: 1 in each of the bytes whose bit is set.
BEBR_INLINE __m256i ones_avxvnni_graph(__m256i bits) {
  const __m256i last_of_eight = _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, 0, -1, -1, -1, -1, -1, -1, -1, 1, -1, -1,
                                                 -1, -1, -1, -1, -1, 2, -1, -1, -1, -1, -1, -1, -1, 3);
  const __m256i units = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  return _mm256_gf2p8affine_epi64_epi8(units, _mm256_shuffle_epi8(bits, last_of_eight), 0);
}

// The same with all ones.
BEBR_INLINE __m256i mask_avxvnni_graph(__m256i bits) {
  const __m256i eight_times =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i units = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  return _mm256_gf2p8affine_epi64_epi8(units, _mm256_shuffle_epi8(bits, eight_times), 0);
}

// Sums of the entries whose bits are set, of nr rows.
BEBR_INLINE void add_rows_avxvnni_graph(const int nr, const uint8_t* data, size_t stride, uint32_t bytes,
                                        const int8_t* y, const uint32_t* rows, __m256i* acc) {
  const uint32_t whole = bytes / 4 * 4;
  const uint8_t* row[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    acc[r] = _mm256_setzero_si256();
  }
  for (uint32_t at = 0; at < whole; at += 4) {
    const __m256i here = load_avxvnni_graph(y + 8 * at);
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r)
      acc[r] = _mm256_dpbusd_avx_epi32(acc[r], ones_avxvnni_graph(broadcast_avx2(row[r] + at)), here);
  }
  if (whole == bytes) return;
  const __m256i here = load_avxvnni_graph(y + 8 * whole);
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r)
    acc[r] = _mm256_dpbusd_avx_epi32(acc[r], ones_avxvnni_graph(broadcast_last_avx2(row[r], bytes)), here);
}

// A query's entries and weights, for 32 bits.
struct Entries16 {
  __m256i weights, low, high;
};

BEBR_INLINE Entries16 entries_avxvnni_graph(const uint8_t* weights, const int8_t* low, const int8_t* high,
                                            uint32_t at) {
  return {load_avxvnni_graph(weights + 8 * at), load_avxvnni_graph(low + 8 * at), load_avxvnni_graph(high + 8 * at)};
}

BEBR_INLINE void add16_avxvnni_graph(const Entries16& y, __m256i bits, __m256i* low, __m256i* high) {
  const __m256i set = _mm256_and_si256(y.weights, mask_avxvnni_graph(bits));
  *low = _mm256_dpbusd_avx_epi32(*low, set, y.low);
  *high = _mm256_dpbusd_avx_epi32(*high, set, y.high);
}

// The same with weights.
BEBR_INLINE void add_rows16_avxvnni_graph(const int nr, const uint8_t* data, size_t stride, uint32_t bytes,
                                          const uint8_t* weights, const int8_t* low, const int8_t* high,
                                          const uint32_t* rows, __m256i* acc) {
  const uint32_t whole = bytes / 4 * 4;
  const uint8_t* row[4];
  __m256i lows[4], highs[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    row[r] = data + rows[r] * stride;
    lows[r] = highs[r] = _mm256_setzero_si256();
  }
  for (uint32_t at = 0; at < whole; at += 4) {
    const Entries16 y = entries_avxvnni_graph(weights, low, high, at);
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) add16_avxvnni_graph(y, broadcast_avx2(row[r] + at), &lows[r], &highs[r]);
  }
  if (whole != bytes) {
    const Entries16 y = entries_avxvnni_graph(weights, low, high, whole);
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) add16_avxvnni_graph(y, broadcast_last_avx2(row[r], bytes), &lows[r], &highs[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) acc[r] = _mm256_add_epi32(lows[r], _mm256_slli_epi32(highs[r], 8));
}

// Twice the sums less the total, modulo 2^32.
BEBR_INLINE void store_four_avxvnni_graph(const __m256i* acc, int32_t total, int32_t* out) {
  const __m128i set = sum_four_avx2(acc);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_sub_epi32(_mm_add_epi32(set, set), _mm_set1_epi32(total)));
}

BEBR_INLINE int32_t result_avxvnni_graph(__m256i acc, int32_t total) {
  const auto set = static_cast<uint32_t>(sum_lanes_avx2(acc));
  return static_cast<int32_t>(2 * set - static_cast<uint32_t>(total));
}

void dot_bits8_avxvnni(const uint8_t* data, size_t stride, uint32_t bytes, const int8_t* y, int32_t total,
                       const uint32_t* rows, size_t count, int32_t* out) noexcept {
  __m256i acc[4];
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    add_rows_avxvnni_graph(4, data, stride, bytes, y, rows + i, acc);
    store_four_avxvnni_graph(acc, total, out + i);
  }
  for (; i < count; ++i) {
    add_rows_avxvnni_graph(1, data, stride, bytes, y, rows + i, acc);
    out[i] = result_avxvnni_graph(acc[0], total);
  }
}

void dot_bits16_avxvnni(const uint8_t* data, size_t stride, uint32_t bytes, const uint8_t* weights, const int16_t* y,
                        int32_t total, const uint32_t* rows, size_t count, int32_t* out) noexcept {
  const auto *low = reinterpret_cast<const int8_t*>(y + bits_stride(bytes)), *high = low + bits_stride(bytes);
  __m256i acc[4];
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    add_rows16_avxvnni_graph(4, data, stride, bytes, weights, low, high, rows + i, acc);
    store_four_avxvnni_graph(acc, total, out + i);
  }
  for (; i < count; ++i) {
    add_rows16_avxvnni_graph(1, data, stride, bytes, weights, low, high, rows + i, acc);
    out[i] = result_avxvnni_graph(acc[0], total);
  }
}

// vpdpbusd wants one side unsigned: the sign of a goes to the row.
void dot_int8_avxvnni(const int8_t* a, const int8_t* data, size_t dims, const uint32_t* rows, size_t count,
                      int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const int8_t* row = data + rows[i] * dims;
    __m256i acc[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t j = 0; j < dims; j += 64) {
#pragma GCC unroll 2
      for (size_t half = 0; half < 2; ++half) {
        const __m256i x = load_avxvnni_graph(a + j + 32 * half), y = load_avxvnni_graph(row + j + 32 * half);
        acc[half] = _mm256_dpbusd_avx_epi32(acc[half], _mm256_abs_epi8(x), _mm256_sign_epi8(y, x));
      }
    }
    out[i] = sum_lanes_avx2(_mm256_add_epi32(acc[0], acc[1]));
  }
}

}  // namespace

void bind_avxvnni_graph(Kernels& table) noexcept {
  table.dot_bits8 = dot_bits8_avxvnni;
  table.dot_bits16 = dot_bits16_avxvnni;
  table.dot_int8 = dot_int8_avxvnni;
}

}  // namespace bebr
