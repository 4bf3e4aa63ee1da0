// Factors: the scalars stored beside a code, what they do to its score, and how their bytes read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace bebr {

// How the stored factor f of a vector enters its score.
enum class Factor : uint8_t {
  None = 0,  // base + <y, v>
  Mul = 1,   // (base + <y, v>) * f      cosine, inner product
  Sub = 2,   // base + <y, v> - f        squared L2
};

// One byte b encodes the fp16 whose bit pattern is low + b * step. Patterns of positive numbers are in the order of the
// numbers, so over several binades this is a piecewise linear logarithm, within one binade a straight line. Two bytes
// are fp16, four a float.
struct FactorCode {
  uint32_t bytes = 2;
  uint16_t low = 0, step = 0;  // zero unless bytes is 1

  // Throws Error(InvalidArgument) unless every pattern is a finite number, 0 or greater.
  static FactorCode make(uint32_t bytes, uint32_t low, uint32_t step);

  float value(const uint8_t* stored) const noexcept {
    if (bytes == 1) return half_to_float(static_cast<uint16_t>(low + *stored * step));
    if (bytes == 2) {
      uint16_t half;
      std::memcpy(&half, stored, sizeof half);
      return half_to_float(half);
    }
    float value;
    std::memcpy(&value, stored, sizeof value);
    return value;
  }
  bool operator==(const FactorCode&) const = default;
};

}  // namespace bebr
