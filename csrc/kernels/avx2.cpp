// AVX2: the integer kernels of kernels.h.
//
// Layout: kernels.h, code/layout.h. A quad of one block is turned into two "pairs": 2 byte groups of 16 documents, one
// group a 128-bit lane, which is the lane structure of vpshufb; half a quad of the query's tables serves each.
//
// Bounds: joined table entries <= 254; a 16-bit accumulator takes one a pair, at most 256 pairs: 65024 < 2^16. y16 sums
// wrap modulo 2^32 and end below 2^31.
//
// Instructions: vpshufb (lookup), vpcmpeqw (bits to masks), vpmaddwd (y16 sums), vcvtph2ps.
//
// Source: docs/method.md, "Progressive search".
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx2,fma,f16c,popcnt,bmi2")

namespace bebr {
namespace {

constexpr size_t kScanAhead = 8192;    // bytes, into L2 (avx512.cpp)
constexpr size_t kRowsAhead = 10;      // survivors prefetched ahead, into L2 (avx512_score.cpp)
constexpr size_t kBatchBytes = 16384;  // documents of scan_batch that stay in L1 while all queries pass

BEBR_INLINE __m256i load_avx2(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
BEBR_INLINE void store_avx2(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// The two pairs of a quad: bytes to groups within 4 documents, then groups of 4 documents side by side.
BEBR_INLINE void load_quad_avx2(const uint8_t* p, __m256i* first, __m256i* second) {
  const __m256i by_group = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9,
                                            13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i a = _mm256_shuffle_epi8(load_avx2(p), by_group), b = _mm256_shuffle_epi8(load_avx2(p + 32), by_group);
  *first = _mm256_permutevar8x32_epi32(_mm256_unpacklo_epi32(a, b), in_order);
  *second = _mm256_permutevar8x32_epi32(_mm256_unpackhi_epi32(a, b), in_order);
}

// One pair of nb blocks for nq queries. even/odd: 16-bit sums of document 2i (plus 256 times document 2i + 1, taken out
// in store_sums_avx2) and of document 2i + 1, cell q * nb + b.
BEBR_INLINE void step_avx2(const int nq, const int nb, const __m256i* codes, const uint8_t* tables, size_t table_stride,
                           __m256i* even, __m256i* odd) {
  const __m256i nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 4
  for (int b = 0; b < nb; ++b) {
    const __m256i low = _mm256_and_si256(codes[b], nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes[b], 4), nibble);
#pragma GCC unroll 4
    for (int q = 0; q < nq; ++q) {
      const uint8_t* table = tables + q * table_stride;
      const __m256i sum =
          _mm256_add_epi8(_mm256_shuffle_epi8(load_avx2(table), low), _mm256_shuffle_epi8(load_avx2(table + 64), high));
      even[q * nb + b] = _mm256_add_epi16(even[q * nb + b], sum);
      odd[q * nb + b] = _mm256_add_epi16(odd[q * nb + b], _mm256_srli_epi16(sum, 8));
    }
  }
}

// Both lanes of 16-bit sums, 8 documents, widened and joined.
BEBR_INLINE __m256i widen_lanes_avx2(__m256i cell) {
  return _mm256_add_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(cell)),
                          _mm256_cvtepu16_epi32(_mm256_extracti128_si256(cell, 1)));
}

BEBR_INLINE void store_sums_avx2(__m256i even, __m256i odd, int32_t bias, int32_t* sums) {
  even = _mm256_sub_epi16(even, _mm256_slli_epi16(odd, 8));
  const __m256i minus = _mm256_set1_epi32(-bias);
  store_avx2(sums, _mm256_add_epi32(minus, widen_lanes_avx2(_mm256_unpacklo_epi16(even, odd))));
  store_avx2(sums + 8, _mm256_add_epi32(minus, widen_lanes_avx2(_mm256_unpackhi_epi16(even, odd))));
}

// Sums of nq queries from `query` on over nb blocks from `base` on. Blocks past the end repeat the last and are not
// written.
BEBR_INLINE void tile_avx2(const int nq, const int nb, const uint8_t* data, size_t base, size_t blocks,
                           const ScanQueries& queries, uint32_t query, int32_t* sums, size_t stride) {
  const size_t table_stride = table_bytes(queries.groups), block_bytes = size_t{queries.groups} * kBlockRows;
  const uint8_t* tables = queries.tables + query * table_stride;
  const uint32_t full = queries.groups / 4, tail = queries.groups % 4;
  const uint8_t* block[4];
  __m256i first[4], second[4], even[4], odd[4];
#pragma GCC unroll 4
  for (int b = 0; b < nb; ++b) {
    const size_t at = base + static_cast<size_t>(b);
    block[b] = data + (at < blocks ? at : blocks - 1) * block_bytes;
  }
#pragma GCC unroll 4
  for (int c = 0; c < nq * nb; ++c) even[c] = odd[c] = _mm256_setzero_si256();
  const uint8_t* ahead = block[0] + kScanAhead;  // in the order of memory (avx512.cpp)
  for (uint32_t quad = 0; quad < full; ++quad) {
#pragma GCC unroll 4
    for (int b = 0; b < nb; ++b) {
      load_quad_avx2(block[b] + quad * kQuadBytes, &first[b], &second[b]);
      _mm_prefetch(reinterpret_cast<const char*>(ahead + (size_t{quad} * nb + b) * kQuadBytes), _MM_HINT_T1);
    }
    step_avx2(nq, nb, first, tables + quad * 128, table_stride, even, odd);
    step_avx2(nq, nb, second, tables + quad * 128 + 32, table_stride, even, odd);
  }
  if (tail != 0) {  // 1 .. 3 bytes a document, spread to 4; the table is padded
    for (int b = 0; b < nb; ++b) {
      uint8_t spread[kQuadBytes] = {};
      for (uint32_t i = 0; i < kBlockRows; ++i)
        std::memcpy(spread + 4 * i, block[b] + full * kQuadBytes + i * tail, tail);
      load_quad_avx2(spread, &first[b], &second[b]);
    }
    step_avx2(nq, nb, first, tables + full * 128, table_stride, even, odd);
    step_avx2(nq, nb, second, tables + full * 128 + 32, table_stride, even, odd);
  }
#pragma GCC unroll 4
  for (int c = 0; c < nq * nb; ++c) {
    const uint32_t q = query + static_cast<uint32_t>(c / nb);
    const size_t at = base + static_cast<size_t>(c % nb);
    if (at < blocks) store_sums_avx2(even[c], odd[c], queries.bias[q], sums + q * stride + at * kBlockRows);
  }
}

// Register tiles (queries x blocks): 4 x 1, 1 x 4.
void scan_table_avx2(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                     size_t stride) noexcept {
  for (size_t base = 0; base < blocks; base += 4) {
    const size_t end = base + 4 < blocks ? base + 4 : blocks;
    uint32_t q = 0;
    for (; q + 4 <= queries.count; q += 4)
      for (size_t at = base; at < end; ++at) tile_avx2(4, 1, data, at, blocks, queries, q, sums, stride);
    for (; q < queries.count; ++q) tile_avx2(1, 4, data, base, blocks, queries, q, sums, stride);
  }
}

// Eight queries at a time over pieces of the documents that stay in L1.
void scan_batch_avx2(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                     size_t stride) noexcept {
  const size_t block_bytes = size_t{queries.groups} * kBlockRows;
  const size_t piece = block_bytes * 4 < kBatchBytes ? kBatchBytes / block_bytes / 4 * 4 : 4;
  for (size_t base = 0; base < blocks; base += piece) {
    const size_t count = base + piece < blocks ? piece : blocks - base;
    for (uint32_t q = 0; q < queries.count; q += 8) {
      const ScanQueries eight = {queries.count - q < 8 ? queries.count - q : 8, queries.groups,
                                 queries.tables + q * table_bytes(queries.groups),
                                 queries.y8 + q * y8_stride(queries.groups), queries.bias + q};
      scan_table_avx2(data + base * block_bytes, count, eight, sums + q * stride + base * kBlockRows, stride);
    }
  }
}

// Eight factors. Those of one byte are fp16 patterns.
BEBR_INLINE __m256 factors_avx2(const FactorCode& code, const uint8_t* stored) {
  if (code.bytes == 4) return _mm256_loadu_ps(reinterpret_cast<const float*>(stored));
  if (code.bytes == 2) return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(stored)));
  const __m128i bytes = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(stored)));
  const __m128i steps = _mm_mullo_epi16(bytes, _mm_set1_epi16(static_cast<int16_t>(code.step)));
  return _mm256_cvtph_ps(_mm_add_epi16(steps, _mm_set1_epi16(static_cast<int16_t>(code.low))));
}

