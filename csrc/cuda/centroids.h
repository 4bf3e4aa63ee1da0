// The nearest list of a vector, by a product with all centroids and the greatest of its entries, in one kernel. Equal
// to the CPU's Centroids::assign to the bit where that looks at all centroids (up to 4,096) in float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "cuda/layer.h"
#include "cuda/memory.h"

namespace bebr::cuda {

class Centroids {
 public:
  // values: count rows of dim floats. Throws Unavailable where there is no such device, Error(LimitExceeded) where its
  // memory is short.
  Centroids(size_t device, uint32_t dim, size_t count, const float* values);

  uint32_t dim() const noexcept { return layer_->in(); }
  size_t size() const noexcept { return count_; }

  // x: n rows in the host's memory. lists: the nearest of each row by distance; of equal ones the smaller number.
  // Threads: one call at a time, the others wait.
  void assign(const float* x, size_t n, uint32_t* lists) const;

 private:
  size_t device_, count_;
  std::optional<DeviceLayer> layer_;
  DeviceArray<float> half_norms_;  // infinite beyond the last centroid
  mutable std::mutex mutex_;
};

// lists[i]: where <x_i, c> - half_norms[c] is greatest.
void nearest(const MatrixView& x, const DeviceLayer& centroids, DevicePointer<const float> half_norms,
             DevicePointer<uint32_t> lists);

}  // namespace bebr::cuda
