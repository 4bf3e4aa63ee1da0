// Where the HTTP/2 sessions of a loop have their memory from. A call takes some forty small pieces of it. Of a wake
// with many calls malloc takes them one by one from its shared lists; here each size has a list, and no other thread.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstddef>

namespace bebr {

class SessionMemory {
 public:
  SessionMemory() noexcept;
  ~SessionMemory();  // after that of the sessions
  SessionMemory(const SessionMemory&) = delete;
  SessionMemory& operator=(const SessionMemory&) = delete;
  nghttp2_mem* get() noexcept { return &functions_; }

 private:
  struct Piece;
  void* take(size_t size) noexcept;
  void give_back(void* bytes) noexcept;
  void* resize(void* bytes, size_t size) noexcept;

  static constexpr size_t kStep = 64, kLargest = 1024;  // bytes of pieces that are kept
  nghttp2_mem functions_{};
  std::array<Piece*, kLargest / kStep + 1> free_{};  // by size in steps
  size_t kept_ = 0;                                  // bytes of these
};

}  // namespace bebr