// Scores of 8 rows; which of them are above the threshold.
BEBR_INLINE uint32_t score_avx2(const int32_t* sums, const uint8_t* factors, const FactorCode& code, const Factor mode,
                                float base, float scale, float threshold, float* scores) {
  const __m256 sum = _mm256_cvtepi32_ps(load_avx2(sums));
  __m256 score = _mm256_add_ps(_mm256_set1_ps(base), _mm256_mul_ps(_mm256_set1_ps(scale), sum));
  if (mode != Factor::None) {
    const __m256 factor = factors_avx2(code, factors);
    score = mode == Factor::Mul ? _mm256_mul_ps(score, factor) : _mm256_sub_ps(score, factor);
  }
  _mm256_storeu_ps(scores, score);
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(score, _mm256_set1_ps(threshold), _CMP_GT_OQ)));
}

size_t select_avx2(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code, Factor mode,
                   const uint16_t* mask, float base, float scale, float threshold, uint32_t first_row,
                   uint32_t* kept_rows, float* kept_scores) noexcept {
  size_t kept = 0;
  for (size_t i = 0; i < rows; i += 8) {
    const size_t here = rows - i < 8 ? rows - i : 8;
    const int32_t* sum = sums + i;
    const uint8_t* factor = mode == Factor::None ? nullptr : factors + i * code.bytes;
    int32_t last_sums[8] = {};
    uint8_t last_factors[8 * sizeof(float)] = {};
    if (here < 8) {  // the inputs end here
      std::memcpy(last_sums, sum, here * sizeof(int32_t));
      sum = last_sums;
      if (factor != nullptr) std::memcpy(last_factors, factor, here * code.bytes);
      if (factor != nullptr) factor = last_factors;
    }
    float scores[8];
    uint32_t keep = score_avx2(sum, factor, code, mode, base, scale, threshold, scores) & ((1u << here) - 1);
    if (mask != nullptr) keep &= uint32_t{mask[i / 16]} >> (i % 16);
    for (; keep != 0; keep &= keep - 1, ++kept) {
      const uint32_t k = static_cast<uint32_t>(__builtin_ctz(keep));
      kept_rows[kept] = first_row + static_cast<uint32_t>(i) + k;
      kept_scores[kept] = scores[k];
    }
  }
  return kept;
}

