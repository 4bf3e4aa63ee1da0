// Memory of the host that a device copies from by itself, beside its kernels.
#pragma once

#include <cstddef>
#include <utility>

#include "cuda/memory.h"

namespace bebr::cuda {

template <typename T>
class PinnedArray {
 public:
  PinnedArray() = default;
  // Throws Error(LimitExceeded) where the system gives no such memory.
  explicit PinnedArray(size_t size)
      : data_(static_cast<T*>(size > 0 ? allocate_pinned(size * sizeof(T)) : nullptr)), size_(size) {}
  PinnedArray(PinnedArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PinnedArray& operator=(PinnedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PinnedArray() { release_pinned(data_); }

  size_t size() const noexcept { return size_; }
  // Where kernels read it, by the bus.
  DevicePointer<const T> on_device() const noexcept { return DevicePointer<const T>::of_another(data_); }
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace bebr::cuda
