// Inner products in double.
#pragma once

#include <cstddef>

namespace bebr {

// Of d floats each: entry k is added to sum k % 8, then the eight sums in their order.
inline float row_product(const float* a, const float* b, size_t d) {
  constexpr size_t kLanes = 8;
  double sums[kLanes] = {};
  size_t k = 0;
  for (; k + kLanes <= d; k += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += double{a[k + lane]} * double{b[k + lane]};
  for (size_t lane = 0; k + lane < d; ++lane) sums[lane] += double{a[k + lane]} * double{b[k + lane]};
  double total = 0;
  for (const double sum : sums) total += sum;
  return static_cast<float>(total);
}

}  // namespace bebr
