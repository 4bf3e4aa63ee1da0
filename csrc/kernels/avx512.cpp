// AVX-512: the integer kernels of kernels.h.
//
// Layout: kernels.h, code/layout.h. One 64-byte load is a quad: 32 dims of 16 documents.
//
// Bounds: joined table entries <= 254; sums in 32 bits. y16 sums wrap modulo 2^32 and end below 2^31. Paper's table, in
// 16 bits: 255 * 256 = 65280 between two widenings.
//
// Instructions: vpermb (64 lookups in 4 tables), vpdpbusd (4 entries to a document's sum), vpdpwssd (y16 sums),
// vpopcntq, vcvtph2ps, vpcompressd. vpermb and vpdpbusd against vpshufb and 16-bit additions: 1.5 times the pairs at 8
// queries, 1.4 times the vectors at one (docs/experiments/quads.md).
//
// Source: lut_sdc and popcount_sdc are the paper's symmetric distance calculation (arXiv 2302.08714); scan, select and
// complete: docs/method.md, "Progressive search".
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,f16c,fma,popcnt,bmi2")

// Loop counts and modes are literals at every call of these, so their loops unroll and their branches fold.
#define BEBR_INLINE static inline __attribute__((always_inline))

namespace bebr {
namespace {

constexpr size_t kQuadBytes = 64;    // 4 groups of a block
constexpr size_t kScanAhead = 8192;  // bytes, into L2: of 1 to 16 KB, L1, L2 and NTA the fastest from DRAM
// Survivors prefetched ahead, into L2: the 16 line buffers of L1 hold little more than one row.
constexpr size_t kRowsAhead = 10;
constexpr size_t kBatchBytes = 16384;  // documents of scan_batch that stay in L1 while all queries pass

BEBR_INLINE __m512i load_bytes_avx512(const uint8_t* p, size_t bytes) {
  return bytes >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8((__mmask64{1} << bytes) - 1, p);
}

// The last quad of a block when it has only `bytes` 1 .. 3 bytes a document, spread to 4; the missing ones are 0.
BEBR_INLINE __m512i load_tail_avx512(const uint8_t* p, uint32_t bytes) {
  const __m512i document = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i first = _mm512_mullo_epi32(document, _mm512_set1_epi32(static_cast<int32_t>(0x01010101u * bytes)));
  const __m512i from = _mm512_add_epi8(first, _mm512_set1_epi32(0x03020100));
  const __mmask64 there = 0x1111111111111111u * ((1u << bytes) - 1);
  return _mm512_maskz_permutexvar_epi8(there, from, load_bytes_avx512(p, size_t{bytes} * kBlockRows));
}

// sums[q * nb + b] += one quad of nb blocks for nq queries. A dword of `codes` is 4 byte groups of a document; the
// tables of the 4 low nibbles (then of the high ones) are the 64 entries that vpermb chooses from.
BEBR_INLINE void step_avx512(const int nq, const int nb, const __m512i* codes, const uint8_t* tables,
                             size_t table_stride, __m512i* sums) {
  const __m512i nibble = _mm512_set1_epi8(15), table_of_byte = _mm512_set1_epi32(0x30201000),
                ones = _mm512_set1_epi8(1);
#pragma GCC unroll 4
  for (int b = 0; b < nb; ++b) {
    // (x & nibble) | table_of_byte
    const __m512i low = _mm512_ternarylogic_epi32(codes[b], nibble, table_of_byte, 0xea);
    const __m512i high = _mm512_ternarylogic_epi32(_mm512_srli_epi32(codes[b], 4), nibble, table_of_byte, 0xea);
#pragma GCC unroll 8
    for (int q = 0; q < nq; ++q) {
      const uint8_t* table = tables + q * table_stride;
      const __m512i from_low = _mm512_permutexvar_epi8(low, _mm512_loadu_si512(table));
      const __m512i from_high = _mm512_permutexvar_epi8(high, _mm512_loadu_si512(table + 64));
      const int c = q * nb + b;
      if (nq >= 8) {  // enough chains of sums to keep up; with few queries the byte addition saves 12 %
        sums[c] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sums[c], from_low, ones), from_high, ones);
      } else {
        sums[c] = _mm512_dpbusd_epi32(sums[c], _mm512_add_epi8(from_low, from_high), ones);
      }
    }
  }
}

