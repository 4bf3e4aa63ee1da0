// descend in AVX2: eight coordinates are tested together. Most of the time none of them moves. When some would, the
// first one moves, g is updated, and those after it are tested again: the order of the specification.
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx2")

namespace bebr {
namespace {

void descend_one_avx2(const DescentGrid& grid, float* v, float* g, uint32_t sweeps) noexcept {
  const __m256 half = _mm256_set1_ps(0.5f), one = _mm256_set1_ps(1.0f);
  size_t still = 0;  // coordinates that were tested since the last move: once these are all, nothing moves any more
  for (uint32_t sweep = 0; sweep < sweeps; ++sweep) {
    for (size_t j = 0; j < grid.stride; j += 8) {
      const __m256 inverse = _mm256_loadu_ps(grid.inverse + j), step = _mm256_loadu_ps(grid.step + j);
      const __m256 per_step = _mm256_loadu_ps(grid.per_step + j), most = _mm256_add_ps(per_step, per_step);
      const __m256 low = _mm256_sub_ps(_mm256_setzero_ps(), most), high = _mm256_sub_ps(most, one);
      unsigned ahead = 0xff;
      still += 8;
      while (true) {
        const __m256 now = _mm256_loadu_ps(v + j);
        const __m256 target = _mm256_add_ps(now, _mm256_mul_ps(_mm256_loadu_ps(g + j), inverse));
        __m256 i = _mm256_floor_ps(_mm256_mul_ps(target, per_step));
        i = _mm256_min_ps(_mm256_max_ps(i, low), high);
        const __m256 nearest = _mm256_add_ps(_mm256_mul_ps(i, step), _mm256_mul_ps(half, step));
        const unsigned moves =
            static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(nearest, now, _CMP_NEQ_UQ))) & ahead;
        if (moves == 0) break;
        const unsigned lane = static_cast<unsigned>(__builtin_ctz(moves));
        alignas(32) float wanted[8];
        _mm256_store_ps(wanted, nearest);
        const __m256 move = _mm256_set1_ps(wanted[lane] - v[j + lane]);
        v[j + lane] = wanted[lane];
        ahead &= ~((2u << lane) - 1);
        const float* row = grid.gram + (j + lane) * grid.stride;
        for (size_t k = 0; k < grid.stride; k += 8)
          _mm256_storeu_ps(g + k, _mm256_sub_ps(_mm256_loadu_ps(g + k), _mm256_mul_ps(move, _mm256_loadu_ps(row + k))));
        still = 0;
      }
      if (still == grid.stride) return;
    }
  }
}

void descend_avx2(const DescentGrid& grid, size_t count, float* v, float* g, size_t g_stride,
                  uint32_t sweeps) noexcept {
  for (size_t i = 0; i < count; ++i) descend_one_avx2(grid, v + i * grid.stride, g + i * g_stride, sweeps);
}

}  // namespace

void bind_avx2_descend(Kernels& table) noexcept { table.descend = descend_avx2; }

}  // namespace bebr
#endif
