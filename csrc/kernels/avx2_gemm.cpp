// gemm in AVX2 + FMA: tiles of 6 rows x 16 outputs, 12 of the 16 registers as sums; otherwise as avx512_gemm.cpp, where
// the blocking is explained. Half a panel's depth block (256 inputs) is 16 KB of touched cache lines.
#include <cassert>
#include <cstring>

#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx2,fma")

namespace bebr {
namespace {

constexpr unsigned kPanel = 32, kTile = 6;
constexpr size_t kDepth = 256, kStride = kDepth + 16, kRows = 96;

// Where a tile's sums start (bias with stride 0, or earlier sums) and end.
struct Sums {
  const float* start;
  size_t start_stride;
  float* out;
  size_t out_stride;
  bool relu;  // last depth block of a layer with ReLU
};

// rows x (8 * vectors) outputs over `depth` inputs; both are constants at every call, so the arrays below are
// registers.
[[gnu::always_inline]] inline void tile_avx2(const unsigned rows, const unsigned vectors, const float* x,
                                             size_t x_stride, size_t depth, const float* w, const Sums& s) {
  __m256 acc[12];
#pragma GCC unroll 6
  for (unsigned r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (unsigned v = 0; v < vectors; ++v) acc[r * vectors + v] = _mm256_loadu_ps(s.start + r * s.start_stride + v * 8);
  }
  for (size_t k = 0; k < depth; ++k) {
    __m256 weight[4];
#pragma GCC unroll 4
    for (unsigned v = 0; v < vectors; ++v) weight[v] = _mm256_loadu_ps(w + k * kPanel + v * 8);
#pragma GCC unroll 6
    for (unsigned r = 0; r < rows; ++r) {
      const __m256 value = _mm256_broadcast_ss(x + r * x_stride + k);
#pragma GCC unroll 4
      for (unsigned v = 0; v < vectors; ++v)
        acc[r * vectors + v] = _mm256_fmadd_ps(value, weight[v], acc[r * vectors + v]);
    }
  }
  const __m256 floor = s.relu ? _mm256_setzero_ps() : _mm256_set1_ps(-__builtin_inff());
#pragma GCC unroll 6
  for (unsigned r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (unsigned v = 0; v < vectors; ++v)
      _mm256_storeu_ps(s.out + r * s.out_stride + v * 8, _mm256_max_ps(acc[r * vectors + v], floor));
  }
}

[[gnu::noinline]] void tile6x16_avx2(const float* x, size_t depth, const float* w, const Sums& s) noexcept {
  tile_avx2(kTile, 2, x, kStride, depth, w, s);
}
[[gnu::noinline]] void tile1x32_avx2(const float* x, size_t depth, const float* w, const Sums& s) noexcept {
  tile_avx2(1, 4, x, 0, depth, w, s);
}

// The view of `s` at another row and output.
Sums at(const Sums& s, size_t row, size_t output) noexcept {
  Sums moved = s;
  moved.start += row * s.start_stride + output;
  moved.out += row * s.out_stride + output;
  return moved;
}

void gemm_avx2(const float* x, size_t rows, size_t x_stride, const PackedWeights& w, bool relu, float* out,
               size_t out_stride) noexcept {
  assert(w.in > 0 && w.out > 0);
  alignas(64) float block[kRows * kStride];
  const size_t panels = (w.out + kPanel - 1) / kPanel, panel_stride = size_t{w.in} * kPanel;
  for (size_t row0 = 0; row0 < rows; row0 += kRows) {
    const size_t count = rows - row0 < kRows ? rows - row0 : kRows, tiled = count / kTile * kTile;
    for (size_t k0 = 0; k0 < w.in; k0 += kDepth) {
      const size_t depth = w.in - k0 < kDepth ? w.in - k0 : kDepth;
      const float* from = x + row0 * x_stride + k0;
      float* to = out + row0 * out_stride;
      Sums sums{to, out_stride, to, out_stride, relu && k0 + depth == w.in};
      if (k0 == 0) sums.start = w.bias, sums.start_stride = 0;

      for (size_t row = 0; row < tiled; ++row)
        std::memcpy(block + row * kStride, from + row * x_stride, depth * sizeof(float));
      for (size_t p = 0; p < panels; ++p) {
        const float* weights = w.f32 + p * panel_stride + k0 * kPanel;
        for (unsigned half = 0; half < kPanel; half += 16) {
          for (size_t row = 0; row < tiled; row += kTile)
            tile6x16_avx2(block + row * kStride, depth, weights + half, at(sums, row, p * kPanel + half));
        }
        for (size_t row = tiled; row < count; ++row)
          tile1x32_avx2(from + row * x_stride, depth, weights, at(sums, row, p * kPanel));
      }
    }
  }
}

// The greatest value first, then the place where it stands.
size_t first_greatest_avx2(const float* values, size_t n) noexcept {
  __m256 best = _mm256_set1_ps(-__builtin_inff());
  size_t i = 0;
  for (; i + 8 <= n; i += 8) best = _mm256_max_ps(best, _mm256_loadu_ps(values + i));
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(best), _mm256_extractf128_ps(best, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  float greatest = _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  for (size_t tail = i; tail < n; ++tail)
    if (values[tail] > greatest) greatest = values[tail];
  const __m256 all = _mm256_set1_ps(greatest);
  for (size_t at = 0; at < i; at += 8) {
    const int here = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(values + at), all, _CMP_EQ_OQ));
    if (here != 0) return at + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(here)));
  }
  for (; i < n; ++i)
    if (values[i] == greatest) return i;
  return 0;
}

}  // namespace

void bind_avx2_gemm(Kernels& table) noexcept {
  table.gemm = gemm_avx2;
  table.first_greatest = first_greatest_avx2;
}

}  // namespace bebr
#endif
