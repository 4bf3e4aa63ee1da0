// A value that the n best of many reach, and few others: where a selection among all would take four times as long.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace bebr {

// Of lanes apart, so that the maximum of each is a vector operation, the n-th best. 1 <= n <= values.size(); best:
// room.
inline float floor_of_best(std::span<const float> values, size_t n, std::vector<float>& best) {
  size_t lanes = 32;
  while (lanes < 2 * n) lanes *= 2;
  const size_t count = values.size();
  if (count <= 2 * lanes) {
    best.assign(values.begin(), values.end());
  } else {
    best.assign(values.begin(), values.begin() + static_cast<ptrdiff_t>(lanes));
    size_t at = lanes;
    for (; at + lanes <= count; at += lanes)
      for (size_t lane = 0; lane < lanes; ++lane) best[lane] = std::max(best[lane], values[at + lane]);
    for (size_t lane = 0; at + lane < count; ++lane) best[lane] = std::max(best[lane], values[at + lane]);
  }
  const auto last = best.begin() + static_cast<ptrdiff_t>(n - 1);
  std::nth_element(best.begin(), last, best.end(), std::greater<>());
  return *last;
}

}  // namespace bebr
