// project in AVX2: tiles of 6 rows x 16 outputs, 12 of the 16 registers as sums. vpmaddwd multiplies two entries and
// adds the products, vpaddd joins them to the sum; otherwise as avx512_project.cpp. Sums of |products| stay below 2^30
// (kernels.h).
#include <cassert>
#include <cstring>

#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx2")

namespace bebr {
namespace {

constexpr unsigned kPanel = 32, kTile = 6;
constexpr size_t kRows = 96;

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

// rows x (8 * vectors) outputs; both are constants at every call, so the arrays below are registers.
[[gnu::always_inline]] inline void tile_avx2_project(const unsigned rows, const unsigned vectors, const Part& part) {
  __m256i acc[12];
#pragma GCC unroll 12
  for (unsigned i = 0; i < rows * vectors; ++i) acc[i] = _mm256_setzero_si256();
  for (size_t k = 0; k < part.count; ++k) {
    __m256i weight[4];
#pragma GCC unroll 4
    for (unsigned v = 0; v < vectors; ++v)
      weight[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(part.pairs + k * 2 * kPanel + v * 16));
#pragma GCC unroll 6
    for (unsigned r = 0; r < rows; ++r) {
      int32_t pair;
      std::memcpy(&pair, part.x + r * part.x_stride + 2 * k, sizeof pair);
      const __m256i value = _mm256_set1_epi32(pair);
#pragma GCC unroll 4
      for (unsigned v = 0; v < vectors; ++v)
        acc[r * vectors + v] = _mm256_add_epi32(acc[r * vectors + v], _mm256_madd_epi16(value, weight[v]));
      // One row after the other: g++ would take all rows' products first, and keep sums in memory.
#pragma GCC unroll 4
      for (unsigned v = 0; v < vectors; ++v) __asm__ volatile("" : "+x"(acc[r * vectors + v]));
    }
  }
#pragma GCC unroll 6
  for (unsigned r = 0; r < rows; ++r) {
    const __m256 by = _mm256_set1_ps(part.by[r]);
#pragma GCC unroll 4
    for (unsigned v = 0; v < vectors; ++v) {
      const __m256 scaled =
          _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r * vectors + v]), _mm256_loadu_ps(part.scale + v * 8));
      _mm256_storeu_ps(part.out + r * part.out_stride + v * 8, _mm256_mul_ps(scaled, by));
    }
  }
}

[[gnu::noinline]] void tile6x16_avx2_project(const Part& part) noexcept { tile_avx2_project(kTile, 2, part); }
[[gnu::noinline]] void tile1x32_avx2_project(const Part& part) noexcept { tile_avx2_project(1, 4, part); }

void project_avx2(const int16_t* x, size_t rows, size_t x_stride, const float* by, const PackedProjection& w,
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
        for (size_t row = row0; row < tiled; row += kTile) tile6x16_avx2_project(part(row, p * kPanel + half));
      }
      for (size_t row = tiled; row < end; ++row) tile1x32_avx2_project(part(row, p * kPanel));
    }
  }
}

}  // namespace

void bind_avx2_project(Kernels& table) noexcept { table.project = project_avx2; }

}  // namespace bebr
#endif
