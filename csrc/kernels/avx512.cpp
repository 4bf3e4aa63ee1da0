// AVX-512: the scan of the sign plane.
//
// Layout: kernels.h, code/layout.h. One 64-byte load is a quad: 32 dims of 16 documents.
//
// Bounds: joined table entries <= 254; sums in 32 bits.
//
// Instructions: vpermb (64 lookups in 4 tables), vpdpbusd (4 entries to a document's sum). Against vpshufb and 16-bit
// additions: 1.5 times the pairs at 8 queries, 1.4 times the vectors at one (docs/experiments/quads.md).
//
// Source: docs/method.md, "Progressive search".
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

constexpr size_t kScanAhead = 8192;    // bytes, into L2: of 1 to 16 KB, L1, L2 and NTA the fastest from DRAM
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
// last and are not written. goes_on: more data are behind these blocks, worth asking for.
BEBR_INLINE void tile_avx512(const int nq, const int nb, const bool goes_on, const uint8_t* data, size_t base,
                             size_t blocks, const ScanQueries& queries, uint32_t query, int32_t* sums, size_t stride) {
  const size_t table_stride = table_bytes(queries.groups), block_bytes = size_t{queries.groups} * kBlockRows;
  const uint8_t* tables = queries.tables + query * table_stride;
  const uint8_t* block[4];
#pragma GCC unroll 4
  for (int b = 0; b < nb; ++b) {
    const size_t at = base + static_cast<size_t>(b);
    block[b] = data + (at < blocks ? at : blocks - 1) * block_bytes;
  }
  const uint32_t full = (queries.leading != 0 ? queries.leading : queries.groups) / 4;
  const uint32_t tail = queries.leading != 0 ? 0 : queries.groups % 4;
  // Blocks are prefetched in the order of memory, not of use: 10 % faster from DRAM. Leading groups are not: the memory
  // between them would come along.
  const bool in_order = queries.leading == 0;
  const uint8_t* ahead = block[0] + kScanAhead;
  __m512i sums_of[8], codes[4];
#pragma GCC unroll 8
  for (int c = 0; c < nq * nb; ++c) sums_of[c] = _mm512_set1_epi32(-queries.bias[query + c / nb]);
  for (uint32_t quad = 0; quad < full; ++quad) {
#pragma GCC unroll 4
    for (int b = 0; b < nb; ++b) {
      codes[b] = _mm512_loadu_si512(block[b] + quad * kQuadBytes);
      if (goes_on && in_order)
        _mm_prefetch(reinterpret_cast<const char*>(ahead + (size_t{quad} * nb + b) * kQuadBytes), _MM_HINT_T1);
      if (goes_on && !in_order)
        _mm_prefetch(reinterpret_cast<const char*>(block[b] + 4 * block_bytes + quad * kQuadBytes), _MM_HINT_T0);
    }
    step_avx512(nq, nb, codes, tables + quad * 128, table_stride, sums_of);
  }
  if (tail != 0) {
#pragma GCC unroll 4
    for (int b = 0; b < nb; ++b) codes[b] = load_tail_avx512(block[b] + full * kQuadBytes, tail);
    step_avx512(nq, nb, codes, tables + full * 128, table_stride, sums_of);
  }
#pragma GCC unroll 8
  for (int c = 0; c < nq * nb; ++c) {
    const size_t q = query + static_cast<uint32_t>(c / nb), at = base + static_cast<size_t>(c % nb);
    if (at < blocks) _mm512_storeu_si512(sums + q * stride + at * kBlockRows, sums_of[c]);
  }
}

// Four blocks at a time. Register tiles (queries x blocks): 8 x 1, 4 x 2, 2 x 4, 1 x 4, and 1 x 2 for the neighbours
// of a graph's node.
void scan_table_avx512(const uint8_t* data, size_t blocks, const ScanQueries& queries, int32_t* sums,
                       size_t stride) noexcept {
  if (queries.count == 1 && blocks <= 2) return tile_avx512(1, 2, false, data, 0, blocks, queries, 0, sums, stride);
  for (size_t base = 0; base < blocks; base += 4) {
    const size_t end = base + 4 < blocks ? base + 4 : blocks;
    uint32_t q = 0;
    for (; q + 8 <= queries.count; q += 8)
      for (size_t at = base; at < end; ++at) tile_avx512(8, 1, true, data, at, blocks, queries, q, sums, stride);
    for (; q + 4 <= queries.count; q += 4)
      for (size_t at = base; at < end; at += 2) tile_avx512(4, 2, true, data, at, blocks, queries, q, sums, stride);
    for (; q + 2 <= queries.count; q += 2) tile_avx512(2, 4, true, data, base, blocks, queries, q, sums, stride);
    if (q < queries.count) tile_avx512(1, 4, true, data, base, blocks, queries, q, sums, stride);
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
      const ScanQueries eight = {queries.count - q < 8 ? queries.count - q : 8,
                                 queries.groups,
                                 queries.tables + q * table_bytes(queries.groups),
                                 queries.y8 + q * y8_stride(queries.groups),
                                 queries.bias + q,
                                 queries.leading};
      scan_table_avx512(data + base * block_bytes, count, eight, sums + q * stride + base * kBlockRows, stride);
    }
  }
}

}  // namespace

void bind_avx512(Kernels& table) noexcept {
  table.scan_table = scan_table_avx512;
  table.scan_batch = scan_batch_avx512;
}

}  // namespace bebr
