// The nearest list of a vector. Up to 4,096 lists: by a product with all centroids and the greatest of its entries, in
// one kernel; equal to the CPU's Centroids::assign to the bit where that goes by float32. More lists: in two levels
// (cuda/grouped.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "cuda/grouped.h"
#include "cuda/layer.h"
#include "cuda/memory.h"

namespace bebr::cuda {

// All of them on the device in use. values: count rows of dim floats.
class AllCentroids {
 public:
  AllCentroids(uint32_t dim, size_t count, const float* values);
  // lists[i]: where <x_i, c> - |c|^2 / 2 is greatest; of equal ones the smaller number.
  void nearest(const MatrixView& x, DevicePointer<uint32_t> lists) const;

 private:
  DeviceLayer layer_;
  DeviceArray<float> half_norms_;  // infinite beyond the last centroid
};

inline constexpr size_t kMostDirect = 4096;  // lists, as on the CPU

class Centroids {
 public:
  // values: count rows of dim floats. Throws Error(DeviceUnavailable) where there is no such device,
  // Error(LimitExceeded) where its memory is short.
  Centroids(size_t device, uint32_t dim, size_t count, const float* values, size_t most_direct = kMostDirect);

  uint32_t dim() const noexcept { return dim_; }
  const GroupedCentroids* grouped() const noexcept { return grouped_ ? &*grouped_ : nullptr; }

  // x: n rows in the host's memory. lists: the nearest of each row by distance; of equal ones the smaller number.
  // Threads: one call at a time, the others wait.
  void assign(const float* x, size_t n, uint32_t* lists) const;

 private:
  size_t device_;
  uint32_t dim_;
  std::optional<AllCentroids> all_;  // one of the two, made on the device
  std::optional<GroupedCentroids> grouped_;
  mutable std::mutex mutex_;
};

}  // namespace bebr::cuda
