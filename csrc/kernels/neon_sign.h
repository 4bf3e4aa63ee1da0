// What the completions of rows have in common: where a row's planes are, and asking for them ahead.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {

// The sign plane of a row of a block, as contiguous bytes: of each quad 4 bytes, of a last one 1 to 3.
BEBR_INLINE void gather_sign_neon(const uint8_t* block, uint32_t row, uint32_t groups, uint8_t* sign) {
  const uint32_t whole = groups / 4 * 4, left = groups - whole;
#pragma GCC unroll 4
  for (uint32_t g = 0; g < whole; g += 4) std::memcpy(sign + g, block + g * kBlockRows + row * 4, 4);
  for (uint32_t k = 0; k < left; ++k) sign[whole + k] = block[whole * kBlockRows + row * left + k];
}

// Plane t of nr rows as contiguous bytes: sign planes are gathered into `sign`, others read where they lie. rest: of
// each row from this plane on; moved behind it.
BEBR_INLINE void planes_neon(const int nr, const ScanView& view, const uint32_t* rows, uint32_t t, const uint8_t** rest,
                             uint8_t (*sign)[kMaxDims / 8], const uint8_t** plane) {
  const uint32_t bytes = view.spec.widths[t] / 8;
  if (t > 0) {
#pragma GCC unroll 4
    for (int r = 0; r < nr; ++r) {
      plane[r] = rest[r];
      rest[r] += bytes;
    }
    return;
  }
#pragma GCC unroll 4
  for (int r = 0; r < nr; ++r) {
    gather_sign_neon(view.blocks + rows[r] / kBlockRows * bytes * kBlockRows, rows[r] % kBlockRows, bytes, sign[r]);
    plane[r] = sign[r];
  }
}

// Bytes of a row's rest before the range.
BEBR_INLINE uint32_t bytes_before_neon(const CodeSpec& spec, const PlaneRange& range) {
  uint32_t from = 0;
  for (uint32_t t = 1; t < range.first; ++t) from += spec.widths[t] / 8;
  return from;
}

// Into L2. All of a block where its sign plane is read: a row has 4 bytes in each of its lines.
BEBR_INLINE void ask_for_row_neon(const ScanView& view, const PlaneRange& range, uint32_t from, size_t row) {
  const size_t sign_bytes = block_bytes(view.spec), rest_bytes = view.spec.rest_bytes();
  const uint8_t *sign = view.blocks + row / kBlockRows * sign_bytes, *rest = view.rest + row * rest_bytes;
  if (range.first == 0)
    for (size_t at = 0; at < sign_bytes; at += 64) __builtin_prefetch(sign + at, 0, 2);
  for (size_t at = from; at < rest_bytes; at += 64) __builtin_prefetch(rest + at, 0, 2);
}

}  // namespace bebr
