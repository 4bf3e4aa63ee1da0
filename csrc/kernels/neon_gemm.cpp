// gemm in NEON: tiles of 5 rows x 16 outputs, 20 of the 32 registers as sums, over four inputs at a time: a row's four
// are one register, and fmla takes each from its lane. Depth blocks of 256 inputs, as in avx512_gemm.cpp, where the
// blocking is explained: half a panel of them is 16 KB of touched cache lines.
#include <arm_neon.h>

#include <cassert>
#include <cstddef>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr unsigned kPanel = 32, kTile = 5;
constexpr size_t kDepth = 256;

// Where a tile's sums start (bias with stride 0, or earlier sums) and end.
struct Sums {
  const float* start;
  size_t start_stride;
  float* out;
  size_t out_stride;
  bool relu;  // last depth block of a layer with ReLU
};

// One input, in lane `lane` of each row's value.
BEBR_INLINE void step_neon_gemm(const unsigned rows, const unsigned vectors, const float* w, const float32x4_t* value,
                                const int lane, float32x4_t* acc) {
  float32x4_t weight[8];
#pragma GCC unroll 8
  for (unsigned v = 0; v < vectors; ++v) weight[v] = vld1q_f32(w + 4 * v);
#pragma GCC unroll 5
  for (unsigned r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < vectors; ++v)
      acc[r * vectors + v] = vfmaq_n_f32(acc[r * vectors + v], weight[v], value[r][lane]);
  }
}

// rows x (4 * vectors) outputs over `depth` inputs; both are constants at every call, so the arrays below are
// registers.
BEBR_INLINE void tile_neon_gemm(const unsigned rows, const unsigned vectors, const float* x, size_t x_stride,
                                size_t depth, const float* w, const Sums& s) {
  float32x4_t acc[20], value[5];
#pragma GCC unroll 5
  for (unsigned r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < vectors; ++v) acc[r * vectors + v] = vld1q_f32(s.start + r * s.start_stride + 4 * v);
  }
  size_t k = 0;
  for (; k + 4 <= depth; k += 4) {
#pragma GCC unroll 5
    for (unsigned r = 0; r < rows; ++r) value[r] = vld1q_f32(x + r * x_stride + k);
#pragma GCC unroll 4
    for (int lane = 0; lane < 4; ++lane)
      step_neon_gemm(rows, vectors, w + (k + static_cast<size_t>(lane)) * kPanel, value, lane, acc);
  }
  for (; k < depth; ++k) {
#pragma GCC unroll 5
    for (unsigned r = 0; r < rows; ++r) value[r] = vld1q_dup_f32(x + r * x_stride + k);
    step_neon_gemm(rows, vectors, w + k * kPanel, value, 0, acc);
  }
#pragma GCC unroll 5
  for (unsigned r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < vectors; ++v) {
      const float32x4_t sum = acc[r * vectors + v];
      vst1q_f32(s.out + r * s.out_stride + 4 * v, s.relu ? vmaxnmq_f32(sum, vdupq_n_f32(0)) : sum);
    }
  }
}

[[gnu::noinline]] void tile5x16_neon(const float* x, size_t x_stride, size_t depth, const float* w,
                                     const Sums& s) noexcept {
  tile_neon_gemm(kTile, 4, x, x_stride, depth, w, s);
}
[[gnu::noinline]] void tile1x32_neon(const float* x, size_t depth, const float* w, const Sums& s) noexcept {
  tile_neon_gemm(1, 8, x, 0, depth, w, s);
}

// The view of `s` at another row and output.
Sums at(const Sums& s, size_t row, size_t output) noexcept {
  Sums moved = s;
  moved.start += row * s.start_stride + output;
  moved.out += row * s.out_stride + output;
  return moved;
}

void gemm_neon(const float* x, size_t rows, size_t x_stride, const PackedWeights& w, bool relu, float* out,
               size_t out_stride) noexcept {
  assert(w.in > 0 && w.out > 0);
  const size_t panels = (w.out + kPanel - 1) / kPanel, panel_stride = size_t{w.in} * kPanel;
  constexpr size_t kRows = 96 / kTile * kTile;
  for (size_t row0 = 0; row0 < rows; row0 += kRows) {
    const size_t count = rows - row0 < kRows ? rows - row0 : kRows, tiled = count / kTile * kTile;
    for (size_t k0 = 0; k0 < w.in; k0 += kDepth) {
      const size_t depth = w.in - k0 < kDepth ? w.in - k0 : kDepth;
      const float* from = x + row0 * x_stride + k0;
      float* to = out + row0 * out_stride;
      Sums sums{to, out_stride, to, out_stride, relu && k0 + depth == w.in};
      if (k0 == 0) sums.start = w.bias, sums.start_stride = 0;
      for (size_t p = 0; p < panels; ++p) {
        const float* weights = w.f32 + p * panel_stride + k0 * kPanel;
        for (unsigned half = 0; half < kPanel; half += 16) {
          for (size_t row = 0; row < tiled; row += kTile)
            tile5x16_neon(from + row * x_stride, x_stride, depth, weights + half, at(sums, row, p * kPanel + half));
        }
        for (size_t row = tiled; row < count; ++row)
          tile1x32_neon(from + row * x_stride, depth, weights, at(sums, row, p * kPanel));
      }
    }
  }
}

// The greatest value first, then the place where it stands.
size_t first_greatest_neon(const float* values, size_t n) noexcept {
  float32x4_t best = vdupq_n_f32(-__builtin_inff());
  size_t i = 0;
  for (; i + 4 <= n; i += 4) best = vmaxnmq_f32(best, vld1q_f32(values + i));
  float greatest = vmaxnmvq_f32(best);
  for (size_t tail = i; tail < n; ++tail)
    if (values[tail] > greatest) greatest = values[tail];
  const float32x4_t all = vdupq_n_f32(greatest);
  for (size_t at = 0; at < i; at += 4) {
    const uint16x4_t here = vmovn_u32(vceqq_f32(vld1q_f32(values + at), all));
    const uint64_t lanes = vget_lane_u64(vreinterpret_u64_u16(here), 0);
    if (lanes != 0) return at + static_cast<size_t>(__builtin_ctzll(lanes)) / 16;
  }
  for (; i < n; ++i)
    if (values[i] == greatest) return i;
  return 0;
}

}  // namespace

void bind_neon_gemm(Kernels& table) noexcept {
  table.gemm = gemm_neon;
  table.first_greatest = first_greatest_neon;
}

}  // namespace bebr
