// AVX2: the integer kernels of kernels.h.
//
// Layout: kernels.h, code/layout.h. A quad of one block is turned into two "pairs": 2 byte groups of 16 documents, one
// group a 128-bit lane, which is the lane structure of vpshufb; half a quad of the query's tables serves each.
//
// Bounds: joined table entries <= 254; a 16-bit accumulator takes one a pair, at most 256 pairs: 65024 < 2^16. y16 sums
// wrap modulo 2^32 and end below 2^31.
//
// Instructions: vpshufb (lookup), vpcmpeqw (bits to masks), vpmaddwd (y16 sums).
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
constexpr size_t kBatchBytes = 16384;  // nibbles of scan_batch that stay in L1 while all queries pass
constexpr size_t kSortedQuad = 512;    // bytes of the nibbles of a quad of four blocks
constexpr uint32_t kSortFrom = 4;      // queries that sorted nibbles are worth it for

BEBR_INLINE __m256i load_avx2(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
BEBR_INLINE void store_avx2(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// The two pairs of a quad: bytes to groups within 4 documents, then groups of 4 documents side by side.
BEBR_INLINE void pair_up_avx2(__m256i low, __m256i high, __m256i* first, __m256i* second) {
  const __m256i by_group = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9,
                                            13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i a = _mm256_shuffle_epi8(low, by_group), b = _mm256_shuffle_epi8(high, by_group);
  *first = _mm256_permutevar8x32_epi32(_mm256_unpacklo_epi32(a, b), in_order);
  *second = _mm256_permutevar8x32_epi32(_mm256_unpackhi_epi32(a, b), in_order);
}

BEBR_INLINE void load_quad_avx2(const uint8_t* p, __m256i* first, __m256i* second) {
  pair_up_avx2(load_avx2(p), load_avx2(p + 32), first, second);
}

// The same of a last quad with 1 .. 3 bytes a document, spread to 4; the table is padded.
BEBR_INLINE void load_tail_avx2(const uint8_t* p, uint32_t bytes, __m256i* first, __m256i* second) {
  alignas(16) static constexpr int8_t kSpread[3][16] = {{0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1},
                                                        {0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7, -1, -1},
                                                        {0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1}};
  uint8_t all[kQuadBytes] = {};  // 4 documents are read as 16 bytes
  if (bytes == 1) std::memcpy(all, p, kBlockRows);
  if (bytes == 2) std::memcpy(all, p, 2 * kBlockRows);
  if (bytes == 3) std::memcpy(all, p, 3 * kBlockRows);
  const __m128i spread = _mm_load_si128(reinterpret_cast<const __m128i*>(kSpread[bytes - 1]));
  __m128i four[4];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; ++i)
    four[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(all + size_t{4} * bytes * i)), spread);
  pair_up_avx2(_mm256_set_m128i(four[1], four[0]), _mm256_set_m128i(four[3], four[2]), first, second);
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
      // One cell after the other: g++ would read all tables first and have no registers for the sums.
      __asm__ volatile("" : "+x"(even[q * nb + b]), "+x"(odd[q * nb + b]));
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
// written. goes_on: as in avx512.cpp.
BEBR_INLINE void tile_avx2(const int nq, const int nb, const bool goes_on, const uint8_t* data, size_t base,
                           size_t blocks, const ScanQueries& queries, uint32_t query, int32_t* sums, size_t stride) {
  const size_t table_stride = table_bytes(queries.groups), block_bytes = size_t{queries.groups} * kBlockRows;
  const uint8_t* tables = queries.tables + query * table_stride;
  const uint32_t full = (queries.leading != 0 ? queries.leading : queries.groups) / 4;
  const uint32_t tail = queries.leading != 0 ? 0 : queries.groups % 4;
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
      if (goes_on)
        _mm_prefetch(reinterpret_cast<const char*>(ahead + (size_t{quad} * nb + b) * kQuadBytes), _MM_HINT_T1);
    }
    step_avx2(nq, nb, first, tables + quad * 128, table_stride, even, odd);
    step_avx2(nq, nb, second, tables + quad * 128 + 32, table_stride, even, odd);
  }
  if (tail != 0) {
    for (int b = 0; b < nb; ++b) load_tail_avx2(block[b] + full * kQuadBytes, tail, &first[b], &second[b]);
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

// Register tiles (queries x blocks): 4 x 1, 1 x 4, and 1 x 2 for the neighbours of a graph's node.
void scan_table_avx2(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                     size_t stride) noexcept {
  if (queries.count == 1 && blocks <= 2) return tile_avx2(1, 2, false, data, 0, blocks, queries, 0, sums, stride);
  for (size_t base = 0; base < blocks; base += 4) {
    const size_t end = base + 4 < blocks ? base + 4 : blocks;
    uint32_t q = 0;
    for (; q + 4 <= queries.count; q += 4)
      for (size_t at = base; at < end; ++at) tile_avx2(4, 1, true, data, at, blocks, queries, q, sums, stride);
    for (; q < queries.count; ++q) tile_avx2(1, 4, true, data, base, blocks, queries, q, sums, stride);
  }
}

// The nibbles of four blocks as lookups take them: of each pair of a quad, for each block its low nibbles, then its
// high ones. Blocks past the end repeat the last.
BEBR_INLINE void sort_nibbles_avx2(const uint8_t* data, size_t base, size_t blocks, uint32_t groups, uint32_t quads,
                                   uint8_t* out) {
  const __m256i nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 4
  for (size_t b = 0; b < 4; ++b) {
    const uint8_t* block = data + (base + b < blocks ? base + b : blocks - 1) * groups * kBlockRows;
    for (uint32_t quad = 0; quad < quads; ++quad) {
      __m256i pair[2];
      if (groups - 4 * quad >= 4) {
        load_quad_avx2(block + quad * kQuadBytes, &pair[0], &pair[1]);
      } else {
        load_tail_avx2(block + quad * kQuadBytes, groups % 4, &pair[0], &pair[1]);
      }
      _mm_prefetch(reinterpret_cast<const char*>(block + quad * kQuadBytes + kScanAhead), _MM_HINT_T1);
#pragma GCC unroll 2
      for (size_t half = 0; half < 2; ++half) {
        uint8_t* to = out + quad * kSortedQuad + half * kSortedQuad / 2 + b * 64;
        store_avx2(to, _mm256_and_si256(pair[half], nibble));
        store_avx2(to + 32, _mm256_and_si256(_mm256_srli_epi16(pair[half], 4), nibble));
      }
    }
  }
}

// Sums of one query over four blocks.
BEBR_INLINE void tile_sorted_avx2(const uint8_t* sorted, uint32_t quads, const uint8_t* table, int32_t bias,
                                  size_t there, int32_t* sums) {
  __m256i even[4], odd[4];
#pragma GCC unroll 4
  for (int b = 0; b < 4; ++b) even[b] = odd[b] = _mm256_setzero_si256();
  const uint8_t* end = sorted + quads * kSortedQuad;
  do {
#pragma GCC unroll 2
    for (size_t half = 0; half < 2; ++half) {
      const __m256i low = load_avx2(table + 32 * half), high = load_avx2(table + 64 + 32 * half);
#pragma GCC unroll 4
      for (int b = 0; b < 4; ++b) {
        const uint8_t* nibbles = sorted + half * kSortedQuad / 2 + b * 64;
        const __m256i sum = _mm256_add_epi8(_mm256_shuffle_epi8(low, load_avx2(nibbles)),
                                            _mm256_shuffle_epi8(high, load_avx2(nibbles + 32)));
        even[b] = _mm256_add_epi16(even[b], sum);
        odd[b] = _mm256_add_epi16(odd[b], _mm256_srli_epi16(sum, 8));
        __asm__ volatile("" : "+x"(even[b]), "+x"(odd[b]));  // as in step_avx2
      }
    }
    sorted += kSortedQuad;
    table += 128;
  } while (sorted != end);
#pragma GCC unroll 4
  for (size_t b = 0; b < 4; ++b)
    if (b < there) store_sums_avx2(even[b], odd[b], bias, sums + b * kBlockRows);
}

// Nibbles are sorted once for all queries, in pieces that stay in L1.
void scan_batch_avx2(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                     size_t stride) noexcept {
  if (queries.count < kSortFrom) return scan_table_avx2(data, blocks, queries, sums, stride);
  static thread_local struct alignas(64) Scratch {
    uint8_t nibbles[kMaxDims / 32 * kSortedQuad];
  } scratch;
  const uint32_t quads = ((queries.leading != 0 ? queries.leading : queries.groups) + 3) / 4;
  const size_t four = quads * kSortedQuad, piece = four < kBatchBytes ? kBatchBytes / four * 4 : 4;
  for (size_t base = 0; base < blocks; base += piece) {
    const size_t end = base + piece < blocks ? base + piece : blocks;
    for (size_t at = base; at < end; at += 4)
      sort_nibbles_avx2(data, at, blocks, queries.groups, quads, scratch.nibbles + (at - base) / 4 * four);
    for (uint32_t q = 0; q < queries.count; ++q) {
      const uint8_t* table = queries.tables + q * table_bytes(queries.groups);
      for (size_t at = base; at < end; at += 4)
        tile_sorted_avx2(scratch.nibbles + (at - base) / 4 * four, quads, table, queries.bias[q], end - at,
                         sums + q * stride + at * kBlockRows);
    }
  }
}

// Negative sums of the entries of y16 whose bits are set: of the first 16 of 32 bits, and of the others.
struct Halves {
  __m256i first, second;
};

// 32 bits in every lane. Bytes of the mask are ordered so that doubling the low and the high ones keeps the order.
BEBR_INLINE Halves add_bits_avx2(Halves acc, __m256i bits, const int16_t* y16) {
  const __m256i byte_of_lane =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i one_bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bits, byte_of_lane), one_bit), one_bit);
  acc.first = _mm256_add_epi32(acc.first, _mm256_madd_epi16(_mm256_unpacklo_epi8(set, set), load_avx2(y16)));
  acc.second = _mm256_add_epi32(acc.second, _mm256_madd_epi16(_mm256_unpackhi_epi8(set, set), load_avx2(y16 + 16)));
  __asm__("" : "+x"(acc.first), "+x"(acc.second));  // g++ would copy both in every step
  return acc;
}

