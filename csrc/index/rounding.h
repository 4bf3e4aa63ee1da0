// Floats of a query rounded to integers: what its forms for the kernels are made by.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/floats.h"

namespace bebr {

inline constexpr size_t kFewestQueries = 32;  // fewer than these to round are not worth a thread
inline constexpr float kNothing = 0x1p-100f;  // a step below it has no finite inverse; the query is as good as zero
inline constexpr uint32_t kLanes = 8;         // dims are a multiple of it

// The largest |y[j]|, or |y[j]| * by[j] where there is a `by`.
inline float largest_size(const float* y, const float* by, uint32_t dims) {
  Floats largest[2] = {};
  for (uint32_t j = 0; j < dims; j += kLanes) {
    for (uint32_t v = 0; v < 2; ++v) {
      Floats size = size_of(load_floats(y + j + 4 * v));
      if (by != nullptr) size *= load_floats(by + j + 4 * v);
      largest[v] = size > largest[v] ? size : largest[v];
    }
  }
  const Floats most = largest[0] > largest[1] ? largest[0] : largest[1];
  return std::max(std::max(most[0], most[1]), std::max(most[2], most[3]));
}

}  // namespace bebr