// Sums of nq queries from `query` on over nb blocks from `base` on; nq * nb <= 8. Blocks past the end repeat the
// last and are not written.
BEBR_INLINE void tile_avx512(const int nq, const int nb, const uint8_t* data, size_t base, size_t blocks,
                             const ScanQueries& queries, uint32_t query, int32_t* sums, size_t stride) {
  const size_t table_stride = table_bytes(queries.groups), block_bytes = size_t{queries.groups} * kBlockRows;
  const uint8_t* tables = queries.tables + query * table_stride;
  const uint8_t* block[4];
#pragma GCC unroll 4
  for (int b = 0; b < nb; ++b) {
    const size_t at = base + static_cast<size_t>(b);
    block[b] = data + (at < blocks ? at : blocks - 1) * block_bytes;
  }
  const uint32_t full = queries.groups / 4;
  // Blocks are prefetched in the order of memory, not of use: 10 % faster from DRAM.
  const uint8_t* ahead = block[0] + kScanAhead;
  __m512i sums_of[8], codes[4];
#pragma GCC unroll 8
  for (int c = 0; c < nq * nb; ++c) sums_of[c] = _mm512_set1_epi32(-queries.bias[query + c / nb]);
  for (uint32_t quad = 0; quad < full; ++quad) {
#pragma GCC unroll 4
    for (int b = 0; b < nb; ++b) {
      codes[b] = _mm512_loadu_si512(block[b] + quad * kQuadBytes);
      _mm_prefetch(reinterpret_cast<const char*>(ahead + (size_t{quad} * nb + b) * kQuadBytes), _MM_HINT_T1);
    }
    step_avx512(nq, nb, codes, tables + quad * 128, table_stride, sums_of);
  }
  if (queries.groups % 4 != 0) {
#pragma GCC unroll 4
    for (int b = 0; b < nb; ++b) codes[b] = load_tail_avx512(block[b] + full * kQuadBytes, queries.groups % 4);
    step_avx512(nq, nb, codes, tables + full * 128, table_stride, sums_of);
  }
#pragma GCC unroll 8
  for (int c = 0; c < nq * nb; ++c) {
    const size_t q = query + static_cast<uint32_t>(c / nb), at = base + static_cast<size_t>(c % nb);
    if (at < blocks) _mm512_storeu_si512(sums + q * stride + at * kBlockRows, sums_of[c]);
  }
}

// Four blocks at a time. Register tiles (queries x blocks): 8 x 1, 4 x 2, 2 x 4, 1 x 4.
void scan_table_avx512(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                       size_t stride) noexcept {
  for (size_t base = 0; base < blocks; base += 4) {
    const size_t end = base + 4 < blocks ? base + 4 : blocks;
    uint32_t q = 0;
    for (; q + 8 <= queries.count; q += 8)
      for (size_t at = base; at < end; ++at) tile_avx512(8, 1, data, at, blocks, queries, q, sums, stride);
    for (; q + 4 <= queries.count; q += 4)
      for (size_t at = base; at < end; at += 2) tile_avx512(4, 2, data, at, blocks, queries, q, sums, stride);
    for (; q + 2 <= queries.count; q += 2) tile_avx512(2, 4, data, base, blocks, queries, q, sums, stride);
    if (q < queries.count) tile_avx512(1, 4, data, base, blocks, queries, q, sums, stride);
  }
}

// Eight queries at a time over pieces of the documents that stay in L1.
void scan_batch_avx512(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                       size_t stride) noexcept {
  const size_t block_bytes = size_t{queries.groups} * kBlockRows;
  const size_t piece = block_bytes * 4 < kBatchBytes ? kBatchBytes / block_bytes / 4 * 4 : 4;
  for (size_t base = 0; base < blocks; base += piece) {
    const size_t count = base + piece < blocks ? piece : blocks - base;
    for (uint32_t q = 0; q < queries.count; q += 8) {
      const ScanQueries eight = {queries.count - q < 8 ? queries.count - q : 8, queries.groups,
                                 queries.tables + q * table_bytes(queries.groups),
                                 queries.y8 + q * y8_stride(queries.groups), queries.bias + q};
      scan_table_avx512(data + base * block_bytes, count, eight, sums + q * stride + base * kBlockRows, stride);
    }
  }
}