BEBR_INLINE __m256i four_bytes_avx2(const uint8_t* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm256_set1_epi32(bits);
}

// Fewer than 4 bytes, zeros above.
BEBR_INLINE __m256i few_bytes_avx2(const uint8_t* p, uint32_t bytes) {
  uint32_t bits = 0;
  for (uint32_t k = 0; k < bytes; ++k) bits |= uint32_t{p[k]} << (8 * k);
  return _mm256_set1_epi32(static_cast<int32_t>(bits));
}

// A plane of contiguous bytes. Its last ones are read with those before them, where there are enough.
BEBR_INLINE Halves add_plane_avx2(Halves acc, const uint8_t* plane, uint32_t bytes, const int16_t* y16) {
  uint32_t at = 0;
#pragma GCC unroll 4
  for (; at + 4 <= bytes; at += 4) acc = add_bits_avx2(acc, four_bytes_avx2(plane + at), y16 + 8 * at);
  if (at == bytes) return acc;
  if (bytes < 4) return add_bits_avx2(acc, few_bytes_avx2(plane, bytes), y16);
  uint32_t bits;
  std::memcpy(&bits, plane + bytes - 4, sizeof bits);
  return add_bits_avx2(acc, _mm256_set1_epi32(static_cast<int32_t>(bits >> 8 * (at + 4 - bytes))), y16 + 8 * at);
}

