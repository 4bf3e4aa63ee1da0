// NEON: the exact scores of survivors (kernels.h: complete). Machines with dotprod take that of neon_dot_complete.cpp.
//
// Layout: kernels.h, code/layout.h; neon_complete.h. Digits of four planes are multiplied with the low and the high
// bytes of entries; further planes join as the next digits, each sum shifted by as many bits.
//
// Bounds: sums are taken modulo 2^32. 16-bit lanes take the products of 128 dims.
//
// Instructions: umull, umlal, smull, smlal.
#include "kernels/neon_complete.h"

#include <arm_neon.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

struct Sum {
  int32x4_t high;
  uint32x4_t low;
};

// A digit is 15 at most: of 16 products of a lane, the low ones stay below 2^16, the high ones above -2^15.
BEBR_INLINE void multiply_neon(const int nr, const uint8x16_t (*digits)[8], const DigitEntries& entries, Sum* sums) {
  uint16x8_t low[2];
  int16x8_t high[2];
#pragma GCC unroll 8
  for (int d = 0; d < 8; ++d) {
    const uint8x16_t y_low = entries.low[d];
    const int8x16_t y_high = entries.high[d];
#pragma GCC unroll 2
    for (int r = 0; r < nr; ++r) {
      const uint8x16_t x = digits[r][d];
      const int8x16_t same = vreinterpretq_s8_u8(x);
      low[r] =
          d == 0 ? vmull_u8(vget_low_u8(x), vget_low_u8(y_low)) : vmlal_u8(low[r], vget_low_u8(x), vget_low_u8(y_low));
      high[r] = d == 0 ? vmull_s8(vget_low_s8(same), vget_low_s8(y_high))
                       : vmlal_s8(high[r], vget_low_s8(same), vget_low_s8(y_high));
      low[r] = vmlal_high_u8(low[r], x, y_low);
      high[r] = vmlal_high_s8(high[r], same, y_high);
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < nr; ++r) sums[r] = {vpadalq_s16(sums[r].high, high[r]), vpadalq_u16(sums[r].low, low[r])};
}

// Digits of n planes of nr rows.
BEBR_INLINE void add_digits_neon(const int nr, const int n, const DigitPlanes& planes, const DigitEntries* entries,
                                 Sum* sums) {
  for (uint32_t at = 0; at < planes.bytes[0]; at += 16, ++entries) {
    uint8x16_t digits[2][8];
#pragma GCC unroll 2
    for (int r = 0; r < nr; ++r) read_digits_neon(n, planes, r, at, digits[r]);
    multiply_neon(nr, digits, *entries, sums);
  }
}

BEBR_INLINE void complete_rows_neon(const int nr, const ScanView& view, const DigitEntries* entries,
                                    const PlaneRange& range, uint32_t from, const uint32_t* rows, int32_t* out) {
  PlanesOfRows of;
  Sum sums[2];
  first_planes_neon(nr, view, from, rows, range, of);
#pragma GCC unroll 2
  for (int r = 0; r < nr; ++r) sums[r] = {vdupq_n_s32(0), vdupq_n_u32(0)};
  for (uint32_t t = range.first, n = 0; t < range.last; t += n) {
    n = std::min(range.last - t, 4u);
    take_planes_neon(nr, view.spec, t, n, of);
    const int32x4_t shift = vdupq_n_s32(static_cast<int32_t>(n));
#pragma GCC unroll 2
    for (int r = 0; r < nr; ++r) sums[r] = {vshlq_s32(sums[r].high, shift), vshlq_u32(sums[r].low, shift)};
    if (n == 4)
      add_digits_neon(nr, 4, of.planes, entries, sums);
    else if (n == 3)
      add_digits_neon(nr, 3, of.planes, entries, sums);
    else if (n == 2)
      add_digits_neon(nr, 2, of.planes, entries, sums);
    else
      add_digits_neon(nr, 1, of.planes, entries, sums);
  }
#pragma GCC unroll 2
  for (int r = 0; r < nr; ++r) {
    const uint32_t set = vaddvq_u32(vaddq_u32(vshlq_n_u32(vreinterpretq_u32_s32(sums[r].high), 8), sums[r].low));
    out[r] = static_cast<int32_t>((2 * set << (view.spec.planes - range.last)) - static_cast<uint32_t>(range.ones));
  }
}

void complete_neon(const ScanView& view, const int16_t* y16, const PlaneRange& range, const uint32_t* rows,
                   size_t count, int32_t* out) noexcept {
  DigitEntries entries[kMaxDims / kPieceDims];
  split_entries_neon(y16, y16_stride(view.spec.widths[range.first]), entries);
  const uint32_t from = bytes_before_neon(view.spec, range);
  size_t i = 0;
  for (; i + 2 <= count; i += 2) {
    for (size_t next = i + kRowsAhead; next < count && next < i + kRowsAhead + 2; ++next)
      ask_for_row_neon(view, range, from, rows[next]);
    complete_rows_neon(2, view, entries, range, from, rows + i, out + i);
  }
  if (i < count) complete_rows_neon(1, view, entries, range, from, rows + i, out + i);
}

}  // namespace

void bind_neon_complete(Kernels& table) noexcept { table.complete = complete_neon; }

}  // namespace bebr
