// The specification of expand, dot_expanded, expand_tail and dot_tail (kernels.h), written for reading.
//
// Bounds: u <= 2^8 - 1, |y8| <= 128, 4096 dims: sums below 2^28.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"

namespace bebr {
namespace {

void expand_scalar(const ScanView& view, size_t first, size_t blocks, uint32_t groups, uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  for (size_t block = first; block < first + blocks; ++block, out += expanded_bytes(groups)) {
    std::memset(out, 0, expanded_bytes(groups));
    for (size_t i = 0; i < kBlockRows && block * kBlockRows + i < view.rows; ++i) {
      const size_t row = block * kBlockRows + i;
      const uint8_t* plane = view.rest + row * spec.rest_bytes();
      for (uint32_t t = 0; t < spec.planes; ++t) {
        for (uint32_t j = 0; j < spec.widths[t] && j < 8 * groups; ++j) {
          const uint8_t byte = t == 0 ? view.blocks[sign_offset(spec.groups(), row, j / 8)] : plane[j / 8];
          uint8_t& u = out[j / 4 * 64 + i * 4 + j % 4];
          u = static_cast<uint8_t>(u | (byte >> (j % 8) & 1) << (spec.planes - 1 - t));
        }
        if (t > 0) plane += spec.widths[t] / 8;
      }
    }
  }
}

void dot_expanded_scalar(const uint8_t* expanded, size_t blocks, uint32_t groups, const int8_t* y8, size_t count,
                         int32_t* sums, size_t stride) noexcept {
  for (size_t q = 0; q < count; ++q) {
    const int8_t* y = y8 + q * y8_stride(groups);
    for (size_t row = 0; row < blocks * kBlockRows; ++row) {
      const uint8_t* u = expanded + row / kBlockRows * expanded_bytes(groups) + row % kBlockRows * 4;
      int32_t sum = 0;
      for (uint32_t j = 0; j < 8 * groups; ++j) sum += y[j] * u[j / 4 * 64 + j % 4];
      sums[q * stride + row] = sum;
    }
  }
}

void expand_tail_scalar(const ScanView& view, uint32_t tile, const uint32_t* rows, size_t count, uint32_t first,
                        uint8_t* out) noexcept {
  const CodeSpec& spec = view.spec;
  const size_t bytes = y8_stride(spec.groups()) - 64 * size_t{tile};
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* plane = view.rest + rows[i] * spec.rest_bytes();
    uint8_t* u = out + (rows[i] - first) * bytes;
    std::memset(u, 0, bytes);
    for (uint32_t t = 0; t < spec.planes; ++t) {
      for (uint32_t j = 64 * tile; j < spec.widths[t]; ++j) {
        const uint8_t byte = t == 0 ? view.blocks[sign_offset(spec.groups(), rows[i], j / 8)] : plane[j / 8];
        uint8_t& to = u[j - 64 * tile];
        to = static_cast<uint8_t>(to | (byte >> (j % 8) & 1) << (spec.planes - 1 - t));
      }
      if (t > 0) plane += spec.widths[t] / 8;
    }
  }
}

void dot_tail_scalar(const uint8_t* tails, size_t bytes, const int8_t* y8, const uint32_t* rows, size_t count,
                     uint32_t first, int32_t* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* u = tails + (rows[i] - first) * bytes;
    int32_t sum = 0;
    for (size_t j = 0; j < bytes; ++j) sum += y8[j] * u[j];
    out[i] = sum;
  }
}

}  // namespace

void bind_scalar_expand(Kernels& table) noexcept {
  table.expand = expand_scalar;
  table.dot_expanded = dot_expanded_scalar;
  table.expand_tail = expand_tail_scalar;
  table.dot_tail = dot_tail_scalar;
}

}  // namespace bebr