// acc += weight * sum of the 16 entries of y16 whose bit is set.
BEBR_INLINE __m256i add_bits_avx2(__m256i acc, uint32_t bits, const int16_t* y16, __m256i weight) {
  const __m256i one_bit =
      _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
  const __m256i set =
      _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(static_cast<int16_t>(bits)), one_bit), one_bit);
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_and_si256(set, load_avx2(y16)), weight));
}

// The same for a whole plane of contiguous bytes.
BEBR_INLINE __m256i add_plane_avx2(__m256i acc, const uint8_t* plane, uint32_t width, const int16_t* y16,
                                   uint32_t shift) {
  const __m256i weight = _mm256_set1_epi16(static_cast<int16_t>(1 << shift));
  uint32_t j = 0;
  for (; j + 16 <= width; j += 16)
    acc = add_bits_avx2(acc, plane[j / 8] | uint32_t{plane[j / 8 + 1]} << 8, y16 + j, weight);
  return j < width ? add_bits_avx2(acc, plane[j / 8], y16 + j, weight) : acc;
}

// acc += the planes first .. last - 1, contiguous from `plane` on. With bits b = (r + 1) / 2, a score is
// 2 * (sum over set bits) - PlaneRange::ones.
BEBR_INLINE __m256i add_planes_avx2(__m256i acc, const CodeSpec& spec, uint32_t first, uint32_t last,
                                    const uint8_t* plane, const int16_t* y16) {
  for (uint32_t t = first; t < last; ++t) {
    acc = add_plane_avx2(acc, plane, spec.widths[t], y16, spec.planes - 1 - t);
    plane += spec.widths[t] / 8;
  }
  return acc;
}

BEBR_INLINE uint32_t sum_lanes_avx2(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1))));
}

BEBR_INLINE void prefetch_avx2(const uint8_t* p, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) _mm_prefetch(reinterpret_cast<const char*>(p + at), _MM_HINT_T1);
}

void complete_avx2(const ScanView& view, const int16_t* y16, const PlaneRange& range, const uint32_t* rows,
                   size_t count, int32_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t groups = spec.groups(), rest_bytes = spec.rest_bytes(), ones = static_cast<uint32_t>(range.ones);
  uint32_t from = 0;  // bytes of the rest before the range
  for (uint32_t t = 1; t < range.first; ++t) from += spec.widths[t] / 8;
  const size_t sign_bytes = size_t{groups} * kBlockRows;
  for (size_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) {
      const size_t next = rows[i + kRowsAhead];
      prefetch_avx2(view.blocks + next / kBlockRows * sign_bytes, sign_bytes);
      prefetch_avx2(view.rest + next * rest_bytes, rest_bytes);
    }
    __m256i acc = _mm256_setzero_si256();
    if (range.first == 0) {
      const uint8_t* block = view.blocks + rows[i] / kBlockRows * sign_bytes;
      uint8_t sign[kMaxDims / 8];
      for (uint32_t g = 0; g < groups; g += 4) {
        const uint32_t bytes = groups - g < 4 ? groups - g : 4;
        std::memcpy(sign + g, block + g * kBlockRows + rows[i] % kBlockRows * bytes, bytes);
      }
      acc = add_plane_avx2(acc, sign, spec.widths[0], y16, spec.planes - 1);
    }
    const uint8_t* rest = view.rest + size_t{rows[i]} * rest_bytes + from;
    acc = add_planes_avx2(acc, spec, range.first == 0 ? 1 : range.first, range.last, rest, y16);
    out[i] = static_cast<int32_t>(2 * sum_lanes_avx2(acc) - ones);
  }
}

}  // namespace

void bind_avx2(Kernels& table) noexcept {
  table.scan_table = scan_table_avx2;
  table.scan_batch = scan_batch_avx2;
  table.select = select_avx2;
  table.complete = complete_avx2;
}

}  // namespace bebr
