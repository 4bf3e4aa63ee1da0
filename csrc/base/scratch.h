// Memory that searches reuse. Freed and allocated for each search, the pages of a batch (megabytes) go back to the
// system and are cleared on return, which takes 13 % of a batch of 256 queries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "base/buffer.h"

namespace bebr {

class Scratch {
 public:
  explicit Scratch(size_t size) {
    {
      std::lock_guard lock(shelf().mutex);
      if (!shelf().buffers.empty()) {
        buffer_ = std::move(shelf().buffers.back());
        shelf().buffers.pop_back();
      }
    }
    buffer_.reserve(size);
  }
  Scratch(Scratch&&) noexcept = default;
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (buffer_.capacity() == 0 || buffer_.capacity() > kLargest) return;
    std::lock_guard lock(shelf().mutex);
    if (shelf().buffers.size() < kMost) shelf().buffers.push_back(std::move(buffer_));
  }

  uint8_t* data() noexcept { return buffer_.data(); }

 private:
  static constexpr size_t kMost = 16, kLargest = size_t{16} << 20;
  struct Shelf {
    std::mutex mutex;
    std::vector<Buffer> buffers;
    Shelf() { buffers.reserve(kMost); }
  };
  static Shelf& shelf();  // outlives every thread

  Buffer buffer_;
};

}  // namespace bebr
