// Which sums of a query's product cannot pass its threshold, whatever the factor of their row: one comparison of
// integers a sum, where its score would take a conversion and three roundings.
//
// Whoever passes has threshold < (base + scale sum) factor, or the like, up to roundings: those of the score and those
// made here together change no term by as much as 2^-19 of it. So each is taken 2^-18 more favourably.
#pragma once

#include <cmath>

#include "cuda/device.h"
#include "cuda/scan.h"

namespace bebr::cuda {

inline constexpr int32_t kMostSum = 1 << 30;  // all sums are smaller in size
inline constexpr float kTermSlack = 1.0f / (1 << 18);

// 1 / x; of what may be so small that a score's roundings are not: NaN, so that every sum may pass.
__device__ __forceinline__ float safe_inverse(float x) { return x > 1e-18f ? about_inverse(x) : float_of(0x7fffffffu); }

// What factors of some rows, from `least` to `most`, make of a threshold: it times by_least where it is negative, else
// times by_most; plus shift.
struct FactorRange {
  float by_least, by_most, shift;
};
__device__ __forceinline__ FactorRange range_of(Factor factor, float least, float most) {
  const bool divides = factor == Factor::Mul;
  const float by_least = divides ? safe_inverse(least) : 1, by_most = divides ? about_inverse(most) : 1;
  return {by_least * (1 + kTermSlack), by_most * (1 - kTermSlack) + (by_least - by_least),
          factor == Factor::Sub ? least - fabsf(least) * kTermSlack : 0};
}

// A sum below it does not pass. numbers.by_scale: safe_inverse(scale).
__device__ __forceinline__ int32_t least_sum(const QueryNumbers& numbers, const FactorRange& factors) {
  const float need = numbers.threshold * (numbers.threshold > 0 ? factors.by_most : factors.by_least) + factors.shift;
  const float least = (need - (numbers.base + fabsf(numbers.base) * kTermSlack)) * numbers.by_scale;
  return static_cast<int32_t>(fminf(fmaxf(least, -kMostSum), kMostSum)) - 1;  // NaN: the least of all
}

}  // namespace bebr::cuda
