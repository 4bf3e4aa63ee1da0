// NEON with dotprod: whole codes as bytes, 16 rows side by side, and their products with many queries (kernels.h:
// expand, dot_expanded).
//
// Layout: a register has 4 bytes of a plane for each of 4 rows. tbl repeats a byte for 4 dims of these rows, cmtst
// makes a mask of its bits, and sli moves what earlier planes gave up by one bit and puts the new bit below: 4 dims of
// 4 rows, as they are stored. sdot multiplies them with 4 bytes of a query.
//
// Bounds: scalar_expand.cpp. sdot takes signed bytes: u - 128, and 128 times the query's sum is added at the end.
//
// Instructions: tbl, cmtst, sli; sdot by lane, of 16 rows x 4 queries (16 sums in registers).
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace bebr {
namespace {

constexpr size_t kTogether = 64;  // queries whose sums are kept while a block passes

BEBR_INLINE uint32x4_t put_word_neon(const uint8_t* p, uint32x4_t words, const int lane) {
  uint32_t word;
  std::memcpy(&word, p, sizeof word);
  words[lane] = word;  // clang takes no parameter for the lane of vsetq_lane
  return words;
}

// 4 bytes of each of 4 rows that stand `stride` bytes apart.
BEBR_INLINE uint8x16_t whole_rows_neon(const uint8_t* p, size_t stride) {
  uint32x4_t words = put_word_neon(p, vdupq_n_u32(0), 0);
  words = put_word_neon(p + stride, words, 1);
  words = put_word_neon(p + 2 * stride, words, 2);
  return vreinterpretq_u8_u32(put_word_neon(p + 3 * stride, words, 3));
}

// The same of up to 4 bytes of up to 4 rows, zeros for the others.
BEBR_INLINE uint8x16_t some_rows_neon(const uint8_t* p, size_t stride, uint32_t bytes, size_t rows) {
  if (bytes >= 4 && rows >= 4) return whole_rows_neon(p, stride);
  uint8_t some[16] = {};
  for (size_t i = 0; i < rows && i < 4; ++i)
    for (uint32_t k = 0; k < bytes && k < 4; ++k) some[4 * i + k] = p[i * stride + k];
  return vld1q_u8(some);
}

// Where a quad of 32 dims is: byte `at` of each of the planes that reach it, which begin at plane[t] in the rest.
struct Quad {
  uint32_t at, planes;
  uint32_t sign_bytes;  // of a row
  int8_t uncovered;     // planes that end before it
  bool whole;           // all planes that reach it have 4 bytes there
  const uint32_t* plane;
};

// 4 dims of 4 rows a register: the bits of a plane, below those of the planes before.
BEBR_INLINE void take_plane_neon(uint8x16_t bits, uint8x16_t* u) {
  const uint8x16_t first = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
  const uint8x16_t low = vreinterpretq_u8_u32(vdupq_n_u32(0x08040201)),
                   high = vreinterpretq_u8_u32(vdupq_n_u32(0x80402010));
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    const uint8x16_t byte = vqtbl1q_u8(bits, vaddq_u8(first, vdupq_n_u8(static_cast<uint8_t>(g))));
    u[2 * g] = vsliq_n_u8(vtstq_u8(byte, low), u[2 * g], 1);
    u[2 * g + 1] = vsliq_n_u8(vtstq_u8(byte, high), u[2 * g + 1], 1);
  }
}

// A quad of 4 rows. sign, rest: of the first of them. `left`: of these rows, those that the view has.
BEBR_INLINE void expand_four_neon(const bool whole, const CodeSpec& spec, const Quad& quad, const uint8_t* sign,
                                  const uint8_t* rest, size_t rest_bytes, size_t left, uint8_t* out) {
  uint8x16_t u[8];
#pragma GCC unroll 8
  for (int d = 0; d < 8; ++d) u[d] = vdupq_n_u8(0);
  take_plane_neon(whole ? vld1q_u8(sign) : some_rows_neon(sign, quad.sign_bytes, quad.sign_bytes, left), u);
  for (uint32_t t = 1; t < quad.planes; ++t) {
    const uint8_t* p = rest + quad.plane[t] + quad.at;
    take_plane_neon(
        whole ? whole_rows_neon(p, rest_bytes) : some_rows_neon(p, rest_bytes, spec.widths[t] / 8 - quad.at, left), u);
  }
  const int8x16_t uncovered = vdupq_n_s8(quad.uncovered);
#pragma GCC unroll 8
  for (int d = 0; d < 8; ++d) vst1q_u8(out + d * 64, vshlq_u8(u[d], uncovered));
}

void expand_neon_dot(const ScanView& view, size_t first, size_t blocks, uint32_t groups, uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t quads = (groups + 3) / 4;
  const size_t rest_bytes = spec.rest_bytes();
  uint32_t plane[kMaxPlanes] = {};
  for (uint32_t t = 2; t < spec.planes; ++t) plane[t] = plane[t - 1] + spec.widths[t - 1] / 8;
  for (size_t b = first; b < first + blocks; ++b, out += expanded_bytes(groups)) {
    const size_t rows = view.rows - b * kBlockRows;
    const uint8_t *block = view.blocks + b * block_bytes(spec), *rest = view.rest + b * kBlockRows * rest_bytes;
    for (uint32_t q = 0; q < quads; ++q) {
      Quad quad = {4 * q, 0, groups - 4 * q < 4 ? groups - 4 * q : 4, 0, true, plane};
      for (; quad.planes < spec.planes && spec.widths[quad.planes] / 8 > quad.at; ++quad.planes)
        quad.whole = quad.whole && spec.widths[quad.planes] / 8 - quad.at >= 4;
      quad.uncovered = static_cast<int8_t>(spec.planes - quad.planes);
      for (size_t row = 0; row < kBlockRows; row += 4) {
        const uint8_t* sign = block + quad.at * kBlockRows + row * quad.sign_bytes;
        uint8_t* to = out + size_t{q} * 512 + row * 4;
        if (quad.whole && rows >= row + 4)
          expand_four_neon(true, spec, quad, sign, rest + row * rest_bytes, rest_bytes, 4, to);
        else
          expand_four_neon(false, spec, quad, sign, rest + row * rest_bytes, rest_bytes, rows < row ? 0 : rows - row,
                           to);
      }
    }
    std::memset(out + quads * 512, 0, expanded_bytes(groups) - quads * 512);
  }
}

// nq queries with the 16 rows of one block; `steps` times 16 dims.
BEBR_INLINE void dot_few_neon_dot(const int nq, const uint8_t* expanded, uint32_t steps, const int8_t* y8, size_t y_row,
                                  const int32_t* add, int32_t* sums, size_t stride) {
  int32x4_t acc[4][4];
#pragma GCC unroll 4
  for (int q = 0; q < nq; ++q) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) acc[q][r] = vdupq_n_s32(add[q]);
  }
  const uint8x16_t middle = vdupq_n_u8(128);
  for (uint32_t step = 0; step < steps; ++step, expanded += 256) {
    int32x4_t y[4];
#pragma GCC unroll 4
    for (int q = 0; q < nq; ++q)
      y[q] = vreinterpretq_s32_s8(vld1q_s8(y8 + static_cast<size_t>(q) * y_row + 16 * size_t{step}));
#pragma GCC unroll 4
    for (int quad = 0; quad < 4; ++quad) {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        const int8x16_t u = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(expanded + 64 * quad + 16 * r), middle));
