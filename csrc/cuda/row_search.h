// Search of rows on a device: the k best by (score, id) of all rows, or of the parts that each query looks at. What it
// finds equals the CPU's exact search of the same rows to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "cuda/answers.h"
#include "cuda/batch.h"
#include "cuda/device_rows.h"
#include "index/query_batch.h"

namespace bebr::cuda {

struct SearchLimits {
  size_t batch = 1024;              // queries together
  size_t streamed = 4096;           // the same where all rows come from the host for them
  size_t room = 1024;               // candidates of a query at a time, at least; 4 k where that is more
  size_t room_of_signs = 16384;     // the same where sign planes are scanned, which rule out fewer rows
  size_t shared = 96 * 1024;        // bytes of shared memory a block: what sm_86 has, and a half of what sm_90 has
  size_t wide_shared = 227 * 1024;  // the same of a wide tile: all that sm_90 has
  size_t growth = 4;                // a round scans so many times the rows of all rounds before
  size_t piece = 1024;              // rows of a part that a block of threads scans; at most `room`
  size_t window = size_t{1} << 28;  // bytes of rows that come from the host together: more come no faster
};

// Query i looks at parts[begin[i]] to parts[begin[i + 1]], each at most once, the nearest first.
struct PartsOfQueries {
  const uint32_t *begin, *parts;
};

// parts: none: all rows. min_scores: of each query, scores that do not count, nor any below; null: none. allow: whether
// each row may be found, in the order in which they were given; null: all.
struct Asked {
  Queries queries;
  size_t k = 0;
  std::optional<PartsOfQueries> parts;
  const float* min_scores = nullptr;
  const bool* allow = nullptr;
};

class RowSearch {
 public:
  // Throws Error(DeviceUnavailable) where there is no such device, Error(LimitExceeded) where its memory is short.
  RowSearch(size_t device, const RowFormat& format, const RowArrays& rows, const SearchLimits& limits = {},
            const Residency& residency = {});

  const DeviceRows& rows() const noexcept { return *rows_; }
  size_t device() const noexcept { return device_; }

  // scores, ids: count * k, best first; missing results are -infinity and -1. Threads: one search at a time, the others
  // wait.
  void search(const Asked& asked, float* scores, int64_t* ids) const;
  // The same that stay on the device, in another unit. They are there when it returns, for every stream.
  DeviceAnswers search_there(const Asked& asked, const Unit& unit) const;

 private:
  // take(batch, its first query, results of each of its queries) for some queries after the others.
  using TakeBest = std::function<void(const Batch&, size_t, size_t)>;
  void each_batch(const Asked& asked, const TakeBest& take) const;
  void search_all(Batch& batch, const DeviceArray<uint16_t>& mask) const;
  void search_parts(Batch& batch, const DeviceArray<uint16_t>& mask, const PartsOfQueries& parts) const;
  void look_at(Batch& batch, const Window& window, const RowsOnDevice& rows, const DeviceArray<uint16_t>& mask) const;
  ScanTile tile_for_parts(size_t queries, const PartsOfQueries& parts) const;

  size_t device_;
  bool wgmma_ = false;
  SearchLimits limits_;
  mutable std::optional<DeviceRows> rows_;  // made on the device; windows of them come and go
  mutable std::mutex mutex_;
};

}  // namespace bebr::cuda
