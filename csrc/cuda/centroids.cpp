#include "cuda/centroids.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "index/ivf/half_norm.h"

namespace bebr::cuda {
namespace {

constexpr size_t kMostRows = size_t{1} << 17;  // that go to the device together
constexpr size_t kFewRows = 128;

}  // namespace

Centroids::Centroids(size_t device, uint32_t dim, size_t count, const float* values) : device_(device), count_(count) {
  use_device(device);
  const std::vector<float> zeros(count);
  layer_.emplace(Layer{values, zeros.data(), dim, static_cast<uint32_t>(count)});
  std::vector<float> half_norms(layer_->view().columns, std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < count; ++i) half_norms[i] = half_norm(values + i * dim, dim);
  half_norms_ = DeviceArray<float>(half_norms);
}

void Centroids::assign(const float* x, size_t n, uint32_t* lists) const {
  if (n == 0) return;
  const std::lock_guard lock(mutex_);
  use_device(device_);
  const size_t needed = (size_t{dim()} + 1) * sizeof(float), left = free_memory();
  const size_t batch = std::min({n, kMostRows, left / 2 / needed});
  if (batch < std::min(n, kFewRows)) fail_for_memory("assigning rows to lists needs", 2 * kFewRows * needed, left);
  DeviceArray<float> rows(batch * dim());
  DeviceArray<uint32_t> found(batch);
  for (size_t first = 0; first < n; first += batch) {
    const size_t some = std::min(batch, n - first);
    rows.put({x + first * dim(), some * dim()});
    nearest({std::as_const(rows).data(), static_cast<uint32_t>(some), dim()}, *layer_, half_norms_.data(),
            found.data());
    found.take(lists + first, some);
  }
}

}  // namespace bebr::cuda
