// Raw rows in NEON: four rows at a time, two sums of 4 entries each (fp16), or a row with two of 4 (int8). A row is
// prefetched kAhead rows early; the last entries of a row are copied into entries padded with zeros.
//
// Bounds: two squares of int8 are at most 32258; kernels.h for the sums.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr size_t kAhead = 4, kLine = 64;

BEBR_INLINE void ask_for_neon(const uint8_t* row, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kLine) __builtin_prefetch(row + at);
  __builtin_prefetch(row + bytes - 1);
}

BEBR_INLINE void ask_for_first_neon(const uint8_t* data, size_t stride, const uint32_t* rows, size_t count,
                                    size_t bytes) {
  for (size_t i = 0; i < kAhead && i < count; ++i) ask_for_neon(data + rows[i] * stride, bytes);
}

// Adds to `sum` a product, or the square of a difference.
BEBR_INLINE float32x4_t add_neon(const bool l2, float32x4_t q, float32x4_t x, float32x4_t sum) {
  if (!l2) return vfmaq_f32(sum, q, x);
  const float32x4_t apart = vsubq_f32(q, x);
  return vfmaq_f32(sum, apart, apart);
}

// Eight entries into two sums.
BEBR_INLINE void add_eight_neon(const bool l2, float32x4_t q_first, float32x4_t q_second, const uint8_t* row,
                                float32x4_t* sums) {
  const float16x8_t x = vreinterpretq_f16_u8(vld1q_u8(row));
  sums[0] = add_neon(l2, q_first, vcvt_f32_f16(vget_low_f16(x)), sums[0]);
  sums[1] = add_neon(l2, q_second, vcvt_high_f32_f16(x), sums[1]);
}

// nr rows, while the nr from `ahead` on are asked for: a line of them for a line of these. q_end: the last entries,
// fewer than 8.
BEBR_INLINE void rows_f16_neon(const int nr, const bool l2, const float* q, const float* q_end, uint32_t dim,
                               const uint8_t* const* row, const uint8_t* const* ahead, float* out) {
  const uint32_t whole = dim / 8 * 8, left = dim - whole;
  float32x4_t sums[4][2];
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) sums[r][0] = sums[r][1] = vdupq_n_f32(0);
  uint32_t j = 0;
  for (; j + 32 <= whole; j += 32) {
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) __builtin_prefetch(ahead[r] + 2 * j);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const float32x4_t first = vld1q_f32(q + j + 8 * v), second = vld1q_f32(q + j + 8 * v + 4);
#pragma GCC unroll 4
      for (int r = 0; r < nr; ++r) add_eight_neon(l2, first, second, row[r] + 2 * j + 16 * v, sums[r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) __builtin_prefetch(ahead[r] + 2 * size_t{dim} - 1);
  for (; j < whole; j += 8) {
    const float32x4_t first = vld1q_f32(q + j), second = vld1q_f32(q + j + 4);
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) add_eight_neon(l2, first, second, row[r] + 2 * j, sums[r]);
  }
  for (int r = 0; left > 0 && r < nr; ++r) {
    uint8_t end[16] = {};
    std::memcpy(end, row[r] + 2 * whole, 2 * left);
    add_eight_neon(l2, vld1q_f32(q_end), vld1q_f32(q_end + 4), end, sums[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) out[r] = vaddvq_f32(vaddq_f32(sums[r][0], sums[r][1]));
}

BEBR_INLINE void score_f16_neon(const bool l2, const float* q, uint32_t dim, const uint8_t* data, size_t stride,
                                const uint32_t* rows, size_t count, float* out) {
  const size_t whole = dim / 8 * 8;
  float q_end[8] = {};
  if (whole < dim) std::memcpy(q_end, q + whole, (dim - whole) * sizeof(float));
  ask_for_first_neon(data, stride, rows, count, size_t{dim} * 2);
  const uint8_t *row[4], *ahead[4];
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
#pragma GCC unroll 4
    for (size_t r = 0; r < 4; ++r) {
      row[r] = data + rows[i + r] * stride;
      ahead[r] = data + rows[i + r + kAhead < count ? i + r + kAhead : i + r] * stride;
    }
    rows_f16_neon(4, l2, q, q_end, dim, row, ahead, out + i);
  }
  for (; i < count; ++i) {
    row[0] = data + rows[i] * stride;
    rows_f16_neon(1, l2, q, q_end, dim, row, row, out + i);
  }
}

void raw_dot_f16_neon(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                      size_t count, float* out) noexcept {
  score_f16_neon(false, q, dim, data, stride, rows, count, out);
}
void raw_l2_f16_neon(const float* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                     size_t count, float* out) noexcept {
  score_f16_neon(true, q, dim, data, stride, rows, count, out);
}

// Sixteen entries.
BEBR_INLINE void add_sixteen_neon(const int16_t* q, const uint8_t* row, int32x4_t* dots, int32x4_t* square) {
  const int8x16_t x = vreinterpretq_s8_u8(vld1q_u8(row));
  const int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_high_s8(x);
  const int16x8_t q_low = vld1q_s16(q), q_high = vld1q_s16(q + 8);
  dots[0] = vmlal_s16(dots[0], vget_low_s16(low), vget_low_s16(q_low));
  dots[1] = vmlal_high_s16(dots[1], low, q_low);
  dots[0] = vmlal_s16(dots[0], vget_low_s16(high), vget_low_s16(q_high));
  dots[1] = vmlal_high_s16(dots[1], high, q_high);
  *square = vpadalq_s16(*square, vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(x)), x, x));
}

void raw_dot_i8_neon(const int16_t* q, uint32_t dim, const uint8_t* data, size_t stride, const uint32_t* rows,
                     size_t count, int32_t* dots, int32_t* squares) noexcept {
  const size_t whole = dim / 16 * 16, left = dim - whole;
  int16_t q_end[16] = {};
  if (left > 0) std::memcpy(q_end, q + whole, left * sizeof(int16_t));
  ask_for_first_neon(data, stride, rows, count, dim);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask_for_neon(data + rows[i + kAhead] * stride, dim);
    const uint8_t* row = data + rows[i] * stride;
    int32x4_t dot[2] = {vdupq_n_s32(0), vdupq_n_s32(0)}, square = vdupq_n_s32(0);
    for (size_t j = 0; j < whole; j += 16) add_sixteen_neon(q + j, row + j, dot, &square);
    if (left > 0) {
      uint8_t end[16] = {};
      std::memcpy(end, row + whole, left);
      add_sixteen_neon(q_end, end, dot, &square);
    }
    dots[i] = vaddvq_s32(vaddq_s32(dot[0], dot[1]));
    squares[i] = vaddvq_s32(square);
  }
}

}  // namespace

void bind_neon_raw(Kernels& table) noexcept {
  table.raw_dot_f16 = raw_dot_f16_neon;
  table.raw_l2_f16 = raw_l2_f16_neon;
  table.raw_dot_i8 = raw_dot_i8_neon;
}

}  // namespace bebr