// What select compares and where it writes.
struct Selection {
  __m512 base, scale, threshold;
  uint32_t first_row;
  uint32_t* rows;
  float* scores;
  size_t kept;
  __m256i low, step;  // of FactorCode
};

// Factors of rows i .. i + 15, of which `here` exist. Those of one byte are fp16 patterns.
BEBR_INLINE __m512 factors_avx512(const uint32_t bytes, const Selection& to, const uint8_t* factors, size_t i,
                                  __mmask16 here) {
  if (bytes == 4) return _mm512_maskz_loadu_ps(here, factors + 4 * i);
  if (bytes == 2) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(here, factors + 2 * i));
  const __m256i steps = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(_mm_maskz_loadu_epi8(here, factors + i)), to.step);
  return _mm512_cvtph_ps(_mm256_add_epi16(to.low, steps));
}

// Scores of rows i .. i + 15, of which `here` exist.
BEBR_INLINE __m512 score_avx512(const Factor mode, const uint32_t bytes, const Selection& to, const int32_t* sums,
                                const uint8_t* factors, size_t i, __mmask16 here) {
  const __m512 sum = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(here, sums + i));
  const __m512 score = _mm512_add_ps(to.base, _mm512_mul_ps(to.scale, sum));
  if (mode == Factor::None) return score;
  const __m512 factor = factors_avx512(bytes, to, factors, i, here);
  return mode == Factor::Mul ? _mm512_mul_ps(score, factor) : _mm512_sub_ps(score, factor);
}

// Compressed in a register and stored whole: kept <= i, so the 16 entries are within the promised room, and a
// compressing store to memory is microcoded on AMD.
BEBR_INLINE void keep_avx512(Selection& to, size_t i, __mmask16 keep, __m512 score) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i row = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int32_t>(to.first_row + i)), lane);
  _mm512_storeu_si512(to.rows + to.kept, _mm512_maskz_compress_epi32(keep, row));
  _mm512_storeu_ps(to.scores + to.kept, _mm512_maskz_compress_ps(keep, score));
  to.kept += static_cast<size_t>(__builtin_popcount(keep));
}

BEBR_INLINE __mmask16 above_avx512(const Selection& to, const uint16_t* mask, size_t i, __mmask16 here, __m512 score) {
  const __mmask16 allowed = mask != nullptr ? static_cast<__mmask16>(here & mask[i / 16]) : here;
  return _mm512_mask_cmp_ps_mask(allowed, score, to.threshold, _CMP_GT_OQ);
}

// 32 rows to a branch: almost always none of them is kept.
BEBR_INLINE size_t select_mode_avx512(const Factor mode, const uint32_t bytes, const int32_t* sums, size_t rows,
                                      const uint8_t* factors, const uint16_t* mask, Selection to) {
  size_t i = 0;
  for (; i + 32 <= rows; i += 32) {
    const __m512 first = score_avx512(mode, bytes, to, sums, factors, i, 0xffff);
    const __m512 second = score_avx512(mode, bytes, to, sums, factors, i + 16, 0xffff);
    const __mmask16 keep_first = above_avx512(to, mask, i, 0xffff, first);
    const __mmask16 keep_second = above_avx512(to, mask, i + 16, 0xffff, second);
    if (_kortestz_mask16_u8(keep_first, keep_second) != 0) continue;
    keep_avx512(to, i, keep_first, first);
    keep_avx512(to, i + 16, keep_second, second);
  }
  for (; i < rows; i += 16) {
    const __mmask16 here = rows - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (rows - i)) - 1);
    const __m512 score = score_avx512(mode, bytes, to, sums, factors, i, here);
    keep_avx512(to, i, above_avx512(to, mask, i, here, score), score);
  }
  return to.kept;
}

BEBR_INLINE size_t select_bytes_avx512(const Factor mode, uint32_t bytes, const int32_t* sums, size_t rows,
                                       const uint8_t* factors, const uint16_t* mask, const Selection& to) {
  if (bytes == 1) return select_mode_avx512(mode, 1, sums, rows, factors, mask, to);
  if (bytes == 2) return select_mode_avx512(mode, 2, sums, rows, factors, mask, to);
  return select_mode_avx512(mode, 4, sums, rows, factors, mask, to);
}

