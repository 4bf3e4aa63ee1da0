// AVX-512: whole codes as bytes, 16 rows side by side, and their products with many queries (kernels.h: expand,
// dot_expanded).
//
// Layout: 64 bits of a row's plane are one mask that adds the plane's weight to 64 bytes; 16 rows are then transposed
// by dwords, so that one vpdpbusd multiplies 4 dims of 16 rows with 4 bytes of a query.
//
// Bounds: scalar_expand.cpp.
//
// Instructions: kmovq from memory, masked vpaddb, 64 shuffles for 16 x 64 bytes; vpdpbusd of 2 blocks x 12 queries (24
// sums in registers) against dwords of the queries that are broadcast from L1.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bitalg,avx512vpopcntdq,f16c,fma,popcnt,bmi2")

namespace bebr {
namespace {

BEBR_INLINE uint64_t load_few_avx512_expand(const uint8_t* p, uint32_t bytes) {
  // Bytes outside of the mask are not read. One by one they took twice as long as all else here (50 dims of 2 planes).
  const __mmask16 there = static_cast<__mmask16>(bytes < 8 ? (1u << bytes) - 1 : 0xff);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_maskz_loadu_epi8(there, p)));
}

// Rows of a block, as far as the view has them; beyond, its last row again.
struct BlockRows {
  const uint8_t* sign;  // of the block
  const uint8_t* rest;  // of its first row
  size_t rest_bytes, last;
};

// The 64 bits of row i at byte `at` of a plane in the rest, or of the sign plane at group `at`.
BEBR_INLINE uint64_t rest_bits_avx512(const BlockRows& rows, size_t i, uint32_t at, uint32_t bytes) {
  return load_few_avx512_expand(rows.rest + (i < rows.last ? i : rows.last) * rows.rest_bytes + at, bytes);
}
BEBR_INLINE uint64_t sign_bits_avx512(const BlockRows& rows, size_t i, uint32_t at, uint32_t bytes) {
  const uint8_t* quad = rows.sign + at * kBlockRows;
  const uint32_t low = bytes < 4 ? bytes : 4, high = bytes - low < 4 ? bytes - low : 4;
  return load_few_avx512_expand(quad + i * low, low) | load_few_avx512_expand(quad + 4 * kBlockRows + i * high, high)
                                                           << 32;
}
BEBR_INLINE uint64_t sign_whole_avx512(const BlockRows& rows, size_t i, uint32_t at) {
  uint32_t low, high;
  std::memcpy(&low, rows.sign + at * kBlockRows + 4 * i, 4);
  std::memcpy(&high, rows.sign + (at + 4) * kBlockRows + 4 * i, 4);
  return low | uint64_t{high} << 32;
}

