#include "cuda/memory.h"

#include <cstdio>

namespace bebr::cuda {
namespace {

// In the unit of `of`.
std::string text(size_t bytes, size_t of) {
  const bool large = of >= size_t{1} << 30;
  char number[32];
  std::snprintf(number, sizeof number, "%.2f", static_cast<double>(bytes) / (large ? 1 << 30 : 1 << 20));
  return number + std::string(large ? " GiB" : " MiB");
}

}  // namespace

std::string memory_text(const std::string& what, size_t needed, size_t left) {
  return what + " " + text(needed, needed) + " on the device, which has " + text(left, needed) + " left";
}

void fail_for_memory(const std::string& what, size_t needed, size_t left) {
  fail(ErrorCode::LimitExceeded, memory_text(what, needed, left));
}

void fail_for_budget(const std::string& what, size_t needed, size_t most) {
  fail(ErrorCode::LimitExceeded,
       what + " " + text(needed, needed) + " on the device, and may have " + text(most, needed) + " there");
}

void fail_for_pinned(size_t bytes) {
  fail(ErrorCode::LimitExceeded, text(bytes, bytes) + " of the host's memory cannot be pinned");
}

}  // namespace bebr::cuda
