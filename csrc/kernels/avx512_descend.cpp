// descend in AVX-512: 16 coordinates of four vectors are tested together. Most of the time none of a vector's 16 moves.
// When some would, the first one moves, their g is updated, and those after it are tested again: the order of the
// specification. The next test must wait for such a move, some 60 cycles; four vectors side by side hide that wait. The
// g of other coordinates is updated when the 16 are done, by the same differences in the same order. A vector's code
// stands once all coordinates were tested since the last move. Figures: docs/experiments/descent-together.md.
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")

namespace bebr {
namespace {

constexpr size_t kTogether = 4;

struct Move512 {
  __m512 by;         // in every lane
  const float* row;  // of the gram matrix
};

// g after so many moves, one after the other.
template <size_t kMoves>
[[gnu::always_inline]] inline void follow_some(const Move512* moved, size_t stride, float* g) noexcept {
#pragma GCC unroll 2
  for (size_t k = 0; k < stride; k += 16) {
    __m512 sum = _mm512_loadu_ps(g + k);
#pragma GCC unroll 4
    for (size_t m = 0; m < kMoves; ++m)
      sum = _mm512_sub_ps(sum, _mm512_mul_ps(moved[m].by, _mm512_loadu_ps(moved[m].row + k)));
    _mm512_storeu_ps(g + k, sum);
  }
}

// A loop over the moves inside that over g costs more than the sums: mostly there are one or two.
void follow_moves(const Move512* moved, size_t count, size_t stride, float* g) noexcept {
  for (; count > 4; count -= 4, moved += 4) follow_some<4>(moved, stride, g);
  switch (count) {
    case 1:
      return follow_some<1>(moved, stride, g);
    case 2:
      return follow_some<2>(moved, stride, g);
    case 3:
      return follow_some<3>(moved, stride, g);
    case 4:
      return follow_some<4>(moved, stride, g);
    default:
      return;
  }
}

// Values of a grid for 16 coordinates.
struct Steps512 {
  __m512 inverse, step, half_step, per_step, low, high;

  Steps512(const DescentGrid& grid, size_t j) noexcept
      : inverse(_mm512_loadu_ps(grid.inverse + j)),
        step(_mm512_loadu_ps(grid.step + j)),
        half_step(_mm512_mul_ps(_mm512_set1_ps(0.5f), step)),
        per_step(_mm512_loadu_ps(grid.per_step + j)) {
    const __m512 most = _mm512_add_ps(per_step, per_step);
    low = _mm512_sub_ps(_mm512_setzero_ps(), most);
    high = _mm512_sub_ps(most, _mm512_set1_ps(1.0f));
  }

