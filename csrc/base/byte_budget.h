// Bytes that calls in progress may hold together, counted by any number of threads.
#pragma once

#include <atomic>
#include <cstddef>

namespace bebr {

class ByteBudget {
 public:
  explicit ByteBudget(size_t total) : total_(total) {}

  size_t total() const noexcept { return total_; }
  size_t held() const noexcept { return held_; }
  // Counts `size` bytes, unless more than `most` were held then.
  bool take(size_t size, size_t most) noexcept {
    size_t before = held_;
    do {
      if (size > most || before > most - size) return false;
    } while (!held_.compare_exchange_weak(before, before + size));
    return true;
  }
  void give_back(size_t size) noexcept { held_ -= size; }

 private:
  const size_t total_;
  std::atomic<size_t> held_{0};
};

}  // namespace bebr
