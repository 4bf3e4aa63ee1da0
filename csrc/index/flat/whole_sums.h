// Final sums of all rows with many queries, for scans whose first stage leaves many rows to complete: rows are expanded
// once for all queries (Kernels::expand), which then costs less than to complete each survivor by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/scratch.h"
#include "index/flat/parts.h"
#include "index/query.h"

namespace bebr {

class WholeSums {
 public:
  // Whether it pays: `queries` of them, each of which completes `survivors` rows.
  static bool pays(size_t queries, size_t survivors, const FlatParts& parts);

  WholeSums(const RowFormat& format, const FlatParts& parts, std::span<const FineQuery> queries,
            const SearchOptions& options);

  // What kernel `complete` gives of every row over all planes, by the rows' numbers; null where query i has none.
  const int32_t* of(size_t i) noexcept { return fits_[i] != 0 ? sums() + i * stride_ : nullptr; }

 private:
  int32_t* sums() noexcept { return reinterpret_cast<int32_t*>(memory_.data()); }

  size_t stride_;
  std::vector<uint8_t> fits_;
  Scratch memory_;
};

}  // namespace bebr
