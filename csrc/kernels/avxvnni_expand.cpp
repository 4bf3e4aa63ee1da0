// AVX-VNNI with GFNI: whole codes as bytes, 16 rows side by side, and their products with many queries (kernels.h:
// expand, dot_expanded, dot_tail).
//
// Layout: a register has 16 bytes of a plane of rows i and i + 4. Unpacking brings the bytes of up to 8 planes for 8
// dims to one quad word, the first plane first, and a product with the unit vectors transposes its 8 x 8 bits: 8 dims
// of a row, as bytes. Rows 0 .. 3 and 4 .. 7 are then transposed by dwords, as they are stored.
//
// Bounds: scalar_expand.cpp; vpdpbusd adds up in 32 bits.
//
// Instructions: vpunpck, vgf2p8affineqb: 7 for 32 bytes of 8 planes; vpdpbusd of 16 rows x
// 6 queries (12 sums in registers).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/avx2_bits.h"
#include "kernels/avx2_rows.h"
#include "kernels/inline.h"
#include "kernels/kernels.h"

#pragma GCC target("avx2,fma,f16c,popcnt,bmi2,avxvnni,gfni")

namespace bebr {
namespace {

BEBR_INLINE __m256i load_avxvnni_expand(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
BEBR_INLINE void store_avxvnni_expand(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// The bytes of 16 dims, two quad words a row, of two rows: out[m] has dims 16 m on. plane[k]: bytes k of the quad
// words; of `few` planes, which are 4 at most, the first four are zero.
BEBR_INLINE void join_planes_avxvnni(const bool few, const __m256i (*plane)[4], size_t i, __m256i (*out)[4]) {
  const __m256i units = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  __m256i half[2][4];  // dwords of planes 0 .. 3, and of 4 .. 7, of 4 groups each
#pragma GCC unroll 2
  for (int h = few ? 1 : 0; h < 2; ++h) {
    const __m256i *q0 = plane[4 * h] + i, *q1 = plane[4 * h + 1] + i, *q2 = plane[4 * h + 2] + i,
                  *q3 = plane[4 * h + 3] + i;
    const __m256i low = _mm256_unpacklo_epi8(*q0, *q1), high = _mm256_unpackhi_epi8(*q0, *q1);
    const __m256i next_low = _mm256_unpacklo_epi8(*q2, *q3), next_high = _mm256_unpackhi_epi8(*q2, *q3);
    half[h][0] = _mm256_unpacklo_epi16(low, next_low);
    half[h][1] = _mm256_unpackhi_epi16(low, next_low);
    half[h][2] = _mm256_unpacklo_epi16(high, next_high);
    half[h][3] = _mm256_unpackhi_epi16(high, next_high);
  }
#pragma GCC unroll 4
  for (size_t m = 0; m < 4; ++m) {
    const __m256i first = few ? _mm256_setzero_si256() : half[0][m];
    out[2 * m][i] = _mm256_gf2p8affine_epi64_epi8(units, _mm256_unpacklo_epi32(first, half[1][m]), 0);
    out[2 * m + 1][i] = _mm256_gf2p8affine_epi64_epi8(units, _mm256_unpackhi_epi32(first, half[1][m]), 0);
  }
}

// Groups `at` on, `steps` times two of them, at most 16. starts: where each plane of the rest begins.
BEBR_INLINE void expand_tile_avxvnni(const bool few, const CodeSpec& spec, const EightRows& rows, const size_t* starts,
                                     uint32_t at, uint32_t steps, uint8_t* out) {
  __m256i plane[8][4], bytes[8][4];
  const uint32_t before = 8 - spec.planes;
#pragma GCC unroll 8
  for (uint32_t k = few ? 4 : 0; k < 8; ++k) {
    const uint32_t t = k - before, width = k < before ? 0 : spec.widths[t] / 8;
    if (width <= at) {
      plane[k][0] = plane[k][1] = plane[k][2] = plane[k][3] = _mm256_setzero_si256();
    } else if (t == 0) {
      sign_quads_avx2(rows, width, at, plane[k]);
      transpose_rows_avx2(plane[k]);
    } else {
      rest_rows_avx2(rows, starts[t] + at, width - at, plane[k]);
    }
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) join_planes_avxvnni(few, plane, i, bytes);
  for (uint32_t m = 0; m < steps; ++m, out += 4 * 64) {
    transpose_rows_avx2(bytes[m]);
#pragma GCC unroll 4
    for (size_t d = 0; d < 4; ++d) store_avxvnni_expand(out + 64 * d, bytes[m][d]);
  }
}

void expand_avxvnni(const ScanView& view, size_t first, size_t blocks, uint32_t groups, uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t steps = (groups + 7) / 8 * 4;  // of two groups
  size_t starts[kMaxPlanes] = {};
  for (uint32_t t = 2; t < spec.planes; ++t) starts[t] = starts[t - 1] + spec.widths[t - 1] / 8;
  for (size_t block = first; block < first + blocks; ++block, out += expanded_bytes(groups)) {
    for (size_t half = 0; half < kBlockRows; half += 8) {
      const size_t row = block * kBlockRows + half, left = view.rows > row ? view.rows - row : 0;
      uint8_t* to = out + 4 * half;
      if (left == 0) {
        for (uint32_t d = 0; d < 4 * steps; ++d) store_avxvnni_expand(to + 64 * size_t{d}, _mm256_setzero_si256());
        continue;
      }
      const EightRows rows = eight_rows_avx2(view, row, left < 8 ? left : 8);
      for (uint32_t step = 0; step < steps; step += 8, to += 8 * 4 * 64) {
        const uint32_t some = steps - step < 8 ? steps - step : 8;
        if (spec.planes <= 4)
          expand_tile_avxvnni(true, spec, rows, starts, 2 * step, some, to);
        else
          expand_tile_avxvnni(false, spec, rows, starts, 2 * step, some, to);
      }
    }
  }
}

// Sums of one block and up to 6 queries.
BEBR_INLINE void dot_few_avxvnni(const size_t queries, const uint8_t* u, uint32_t quads, const int8_t* y8, size_t y_row,
                                 int32_t* sums, size_t stride) {
  __m256i acc[6][2];
#pragma GCC unroll 6
  for (size_t q = 0; q < queries; ++q) acc[q][0] = acc[q][1] = _mm256_setzero_si256();
  for (uint32_t quad = 0; quad < quads; ++quad, u += 64, y8 += 4) {
    const __m256i u0 = load_avxvnni_expand(u), u1 = load_avxvnni_expand(u + 32);
#pragma GCC unroll 6
    for (size_t q = 0; q < queries; ++q) {
      int32_t four;
      std::memcpy(&four, y8 + q * y_row, sizeof four);
      const __m256i y = _mm256_set1_epi32(four);
      acc[q][0] = _mm256_dpbusd_avx_epi32(acc[q][0], u0, y);
      acc[q][1] = _mm256_dpbusd_avx_epi32(acc[q][1], u1, y);
    }
  }
#pragma GCC unroll 6
  for (size_t q = 0; q < queries; ++q) {
    store_avxvnni_expand(sums + q * stride, acc[q][0]);
    store_avxvnni_expand(sums + q * stride + 8, acc[q][1]);
  }
}

BEBR_INLINE void dot_some_avxvnni(size_t queries, const uint8_t* u, uint32_t quads, const int8_t* y8, size_t y_row,
                                  int32_t* sums, size_t stride) {
  switch (queries) {
    case 1:
      return dot_few_avxvnni(1, u, quads, y8, y_row, sums, stride);
    case 2:
      return dot_few_avxvnni(2, u, quads, y8, y_row, sums, stride);
    case 3:
      return dot_few_avxvnni(3, u, quads, y8, y_row, sums, stride);
    case 4:
      return dot_few_avxvnni(4, u, quads, y8, y_row, sums, stride);
    case 5:
      return dot_few_avxvnni(5, u, quads, y8, y_row, sums, stride);
    default:
      return dot_few_avxvnni(6, u, quads, y8, y_row, sums, stride);
  }
}

// In shares of up to 6 and about equal: a few left over would wait for their own sums.
void dot_expanded_avxvnni(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                          int32_t* sums, size_t stride) noexcept {
  const uint32_t quads = 2 * groups;
  const size_t y_row = y8_stride(groups);
  for (size_t b = 0; b < blocks; ++b, expanded += expanded_bytes(groups), sums += kBlockRows) {
    const int8_t* y = y8;
    int32_t* to = sums;
    size_t left = count;
    for (size_t shares = (count + 5) / 6; shares > 0; --shares) {
      const size_t some = (left + shares - 1) / shares;
      dot_some_avxvnni(some, expanded, quads, y, y_row, to, stride);
      left -= some;
      y += some * y_row;
      to += some * stride;
    }
  }
}

void expand_tail_avxvnni(const ScanView& view, uint32_t tile, const uint32_t* rows, size_t count, uint32_t first,
                         uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t groups = spec.groups(), quads = (groups + 3) / 4;
  const size_t tail = y8_stride(groups) - 64 * size_t{tile};
  // Each byte of 32 bits for 8 dims.
  const __m256i repeated =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i units = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  for (size_t i = 0; i < count; ++i) {
    const uint8_t *block = view.blocks + rows[i] / kBlockRows * block_bytes(spec),
                  *rest = view.rest + rows[i] * spec.rest_bytes();
    uint8_t* to = out + (rows[i] - first) * tail;
    for (uint32_t quad = 2 * tile; quad < quads; ++quad, to += 32) {
      const uint32_t at = 4 * quad, left = groups - at < 4 ? groups - at : 4;
      uint32_t bits = row_bits_avx2(block + at * kBlockRows + rows[i] % kBlockRows * left, left);
      __m256i u = _mm256_setzero_si256();
      const uint8_t* plane = rest;
      for (uint32_t t = 0;;) {
        const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int32_t>(bits)), repeated);
        const __m256i set = _mm256_gf2p8affine_epi64_epi8(units, bytes, 0);  // all ones where the bit is set
        u = _mm256_or_si256(u, _mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(1 << (spec.planes - 1 - t)))));
        if (++t == spec.planes || spec.widths[t] <= 32 * quad) break;
        bits = row_bits_avx2(plane + at, spec.widths[t] / 8 - at);
        plane += spec.widths[t] / 8;
      }
      store_avxvnni_expand(to, u);
    }
    if (quads % 2 != 0 && quads > 2 * tile) store_avxvnni_expand(to, _mm256_setzero_si256());
  }
}

void dot_tail_avxvnni(const uint8_t* tails, size_t bytes, const int8_t* y8, const uint32_t* rows, size_t count,
                      uint32_t first, int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* u = tails + (rows[i] - first) * bytes;
    __m256i sum = _mm256_setzero_si256();
    for (size_t j = 0; j < bytes; j += 32)
      sum = _mm256_dpbusd_avx_epi32(sum, load_avxvnni_expand(u + j), load_avxvnni_expand(y8 + j));
    out[i] = sum_lanes_avx2(sum);
  }
}

}  // namespace

void bind_avxvnni_expand(Kernels& table) noexcept {
  table.expand = expand_avxvnni;
  table.dot_expanded = dot_expanded_avxvnni;
  table.small_product = 0;  // sums are of 32 bits from the start
  table.expand_queries = 8;
  table.expand_bytes = 240'000;
  table.expand_tail = expand_tail_avxvnni;
  table.dot_tail = dot_tail_avxvnni;
}

}  // namespace bebr
