// CodeSpec: the shape of a code. Row format (interchange and graph layout): the planes one after the other, plane t in
// widths[t] / 8 bytes, dim j of a plane at byte j / 8, bit j % 8, least significant first; a set bit is +1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bebr {

inline constexpr uint32_t kMaxPlanes = 8;
inline constexpr uint32_t kMinDims = 8;
inline constexpr uint32_t kMaxDims = 4096;

struct CodeSpec {
  uint32_t planes = 0;
  uint32_t widths[kMaxPlanes] = {};  // non-increasing multiples of 8

  // Throws Error(InvalidArgument) naming the plane at fault.
  static CodeSpec make(std::span<const uint32_t> widths);

  uint32_t dims() const noexcept { return widths[0]; }
  uint32_t groups() const noexcept { return widths[0] / 8; }  // bytes of the sign plane
  uint32_t row_bytes() const noexcept { return rest_bytes() + groups(); }
  uint32_t rest_bytes() const noexcept {
    uint32_t bits = 0;
    for (uint32_t t = 1; t < planes; ++t) bits += widths[t];
    return bits / 8;
  }
  // Planes that cover dim j, 1..planes.
  uint32_t depth(uint32_t j) const noexcept {
    uint32_t t = 0;
    while (t < planes && j < widths[t]) ++t;
    return t;
  }
  bool operator==(const CodeSpec&) const = default;
};

}  // namespace bebr
