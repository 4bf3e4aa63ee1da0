#include "index/graph/digits.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bebr {
namespace {

constexpr uint32_t kPlanes = 4;           // of a digit
constexpr size_t kUnits = 16, kHalf = 8;  // of a vector

}  // namespace

CodeDigits::CodeDigits(std::span<const Byte> bytes, uint32_t at, uint32_t groups_) : every(groups_) {
  std::iota(every.begin(), every.end(), uint16_t{0});
  std::vector<uint16_t> upper(groups_, UINT16_MAX);  // units of planes 4 .. 7
  groups = every;
  for (uint16_t g = 0; g < groups_; ++g) {
    const auto deeper = [&](const Byte& byte) { return byte.group == g && byte.plane >= kPlanes; };
    if (std::none_of(bytes.begin(), bytes.end(), deeper)) continue;
    upper[g] = static_cast<uint16_t>(groups.size());
    groups.push_back(g);
  }
  for (size_t unit = 0; unit < groups.size(); ++unit)
    weights.push_back(std::ldexp(1.0f, unit < groups_ ? 1 - int{kPlanes} : 1 - 2 * int{kPlanes}));
  const size_t vectors = (groups.size() + kUnits - 1) / kUnits;
  groups.resize(vectors * kUnits);
  weights.resize(vectors * kUnits);
  most.resize(vectors * kUnits * 8);
  bytes_ = at + static_cast<uint32_t>(bytes.size());
  const bool named = bytes_ <= 64 * DigitOrder::kSources && 3 * vectors < (bytes.size() + 7) / 8;
  if (named) {
    from.resize(64 * vectors);
    masks.resize(DigitOrder::kSources * vectors);
  }
  bits.resize(bits_stride(static_cast<uint32_t>(bytes.size())));
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint32_t plane = bytes[i].plane % kPlanes;
    const size_t unit = bytes[i].plane < kPlanes ? bytes[i].group : upper[bytes[i].group];
    entry.push_back(static_cast<uint16_t>(8 * unit));
    for (size_t b = 0; b < 8; ++b) {
      bits[8 * i + b] = static_cast<uint8_t>(1u << (kPlanes - 1 - plane));
      most[8 * unit + b] = static_cast<int16_t>(most[8 * unit + b] + bits[8 * i + b]);
    }
    if (!named) continue;
    const size_t vector = unit / kUnits, in = unit % kUnits, source = (at + i) / 64;
    const size_t to = in % kHalf * 8 + (in < kHalf ? kPlanes : 0) + plane;
    from[64 * vector + to] = static_cast<uint8_t>((at + i) % 64);
    masks[DigitOrder::kSources * vector + source] |= uint64_t{1} << to;
  }
}

DigitOrder CodeDigits::order() const noexcept {
  return {bytes_, static_cast<uint32_t>(groups.size() / kUnits), from.data(), masks.data()};
}

}  // namespace bebr
