#include "cuda/memory.h"

#include <cstdio>

namespace bebr::cuda {

void fail_for_memory(const std::string& what, size_t needed, size_t left) {
  const bool large = needed >= size_t{1} << 30;
  const auto text = [large](size_t bytes) {
    char number[32];
    std::snprintf(number, sizeof number, "%.2f", static_cast<double>(bytes) / (large ? 1 << 30 : 1 << 20));
    return number + std::string(large ? " GiB" : " MiB");
  };
  fail(ErrorCode::LimitExceeded, what + " " + text(needed) + " on the device, which has " + text(left) + " left");
}

}  // namespace bebr::cuda
