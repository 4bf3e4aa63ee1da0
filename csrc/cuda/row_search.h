// Search of rows on a device: the k best by (score, id) of all rows, or of the parts that each query looks at. What it
// finds equals the CPU's exact search of the same rows to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "cuda/batch.h"
#include "cuda/device_rows.h"
#include "index/query_batch.h"

namespace bebr::cuda {

struct SearchLimits {
  size_t batch = 1024;        // queries together
  size_t room = 1024;         // candidates of a query at a time, at least; 4 k where that is more
  size_t shared = 96 * 1024;  // bytes of shared memory a block: what sm_86 has, and a half of what sm_90 has
  size_t growth = 4;          // a round scans so many times the rows of all rounds before
  size_t piece = 1024;        // rows of a part that a block of threads scans; at most `room`
};

// Query i looks at parts[begin[i]] to parts[begin[i + 1]], each at most once, the nearest first.
struct PartsOfQueries {
  const uint32_t *begin, *parts;
};

class RowSearch {
 public:
  // Throws Unavailable where there is no such device, Error(LimitExceeded) where its memory is short.
  RowSearch(size_t device, const RowFormat& format, const RowArrays& rows, const SearchLimits& limits = {});

  const DeviceRows& rows() const noexcept { return *rows_; }

  // parts: none: all rows. min_scores: of each query, scores that do not count, nor any below; null: none. allow:
  // whether each row may be found, in the order in which they were given; null: all. scores, ids: count * k, best
  // first; missing results are -infinity and -1. Threads: one search at a time, the others wait.
  void search(const Queries& queries, size_t k, const std::optional<PartsOfQueries>& parts, const float* min_scores,
              const bool* allow, float* scores, int64_t* ids) const;

 private:
  void search_all(Batch& batch) const;
  void search_parts(Batch& batch, const PartsOfQueries& parts) const;
  ScanTile tile_for_parts(size_t queries, const PartsOfQueries& parts) const;
  size_t side_by_side() const;

  size_t device_;
  SearchLimits limits_;
  std::optional<DeviceRows> rows_;
  std::vector<uint32_t> first_piece_;  // of each part, and the number of all
  mutable std::mutex mutex_;
};

}  // namespace bebr::cuda
