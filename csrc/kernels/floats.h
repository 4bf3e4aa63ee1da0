// Four floats, by the vector instructions that every machine of its kind has: of a query of 27 us this saves 4
// (docs/experiments/graph-walk.md). Sums have a fixed order, so all machines agree to the bit.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace bebr {

using Floats = float __attribute__((vector_size(16)));
using Ints = int32_t __attribute__((vector_size(16)));

inline Floats load_floats(const float* p) noexcept {
  Floats x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// The nearest integer, ties to even, of |x| < 2^22: adding 1.5 * 2^23 leaves it in the low bits. A loop of it becomes
// vectors, where lrint stays a call or an instruction a number.
inline int32_t nearest(float x) noexcept {
  return static_cast<int32_t>(std::bit_cast<uint32_t>(x + 12582912.0f) - 0x4b400000u);
}
inline Ints nearest(Floats x) noexcept { return reinterpret_cast<Ints>(x + 12582912.0f) - 0x4b400000; }

inline Floats size_of(Floats x) noexcept { return reinterpret_cast<Floats>(reinterpret_cast<Ints>(x) & 0x7fffffff); }

// Added by halves.
template <typename Four>
inline auto sum_of(Four x) noexcept {
  return (x[0] + x[2]) + (x[1] + x[3]);
}

}  // namespace bebr
