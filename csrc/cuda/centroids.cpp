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

AllCentroids::AllCentroids(uint32_t dim, size_t count, const float* values)
    : layer_({values, nullptr, dim, static_cast<uint32_t>(count)}) {
  std::vector<float> half_norms(layer_.view().columns, std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < count; ++i) half_norms[i] = half_norm(values + i * dim, dim);
  half_norms_ = DeviceArray<float>(half_norms);
}

void AllCentroids::nearest(const MatrixView& x, DevicePointer<uint32_t> lists) const {
  cuda::nearest(x, layer_, half_norms_.data(), lists);
}

Centroids::Centroids(size_t device, uint32_t dim, size_t count, const float* values, size_t most_direct)
    : device_(device), dim_(dim) {
  const OnDevice there(device);
  if (count > most_direct)
    grouped_.emplace(dim, count, values);
  else
    all_.emplace(dim, count, values);
}

void Centroids::assign(const float* x, size_t n, uint32_t* lists) const {
  if (n == 0) return;
  const std::lock_guard lock(mutex_);
  const OnDevice there(device_);
  const size_t needed = dim_ * sizeof(float) + (grouped_ ? grouped_->bytes_of_row() : sizeof(uint32_t));
  if (grouped_) grouped_->reserve(0);  // what the call before took is free again
  const size_t left = free_memory(), batch = std::min({n, kMostRows, left / 2 / needed});
  if (batch < std::min(n, kFewRows)) fail_for_memory("assigning rows to lists needs", 2 * kFewRows * needed, left);
  DeviceArray<float> rows(batch * dim_);
  DeviceArray<uint32_t> found(grouped_ ? 0 : batch);
  if (grouped_) grouped_->reserve(batch);
  for (size_t first = 0; first < n; first += batch) {
    const size_t some = std::min(batch, n - first);
    rows.put({x + first * dim_, some * dim_});
    const MatrixView some_rows{std::as_const(rows).data(), static_cast<uint32_t>(some), dim_};
    if (grouped_) {
      grouped_->assign(some_rows, lists + first);
    } else {
      all_->nearest(some_rows, found.data());
      found.take(lists + first, some);
    }
  }
}

}  // namespace bebr::cuda