// r[i] = dwords i of the 16 rows r.
BEBR_INLINE void transpose_avx512(__m512i* r) {
  __m512i a[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  // r[4 b + c]: in lane l, dword 4 l + c of rows 4 b .. 4 b + 3.
#pragma GCC unroll 4
  for (int b = 0; b < 16; b += 4) {
    r[b] = _mm512_unpacklo_epi64(a[b], a[b + 2]);
    r[b + 1] = _mm512_unpackhi_epi64(a[b], a[b + 2]);
    r[b + 2] = _mm512_unpacklo_epi64(a[b + 1], a[b + 3]);
    r[b + 3] = _mm512_unpackhi_epi64(a[b + 1], a[b + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i even0 = _mm512_shuffle_i32x4(r[c], r[c + 4], 0x88), odd0 = _mm512_shuffle_i32x4(r[c], r[c + 4], 0xdd);
    const __m512i even1 = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0x88),
                  odd1 = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0xdd);
    a[c] = _mm512_shuffle_i32x4(even0, even1, 0x88);
    a[c + 8] = _mm512_shuffle_i32x4(even0, even1, 0xdd);
    a[c + 4] = _mm512_shuffle_i32x4(odd0, odd1, 0x88);
    a[c + 12] = _mm512_shuffle_i32x4(odd0, odd1, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = a[i];
}

// 64 dims of 16 rows, from dim 64 * step on.
BEBR_INLINE void expand_step_avx512(const CodeSpec& spec, const BlockRows& rows, uint32_t step, uint8_t* out) {
  __m512i u[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) u[i] = _mm512_setzero_si512();
  uint32_t plane = 0;  // where plane t begins in the rest
  for (uint32_t t = 0; t < spec.planes && spec.widths[t] > 64 * step; ++t) {
    const uint32_t at = 8 * step, left = spec.widths[t] / 8 - at;
    const __m512i weight = _mm512_set1_epi8(static_cast<char>(1 << (spec.planes - 1 - t)));
    if (t == 0 && left >= 8) {
#pragma GCC unroll 16
      for (size_t i = 0; i < 16; ++i) u[i] = _mm512_maskz_mov_epi8(sign_whole_avx512(rows, i, at), weight);
    } else if (t == 0) {
      for (size_t i = 0; i < 16; ++i) u[i] = _mm512_maskz_mov_epi8(sign_bits_avx512(rows, i, at, left), weight);
    } else if (left >= 8) {
#pragma GCC unroll 16
      for (size_t i = 0; i < 16; ++i)
        u[i] = _mm512_mask_add_epi8(u[i], rest_bits_avx512(rows, i, plane + at, 8), u[i], weight);
    } else {
      for (size_t i = 0; i < 16; ++i)
        u[i] = _mm512_mask_add_epi8(u[i], rest_bits_avx512(rows, i, plane + at, left), u[i], weight);
    }
    if (t > 0) plane += spec.widths[t] / 8;
  }
  transpose_avx512(u);
  const __mmask16 there = static_cast<__mmask16>((2u << rows.last) - 1);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_storeu_si512(out + 64 * i, _mm512_maskz_mov_epi32(there, u[i]));
}

void expand_avx512(const ScanView& view, size_t first, size_t blocks, uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t groups = spec.groups(), steps = (groups + 7) / 8;
  for (size_t block = first; block < first + blocks; ++block) {
    const size_t row = block * kBlockRows, left = view.rows - row;
    const BlockRows rows = {view.blocks + block * block_bytes(spec), view.rest + row * spec.rest_bytes(),
                            spec.rest_bytes(), (left < kBlockRows ? left : kBlockRows) - 1};
    for (uint32_t step = 0; step < steps; ++step, out += 64 * kBlockRows) expand_step_avx512(spec, rows, step, out);
  }
}

struct Product {
  const uint8_t* expanded;  // of the first block
  size_t block_bytes;
  uint32_t dwords;  // of a query that are read
  const int8_t* y8;
  size_t y8_row;
  int32_t* sums;
  size_t stride;
};

BEBR_INLINE void dot_few_avx512(const int blocks, const int queries, const Product& p) {
  __m512i sum[2][12];
#pragma GCC unroll 12
  for (int q = 0; q < queries; ++q) {
    sum[0][q] = _mm512_setzero_si512();
    if (blocks == 2) sum[1][q] = _mm512_setzero_si512();
  }
  for (uint32_t d = 0; d < p.dwords; ++d) {
    const __m512i u0 = _mm512_loadu_si512(p.expanded + 64 * d);
    const __m512i u1 = blocks == 2 ? _mm512_loadu_si512(p.expanded + p.block_bytes + 64 * d) : u0;
#pragma GCC unroll 12
    for (int q = 0; q < queries; ++q) {
      int32_t four;
      std::memcpy(&four, p.y8 + static_cast<size_t>(q) * p.y8_row + 4 * d, 4);
      const __m512i y = _mm512_set1_epi32(four);
      sum[0][q] = _mm512_dpbusd_epi32(sum[0][q], u0, y);
      if (blocks == 2) sum[1][q] = _mm512_dpbusd_epi32(sum[1][q], u1, y);
    }
  }
#pragma GCC unroll 12
  for (int q = 0; q < queries; ++q) {
    _mm512_storeu_si512(p.sums + static_cast<size_t>(q) * p.stride, sum[0][q]);
    if (blocks == 2) _mm512_storeu_si512(p.sums + static_cast<size_t>(q) * p.stride + kBlockRows, sum[1][q]);
  }
}

BEBR_INLINE void dot_blocks_avx512(const int blocks, Product p, size_t count) {
  while (count > 0) {
    size_t done = 1;
    if (count >= 12) {
      dot_few_avx512(blocks, 12, p);
      done = 12;
    } else if (count >= 6) {
      dot_few_avx512(blocks, 6, p);
      done = 6;
    } else if (count >= 3) {
      dot_few_avx512(blocks, 3, p);
      done = 3;
    } else {
      dot_few_avx512(blocks, 1, p);
    }
    count -= done;
    p.y8 += done * p.y8_row;
    p.sums += done * p.stride;
  }
}

void dot_expanded_avx512(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                         int32_t* sums, size_t stride) noexcept {
  Product p = {expanded, expanded_bytes(groups), 2 * groups, y8, y8_stride(groups), sums, stride};
  for (; blocks >= 2; blocks -= 2, p.expanded += 2 * p.block_bytes, p.sums += 2 * kBlockRows)
    dot_blocks_avx512(2, p, count);
  if (blocks == 1) dot_blocks_avx512(1, p, count);
}

}  // namespace

void bind_avx512_expand(Kernels& table) noexcept {
  table.expand = expand_avx512;
  table.dot_expanded = dot_expanded_avx512;
  table.expand_queries = 8;
  table.expands_flat = true;
}

}  // namespace bebr
