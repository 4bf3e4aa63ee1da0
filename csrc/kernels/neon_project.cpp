// NEON: project (kernels.h), in tiles of 5 rows x 16 outputs, whose sums are 20 of the 32 registers.
//
// Layout: pairs of inputs lie together for each output; ld2 parts them, eight outputs at a time. Eight inputs of a row
// are a register, and smlal multiplies by one of its lanes.
//
// Instructions: smlal, four products each, where vpmaddwd and vpaddd add sixteen. Sums of |products| stay below 2^30
// (kernels.h).
#include <arm_neon.h>

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr unsigned kPanel = 32, kTile = 5;
constexpr size_t kRows = 96;  // as many as stay in L1 beside a panel

// What a tile reads and writes, from its first row and output on.
struct Part {
  const int16_t* x;
  size_t x_stride;
  const int16_t* pairs;
  size_t count;  // of pairs
  const float *by, *scale;
  float* out;
  size_t out_stride;
};

// Adds lanes kLane and kLane + 1 of nr rows times the pairs of eight outputs, `groups` times. The address of the pairs
// moves on to the next input's, after the last one past their end: so it is a number.
template <int kLane>
BEBR_INLINE void add_pair_neon_project(const unsigned nr, const unsigned groups, const int16x8_t* x, uintptr_t& pairs,
                                       int32x4_t* acc) {
#pragma GCC unroll 4
  for (unsigned g = 0; g < groups; ++g) {
    const int16x8x2_t weight = vld2q_s16(reinterpret_cast<const int16_t*>(pairs));
    pairs += sizeof(int16_t) * (g + 1 < groups ? 16 : 2 * kPanel - 16 * g);
    __asm__("" : "+r"(pairs));  // ld2 moves it on: g++ would add up each address
#pragma GCC unroll 5
    for (unsigned r = 0; r < nr; ++r) {
      int32x4_t* sum = acc + 2 * (r * groups + g);
      sum[0] = vmlal_laneq_s16(sum[0], vget_low_s16(weight.val[0]), x[r], kLane);
      sum[1] = vmlal_high_laneq_s16(sum[1], weight.val[0], x[r], kLane);
      sum[0] = vmlal_laneq_s16(sum[0], vget_low_s16(weight.val[1]), x[r], kLane + 1);
      sum[1] = vmlal_high_laneq_s16(sum[1], weight.val[1], x[r], kLane + 1);
    }
  }
}

// nr rows x (8 * groups) outputs; both are constants at every call, so the arrays below are registers.
BEBR_INLINE void tile_neon_project(const unsigned nr, const unsigned groups, const Part& part) {
  int32x4_t acc[20];
  int16x8_t x[5];
  const int16_t* row[5];
#pragma GCC unroll 20
  for (unsigned i = 0; i < 2 * nr * groups; ++i) acc[i] = vdupq_n_s32(0);
#pragma GCC unroll 5
  for (unsigned r = 0; r < nr; ++r) row[r] = part.x + r * part.x_stride;
  auto pairs = reinterpret_cast<uintptr_t>(part.pairs);
  size_t k = 0;
  for (; k + 4 <= part.count; k += 4) {
#pragma GCC unroll 5
    for (unsigned r = 0; r < nr; ++r) x[r] = vld1q_s16(row[r] + 2 * k);
    add_pair_neon_project<0>(nr, groups, x, pairs, acc);
    add_pair_neon_project<2>(nr, groups, x, pairs, acc);
    add_pair_neon_project<4>(nr, groups, x, pairs, acc);
    add_pair_neon_project<6>(nr, groups, x, pairs, acc);
  }
  for (; k < part.count; ++k) {
#pragma GCC unroll 5
    for (unsigned r = 0; r < nr; ++r) x[r] = vsetq_lane_s16(row[r][2 * k + 1], vdupq_n_s16(row[r][2 * k]), 1);
    add_pair_neon_project<0>(nr, groups, x, pairs, acc);
  }
#pragma GCC unroll 5
  for (unsigned r = 0; r < nr; ++r) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < 2 * groups; ++v) {
      const float32x4_t scaled = vmulq_f32(vcvtq_f32_s32(acc[r * 2 * groups + v]), vld1q_f32(part.scale + 4 * v));
      vst1q_f32(part.out + r * part.out_stride + 4 * v, vmulq_n_f32(scaled, part.by[r]));
    }
  }
}

[[gnu::noinline]] void tile5x16_neon_project(const Part& part) noexcept { tile_neon_project(kTile, 2, part); }
[[gnu::noinline]] void tile1x32_neon_project(const Part& part) noexcept { tile_neon_project(1, 4, part); }

void project_neon(const int16_t* x, size_t rows, size_t x_stride, const float* by, const PackedProjection& w,
                  float* out, size_t out_stride) noexcept {
  assert(w.in > 0 && w.out > 0);
  const size_t panels = (w.out + kPanel - 1) / kPanel, pairs = (size_t{w.in} + 1) / 2;
  const auto part = [&](size_t row, size_t output) {
    const int16_t* weights = w.pairs + output / kPanel * pairs * 2 * kPanel + output % kPanel * 2;
    return Part{
        x + row * x_stride, x_stride, weights, pairs, by + row, w.scale + output, out + row * out_stride + output,
        out_stride};
  };
  for (size_t row0 = 0; row0 < rows; row0 += kRows) {
    const size_t end = rows - row0 < kRows ? rows : row0 + kRows, tiled = row0 + (end - row0) / kTile * kTile;
    for (size_t p = 0; p < panels; ++p) {
      for (unsigned half = 0; half < kPanel; half += 16) {
        for (size_t row = row0; row < tiled; row += kTile) tile5x16_neon_project(part(row, p * kPanel + half));
      }
      for (size_t row = tiled; row < end; ++row) tile1x32_neon_project(part(row, p * kPanel));
    }
  }
}

}  // namespace

void bind_neon_project(Kernels& table) noexcept { table.project = project_neon; }

}  // namespace bebr
