// Float queries as bytes for products with whole codes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "code/spec.h"
#include "kernels/kernels.h"

namespace bebr {

// Queries as bytes for products with whole codes (Kernels::dot_expanded): <y, v> ~ base[q] + scale[q] * sums.
//
// The largest value of a query sets the rounding step, and leading dimensions tend to be many times as large as the
// others. Rows are padded to whole tiles anyway, so the padding repeats the quads of 4 dims with the largest values: a
// value is then the sum of its copies, and the step is that much smaller (docs/experiments/large-values.md).
struct ByteQueries {
  uint32_t groups = 0;           // of the code
  std::vector<uint32_t> copied;  // quads that are repeated behind the last one of the code
  Buffer y8;                     // count * stride()

  // Tiles of 64 bytes that a query takes. The leading `tiles` of them hold the first dims, and the repeated quads last.
  uint32_t tiles() const noexcept { return (8 * groups + 4 * static_cast<uint32_t>(copied.size()) + 63) / 64; }
  size_t stride() const noexcept { return 64 * size_t{tiles()}; }
  uint32_t dims_in(uint32_t tiles) const noexcept {
    return std::min(8 * groups, 64 * tiles - 4 * static_cast<uint32_t>(copied.size()));
  }
  // Byte groups of so many tiles: what expand writes, and with repeated quads what dot_expanded reads.
  uint32_t groups_in(uint32_t tiles) const noexcept { return std::min(groups, 8 * tiles); }
  uint32_t all_groups_in(uint32_t tiles) const noexcept { return copied.empty() ? groups_in(tiles) : 8 * tiles; }
  uint32_t all_groups() const noexcept { return all_groups_in(tiles()); }
  // Writes the repeated quads into what expand wrote for so many tiles.
  void copy_quads(size_t blocks, uint32_t tiles, uint8_t* expanded) const;
  // The query's bytes in so many tiles; and those of the dims that these lack, zeros before, from their tile on
  // (Kernels::dot_tail).
  void copy_query(size_t q, uint32_t tiles, int8_t* to) const;
  uint32_t tail_tile(uint32_t tiles) const noexcept { return dims_in(tiles) / 64; }
  size_t tail_bytes(uint32_t tiles) const noexcept { return y8_stride(groups) - 64 * size_t{tail_tile(tiles)}; }
  void copy_tail(size_t q, uint32_t tiles, int8_t* to) const;
  std::vector<float> base, scale;
  // Of the score error by rounding to bytes: an upper bound over every code, and the standard deviation, assuming the
  // codes' bits are independent and equally likely.
  std::vector<float> bound, deviation;

  // Scores by the leading dims, which most of a score's spread comes from: <y, v> ~ lead.base + scale * sums over
  // `tiles` tiles, for least_tiles and more; lead.rest is the standard deviation of what the other dims add, assumed as
  // above. Number tiles * count + q. Where they are not asked for, least_tiles is tiles().
  struct Lead {
    float base, rest;
  };
  uint32_t least_tiles = 0;
  std::vector<Lead> leads;
  Lead lead(uint32_t tiles, size_t q) const noexcept {
    return leads.empty() ? Lead{base[q], 0} : leads[tiles * base.size() + q];
  }
};
// most: of the entries, in size; 127 at most. more: tiles beyond those that the code takes, for repeated quads.
inline constexpr int32_t kMostEntry8 = 127;
ByteQueries make_byte_queries(const CodeSpec& spec, const float* y, size_t count, bool leads = false,
                              int32_t most = kMostEntry8, uint32_t more = 0);
// The entries' size that suits a search.
int32_t most_entry(const CodeSpec& spec, const Kernels& kernels, bool exact);

}  // namespace bebr
