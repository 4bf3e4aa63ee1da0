#include "code/planes.h"

#include <cstring>

namespace bebr {
namespace {

// flags[j] is 0 or 1. The product moves bit 8j of a little-endian word to bit 56 + j: eight flags become one byte at
// once.
void pack_flags(const uint8_t* flags, uint32_t width, uint8_t* bits) {
  for (uint32_t g = 0; g < width / 8; ++g) {
    uint64_t word;
    std::memcpy(&word, flags + g * 8, 8);
    bits[g] = static_cast<uint8_t>(word * 0x0102040810204080u >> 56);
  }
}

}  // namespace

void pack_signs(const float* z, uint32_t width, uint8_t* bits) {
  uint8_t flags[kMaxDims];
  for (uint32_t j = 0; j < width; ++j) flags[j] = z[j] >= 0 ? 1 : 0;
  pack_flags(flags, width, bits);
}

void pack_remainder_signs(const float* z, const float* v, uint32_t width, uint8_t* bits) {
  uint8_t flags[kMaxDims];
  for (uint32_t j = 0; j < width; ++j) flags[j] = z[j] >= v[j] ? 1 : 0;
  pack_flags(flags, width, bits);
}

void set_plane(const uint8_t* bits, uint32_t width, float* v) {
  for (uint32_t g = 0; g < width / 8; ++g) std::memcpy(v + g * 8, kByteSigns.sign[bits[g]], sizeof(kByteSigns.sign[0]));
}

void add_plane(const uint8_t* bits, uint32_t width, float weight, float* v) {
  for (uint32_t g = 0; g < width / 8; ++g) {
    const float* sign = kByteSigns.sign[bits[g]];
    float* to = v + g * 8;
    for (int i = 0; i < 8; ++i) to[i] += weight * sign[i];
  }
}

void unpack_row(const CodeSpec& spec, const uint8_t* row, float* v) {
  set_plane(row, spec.dims(), v);
  float weight = 1;
  for (uint32_t t = 1; t < spec.planes; ++t) {
    row += spec.widths[t - 1] / 8;
    weight /= 2;
    add_plane(row, spec.widths[t], weight, v);
  }
}

void pack_row(const CodeSpec& spec, const float* v, uint8_t* row) {
  float sum[kMaxDims];
  pack_signs(v, spec.dims(), row);
  if (spec.planes > 1) set_plane(row, spec.dims(), sum);
  float weight = 1;
  for (uint32_t t = 1; t < spec.planes; ++t) {
    row += spec.widths[t - 1] / 8;
    weight /= 2;
    pack_remainder_signs(v, sum, spec.widths[t], row);
    if (t + 1 < spec.planes) add_plane(row, spec.widths[t], weight, sum);
  }
}

}  // namespace bebr
