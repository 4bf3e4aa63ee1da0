// AVX2: the paper's kernels. Bounds: 16-bit sums of its table, 255 * 256 = 65280 between two widenings.
#include <immintrin.h>

#include <cstring>

#include "bench/baselines.h"
#include "kernels/inline.h"

#pragma GCC target("avx2,fma,f16c,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE __m256i load_avx2(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
BEBR_INLINE void store_avx2(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// Both lanes of 16-bit sums, 8 documents, widened and joined.
BEBR_INLINE __m256i widen_lanes_avx2(__m256i cell) {
  return _mm256_add_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(cell)),
                          _mm256_cvtepu16_epi32(_mm256_extracti128_si256(cell, 1)));
}

// One load is one code byte of 32 documents, and one load of its two tables. Cell k holds documents
// 4i + k.
void lut_sdc_avx2(const uint8_t* data, size_t blocks, size_t code_bytes, const uint8_t* table, int32_t* out) noexcept {
  const __m256i nibble = _mm256_set1_epi8(15);
  for (size_t block = 0; block < blocks; ++block, data += code_bytes * 32, out += 32) {
    __m256i total[4] = {};
    for (size_t piece = 0; piece < code_bytes; piece += 256) {
      const size_t end = piece + 256 < code_bytes ? piece + 256 : code_bytes;
      __m256i cell[4] = {};
      for (size_t c = piece; c < end; ++c) {
        const __m256i codes = load_avx2(data + c * 32), entries = load_avx2(table + c * 32);
        const __m256i first = _mm256_shuffle_epi8(entries, _mm256_and_si256(codes, nibble));
        const __m256i second = _mm256_shuffle_epi8(entries, _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble));
        cell[0] = _mm256_add_epi16(cell[0], first);
        cell[1] = _mm256_add_epi16(cell[1], second);
        cell[2] = _mm256_add_epi16(cell[2], _mm256_srli_epi16(first, 8));
        cell[3] = _mm256_add_epi16(cell[3], _mm256_srli_epi16(second, 8));
      }
      cell[0] = _mm256_sub_epi16(cell[0], _mm256_slli_epi16(cell[2], 8));
      cell[1] = _mm256_sub_epi16(cell[1], _mm256_slli_epi16(cell[3], 8));
      for (int k = 0; k < 4; ++k) total[k] = _mm256_add_epi32(total[k], widen_lanes_avx2(cell[k]));
    }
    int32_t by_cell[4][8];
    for (int k = 0; k < 4; ++k) store_avx2(by_cell[k], total[k]);
    for (int i = 0; i < 32; ++i) out[i] = by_cell[i % 4][i / 4];
  }
}

BEBR_INLINE int32_t differing_bits_avx2(const uint8_t* a, const uint8_t* b, uint32_t bytes) {
  uint64_t count = 0;
  for (uint32_t at = 0; at < bytes; at += 8) {
    uint64_t x = 0, y = 0;
    const uint32_t here = bytes - at < 8 ? bytes - at : 8;
    std::memcpy(&x, a + at, here);
    std::memcpy(&y, b + at, here);
    count += static_cast<uint64_t>(_mm_popcnt_u64(x ^ y));
  }
  return static_cast<int32_t>(count);
}

void popcount_sdc_avx2(const uint8_t* query, const uint8_t* rows, size_t count, uint32_t width_bytes, uint32_t planes,
                       int32_t* out) noexcept {
  const int32_t weights = ((1 << planes) - 1) * ((1 << planes) - 1);
  for (size_t i = 0; i < count; ++i, rows += size_t{planes} * width_bytes) {
    int32_t differ = 0;
    for (uint32_t s = 0; s < planes; ++s)
      for (uint32_t t = 0; t < planes; ++t)
        differ += differing_bits_avx2(query + s * width_bytes, rows + t * width_bytes, width_bytes)
                  << (2 * (planes - 1) - s - t);
    out[i] = weights * static_cast<int32_t>(width_bytes * 8) - 2 * differ;
  }
}

}  // namespace

void bind_avx2(Baselines& table) noexcept {
  table.lut_sdc = lut_sdc_avx2;
  table.popcount_sdc = popcount_sdc_avx2;
}

}  // namespace bebr
