// NEON: which rows of a scan are kept, and the exact scores of survivors (kernels.h: select, complete).
//
// Layout: kernels.h, code/layout.h. Two bytes of a plane in every 16-bit lane are tested against eight bits, then
// against the other eight; planes join from the first to the last, each sum twice the one before plus the next plane.
//
// Bounds: y16 sums wrap modulo 2^32 and end below 2^31.
//
// Instructions: fcvtl (fp16 is exact), cmtst (bits to masks), sadalp (pairs of y16 into 32 bits).
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr size_t kRowsAhead = 10;  // survivors prefetched ahead, into L2

// Sixteen factors. Those of one byte are fp16 patterns.
BEBR_INLINE void factors_neon(const FactorCode& code, const uint8_t* stored, float32x4_t* factors) {
  if (code.bytes == 4) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) factors[k] = vld1q_f32(reinterpret_cast<const float*>(stored) + 4 * k);
    return;
  }
  uint16x8_t halves[2];
  if (code.bytes == 2) {
    halves[0] = vreinterpretq_u16_u8(vld1q_u8(stored));
    halves[1] = vreinterpretq_u16_u8(vld1q_u8(stored + 16));
  } else {
    const uint8x16_t bytes = vld1q_u8(stored);
    const uint16x8_t low = vdupq_n_u16(code.low);
    halves[0] = vmlaq_n_u16(low, vmovl_u8(vget_low_u8(bytes)), code.step);
    halves[1] = vmlaq_n_u16(low, vmovl_high_u8(bytes), code.step);
  }
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k) {
    factors[2 * k] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(halves[k])));
    factors[2 * k + 1] = vcvt_high_f32_f16(vreinterpretq_f16_u16(halves[k]));
  }
}

// Which of 16 rows have scores above the threshold, and all their scores if any has.
BEBR_INLINE uint32_t score_neon(const int32_t* sums, const uint8_t* stored, const FactorCode& code, const Factor mode,
                                float base, float scale, float threshold, float* scores) {
  const uint8x16_t one_bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  float32x4_t factors[4];
  if (mode != Factor::None) factors_neon(code, stored, factors);
  float32x4_t score[4];
  uint32x4_t above[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const float32x4_t product = vmulq_f32(vdupq_n_f32(scale), vcvtq_f32_s32(vld1q_s32(sums + 4 * k)));
    score[k] = vaddq_f32(vdupq_n_f32(base), product);
    if (mode == Factor::Mul) score[k] = vmulq_f32(score[k], factors[k]);
    if (mode == Factor::Sub) score[k] = vsubq_f32(score[k], factors[k]);
    above[k] = vcgtq_f32(score[k], vdupq_n_f32(threshold));
  }
  if (vmaxvq_u32(vorrq_u32(vorrq_u32(above[0], above[1]), vorrq_u32(above[2], above[3]))) == 0) return 0;
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) vst1q_f32(scores + 4 * k, score[k]);
  const uint16x8_t low = vuzp1q_u16(vreinterpretq_u16_u32(above[0]), vreinterpretq_u16_u32(above[1]));
  const uint16x8_t high = vuzp1q_u16(vreinterpretq_u16_u32(above[2]), vreinterpretq_u16_u32(above[3]));
  uint8x16_t bits = vandq_u8(vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)), one_bit);
  bits = vpaddq_u8(bits, bits);
  bits = vpaddq_u8(bits, bits);
  bits = vpaddq_u8(bits, bits);
  return vgetq_lane_u16(vreinterpretq_u16_u8(bits), 0);
}

BEBR_INLINE size_t select_by_neon(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code,
                                  const Factor mode, const uint16_t* mask, float base, float scale, float threshold,
                                  uint32_t first_row, uint32_t* kept_rows, float* kept_scores) {
  size_t kept = 0;
  for (size_t i = 0; i < rows; i += 16) {
    const size_t here = rows - i < 16 ? rows - i : 16;
    const int32_t* sum = sums + i;
    const uint8_t* factor = mode == Factor::None ? nullptr : factors + i * code.bytes;
    int32_t last_sums[16];
    uint8_t last_factors[16 * sizeof(float)];
    if (here < 16) {  // the inputs end here
      std::memset(last_sums, 0, sizeof last_sums);
      std::memset(last_factors, 0, sizeof last_factors);
      std::memcpy(last_sums, sum, here * sizeof(int32_t));
      sum = last_sums;
      if (mode != Factor::None) std::memcpy(last_factors, factor, here * code.bytes);
      factor = last_factors;
    }
    float scores[16];
    uint32_t keep = score_neon(sum, factor, code, mode, base, scale, threshold, scores) & ((1u << here) - 1);
    if (mask != nullptr) keep &= mask[i / 16];
    for (; keep != 0; keep &= keep - 1, ++kept) {
      const uint32_t k = static_cast<uint32_t>(__builtin_ctz(keep));
      kept_rows[kept] = first_row + static_cast<uint32_t>(i) + k;
      kept_scores[kept] = scores[k];
    }
  }
  return kept;
}

