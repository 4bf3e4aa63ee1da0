// descend in NEON: 16 coordinates are tested together. Most of the time none of them moves. When
// some would, the first one moves, g is updated, and those after it are tested again: the order of the specification.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// The values of the grid nearest to the targets of 16 coordinates from j on. Returns four ones for each coordinate that
// would move there.
BEBR_INLINE uint64_t would_move_neon(const DescentGrid& grid, size_t j, const float* v, const float* g,
                                     float32x4_t* nearest) {
  const float *steps = grid.step + j, *per_steps = grid.per_step + j, *inverse = grid.inverse + j;
  v += j;
  g += j;
  __asm__("" : "+r"(steps), "+r"(per_steps), "+r"(inverse), "+r"(v), "+r"(g));  // g++ would load every four alone
  uint32x4_t stays[4];
#pragma GCC unroll 4
  for (size_t k = 0, at = 0; k < 4; ++k, at += 4) {
    const float32x4_t per_step = vld1q_f32(per_steps + at);
    const float32x4_t most = vaddq_f32(per_step, per_step), low = vnegq_f32(most);
    const float32x4_t high = vsubq_f32(most, vdupq_n_f32(1.0f)), now = vld1q_f32(v + at);
    const float32x4_t target = vaddq_f32(now, vmulq_f32(vld1q_f32(g + at), vld1q_f32(inverse + at)));
    const float32x4_t i = vminnmq_f32(vmaxnmq_f32(vrndmq_f32(vmulq_f32(target, per_step)), low), high);
    nearest[k] = vmulq_f32(vaddq_f32(i, vdupq_n_f32(0.5f)), vld1q_f32(steps + at));  // exact: a power of two
    stays[k] = vceqq_f32(nearest[k], now);
  }
  const uint16x8_t first = vuzp1q_u16(vreinterpretq_u16_u32(stays[0]), vreinterpretq_u16_u32(stays[1]));
  const uint16x8_t second = vuzp1q_u16(vreinterpretq_u16_u32(stays[2]), vreinterpretq_u16_u32(stays[3]));
  const uint8x16_t all = vuzp1q_u8(vreinterpretq_u8_u16(first), vreinterpretq_u8_u16(second));
  return ~vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(all), 4)), 0);
}

void descend_one_neon(const DescentGrid& grid, float* v, float* g, uint32_t sweeps) noexcept {
  size_t still = 0;  // coordinates that were tested since the last move: once these are all, nothing moves any more
  for (uint32_t sweep = 0; sweep < sweeps; ++sweep) {
    for (size_t j = 0; j < grid.stride; j += 16) {
      uint64_t ahead = ~uint64_t{0};  // 4 bits a coordinate
      still += 16;
      while (true) {
        float32x4_t nearest[4];
        const uint64_t moves = would_move_neon(grid, j, v, g, nearest) & ahead;
        if (moves == 0) break;
        const unsigned lane = static_cast<unsigned>(__builtin_ctzll(moves)) / 4;
        float wanted[16];
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) vst1q_f32(wanted + 4 * k, nearest[k]);
        const float32x4_t move = vdupq_n_f32(wanted[lane] - v[j + lane]);
        v[j + lane] = wanted[lane];
        ahead = lane == 15 ? 0 : ~uint64_t{0} << (4 * (lane + 1));
        const float* row = grid.gram + (j + lane) * grid.stride;
        for (size_t k = 0; k < grid.stride; k += 4)
          vst1q_f32(g + k, vsubq_f32(vld1q_f32(g + k), vmulq_f32(move, vld1q_f32(row + k))));
        still = 0;
      }
      if (still == grid.stride) return;
    }
  }
}

void descend_neon(const DescentGrid& grid, size_t count, float* v, float* g, size_t g_stride,
                  uint32_t sweeps) noexcept {
  for (size_t i = 0; i < count; ++i) descend_one_neon(grid, v + i * grid.stride, g + i * g_stride, sweeps);
}

}  // namespace

void bind_neon_descend(Kernels& table) noexcept { table.descend = descend_neon; }

}  // namespace bebr
