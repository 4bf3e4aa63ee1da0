#include "code/spec.h"

#include <string>

#include "base/error.h"

namespace bebr {

CodeSpec CodeSpec::make(std::span<const uint32_t> widths) {
  if (widths.empty() || widths.size() > kMaxPlanes)
    fail(ErrorCode::InvalidArgument, "widths has " + std::to_string(widths.size()) + " planes: want 1 to 8");
  CodeSpec spec;
  spec.planes = static_cast<uint32_t>(widths.size());
  for (uint32_t t = 0; t < spec.planes; ++t) {
    const uint32_t w = widths[t];
    const std::string name = "widths[" + std::to_string(t) + "] is " + std::to_string(w);
    if (w % 8 != 0 || w < kMinDims || w > kMaxDims)
      fail(ErrorCode::InvalidArgument, name + ": want a multiple of 8 from 8 to 4096");
    if (t > 0 && w > widths[t - 1])
      fail(ErrorCode::InvalidArgument, name + ", above the plane before it: want non-increasing widths");
    spec.widths[t] = w;
  }
  return spec;
}

}  // namespace bebr
