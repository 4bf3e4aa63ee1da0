// project in AVX-512: tiles of 12 rows x 32 outputs, 24 accumulators. One step of the inner loop is 2 loads of weights,
// 12 broadcasts and 24 vpdpwssd, each of which adds two products to 16 sums: twice what a fused multiply-add of floats
// does (gemm), over half of the bytes. Sums of |products| stay below 2^30 (kernels.h). A row of 4,096 entries takes 8
// KB, so a tile's rows come from L2 and its weights once for 96 rows.
#include <cassert>
#include <cstring>

#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace bebr {
namespace {

constexpr unsigned kPanel = 32, kTile = 12;
constexpr size_t kRows = 96;

// What a tile reads and writes, from its first row and panel on.
struct Part {
  const int16_t* x;
  size_t x_stride;
  const int16_t* pairs;
  size_t count, panel_stride;  // pairs, and entries from panel to panel
  const float *by, *scale;
  float* out;
  size_t out_stride;
};

// rows x (32 * panels) outputs. rows and panels are constants at every call, so the arrays below are registers.
[[gnu::always_inline]] inline void tile_avx512_project(const unsigned rows, const unsigned panels, const Part& part) {
  const unsigned vectors = 2 * panels;
  __m512i acc[24];
#pragma GCC unroll 24
  for (unsigned i = 0; i < rows * vectors; ++i) acc[i] = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (size_t k = 0; k < part.count; ++k) {
    __m512i weight[8];
#pragma GCC unroll 8
    for (unsigned v = 0; v < vectors; ++v)
      weight[v] = _mm512_loadu_si512(part.pairs + v / 2 * part.panel_stride + k * 2 * kPanel + v % 2 * kPanel);
#pragma GCC unroll 12
    for (unsigned r = 0; r < rows; ++r) {
      int32_t pair;
      std::memcpy(&pair, part.x + r * part.x_stride + 2 * k, sizeof pair);
      const __m512i value = _mm512_set1_epi32(pair);
#pragma GCC unroll 8
      for (unsigned v = 0; v < vectors; ++v)
        acc[r * vectors + v] = _mm512_dpwssd_epi32(acc[r * vectors + v], value, weight[v]);
    }
  }
#pragma GCC unroll 12
  for (unsigned r = 0; r < rows; ++r) {
    const __m512 by = _mm512_set1_ps(part.by[r]);
#pragma GCC unroll 8
    for (unsigned v = 0; v < vectors; ++v) {
      const __m512 scaled =
          _mm512_mul_ps(_mm512_cvtepi32_ps(acc[r * vectors + v]), _mm512_loadu_ps(part.scale + v * 16));
      _mm512_storeu_ps(part.out + r * part.out_stride + v * 16, _mm512_mul_ps(scaled, by));
    }
  }
}

[[gnu::noinline]] void tile12x1_avx512_project(const Part& part) noexcept { tile_avx512_project(kTile, 1, part); }
[[gnu::noinline]] void tile4x2_avx512_project(const Part& part) noexcept { tile_avx512_project(4, 2, part); }
[[gnu::noinline]] void tile4x1_avx512_project(const Part& part) noexcept { tile_avx512_project(4, 1, part); }
[[gnu::noinline]] void tile1x4_avx512_project(const Part& part) noexcept { tile_avx512_project(1, 4, part); }
[[gnu::noinline]] void tile1x1_avx512_project(const Part& part) noexcept { tile_avx512_project(1, 1, part); }

// The view of `part` at another row and panel.
Part at(const Part& part, size_t row, size_t panel) noexcept {
  Part moved = part;
  moved.x += row * part.x_stride;
  moved.pairs += panel * part.panel_stride;
  moved.by += row;
  moved.scale += panel * kPanel;
  moved.out += row * part.out_stride + panel * kPanel;
  return moved;
}

// Fewer than 12 rows: wider tiles keep enough independent sums in flight.
void few_rows_avx512_project(const Part& part, size_t rows, size_t panels) noexcept {
  size_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    size_t p = 0;
    for (; p + 2 <= panels; p += 2) tile4x2_avx512_project(at(part, row, p));
    for (; p < panels; ++p) tile4x1_avx512_project(at(part, row, p));
  }
  for (; row < rows; ++row) {
    size_t p = 0;
    for (; p + 4 <= panels; p += 4) tile1x4_avx512_project(at(part, row, p));
    for (; p < panels; ++p) tile1x1_avx512_project(at(part, row, p));
  }
}

void project_avx512(const int16_t* x, size_t rows, size_t x_stride, const float* by, const PackedProjection& w,
                    float* out, size_t out_stride) noexcept {
  assert(w.in > 0 && w.out > 0);
  const size_t panels = (w.out + kPanel - 1) / kPanel, pairs = (size_t{w.in} + 1) / 2;
  const Part all{x, x_stride, w.pairs, pairs, pairs * 2 * kPanel, by, w.scale, out, out_stride};
  for (size_t row0 = 0; row0 < rows; row0 += kRows) {
    const size_t count = rows - row0 < kRows ? rows - row0 : kRows, tiled = count / kTile * kTile;
    for (size_t p = 0; p < panels && tiled > 0; ++p) {
      for (size_t row = 0; row < tiled; row += kTile) tile12x1_avx512_project(at(all, row0 + row, p));
    }
    few_rows_avx512_project(at(all, row0 + tiled, 0), count - tiled, panels);
  }
}

}  // namespace

void bind_avx512_project(Kernels& table) noexcept { table.project = project_avx512; }

}  // namespace bebr
#endif
