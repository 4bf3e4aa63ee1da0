// descend in AVX-512: 16 coordinates are looked at together. Most of the time none of them moves; when some would, the
// first one does, g follows, and those after it are looked at again, which is the order of the specification.
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")

namespace bebr {
namespace {

void descend_avx512(const DescentGrid& grid, float* v, float* g, uint32_t sweeps) noexcept {
  const __m512 half = _mm512_set1_ps(0.5f), one = _mm512_set1_ps(1.0f);
  for (uint32_t sweep = 0; sweep < sweeps; ++sweep) {
    bool changed = false;
    for (size_t j = 0; j < grid.stride; j += 16) {
      const __m512 inverse = _mm512_loadu_ps(grid.inverse + j), step = _mm512_loadu_ps(grid.step + j);
      const __m512 per_step = _mm512_loadu_ps(grid.per_step + j), most = _mm512_add_ps(per_step, per_step);
      const __m512 low = _mm512_sub_ps(_mm512_setzero_ps(), most), high = _mm512_sub_ps(most, one);
      __m512 now = _mm512_loadu_ps(v + j);
      __mmask16 ahead = 0xffff;
      while (true) {
        const __m512 target = _mm512_add_ps(now, _mm512_mul_ps(_mm512_loadu_ps(g + j), inverse));
        __m512 i = _mm512_roundscale_ps(_mm512_mul_ps(target, per_step), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        i = _mm512_min_ps(_mm512_max_ps(i, low), high);
        const __m512 nearest = _mm512_add_ps(_mm512_mul_ps(i, step), _mm512_mul_ps(half, step));
        const __mmask16 moves = _mm512_mask_cmp_ps_mask(ahead, nearest, now, _CMP_NEQ_UQ);
        if (moves == 0) break;
        const unsigned lane = static_cast<unsigned>(__builtin_ctz(moves));
        const __mmask16 first = static_cast<__mmask16>(1u << lane);
        const __m512 move =
            _mm512_broadcastss_ps(_mm512_castps512_ps128(_mm512_maskz_compress_ps(first, _mm512_sub_ps(nearest, now))));
        now = _mm512_mask_mov_ps(now, first, nearest);
        ahead = static_cast<__mmask16>(ahead & ~((2u << lane) - 1));
        const float* row = grid.gram + (j + lane) * grid.stride;
        for (size_t k = 0; k < grid.stride; k += 16)
          _mm512_storeu_ps(g + k, _mm512_sub_ps(_mm512_loadu_ps(g + k), _mm512_mul_ps(move, _mm512_loadu_ps(row + k))));
        changed = true;
      }
      _mm512_storeu_ps(v + j, now);
    }
    if (!changed) return;
  }
}

}  // namespace

void bind_avx512_descend(Kernels& table) noexcept { table.descend = descend_avx512; }

}  // namespace bebr
#endif