size_t select_avx512(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code, Factor mode,
                     const uint16_t* mask, float base, float scale, float threshold, uint32_t first_row,
                     uint32_t* kept_rows, float* kept_scores) noexcept {
  const Selection to = {_mm512_set1_ps(base),
                        _mm512_set1_ps(scale),
                        _mm512_set1_ps(threshold),
                        first_row,
                        kept_rows,
                        kept_scores,
                        0,
                        _mm256_set1_epi16(static_cast<int16_t>(code.low)),
                        _mm256_set1_epi16(static_cast<int16_t>(code.step))};
  if (mode == Factor::None) return select_mode_avx512(Factor::None, 1, sums, rows, factors, mask, to);
  if (mode == Factor::Mul) return select_bytes_avx512(Factor::Mul, code.bytes, sums, rows, factors, mask, to);
  return select_bytes_avx512(Factor::Sub, code.bytes, sums, rows, factors, mask, to);
}

// Two accumulators, because one would wait for itself: vpdpwssd takes 5 cycles, and comes every 2 or 3.
struct Pair {
  __m512i even, odd;
};

BEBR_INLINE uint32_t sum_avx512(const Pair& acc) {
  return static_cast<uint32_t>(_mm512_reduce_add_epi32(_mm512_add_epi32(acc.even, acc.odd)));
}

BEBR_INLINE __m512i plane_weight_avx512(const CodeSpec& spec, uint32_t t) {
  return _mm512_set1_epi16(static_cast<int16_t>(1 << (spec.planes - 1 - t)));
}

// acc += weight * sum of the 32 entries of y16 whose bit is set.
BEBR_INLINE __m512i add_bits_avx512(__m512i acc, uint32_t bits, const int16_t* y16, __m512i weight) {
  return _mm512_dpwssd_epi32(acc, _mm512_maskz_loadu_epi16(bits, y16), weight);
}

BEBR_INLINE uint32_t load_bits_avx512(const uint8_t* p) {
  uint32_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return bits;
}

// The same of 1 to 3 bytes.
BEBR_INLINE uint32_t load_few_bits_avx512(const uint8_t* p, uint32_t bytes) {
  uint32_t bits = 0;
  for (uint32_t k = 0; k < bytes; ++k) bits |= uint32_t{p[k]} << (8 * k);
  return bits;
}

// acc += the planes first .. last - 1, contiguous from `plane` on.
BEBR_INLINE void add_planes_avx512(Pair& acc, const CodeSpec& spec, uint32_t first, uint32_t last, const uint8_t* plane,
                                   const int16_t* y16) {
  for (uint32_t t = first; t < last; ++t) {
    const __m512i weight = plane_weight_avx512(spec, t);
    const uint32_t width = spec.widths[t];
    uint32_t j = 0;
    for (; j + 64 <= width; j += 64) {
      acc.even = add_bits_avx512(acc.even, load_bits_avx512(plane + j / 8), y16 + j, weight);
      acc.odd = add_bits_avx512(acc.odd, load_bits_avx512(plane + j / 8 + 4), y16 + j + 32, weight);
    }
    if (j + 32 <= width) {
      acc.even = add_bits_avx512(acc.even, load_bits_avx512(plane + j / 8), y16 + j, weight);
      j += 32;
    }
    if (j < width) {  // 1 to 3 bytes; the row may end there
      acc.odd = add_bits_avx512(acc.odd, load_few_bits_avx512(plane + j / 8, (width - j) / 8), y16 + j, weight);
    }
    plane += width / 8;
  }
}

// The same for the sign plane, in a block: 32 dims of a document are 4 adjacent bytes of a quad.
BEBR_INLINE void add_sign_avx512(Pair& acc, const CodeSpec& spec, const uint8_t* block, uint32_t document,
                                 const int16_t* y16) {
  const __m512i weight = plane_weight_avx512(spec, 0);
  const uint32_t groups = spec.groups();
  const uint8_t* quad = block + document * 4;
  uint32_t g = 0;
  for (; g + 8 <= groups; g += 8, quad += 2 * kQuadBytes) {
    acc.even = add_bits_avx512(acc.even, load_bits_avx512(quad), y16 + g * 8, weight);
    acc.odd = add_bits_avx512(acc.odd, load_bits_avx512(quad + kQuadBytes), y16 + g * 8 + 32, weight);
  }
  if (g + 4 <= groups) {
    acc.even = add_bits_avx512(acc.even, load_bits_avx512(quad), y16 + g * 8, weight);
    g += 4;
  }
  if (g < groups) {
    const uint8_t* tail = block + g * kBlockRows + document * (groups - g);
    acc.odd = add_bits_avx512(acc.odd, load_few_bits_avx512(tail, groups - g), y16 + g * 8, weight);
  }
}

