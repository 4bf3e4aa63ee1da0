// descend in NEON: four coordinates are tested together. Most of the time none of them moves. When some would, the
// first one moves, g is updated, and those after it are tested again: the order of the specification.
#include <arm_neon.h>

#include "kernels/kernels.h"

namespace bebr {
namespace {

void descend_one_neon(const DescentGrid& grid, float* v, float* g, uint32_t sweeps) noexcept {
  const float32x4_t half = vdupq_n_f32(0.5f), one = vdupq_n_f32(1.0f);
  for (uint32_t sweep = 0; sweep < sweeps; ++sweep) {
    bool changed = false;
    for (size_t j = 0; j < grid.stride; j += 4) {
      const float32x4_t inverse = vld1q_f32(grid.inverse + j), step = vld1q_f32(grid.step + j);
      const float32x4_t per_step = vld1q_f32(grid.per_step + j), most = vaddq_f32(per_step, per_step);
      const float32x4_t low = vnegq_f32(most), high = vsubq_f32(most, one);
      uint64_t ahead = ~uint64_t{0};  // 16 bits a coordinate
      while (true) {
        const float32x4_t now = vld1q_f32(v + j);
        const float32x4_t target = vaddq_f32(now, vmulq_f32(vld1q_f32(g + j), inverse));
        float32x4_t i = vrndmq_f32(vmulq_f32(target, per_step));
        i = vminnmq_f32(vmaxnmq_f32(i, low), high);
        const float32x4_t nearest = vaddq_f32(vmulq_f32(i, step), vmulq_f32(half, step));
        const uint16x4_t stays = vmovn_u32(vceqq_f32(nearest, now));
        const uint64_t moves = ~vget_lane_u64(vreinterpret_u64_u16(stays), 0) & ahead;
        if (moves == 0) break;
        const unsigned lane = static_cast<unsigned>(__builtin_ctzll(moves)) / 16;
        float wanted[4];
        vst1q_f32(wanted, nearest);
        const float32x4_t move = vdupq_n_f32(wanted[lane] - v[j + lane]);
        v[j + lane] = wanted[lane];
        ahead = lane == 3 ? 0 : ~uint64_t{0} << (16 * (lane + 1));
        const float* row = grid.gram + (j + lane) * grid.stride;
        for (size_t k = 0; k < grid.stride; k += 4)
          vst1q_f32(g + k, vsubq_f32(vld1q_f32(g + k), vmulq_f32(move, vld1q_f32(row + k))));
        changed = true;
      }
    }
    if (!changed) return;
  }
}

void descend_neon(const DescentGrid& grid, size_t count, float* v, float* g, size_t g_stride,
                  uint32_t sweeps) noexcept {
  for (size_t i = 0; i < count; ++i) descend_one_neon(grid, v + i * grid.stride, g + i * g_stride, sweeps);
}

}  // namespace

void bind_neon_descend(Kernels& table) noexcept { table.descend = descend_neon; }

}  // namespace bebr
