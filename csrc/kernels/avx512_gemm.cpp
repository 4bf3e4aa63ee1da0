// gemm in AVX-512: tiles of 12 rows x 32 outputs, 24 accumulators. One step of the inner loop is 2 loads of weights, 12
// broadcasts and 24 fused multiply-adds, so the two FMA ports set the pace, not the loads.
//
// Depth is cut into blocks of 256 inputs: a panel's block (32 KB) stays in L1 while all row tiles of a 96-row block
// pass over it, and the rows of that block, copied once to a stride of 17 cache lines, come from L2. Without the copy
// rows 8 KB apart (2048 hidden units) would all fall into one L1 set. Between depth blocks the sums wait in `out`.
#include <cassert>
#include <cstring>

#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")

namespace bebr {
namespace {

constexpr unsigned kPanel = 32, kTile = 12;
constexpr size_t kDepth = 256, kStride = kDepth + 16, kRows = 96;

// Where a tile's sums start (bias with stride 0, or earlier sums) and end.
struct Sums {
  const float* start;
  size_t start_stride;
  float* out;
  size_t out_stride;
  bool relu;  // last depth block of a layer with ReLU
};

// rows x (32 * panels) outputs over `depth` inputs. rows and panels are constants at every call, so the arrays below
// are registers.
[[gnu::always_inline]] inline void tile_avx512(const unsigned rows, const unsigned panels, const float* x,
                                               size_t x_stride, size_t depth, const float* w, size_t panel_stride,
                                               const Sums& s) {
  __m512 acc[24];
  const unsigned vectors = 2 * panels;
#pragma GCC unroll 12
  for (unsigned r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < vectors; ++v)
      acc[r * vectors + v] = _mm512_loadu_ps(s.start + r * s.start_stride + v * 16);
  }
#pragma GCC unroll 4
  for (size_t k = 0; k < depth; ++k) {
    __m512 weight[8];
#pragma GCC unroll 8
    for (unsigned v = 0; v < vectors; ++v)
      weight[v] = _mm512_loadu_ps(w + v / 2 * panel_stride + k * kPanel + v % 2 * 16);
#pragma GCC unroll 12
    for (unsigned r = 0; r < rows; ++r) {
      const __m512 value = _mm512_set1_ps(x[r * x_stride + k]);
#pragma GCC unroll 8
      for (unsigned v = 0; v < vectors; ++v)
        acc[r * vectors + v] = _mm512_fmadd_ps(value, weight[v], acc[r * vectors + v]);
    }
  }
  const __m512 floor = s.relu ? _mm512_setzero_ps() : _mm512_set1_ps(-__builtin_inff());
#pragma GCC unroll 12
  for (unsigned r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < vectors; ++v)
      _mm512_storeu_ps(s.out + r * s.out_stride + v * 16, _mm512_max_ps(acc[r * vectors + v], floor));
  }
}

[[gnu::noinline]] void tile12x1_avx512(const float* x, size_t depth, const float* w, const Sums& s) noexcept {
  tile_avx512(kTile, 1, x, kStride, depth, w, 0, s);
}
[[gnu::noinline]] void tile4x2_avx512(const float* x, size_t x_stride, size_t depth, const float* w,
                                      size_t panel_stride, const Sums& s) noexcept {
  tile_avx512(4, 2, x, x_stride, depth, w, panel_stride, s);
}
[[gnu::noinline]] void tile4x1_avx512(const float* x, size_t x_stride, size_t depth, const float* w,
                                      const Sums& s) noexcept {
  tile_avx512(4, 1, x, x_stride, depth, w, 0, s);
}
[[gnu::noinline]] void tile1x4_avx512(const float* x, size_t depth, const float* w, size_t panel_stride,
                                      const Sums& s) noexcept {
  tile_avx512(1, 4, x, 0, depth, w, panel_stride, s);
}
[[gnu::noinline]] void tile1x1_avx512(const float* x, size_t depth, const float* w, const Sums& s) noexcept {
  tile_avx512(1, 1, x, 0, depth, w, 0, s);
}

// The view of `s` at another row and panel.
Sums at(const Sums& s, size_t row, size_t panel) noexcept {
  Sums moved = s;
  moved.start += row * s.start_stride + panel * kPanel;
  moved.out += row * s.out_stride + panel * kPanel;
  return moved;
}