  __m512 nearest(__m512 v, __m512 g) const noexcept {
    const __m512 target = _mm512_add_ps(v, _mm512_mul_ps(g, inverse));
    __m512 i = _mm512_roundscale_ps(_mm512_mul_ps(target, per_step), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    i = _mm512_min_ps(_mm512_max_ps(i, low), high);
    return _mm512_add_ps(_mm512_mul_ps(i, step), half_step);
  }
};

// 1 to kTogether vectors. A place without a vector reads the first one, and never moves.
void descend_some_avx512(const DescentGrid& grid, size_t count, float* const* v, float* const* g,
                         uint32_t sweeps) noexcept {
  Move512 moved[kTogether][17];  // the last is where a vector writes that does not move
  size_t still = 0;              // coordinates that were tested since the last move
  for (uint32_t sweep = 0; sweep < sweeps; ++sweep) {
    for (size_t j = 0; j < grid.stride; j += 16) {
      const Steps512 steps(grid, j);
      __m512 now[kTogether], own[kTogether], nearest[kTogether];
      __mmask16 ahead[kTogether], would[kTogether], any = 0;
      size_t moves[kTogether];
#pragma GCC unroll 4
      for (size_t r = 0; r < kTogether; ++r) {
        now[r] = _mm512_loadu_ps(v[r] + j);
        own[r] = _mm512_loadu_ps(g[r] + j);
        moves[r] = 0;
        ahead[r] = r < count ? 0xffff : 0;
        nearest[r] = steps.nearest(now[r], own[r]);
        would[r] = _mm512_mask_cmp_ps_mask(ahead[r], nearest[r], now[r], _CMP_NEQ_UQ);
        any |= would[r];
      }
      if (any == 0) {
        still += 16;
        if (still == grid.stride) return;
        continue;
      }
      still = 0;
      while (any != 0) {
        any = 0;
#pragma GCC unroll 4
        for (size_t r = 0; r < kTogether; ++r) {
          const unsigned lane = static_cast<unsigned>(__builtin_ctz(would[r] | 0x10000u));  // 16: none
          const __mmask16 moving = would[r] != 0 ? 0xffff : 0;
          const __m512 by =
              _mm512_permutexvar_ps(_mm512_set1_epi32(static_cast<int>(lane)), _mm512_sub_ps(nearest[r], now[r]));
          const float* row = grid.gram + (j + (lane & 15)) * grid.stride;
          moved[r][moves[r]] = {by, row};
          moves[r] += would[r] != 0;
          own[r] = _mm512_mask_sub_ps(own[r], moving, own[r], _mm512_mul_ps(by, _mm512_loadu_ps(row + j)));
          now[r] = _mm512_mask_mov_ps(now[r], static_cast<__mmask16>(1u << lane), nearest[r]);
          ahead[r] = static_cast<__mmask16>(ahead[r] & ~((2u << lane) - 1));
          nearest[r] = steps.nearest(now[r], own[r]);
          would[r] = _mm512_mask_cmp_ps_mask(ahead[r], nearest[r], now[r], _CMP_NEQ_UQ);
          any |= would[r];
        }
      }
      for (size_t r = 0; r < kTogether; ++r) {
        if (moves[r] == 0) continue;
        _mm512_storeu_ps(v[r] + j, now[r]);
        follow_moves(moved[r], moves[r], grid.stride, g[r]);
      }
    }
  }
}

void descend_avx512(const DescentGrid& grid, size_t count, float* v, float* g, size_t g_stride,
                    uint32_t sweeps) noexcept {
  for (size_t row = 0; row < count; row += kTogether) {
    const size_t some = count - row < kTogether ? count - row : kTogether;
    float *vs[kTogether], *gs[kTogether];
    for (size_t r = 0; r < kTogether; ++r) {
      vs[r] = v + (row + (r < some ? r : 0)) * grid.stride;
      gs[r] = g + (row + (r < some ? r : 0)) * g_stride;
    }
    descend_some_avx512(grid, some, vs, gs, sweeps);
  }
}

void follow_avx512(const float* row, float by, size_t stride, float* g) noexcept {
  const Move512 move{_mm512_set1_ps(by), row};
  follow_some<1>(&move, stride, g);
}

float energy_avx512(const float* z, const float* v, const float* g, size_t dims) noexcept {
  alignas(64) float lanes[16];
  __m512 sums = _mm512_setzero_ps();
  size_t j = 0;
  for (; j + 16 <= dims; j += 16) {
    const __m512 error = _mm512_sub_ps(_mm512_loadu_ps(z + j), _mm512_loadu_ps(v + j));
    sums = _mm512_add_ps(sums, _mm512_mul_ps(error, _mm512_loadu_ps(g + j)));
  }
  const __mmask16 rest = static_cast<__mmask16>((1u << (dims - j)) - 1);
  const __m512 error = _mm512_sub_ps(_mm512_maskz_loadu_ps(rest, z + j), _mm512_maskz_loadu_ps(rest, v + j));
  sums = _mm512_mask_add_ps(sums, rest, sums, _mm512_mul_ps(error, _mm512_maskz_loadu_ps(rest, g + j)));
  _mm512_store_ps(lanes, sums);
  float total = 0;
  for (const float lane : lanes) total += lane;
  return total;
}

}  // namespace

void bind_avx512_descend(Kernels& table) noexcept {
  table.descend = descend_avx512;
  table.descent_follow = follow_avx512;
  table.descent_energy = energy_avx512;
}

}  // namespace bebr
#endif
