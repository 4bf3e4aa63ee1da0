// AVX-512: the paper's kernels. Bounds: 16-bit sums of its table, 255 * 256 = 65280 between two widenings.
#include <immintrin.h>

#include "bench/baselines.h"
#include "kernels/inline.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE __m512i load_bytes_avx512(const uint8_t* p, size_t bytes) {
  return bytes >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8((__mmask64{1} << bytes) - 1, p);
}

// 16-bit sums of the 4 lanes of `cell`, 8 documents, widened and joined.
BEBR_INLINE __m256i widen_lanes_avx512(__m512i cell) {
  const __m512i pairs = _mm512_add_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(cell)),
                                         _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(cell, 1)));
  return _mm256_add_epi32(_mm512_castsi512_si256(pairs), _mm512_extracti64x4_epi64(pairs, 1));
}

// Two code bytes at a time. Cell k holds documents 4i + k.
void lut_sdc_avx512(const uint8_t* data, size_t blocks, size_t code_bytes, const uint8_t* table,
                    int32_t* out) noexcept {
  const __m512i nibble = _mm512_set1_epi8(15);
  const size_t bytes = code_bytes * 32, piece_bytes = 256 * 64;
  for (size_t block = 0; block < blocks; ++block, data += bytes, out += 32) {
    __m256i total[4] = {};
    for (size_t piece = 0; piece < bytes; piece += piece_bytes) {
      const size_t end = piece + piece_bytes < bytes ? piece + piece_bytes : bytes;
      __m512i cell[4] = {};
      for (size_t at = piece; at < end; at += 64) {
        const __m512i codes = load_bytes_avx512(data + at, bytes - at),
                      entries = load_bytes_avx512(table + at, bytes - at);
        const __m512i first = _mm512_shuffle_epi8(entries, _mm512_and_si512(codes, nibble));
        const __m512i second = _mm512_shuffle_epi8(entries, _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble));
        cell[0] = _mm512_add_epi16(cell[0], first);
        cell[1] = _mm512_add_epi16(cell[1], second);
        cell[2] = _mm512_add_epi16(cell[2], _mm512_srli_epi16(first, 8));
        cell[3] = _mm512_add_epi16(cell[3], _mm512_srli_epi16(second, 8));
      }
      cell[0] = _mm512_sub_epi16(cell[0], _mm512_slli_epi16(cell[2], 8));
      cell[1] = _mm512_sub_epi16(cell[1], _mm512_slli_epi16(cell[3], 8));
      for (int k = 0; k < 4; ++k) total[k] = _mm256_add_epi32(total[k], widen_lanes_avx512(cell[k]));
    }
    alignas(32) int32_t by_cell[4][8];
    for (int k = 0; k < 4; ++k) _mm256_store_si256(reinterpret_cast<__m256i*>(by_cell[k]), total[k]);
    for (int i = 0; i < 32; ++i) out[i] = by_cell[i % 4][i / 4];
  }
}

void popcount_sdc_avx512(const uint8_t* query, const uint8_t* rows, size_t count, uint32_t width_bytes, uint32_t planes,
                         int32_t* out) noexcept {
  const int32_t weights = ((1 << planes) - 1) * ((1 << planes) - 1);
  for (size_t i = 0; i < count; ++i, rows += size_t{planes} * width_bytes) {
    __m512i differ = _mm512_setzero_si512();
    for (uint32_t at = 0; at < width_bytes; at += 64) {
      for (uint32_t s = 0; s < planes; ++s) {
        const __m512i q = load_bytes_avx512(query + s * width_bytes + at, width_bytes - at);
        for (uint32_t t = 0; t < planes; ++t) {
          const __m512i d = load_bytes_avx512(rows + t * width_bytes + at, width_bytes - at);
          const __m512i counts = _mm512_popcnt_epi64(_mm512_xor_si512(q, d));
          differ = _mm512_add_epi64(differ, _mm512_slli_epi64(counts, 2 * (planes - 1) - s - t));
        }
      }
    }
    out[i] =
        weights * static_cast<int32_t>(width_bytes * 8) - 2 * static_cast<int32_t>(_mm512_reduce_add_epi64(differ));
  }
}

}  // namespace

void bind_avx512(Baselines& table) noexcept {
  table.lut_sdc = lut_sdc_avx512;
  table.popcount_sdc = popcount_sdc_avx512;
}

}  // namespace bebr