// The sign plane of row `row` of a block: 32 dims are 4 adjacent bytes of a quad.
BEBR_INLINE Halves add_sign_avx2(Halves acc, const uint8_t* block, uint32_t row, uint32_t groups, const int16_t* y16) {
  uint32_t g = 0;
#pragma GCC unroll 4
  for (; g + 4 <= groups; g += 4)
    acc = add_bits_avx2(acc, four_bytes_avx2(block + g * kBlockRows + 4 * row), y16 + 8 * g);
  const uint32_t left = groups - g;
  return left > 0 ? add_bits_avx2(acc, few_bytes_avx2(block + g * kBlockRows + left * row, left), y16 + 8 * g) : acc;
}

BEBR_INLINE uint32_t sum_lanes_avx2(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1))));
}

BEBR_INLINE void prefetch_avx2(const uint8_t* p, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) _mm_prefetch(reinterpret_cast<const char*>(p + at), _MM_HINT_T1);
}

// Planes join from the first to the last, each sum twice the one before plus the next plane. With bits b = (r + 1) / 2,
// a score is 2 * (sum over set bits) - PlaneRange::ones.
void complete_avx2(const ScanView& view, const int16_t* y16, const PlaneRange& range, const uint32_t* rows,
                   size_t count, int32_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t groups = spec.groups(), rest_bytes = spec.rest_bytes();
  const uint32_t from_plane = range.first == 0 ? 1 : range.first;
  uint32_t from = 0, bytes = 0;  // of the rest: where the range begins, and what it takes
  for (uint32_t t = 1; t < range.first; ++t) from += spec.widths[t] / 8;
  for (uint32_t t = from_plane; t < range.last; ++t) bytes += spec.widths[t] / 8;
  const size_t sign_bytes = size_t{groups} * kBlockRows;
  for (size_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) {
      const size_t next = rows[i + kRowsAhead];
      if (range.first == 0) prefetch_avx2(view.blocks + next / kBlockRows * sign_bytes, sign_bytes);
      prefetch_avx2(view.rest + next * rest_bytes + from, bytes);
    }
    Halves acc = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    if (range.first == 0)
      acc = add_sign_avx2(acc, view.blocks + rows[i] / kBlockRows * sign_bytes, rows[i] % kBlockRows, groups, y16);
    const uint8_t* plane = view.rest + size_t{rows[i]} * rest_bytes + from;
    for (uint32_t t = from_plane; t < range.last; ++t) {
      acc = {_mm256_add_epi32(acc.first, acc.first), _mm256_add_epi32(acc.second, acc.second)};
      acc = add_plane_avx2(acc, plane, spec.widths[t] / 8, y16);
      plane += spec.widths[t] / 8;
    }
    const uint32_t set = sum_lanes_avx2(_mm256_add_epi32(acc.first, acc.second)) << (spec.planes - range.last);
    out[i] = static_cast<int32_t>(0u - 2 * set - static_cast<uint32_t>(range.ones));
  }
}

}  // namespace

void bind_avx2(Kernels& table) noexcept {
  table.scan_table = scan_table_avx2;
  table.scan_batch = scan_batch_avx2;
  table.complete = complete_avx2;
}

}  // namespace bebr
