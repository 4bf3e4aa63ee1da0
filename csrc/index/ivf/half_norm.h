// ||c||^2 / 2, which is taken off a centroid's product so that the nearest one's is greatest.
#pragma once

#include <cstdint>

namespace bebr {

inline float half_norm(const float* values, uint32_t dim) {
  double sum = 0;
  for (uint32_t j = 0; j < dim; ++j) sum += double{values[j]} * double{values[j]};
  return static_cast<float>(sum / 2);
}

}  // namespace bebr