// sum_t 2^(planes-1-t) sum_{j < widths[t]} y16[j]. With bits b = (r + 1) / 2, a score is 2 * (sum over set bits) -
// this.
uint32_t all_ones_avx512(const CodeSpec& spec, const int16_t* y16) {
  Pair acc = {};
  for (uint32_t t = 0; t < spec.planes; ++t) {
    for (uint32_t j = 0; j < spec.widths[t]; j += 32) {
      const uint32_t left = spec.widths[t] - j;
      acc.even = add_bits_avx512(acc.even, left >= 32 ? ~0u : (1u << left) - 1, y16 + j, plane_weight_avx512(spec, t));
    }
  }
  return sum_avx512(acc);
}

BEBR_INLINE void prefetch_avx512(const uint8_t* p, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) _mm_prefetch(reinterpret_cast<const char*>(p + at), _MM_HINT_T1);
}

void complete_avx512(const ScanView& view, const int16_t* y16, const PlaneRange& range, const uint32_t* rows,
                     size_t count, int32_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const size_t sign_bytes = block_bytes(spec), rest_bytes = spec.rest_bytes();
  const uint32_t ones = static_cast<uint32_t>(range.ones);
  uint32_t from = 0, bytes = 0;  // of the rest: where the range begins, and what it takes
  for (uint32_t t = 1; t < range.first; ++t) from += spec.widths[t] / 8;
  for (uint32_t t = range.first == 0 ? 1 : range.first; t < range.last; ++t) bytes += spec.widths[t] / 8;
  for (size_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) {
      const size_t next = rows[i + kRowsAhead];
      if (range.first == 0) prefetch_avx512(view.blocks + next / kBlockRows * sign_bytes, sign_bytes);
      prefetch_avx512(view.rest + next * rest_bytes + from, bytes);
    }
    Pair acc = {};
    if (range.first == 0)
      add_sign_avx512(acc, spec, view.blocks + rows[i] / kBlockRows * sign_bytes, rows[i] % kBlockRows, y16);
    add_planes_avx512(acc, spec, range.first == 0 ? 1 : range.first, range.last,
                      view.rest + rows[i] * rest_bytes + from, y16);
    out[i] = static_cast<int32_t>(2 * sum_avx512(acc) - ones);
  }
}

void dot_rows_avx512(const CodeSpec& spec, const uint8_t* data, size_t stride, const int16_t* y16, const uint32_t* rows,
                     size_t count, int32_t* out) noexcept {
  const uint32_t ones = all_ones_avx512(spec, y16), row_bytes = spec.row_bytes();
  for (size_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) prefetch_avx512(data + rows[i + kRowsAhead] * stride, row_bytes);
    Pair acc = {};
    add_planes_avx512(acc, spec, 0, spec.planes, data + rows[i] * stride, y16);
    out[i] = static_cast<int32_t>(2 * sum_avx512(acc) - ones);
  }
}

// 16-bit sums of the 4 lanes of `cell`, 8 documents, widened and joined.
BEBR_INLINE __m256i widen_lanes_avx512(__m512i cell) {
  const __m512i pairs = _mm512_add_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(cell)),
                                         _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(cell, 1)));
  return _mm256_add_epi32(_mm512_castsi512_si256(pairs), _mm512_extracti64x4_epi64(pairs, 1));
}

// The paper's kernel on two code bytes at a time. Cell k holds documents 4i + k.
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

void bind_avx512(Kernels& table) noexcept {
  table.scan_table = scan_table_avx512;
  table.scan_batch = scan_batch_avx512;
  table.select = select_avx512;
  table.complete = complete_avx512;
  table.dot_rows = dot_rows_avx512;
  table.lut_sdc = lut_sdc_avx512;
  table.popcount_sdc = popcount_sdc_avx512;
}

}  // namespace bebr
