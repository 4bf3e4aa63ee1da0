// AVX-512: whole codes as bytes, 16 rows side by side, and their products with many queries (kernels.h: expand,
// dot_expanded, expand_tail, dot_tail).
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

#include "kernels/avx512_sums.h"
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

// The bits of one row: `bytes` bytes at p. Of fewer than 8 the 8 that end with them are read, where `before` says that
// those before them are the same block's: half the time of the masked load.
BEBR_INLINE uint64_t bits_avx512(const uint8_t* p, uint32_t bytes, const bool before) {
  if (!before) return load_few_avx512_expand(p, bytes);
  uint64_t bits;
  std::memcpy(&bits, p + bytes - 8, 8);
  return bits >> (64 - 8 * bytes);
}
BEBR_INLINE uint64_t sign_bits_avx512(const BlockRows& rows, size_t i, uint32_t at, uint32_t bytes) {
  const uint8_t* quad = rows.sign + at * kBlockRows;
  const uint32_t low = bytes < 4 ? bytes : 4, high = bytes - low < 4 ? bytes - low : 4;
  return load_few_avx512_expand(quad + i * low, low) | load_few_avx512_expand(quad + 4 * kBlockRows + i * high, high)
                                                           << 32;
}
// Of 5 to 8 bytes.
BEBR_INLINE uint64_t sign_most_avx512(const BlockRows& rows, size_t i, uint32_t at, uint32_t bytes) {
  const uint32_t left = bytes - 4;
  uint32_t low, high;
  std::memcpy(&low, rows.sign + at * kBlockRows + 4 * i, 4);
  std::memcpy(&high, rows.sign + (at + 4) * kBlockRows + left * (i + 1) - 4, 4);
  return low | uint64_t{high >> (32 - 8 * left)} << 32;
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

// u[i] += weight where row i has a set bit, for `bytes` bytes of a plane, of the first row at p.
BEBR_INLINE void add_plane_avx512(const bool full, const BlockRows& rows, const uint8_t* p, uint32_t bytes,
                                  const bool before, __m512i weight, __m512i* u) {
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) {
    u[i] = _mm512_mask_add_epi8(u[i], bits_avx512(p, bytes, before), u[i], weight);
    if (full || i < rows.last) p += rows.rest_bytes;
  }
}

// 64 dims of 16 rows, from dim 64 * step on. full: the view has all 16.
BEBR_INLINE void expand_step_avx512(const bool full, const CodeSpec& spec, const BlockRows& rows, uint32_t step,
                                    uint8_t* out) {
  __m512i u[16];
  const uint32_t at = 8 * step, groups = spec.groups() - at;
  const __m512i most = _mm512_set1_epi8(static_cast<char>(1 << (spec.planes - 1)));
  if (groups >= 8) {
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) u[i] = _mm512_maskz_mov_epi8(sign_most_avx512(rows, i, at, 8), most);
  } else if (groups > 4) {
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) u[i] = _mm512_maskz_mov_epi8(sign_most_avx512(rows, i, at, groups), most);
  } else {
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) u[i] = _mm512_maskz_mov_epi8(sign_bits_avx512(rows, i, at, groups), most);
  }
  uint32_t plane = 0;  // where plane t begins in the rest
  for (uint32_t t = 1; t < spec.planes && spec.widths[t] > 64 * step; ++t) {
    const uint32_t left = spec.widths[t] / 8 - at;
    const __m512i weight = _mm512_set1_epi8(static_cast<char>(1 << (spec.planes - 1 - t)));
    const uint8_t* p = rows.rest + plane + at;
    if (left >= 8)
      add_plane_avx512(full, rows, p, 8, true, weight, u);
    else if (plane + at + left >= 8)
      add_plane_avx512(full, rows, p, left, true, weight, u);
    else
      add_plane_avx512(full, rows, p, left, false, weight, u);
    plane += spec.widths[t] / 8;
  }
  transpose_avx512(u);
  const __mmask16 there = static_cast<__mmask16>((2u << rows.last) - 1);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_storeu_si512(out + 64 * i, _mm512_maskz_mov_epi32(there, u[i]));
}

