#include "code/factor.h"

#include <string>

#include "base/error.h"

namespace bebr {

FactorCode FactorCode::make(uint32_t bytes, uint32_t low, uint32_t step) {
  if (bytes != 1 && bytes != 2 && bytes != 4)
    fail(ErrorCode::InvalidArgument, "factor_bytes is " + std::to_string(bytes) + ": want 1, 2 or 4");
  if (bytes != 1) return {bytes, 0, 0};
  constexpr uint32_t kInfinity = 0x7c00;  // patterns below it are finite and not negative
  if (step < 1 || step > kInfinity / 255 || low >= kInfinity - 255 * step)
    fail(ErrorCode::InvalidArgument, "factor_code is low " + std::to_string(low) + ", step " + std::to_string(step) +
                                         ": want step >= 1 and low + 255 * step below the fp16 infinity, 31744");
  return {bytes, static_cast<uint16_t>(low), static_cast<uint16_t>(step)};
}

}  // namespace bebr