#pragma GCC unroll 4
        for (int q = 0; q < nq; ++q) acc[q][r] = vdotq_s32(acc[q][r], u, vreinterpretq_s8_s32(vdupq_n_s32(y[q][quad])));
      }
    }
  }
#pragma GCC unroll 4
  for (int q = 0; q < nq; ++q) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) vst1q_s32(sums + static_cast<size_t>(q) * stride + 4 * r, acc[q][r]);
  }
}

// 128 times the sum of a query's entries.
BEBR_INLINE int32_t added_neon_dot(const int8_t* y, uint32_t steps) {
  int32x4_t acc = vdupq_n_s32(0);
  for (uint32_t step = 0; step < steps; ++step) acc = vdotq_s32(acc, vld1q_s8(y + 16 * size_t{step}), vdupq_n_s8(1));
  return 128 * vaddvq_s32(acc);
}

void dot_expanded_neon_dot(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                           int32_t* sums, size_t stride) noexcept {
  const size_t y_row = y8_stride(groups), block = expanded_bytes(groups);
  const uint32_t steps = (groups + 1) / 2;
  for (; count > 0; y8 += kTogether * y_row, sums += kTogether * stride) {
    const size_t here = count < kTogether ? count : kTogether;
    int32_t add[kTogether];
    for (size_t q = 0; q < here; ++q) add[q] = added_neon_dot(y8 + q * y_row, steps);
    for (size_t b = 0; b < blocks; ++b) {
      const uint8_t* rows = expanded + b * block;
      int32_t* to = sums + b * kBlockRows;
      size_t q = 0;
      for (; q + 4 <= here; q += 4)
        dot_few_neon_dot(4, rows, steps, y8 + q * y_row, y_row, add + q, to + q * stride, stride);
      for (; q < here; ++q) dot_few_neon_dot(1, rows, steps, y8 + q * y_row, y_row, add + q, to + q * stride, stride);
    }
    count -= here;
  }
}

}  // namespace

void bind_neon_dot_expand(Kernels& table) noexcept {
  table.expand = expand_neon_dot;
  table.dot_expanded = dot_expanded_neon_dot;
  table.expand_queries = 8;
}

}  // namespace bebr

#if defined(__clang__)
#pragma clang attribute pop
#endif
