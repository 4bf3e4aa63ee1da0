// A float query in the integer forms that the kernels take.
#pragma once

#include <algorithm>
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
  // Byte groups that count, of each query; the others have no entries. Empty: all.
  std::vector<uint32_t> leading;

  ScanQueries view(uint32_t first, uint32_t n) const noexcept {
    const uint32_t most = leading.empty() ? groups : *std::max_element(&leading[first], &leading[first] + n);
    return {n,
            groups,
            has_tables() ? tables.data() + first * table_bytes(groups) : nullptr,
            y8.as<int8_t>() + first * y8_stride(groups),
            bias.data() + first,
            most < groups ? most : 0};
  }
  bool has_tables() const noexcept { return tables.size() > 0; }
};
// tables: else they are left out, and the queries are for a scan_batch that reads none (Kernels::batch_tables).
// leading: LutQueries::leading.
LutQueries make_lut_queries(const CodeSpec& spec, const float* y, size_t count, size_t stride, bool tables = true,
                            std::vector<uint32_t> leading = {});

// How many byte groups of the sign plane tell rows apart nearly as well as all do: those behind have a small share of
// the variance that the scan of the sign plane cannot see anyway. y: the query; stage_y: what that scan multiplies
// signs with. All of them, or a multiple of 4 that is kFewestLeading at least.
inline constexpr uint32_t kFewestLeading = 4;
uint32_t leading_groups(const CodeSpec& spec, const float* y, const float* stage_y);

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