void expand_avx512(const ScanView& view, size_t first, size_t blocks, uint32_t groups, uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t steps = (groups + 7) / 8;
  for (size_t block = first; block < first + blocks; ++block) {
    const size_t row = block * kBlockRows, left = view.rows - row;
    const BlockRows rows = {view.blocks + block * block_bytes(spec), view.rest + row * spec.rest_bytes(),
                            spec.rest_bytes(), (left < kBlockRows ? left : kBlockRows) - 1};
    for (uint32_t step = 0; step < steps; ++step, out += 64 * kBlockRows) {
      if (rows.last == kBlockRows - 1)
        expand_step_avx512(true, spec, rows, step, out);
      else
        expand_step_avx512(false, spec, rows, step, out);
    }
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

BEBR_INLINE void dot_some_avx512(const int blocks, size_t queries, const Product& p) {
  switch (queries) {
    case 1:
      return dot_few_avx512(blocks, 1, p);
    case 2:
      return dot_few_avx512(blocks, 2, p);
    case 3:
      return dot_few_avx512(blocks, 3, p);
    case 4:
      return dot_few_avx512(blocks, 4, p);
    case 5:
      return dot_few_avx512(blocks, 5, p);
    case 6:
      return dot_few_avx512(blocks, 6, p);
    case 7:
      return dot_few_avx512(blocks, 7, p);
    case 8:
      return dot_few_avx512(blocks, 8, p);
    case 9:
      return dot_few_avx512(blocks, 9, p);
    case 10:
      return dot_few_avx512(blocks, 10, p);
    case 11:
      return dot_few_avx512(blocks, 11, p);
    default:
      return dot_few_avx512(blocks, 12, p);
  }
}

// In shares of up to 12 and about equal: a few left over would wait for their own sums.
BEBR_INLINE void dot_blocks_avx512(const int blocks, Product p, size_t count) {
  for (size_t shares = (count + 11) / 12; shares > 0; --shares) {
    const size_t some = (count + shares - 1) / shares;
    dot_some_avx512(blocks, some, p);
    count -= some;
    p.y8 += some * p.y8_row;
    p.sums += some * p.stride;
  }
}

void dot_expanded_avx512(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                         int32_t* sums, size_t stride) noexcept {
  Product p = {expanded, expanded_bytes(groups), 2 * groups, y8, y8_stride(groups), sums, stride};
  for (; blocks >= 2; blocks -= 2, p.expanded += 2 * p.block_bytes, p.sums += 2 * kBlockRows)
    dot_blocks_avx512(2, p, count);
  if (blocks == 1) dot_blocks_avx512(1, p, count);
}

void expand_tail_avx512(const ScanView& view, uint32_t tile, const uint32_t* rows, size_t count, uint32_t first,
                        uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t groups = spec.groups(), tiles = (groups + 7) / 8;
  for (size_t i = 0; i < count; ++i) {
    const size_t document = rows[i] % kBlockRows;
    const BlockRows row = {view.blocks + rows[i] / kBlockRows * block_bytes(spec),
                           view.rest + rows[i] * spec.rest_bytes(), spec.rest_bytes(), kBlockRows - 1};
    uint8_t* to = out + (rows[i] - first) * size_t{64} * (tiles - tile);
    for (uint32_t step = tile; step < tiles; ++step, to += 64) {
      const uint32_t at = 8 * step, left = groups - at < 8 ? groups - at : 8;
      const uint64_t sign =
          left > 4 ? sign_most_avx512(row, document, at, left) : sign_bits_avx512(row, document, at, left);
      __m512i u = _mm512_maskz_mov_epi8(sign, _mm512_set1_epi8(static_cast<char>(1 << (spec.planes - 1))));
      uint32_t plane = 0;  // where plane t begins in the rest
      for (uint32_t t = 1; t < spec.planes && spec.widths[t] > 64 * step; ++t) {
        const uint32_t width = spec.widths[t] / 8, bytes = width - at < 8 ? width - at : 8;
        const __m512i weight = _mm512_set1_epi8(static_cast<char>(1 << (spec.planes - 1 - t)));
        u = _mm512_mask_add_epi8(u, bits_avx512(row.rest + plane + at, bytes, plane + at + bytes >= 8), u, weight);
        plane += width;
      }
      _mm512_storeu_si512(to, u);
    }
  }
}

void dot_tail_avx512(const uint8_t* tails, size_t bytes, const int8_t* y8, const uint32_t* rows, size_t count,
                     uint32_t first, int32_t* out) noexcept {
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const uint8_t* u[4];
    __m512i sum[4];
#pragma GCC unroll 4
    for (size_t r = 0; r < 4; ++r) {
      u[r] = tails + (rows[i + r] - first) * bytes;
      sum[r] = _mm512_setzero_si512();
    }
    for (size_t j = 0; j < bytes; j += 64) {
      const __m512i y = _mm512_loadu_si512(y8 + j);
#pragma GCC unroll 4
      for (size_t r = 0; r < 4; ++r) sum[r] = _mm512_dpbusd_epi32(sum[r], _mm512_loadu_si512(u[r] + j), y);
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), sum_four_avx512(sum[0], sum[1], sum[2], sum[3]));
  }
  for (; i < count; ++i) {
    const uint8_t* u = tails + (rows[i] - first) * bytes;
    __m512i sum = _mm512_setzero_si512();
    for (size_t j = 0; j < bytes; j += 64)
      sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(u + j), _mm512_loadu_si512(y8 + j));
    out[i] = _mm512_reduce_add_epi32(sum);
  }
}

}  // namespace

void bind_avx512_expand(Kernels& table) noexcept {
  table.expand = expand_avx512;
  table.dot_expanded = dot_expanded_avx512;
  table.small_product = 0;  // sums are of 32 bits from the start
  table.expand_queries = 8;
  table.expand_bytes = 240'000;
  table.expand_tail = expand_tail_avx512;
  table.dot_tail = dot_tail_avx512;
  table.tail_tiles = 40;
  table.completed_tiles = 1000;
  table.lead_rows = 1 << 14;
  table.lead_lists = 48;
}

}  // namespace bebr
