// NEON: which rows of a scan are kept (kernels.h: select).
//
// Instructions: fcvtl (fp16 is exact), fmaxnm.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// What select compares and where it writes.
struct Selection {
  float32x4_t base, scale;
  float threshold;
  uint32_t first_row;
  uint32_t* rows;
  float* scores;
  size_t kept;
  uint16_t low, step;  // of FactorCode
};

// Sixteen factors. Those of one byte are fp16 patterns.
BEBR_INLINE void factors_neon(const uint32_t bytes, const Selection& to, const uint8_t* stored, float32x4_t* factors) {
  if (bytes == 4) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) factors[k] = vld1q_f32(reinterpret_cast<const float*>(stored) + 4 * k);
    return;
  }
  uint16x8_t halves[2];
  if (bytes == 2) {
    halves[0] = vreinterpretq_u16_u8(vld1q_u8(stored));
    halves[1] = vreinterpretq_u16_u8(vld1q_u8(stored + 16));
  } else {
    const uint8x16_t codes = vld1q_u8(stored);
    const uint16x8_t low = vdupq_n_u16(to.low);
    halves[0] = vmlaq_n_u16(low, vmovl_u8(vget_low_u8(codes)), to.step);
    halves[1] = vmlaq_n_u16(low, vmovl_high_u8(codes), to.step);
  }
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k) {
    factors[2 * k] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(halves[k])));
    factors[2 * k + 1] = vcvt_high_f32_f16(vreinterpretq_f16_u16(halves[k]));
  }
}

// Scores of 16 rows; returns the largest of each four. Of a NaN and a number the number, and no NaN is above a
// threshold.
BEBR_INLINE float32x4_t score_neon(const Factor mode, const uint32_t bytes, const Selection& to, const int32_t* sums,
                                   const uint8_t* stored, float32x4_t* score) {
  float32x4_t factors[4];
  if (mode != Factor::None) factors_neon(bytes, to, stored, factors);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    score[k] = vaddq_f32(to.base, vmulq_f32(to.scale, vcvtq_f32_s32(vld1q_s32(sums + 4 * k))));
    if (mode == Factor::Mul) score[k] = vmulq_f32(score[k], factors[k]);
    if (mode == Factor::Sub) score[k] = vsubq_f32(score[k], factors[k]);
  }
  return vmaxnmq_f32(vmaxnmq_f32(score[0], score[1]), vmaxnmq_f32(score[2], score[3]));
}

// Keeps those of rows i .. i + 15 that are above the threshold, `here` exist and the mask allows.
BEBR_INLINE void keep_neon(Selection& to, size_t i, const float32x4_t* score, size_t here, const uint16_t* mask) {
  const uint8x16_t one_bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  uint32x4_t above[4];
  float scores[16];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    above[k] = vcgtq_f32(score[k], vdupq_n_f32(to.threshold));
    vst1q_f32(scores + 4 * k, score[k]);
  }
  const uint16x8_t low = vuzp1q_u16(vreinterpretq_u16_u32(above[0]), vreinterpretq_u16_u32(above[1]));
  const uint16x8_t high = vuzp1q_u16(vreinterpretq_u16_u32(above[2]), vreinterpretq_u16_u32(above[3]));
  uint8x16_t bits = vandq_u8(vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)), one_bit);
  bits = vpaddq_u8(bits, bits);
  bits = vpaddq_u8(bits, bits);
  bits = vpaddq_u8(bits, bits);
  uint32_t keep = vgetq_lane_u16(vreinterpretq_u16_u8(bits), 0) & ((1u << here) - 1);
  if (mask != nullptr) keep &= mask[i / 16];
  for (; keep != 0; keep &= keep - 1, ++to.kept) {
    const uint32_t k = static_cast<uint32_t>(__builtin_ctz(keep));
    to.rows[to.kept] = to.first_row + static_cast<uint32_t>(i) + k;
    to.scores[to.kept] = scores[k];
  }
}

// 32 rows to a branch: almost always none of them is kept.
BEBR_INLINE size_t select_mode_neon(const Factor mode, const uint32_t bytes, const int32_t* sums, size_t rows,
                                    const uint8_t* factors, const uint16_t* mask, Selection to) {
  float32x4_t score[8];
  size_t i = 0;
  for (; i + 32 <= rows; i += 32) {
    const float32x4_t first = score_neon(mode, bytes, to, sums + i, factors + i * bytes, score);
    const float32x4_t second = score_neon(mode, bytes, to, sums + i + 16, factors + (i + 16) * bytes, score + 4);
    if (!(vmaxnmvq_f32(vmaxnmq_f32(first, second)) > to.threshold)) continue;
    keep_neon(to, i, score, 16, mask);
    keep_neon(to, i + 16, score + 4, 16, mask);
  }
  for (; i < rows; i += 16) {
    const size_t here = rows - i < 16 ? rows - i : 16;
    int32_t last_sums[16] = {};
    uint8_t last_factors[16 * sizeof(float)] = {};  // the inputs end here
    std::memcpy(last_sums, sums + i, here * sizeof(int32_t));
    if (mode != Factor::None) std::memcpy(last_factors, factors + i * bytes, here * bytes);
    if (vmaxnmvq_f32(score_neon(mode, bytes, to, last_sums, last_factors, score)) > to.threshold)
      keep_neon(to, i, score, here, mask);
  }
  return to.kept;
}

BEBR_INLINE size_t select_bytes_neon(const Factor mode, uint32_t bytes, const int32_t* sums, size_t rows,
                                     const uint8_t* factors, const uint16_t* mask, const Selection& to) {
  if (bytes == 1) return select_mode_neon(mode, 1, sums, rows, factors, mask, to);
  if (bytes == 2) return select_mode_neon(mode, 2, sums, rows, factors, mask, to);
  return select_mode_neon(mode, 4, sums, rows, factors, mask, to);
}

size_t select_neon(const int32_t* sums, size_t rows, const uint8_t* factors, const FactorCode& code, Factor mode,
                   const uint16_t* mask, float base, float scale, float threshold, uint32_t first_row,
                   uint32_t* kept_rows, float* kept_scores) noexcept {
  const Selection to = {vdupq_n_f32(base),
                        vdupq_n_f32(scale),
                        threshold,
                        first_row,
                        kept_rows,
                        kept_scores,
                        0,
                        static_cast<uint16_t>(code.low),
                        static_cast<uint16_t>(code.step)};
  if (mode == Factor::None) return select_mode_neon(Factor::None, 0, sums, rows, nullptr, mask, to);
  if (mode == Factor::Mul) return select_bytes_neon(Factor::Mul, code.bytes, sums, rows, factors, mask, to);
  return select_bytes_neon(Factor::Sub, code.bytes, sums, rows, factors, mask, to);
}

}  // namespace

void bind_neon_select(Kernels& table) noexcept { table.select = select_neon; }

}  // namespace bebr
