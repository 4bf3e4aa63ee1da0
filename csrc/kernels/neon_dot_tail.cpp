// NEON with dotprod: the dims that a product with the leading ones leaves out, of few rows (kernels.h: expand_tail,
// dot_tail).
//
// Layout: 8 bytes of a plane are 64 dims. tbl repeats a byte for each of its 8 dims, cmtst makes a mask of its bits,
// and sli moves what earlier planes gave up by one bit and puts the new bit below.
//
// Bounds: scalar_expand.cpp. sdot takes signed bytes: u - 128, and 128 times the query's sum is added at the end. Of a
// row the 8 bytes that end with a plane's last ones are read, where they lie in the same row, or block.
//
// Instructions: tbl, cmtst, sli; sdot of four rows side by side.
#include <arm_neon.h>

#include <algorithm>
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

// Where a plane has bytes of a tile, in the rest of a row: `bytes` of them, 1 to 8, before `end`.
struct Piece {
  size_t end;
  uint32_t bytes;
};

// Its bytes, and zeros above them.
BEBR_INLINE uint64_t bits_neon_tail(const uint8_t* begin, const Piece& piece) {
  uint64_t bits = 0;
  if (piece.end >= 8) {
    std::memcpy(&bits, begin + piece.end - 8, 8);
    return bits >> (64 - 8 * piece.bytes);
  }
  for (uint32_t k = 0; k < piece.bytes; ++k) bits |= uint64_t{begin[piece.end - piece.bytes + k]} << 8 * k;
  return bits;
}

// Up to 8 bytes of a row's sign plane, in two quads.
BEBR_INLINE uint64_t sign_bits_neon_tail(const uint8_t* block, size_t row, uint32_t at, uint32_t bytes) {
  const uint32_t low = std::min(bytes, 4u), high = bytes - low;
  const uint64_t bits = bits_neon_tail(block, {at * kBlockRows + (row + 1) * low, low});
  if (high == 0) return bits;
  return bits | bits_neon_tail(block, {(at + 4) * kBlockRows + (row + 1) * high, high}) << 32;
}

// 16 dims a register.
BEBR_INLINE void take_bits_neon_tail(uint64_t bits, uint8x16_t* u) {
  const uint8x16_t first = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const uint8x16_t one_bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  const uint8x16_t bytes = vreinterpretq_u8_u64(vsetq_lane_u64(bits, vdupq_n_u64(0), 0));
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const uint8x16_t byte = vqtbl1q_u8(bytes, vaddq_u8(first, vdupq_n_u8(static_cast<uint8_t>(2 * k))));
    u[k] = vsliq_n_u8(vtstq_u8(byte, one_bit), u[k], 1);
  }
}

void expand_tail_neon_dot(const ScanView& view, uint32_t tile, const uint32_t* rows, size_t count, uint32_t first,
                          uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t groups = spec.groups(), tiles = (groups + 7) / 8;
  const size_t tail = size_t{64} * (tiles - tile), block = block_bytes(spec), rest_bytes = spec.rest_bytes();
  for (uint32_t step = tile; step < tiles; ++step, out += 64) {
    const uint32_t at = 8 * step;
    Piece pieces[kMaxPlanes];
    uint32_t planes = 1;  // that reach the tile
    for (size_t before = 0; planes < spec.planes && spec.widths[planes] / 8 > at; ++planes) {
      const uint32_t width = spec.widths[planes] / 8, bytes = std::min(width - at, 8u);
      pieces[planes] = {before + at + bytes, bytes};
      before += width;
    }
    const int8x16_t uncovered = vdupq_n_s8(static_cast<int8_t>(spec.planes - planes));
    for (size_t i = 0; i < count; ++i) {
      const uint8_t *sign = view.blocks + rows[i] / kBlockRows * block, *rest = view.rest + rows[i] * rest_bytes;
      uint8x16_t u[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
      take_bits_neon_tail(sign_bits_neon_tail(sign, rows[i] % kBlockRows, at, std::min(groups - at, 8u)), u);
      for (uint32_t t = 1; t < planes; ++t) take_bits_neon_tail(bits_neon_tail(rest, pieces[t]), u);
      uint8_t* to = out + (rows[i] - first) * tail;
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) vst1q_u8(to + 16 * k, vshlq_u8(u[k], uncovered));
    }
  }
}

// The sums of nr rows' tails, each in four lanes.
BEBR_INLINE void dot_rows_neon_tail(const int nr, const uint8_t* tails, size_t bytes, const int8_t* y8,
                                    const uint32_t* rows, uint32_t first, int32x4_t* acc) {
  const uint8x16_t middle = vdupq_n_u8(128);
  const uint8_t* u[4];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    u[r] = tails + (rows[r] - first) * bytes;
    acc[r] = vdupq_n_s32(0);
  }
  for (size_t j = 0; j < bytes; j += 64) {
#pragma GCC unroll 4
    for (size_t k = j; k < j + 64; k += 16) {
      const int8x16_t y = vld1q_s8(y8 + k);
#pragma GCC unroll 4
      for (int r = 0; r < nr; ++r)
        acc[r] = vdotq_s32(acc[r], vreinterpretq_s8_u8(veorq_u8(vld1q_u8(u[r] + k), middle)), y);
    }
  }
}

void dot_tail_neon_dot(const uint8_t* tails, size_t bytes, const int8_t* y8, const uint32_t* rows, size_t count,
                       uint32_t first, int32_t* out) noexcept {
  int32x4_t entries = vdupq_n_s32(0), acc[4];
  for (size_t j = 0; j < bytes; j += 16) entries = vdotq_s32(entries, vld1q_s8(y8 + j), vdupq_n_s8(1));
  const int32_t add = 128 * vaddvq_s32(entries);
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    dot_rows_neon_tail(4, tails, bytes, y8, rows + i, first, acc);
    vst1q_s32(out + i, vaddq_s32(vpaddq_s32(vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3])), vdupq_n_s32(add)));
  }
  for (; i < count; ++i) {
    dot_rows_neon_tail(1, tails, bytes, y8, rows + i, first, acc);
    out[i] = vaddvq_s32(acc[0]) + add;
  }
}

}  // namespace

void bind_neon_dot_tail(Kernels& table) noexcept {
  table.expand_tail = expand_tail_neon_dot;
  table.dot_tail = dot_tail_neon_dot;
  table.tail_tiles = 40;  // AVX2's: docs/experiments/leading-dims.md
}

}  // namespace bebr

#if defined(__clang__)
#pragma clang attribute pop
#endif