size_t select_neon(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code, Factor mode,
                   const uint16_t* mask, float base, float scale, float threshold, uint32_t first_row,
                   uint32_t* kept_rows, float* kept_scores) noexcept {
  if (mode == Factor::Mul)
    return select_by_neon(sums, rows, factors, code, Factor::Mul, mask, base, scale, threshold, first_row, kept_rows,
                          kept_scores);
  if (mode == Factor::Sub)
    return select_by_neon(sums, rows, factors, code, Factor::Sub, mask, base, scale, threshold, first_row, kept_rows,
                          kept_scores);
  return select_by_neon(sums, rows, factors, code, Factor::None, mask, base, scale, threshold, first_row, kept_rows,
                        kept_scores);
}

// acc += sum of the 8 entries of y16 whose bit is set; `bits` in every lane, `one_bit` the bit of each.
BEBR_INLINE int32x4_t add_bits_neon(int32x4_t acc, uint16x8_t bits, uint16x8_t one_bit, const int16_t* y16) {
  return vpadalq_s16(acc, vandq_s16(vreinterpretq_s16_u16(vtstq_u16(bits, one_bit)), vld1q_s16(y16)));
}

// The same for a whole plane of contiguous bytes.
BEBR_INLINE int32x4_t add_plane_neon(int32x4_t acc, const uint8_t* plane, uint32_t width, const int16_t* y16) {
  const uint16x8_t low = {1, 2, 4, 8, 16, 32, 64, 128}, high = vshlq_n_u16(low, 8);
  int32x4_t other = vdupq_n_s32(0);
  uint32_t j = 0;
  for (; j + 16 <= width; j += 16) {
    uint16_t two;
    std::memcpy(&two, plane + j / 8, sizeof two);
    acc = add_bits_neon(acc, vdupq_n_u16(two), low, y16 + j);
    other = add_bits_neon(other, vdupq_n_u16(two), high, y16 + j + 8);
  }
  if (j < width) acc = add_bits_neon(acc, vdupq_n_u16(plane[j / 8]), low, y16 + j);
  return vaddq_s32(acc, other);
}

void complete_neon(const ScanView& view, const int16_t* y16, const PlaneRange& range, const uint32_t* rows,
                   size_t count, int32_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const uint32_t groups = spec.groups(), rest_bytes = spec.rest_bytes(), ones = static_cast<uint32_t>(range.ones);
  uint32_t from = 0;  // bytes of the rest before the range
  for (uint32_t t = 1; t < range.first; ++t) from += spec.widths[t] / 8;
  const size_t sign_bytes = size_t{groups} * kBlockRows;
  for (size_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) {
      const size_t next = rows[i + kRowsAhead];
      const uint8_t *sign = view.blocks + next / kBlockRows * sign_bytes, *rest = view.rest + next * rest_bytes;
      for (size_t at = 0; at < sign_bytes; at += 64) __builtin_prefetch(sign + at, 0, 2);
      for (size_t at = 0; at < rest_bytes; at += 64) __builtin_prefetch(rest + at, 0, 2);
    }
    int32x4_t acc = vdupq_n_s32(0);
    const uint8_t* rest = view.rest + size_t{rows[i]} * rest_bytes + from;
    for (uint32_t t = range.first; t < range.last; ++t) {
      acc = vshlq_n_s32(acc, 1);
      if (t == 0) {
        const uint8_t* block = view.blocks + rows[i] / kBlockRows * sign_bytes;
        uint8_t sign[kMaxDims / 8];
        const uint32_t at = rows[i] % kBlockRows, whole = groups / 4 * 4, left = groups - whole;
        for (uint32_t g = 0; g < whole; g += 4) std::memcpy(sign + g, block + g * kBlockRows + at * 4, 4);
        if (left > 0) std::memcpy(sign + whole, block + whole * kBlockRows + at * left, left);
        acc = add_plane_neon(acc, sign, spec.widths[0], y16);
        continue;
      }
      acc = add_plane_neon(acc, rest, spec.widths[t], y16);
      rest += spec.widths[t] / 8;
    }
    const uint32_t set = static_cast<uint32_t>(vaddvq_s32(acc)) << (spec.planes - range.last);
    out[i] = static_cast<int32_t>(2 * set - ones);
  }
}

}  // namespace

void bind_neon_score(Kernels& table) noexcept {
  table.select = select_neon;
  table.complete = complete_neon;
}

}  // namespace bebr
