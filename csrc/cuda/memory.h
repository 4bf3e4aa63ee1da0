// Memory of a device. No header of CUDA here: files that only move data are ordinary C++. The functions are in
// memory.cu, and for the tests in tests/cpp/emulate/memory.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

#if defined(__CUDACC__)
#define BEBR_DEVICE __device__
#elif defined(BEBR_EMULATED)
#define BEBR_DEVICE
#endif

namespace bebr::cuda {

// The devices that can be used; where there is none, why.
struct Status {
  std::vector<std::string> devices;
  std::string why;
};
Status status();
// What this thread does is on that device as long as this lives, and then on the one before: other libraries go by it
// too. Throws Error(DeviceUnavailable) with status().why, or where there is no such device.
class OnDevice {
 public:
  explicit OnDevice(size_t ordinal);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  size_t before_;
};
size_t multiprocessors();
bool has_wgmma();  // the device in use: products by warpgroups, which compute capability 9.0 alone has
// The device whose memory lies there; none: the host's, or nobody's.
std::optional<size_t> device_of(const void* address);
// Until what is on a stream of another library, by its handle, has ended.
void wait_for(uint64_t stream);
size_t free_memory();           // bytes
#if defined(BEBR_EMULATED)      // for tests
void set_memory(size_t bytes);  // how much an emulated device has
void set_pinned(size_t bytes);  // and how much of the host's may be pinned
void set_wgmma(bool has);       // and what its has_wgmma() is: false at first
size_t products_by_wgmma();     // that an emulated device began so far
// Bytes that were copied to the device and from it so far.
struct Copied {
  size_t up = 0, down = 0;
};
Copied copied();
std::vector<uint64_t> waited();  // streams that were waited for so far
#endif

// "`what` 110.00 GiB on the device, which has 75.20 GiB left".
std::string memory_text(const std::string& what, size_t needed, size_t left);
// Throw Error(LimitExceeded) with that; "110.00 GiB of the host's memory cannot be pinned".
[[noreturn]] void fail_for_memory(const std::string& what, size_t needed, size_t left);
[[noreturn]] void fail_for_pinned(size_t bytes);
// The same where a caller allows `most` bytes.
[[noreturn]] void fail_for_budget(const std::string& what, size_t needed, size_t most);
// Throws Error(LimitExceeded) where memory is short. What is there at first is undefined.
void* allocate(size_t bytes);
void release(void* memory) noexcept;
// These wait until kernels launched before have ended. Throw Error(DeviceUnavailable): the device is lost.
void upload(void* to, const void* from, size_t bytes);
void download(void* to, const void* from, size_t bytes);
void set_bytes(void* at, uint8_t value, size_t bytes);
void wait_for_kernels();  // those launched before

// Memory of the host that the device reads by itself. Throws Error(LimitExceeded) where the system gives none.
void* allocate_pinned(size_t bytes);
void release_pinned(void* memory) noexcept;
// Begins a copy of such memory, beside kernels: nothing may touch `to` until wait_for_copies, which waits for all that
// have begun on the device in use.
void upload_beside(void* to, const void* from, size_t bytes);
void wait_for_copies();

template <typename T>
class DeviceArray;

// An address on the device. Only kernels turn it into a plain pointer, so that no host code follows it and no kernel is
// handed an address of the host.
template <typename T>
class DevicePointer {
 public:
  DevicePointer() = default;
#if defined(BEBR_DEVICE)
  BEBR_DEVICE operator T*() const { return at_; }
#endif
  bool is_null() const noexcept { return at_ == nullptr; }  // for the host
  // Memory of the device in use that somebody else owns.
  static DevicePointer of_another(T* at) { return DevicePointer(at); }

 private:
  friend class DeviceArray<std::remove_const_t<T>>;
  explicit DevicePointer(T* at) : at_(at) {}
  T* at_ = nullptr;
};

template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(size_t size)
      : data_(static_cast<T*>(size > 0 ? allocate(size * sizeof(T)) : nullptr)), size_(size) {}
  explicit DeviceArray(std::span<const T> values) : DeviceArray(values.size()) { put(values); }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(std::span<const T>(values)) {}
  DeviceArray(DeviceArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceArray() { release(data_); }

  size_t size() const noexcept { return size_; }
  size_t bytes() const noexcept { return size_ * sizeof(T); }
  const void* address() const noexcept { return data_; }  // for who shows this memory to another library
  DevicePointer<T> data(size_t at = 0) noexcept { return DevicePointer<T>(data_ + at); }
  DevicePointer<const T> data(size_t at = 0) const noexcept { return DevicePointer<const T>(data_ + at); }

  DevicePointer<const uint8_t> as_bytes() const noexcept {
    return DevicePointer<const uint8_t>::of_another(reinterpret_cast<const uint8_t*>(data_));
  }

  // `values` at entry `at` and behind.
  void put(std::span<const T> values, size_t at = 0) {
    if (!values.empty()) upload(data_ + at, values.data(), values.size_bytes());
  }
  // The same from pinned memory, by upload_beside.
  void put_beside(std::span<const T> values) {
    if (!values.empty()) upload_beside(data_, values.data(), values.size_bytes());
  }
  std::vector<T> get() const { return get(size_); }
  std::vector<T> get(size_t count) const {
    std::vector<T> values(count);
    take(values.data(), count);
    return values;
  }
  // `count` values from entry `at` on.
  void take(T* to, size_t count, size_t at = 0) const {
    if (count > 0) download(to, data_ + at, count * sizeof(T));
  }
  void fill_bytes(uint8_t value) {
    if (size_ > 0) set_bytes(data_, value, bytes());
  }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace bebr::cuda
