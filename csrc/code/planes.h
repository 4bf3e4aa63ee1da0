// Planes of one vector in row format (code/spec.h), from floats and back to floats. Portable loops that every compiler
// turns into SIMD: beside a matrix product they cost a few per cent.
#pragma once

#include <cstdint>

#include "code/spec.h"

namespace bebr {

// Bit j = (z[j] >= 0), so sgn(0) = +1.
void pack_signs(const float* z, uint32_t width, uint8_t* bits);

// Bit j = (z[j] >= v[j]): the sign of what plane after plane has left of z. Exact: no difference is rounded.
void pack_remainder_signs(const float* z, const float* v, uint32_t width, uint8_t* bits);

// The 8 bits of a byte as +1 (set) and -1.
struct alignas(64) ByteSigns {
  float sign[256][8] = {};
  constexpr ByteSigns() {
    for (int byte = 0; byte < 256; ++byte)
      for (int i = 0; i < 8; ++i) sign[byte][i] = (byte >> i & 1) != 0 ? 1.0f : -1.0f;
  }
};
inline constexpr ByteSigns kByteSigns;

// v[j] = r[j], with r = +1 for a set bit and -1 for a clear one.
void set_plane(const uint8_t* bits, uint32_t width, float* v);

// v[j] += weight * r[j].
void add_plane(const uint8_t* bits, uint32_t width, float weight, float* v);

// v of a whole row: v[j] = sum over the planes that cover j of 2^-t r[t, j]. Overwrites v[0 .. dims).
void unpack_row(const CodeSpec& spec, const uint8_t* row, float* v);

// The inverse of unpack_row: the planes of the grid's values v[0 .. dims).
void pack_row(const CodeSpec& spec, const float* v, uint8_t* row);

}  // namespace bebr