// Fewer than 12 rows: wider tiles keep enough independent sums in flight.
void few_rows_avx512(const float* x, size_t rows, size_t x_stride, size_t depth, const float* w, size_t panel_stride,
                     size_t panels, const Sums& s) noexcept {
  size_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    size_t p = 0;
    for (; p + 2 <= panels; p += 2)
      tile4x2_avx512(x + row * x_stride, x_stride, depth, w + p * panel_stride, panel_stride, at(s, row, p));
    for (; p < panels; ++p) tile4x1_avx512(x + row * x_stride, x_stride, depth, w + p * panel_stride, at(s, row, p));
  }
  for (; row < rows; ++row) {
    size_t p = 0;
    for (; p + 4 <= panels; p += 4)
      tile1x4_avx512(x + row * x_stride, depth, w + p * panel_stride, panel_stride, at(s, row, p));
    for (; p < panels; ++p) tile1x1_avx512(x + row * x_stride, depth, w + p * panel_stride, at(s, row, p));
  }
}

void gemm_avx512(const float* x, size_t rows, size_t x_stride, const PackedWeights& w, bool relu, float* out,
                 size_t out_stride) noexcept {
  assert(w.in > 0 && w.out > 0);
  alignas(64) float block[kRows * kStride];
  const size_t panels = (w.out + kPanel - 1) / kPanel, panel_stride = size_t{w.in} * kPanel;
  for (size_t row0 = 0; row0 < rows; row0 += kRows) {
    const size_t count = rows - row0 < kRows ? rows - row0 : kRows, tiled = count / kTile * kTile;
    for (size_t k0 = 0; k0 < w.in; k0 += kDepth) {
      const size_t depth = w.in - k0 < kDepth ? w.in - k0 : kDepth;
      const float* from = x + row0 * x_stride + k0;
      const float* weights = w.f32 + k0 * kPanel;
      float* to = out + row0 * out_stride;
      Sums sums{to, out_stride, to, out_stride, relu && k0 + depth == w.in};
      if (k0 == 0) sums.start = w.bias, sums.start_stride = 0;

      for (size_t row = 0; row < tiled; ++row)
        std::memcpy(block + row * kStride, from + row * x_stride, depth * sizeof(float));
      for (size_t p = 0; p < panels && tiled > 0; ++p) {
        for (size_t row = 0; row < tiled; row += kTile)
          tile12x1_avx512(block + row * kStride, depth, weights + p * panel_stride, at(sums, row, p));
      }
      few_rows_avx512(from + tiled * x_stride, count - tiled, x_stride, depth, weights, panel_stride, panels,
                      at(sums, tiled, 0));
    }
  }
}

// The greatest value first, then the place where it stands: two passes over what lies in L1.
size_t first_greatest_avx512(const float* values, size_t n) noexcept {
  const size_t whole = n / 16 * 16;
  const __mmask16 rest = static_cast<__mmask16>((1u << (n - whole)) - 1);
  const __m512 least = _mm512_set1_ps(-__builtin_inff());
  __m512 best = _mm512_mask_loadu_ps(least, rest, values + whole), other = least;
  size_t i = 0;
  for (; i + 32 <= whole; i += 32) {
    best = _mm512_max_ps(best, _mm512_loadu_ps(values + i));
    other = _mm512_max_ps(other, _mm512_loadu_ps(values + i + 16));
  }
  if (i < whole) best = _mm512_max_ps(best, _mm512_loadu_ps(values + i));
  const __m512 greatest = _mm512_set1_ps(_mm512_reduce_max_ps(_mm512_max_ps(best, other)));
  for (i = 0; i < whole; i += 16) {
    const __mmask16 here = _mm512_cmp_ps_mask(_mm512_loadu_ps(values + i), greatest, _CMP_EQ_OQ);
    if (here != 0) return i + static_cast<size_t>(__builtin_ctz(here));
  }
  const __mmask16 here = _mm512_mask_cmp_ps_mask(rest, _mm512_maskz_loadu_ps(rest, values + i), greatest, _CMP_EQ_OQ);
  return here != 0 ? i + static_cast<size_t>(__builtin_ctz(here)) : 0;
}

}  // namespace

void bind_avx512_gemm(Kernels& table) noexcept {
  table.gemm = gemm_avx512;
  table.first_greatest = first_greatest_avx512;
}

}  // namespace bebr
#endif
