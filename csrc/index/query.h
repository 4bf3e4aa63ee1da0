// A float query in the integer forms that the kernels take.
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "code/spec.h"
#include "kernels/kernels.h"

namespace bebr {

// y as int16 for final scores over all planes: <y, v> ~ scale * complete(...). scale is a power of two, so dyadic y
// (the paper's symmetric case, y = v_q) stays exact, and no sum overflows int32.
struct FineQuery {
  Buffer y16;                         // y16_stride(dims) int16
  double scale = 0;                   // includes the 2^-(planes-1) of the kernel's integer form
  int32_t ones[kMaxPlanes + 1] = {};  // of the planes before the t-th (PlaneRange)

  PlaneRange planes(uint32_t first, uint32_t last) const noexcept { return {first, last, ones[last] - ones[first]}; }
};
FineQuery make_fine_query(const CodeSpec& spec, const float* y);
// The float query that a fine query represents, dims floats: the reference of an exact search's bounds.
void fine_values(const CodeSpec& spec, const FineQuery& fine, float* y);

// Queries as small integers and lookup tables for the scan of the sign plane: <y, r_0> ~ scale[q] * sums.
struct LutQueries {
  uint32_t groups = 0;
  Buffer tables, y8;
  std::vector<int32_t> bias;
  std::vector<float> scale;

  ScanQueries view(uint32_t first, uint32_t n) const noexcept {
    return {n, groups, has_tables() ? tables.data() + first * table_bytes(groups) : nullptr,
            y8.as<int8_t>() + first * y8_stride(groups), bias.data() + first};
  }
  bool has_tables() const noexcept { return tables.size() > 0; }
};
// tables: else they are left out, and the queries are for a scan_batch that reads none (Kernels::batch_tables).
LutQueries make_lut_queries(const CodeSpec& spec, const float* y, size_t count, size_t stride, bool tables = true);

// Queries as bytes for products with whole codes (Kernels::dot_expanded): <y, v> ~ base[q] + scale[q] * sums.
//
// The largest value of a query sets the rounding step, and leading dimensions tend to be many times as large as the
// others. Rows are padded to whole tiles anyway, so the padding repeats the quads of 4 dims with the largest values: a
// value is then the sum of its copies, and the step is that much smaller (docs/experiments/large-values.md).
struct ByteQueries {
  uint32_t groups = 0;           // of the code
  std::vector<uint32_t> copied;  // quads that are repeated behind the last one of the code
  Buffer y8;                     // count * y8_stride(groups)

  // Writes the repeated quads into what expand wrote.
  void copy_quads(size_t blocks, uint8_t* expanded) const;
  // Byte groups, repeated quads included, for dot_expanded.
  uint32_t all_groups() const noexcept {
    return copied.empty() ? groups : static_cast<uint32_t>(y8_stride(groups) / 8);
  }
  std::vector<float> base, scale;
  // Of the score error by rounding to bytes: an upper bound over every code, and the standard deviation, assuming the
  // codes' bits are independent and equally likely.
  std::vector<float> bound, deviation;
};
ByteQueries make_byte_queries(const CodeSpec& spec, const float* y, size_t count);

// An upper bound of |<fine query, v> - scale8 * sums| over every code of the spec: what the scan of the sign plane
// cannot see. Rounding of the 8-bit query, plus the planes it does not read (the smaller of the L1 and the
// Cauchy-Schwarz bound).
double scan_margin(const CodeSpec& spec, const FineQuery& fine, const int8_t* y8, float scale8);

// The variance of what the planes from `read` on add to <y, v>, assuming their bits are independent and equally likely.
double unread_variance(const CodeSpec& spec, const float* y, uint32_t read);
// The standard deviation of what the scan of the sign plane cannot see, rounding included: the unit of a search's
// margin.
double scan_deviation(const CodeSpec& spec, const float* y, float scale8);

}  // namespace bebr
