// NEON: whole codes as bytes, 16 rows side by side (kernels.h: expand).
//
// Layout: a register has one byte of a plane for each of 16 rows. ld4 makes four of them out of a quad of the sign
// plane; of other planes 4 bytes of every row are read, and uzp brings them together. Digits of four planes
// (neon_planes.h), and of the four planes above them, are the bytes, and st4 puts 4 dims of a row together.
//
// Instructions: ld4, uzp, bit, sli and sri, st4.
#include <arm_neon.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"
#include "kernels/neon_planes.h"

namespace bebr {
namespace {

// The bytes of a quad, of 16 rows each.
struct Quad {
  uint8x16_t byte[4];
};

// A quad of the sign plane, of 1 to 4 bytes a row.
BEBR_INLINE Quad sign_quad_neon(const uint8_t* p, uint32_t bytes) {
  const uint8x16_t none = vdupq_n_u8(0);
  if (bytes >= 4) {
    const uint8x16x4_t all = vld4q_u8(p);
    return {{all.val[0], all.val[1], all.val[2], all.val[3]}};
  }
  if (bytes == 3) {
    const uint8x16x3_t three = vld3q_u8(p);
    return {{three.val[0], three.val[1], three.val[2], none}};
  }
  if (bytes == 2) {
    const uint8x16x2_t two = vld2q_u8(p);
    return {{two.val[0], two.val[1], none, none}};
  }
  return {{vld1q_u8(p), none, none, none}};
}

// 4 bytes of each of 16 rows that stand `stride` bytes apart.
BEBR_INLINE Quad rest_quad_neon(const uint8_t* p, size_t stride) {
  uint8x16_t four[4];
#pragma GCC unroll 4
  for (size_t k = 0; k < 4; ++k) four[k] = four_words_neon(p + 4 * k * stride, stride);
  const uint8x16_t even[2] = {vuzp1q_u8(four[0], four[1]), vuzp1q_u8(four[2], four[3])};
  const uint8x16_t odd[2] = {vuzp2q_u8(four[0], four[1]), vuzp2q_u8(four[2], four[3])};
  return {
      {vuzp1q_u8(even[0], even[1]), vuzp1q_u8(odd[0], odd[1]), vuzp2q_u8(even[0], even[1]), vuzp2q_u8(odd[0], odd[1])}};
}

// The same of up to 4 bytes of up to 16 rows, zeros for the others.
BEBR_INLINE Quad some_of_quad_neon(const uint8_t* p, size_t stride, uint32_t bytes, size_t rows) {
  if (bytes >= 4 && rows >= kBlockRows) return rest_quad_neon(p, stride);
  uint8_t some[kQuadBytes] = {};
  for (size_t i = 0; i < rows; ++i)
    for (uint32_t k = 0; k < bytes && k < 4; ++k) some[4 * i + k] = p[i * stride + k];
  return sign_quad_neon(some, 4);
}

// 32 dims of 16 rows, of quads of eight planes, largest first. few: the first four of them are none.
BEBR_INLINE void write_quad_neon(const bool few, const Quad* planes, uint8_t* out) {
  const uint8x16_t lower = vdupq_n_u8(15);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k, out += 2 * kQuadBytes) {
    uint8x16_t plane[8], low[4], high[4];
#pragma GCC unroll 8
    for (int t = few ? 4 : 0; t < 8; ++t) plane[t] = planes[t].byte[k];
    pair_digits_neon(4, plane + 4, low);
    if (!few) pair_digits_neon(4, plane, high);
    uint8x16x4_t first, second;
#pragma GCC unroll 4
    for (int d = 0; d < 4; ++d) {
      first.val[d] = few ? vandq_u8(low[d], lower) : vsliq_n_u8(low[d], high[d], 4);
      second.val[d] = few ? vshrq_n_u8(low[d], 4) : vsriq_n_u8(high[d], low[d], 4);
    }
    vst4q_u8(out, first);
    vst4q_u8(out + kQuadBytes, second);
  }
}

// One block. `there`: its rows that the view has, at least one.
BEBR_INLINE void expand_block_neon(const CodeSpec& spec, const uint8_t* sign, const uint8_t* rest, size_t there,
                                   uint32_t groups, uint8_t* out) {
  static constexpr uint8_t kRow[kBlockRows] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const uint8x16_t kept = vcltq_u8(vld1q_u8(kRow), vdupq_n_u8(static_cast<uint8_t>(std::min(there, kBlockRows))));
  const uint32_t quads = (groups + 3) / 4;
  const size_t rest_bytes = spec.rest_bytes();
  Quad all[kMaxPlanes] = {};
  Quad* planes = all + (kMaxPlanes - spec.planes);  // the last one's digit is the smallest
  for (uint32_t q = 0; q < quads; ++q, out += 32 * kBlockRows) {
    const uint32_t at = 4 * q, bytes = std::min(groups - at, 4u);
    planes[0] = sign_quad_neon(sign + at * kBlockRows, bytes);
#pragma GCC unroll 4
    for (uint8x16_t& byte : planes[0].byte) byte = vandq_u8(byte, kept);
    const uint8_t* plane = rest + at;
    for (uint32_t t = 1; t < spec.planes; ++t) {
      const uint32_t width = spec.widths[t] / 8;
      planes[t] = width > at ? some_of_quad_neon(plane, rest_bytes, width - at, std::min(there, kBlockRows)) : Quad{};
      plane += width;
    }
    if (spec.planes <= 4)
      write_quad_neon(true, all, out);
    else
      write_quad_neon(false, all, out);
  }
}

void expand_neon(const ScanView& view, size_t first, size_t blocks, uint32_t groups, uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const size_t written = (groups + 3) / 4 * 32 * kBlockRows;
  for (size_t b = first; b < first + blocks; ++b, out += expanded_bytes(groups)) {
    const size_t row = b * kBlockRows;
    if (row >= view.rows) {
      std::memset(out, 0, expanded_bytes(groups));
      continue;
    }
    expand_block_neon(spec, view.blocks + b * block_bytes(spec), view.rest + row * spec.rest_bytes(), view.rows - row,
                      groups, out);
    std::memset(out + written, 0, expanded_bytes(groups) - written);
  }
}

}  // namespace

void bind_neon_expand(Kernels& table) noexcept { table.expand = expand_neon; }

}  // namespace bebr
