// A flat index on a device: every row scored, the k best by (score, id). What it finds equals the CPU's exact search to
// the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "cuda/complete.h"
#include "cuda/scan.h"
#include "index/query_batch.h"
#include "index/rows.h"

namespace bebr::cuda {

struct FlatLimits {
  size_t batch = 1024;        // queries together
  size_t room = 1024;         // candidates of a query at a time, at least; 4 k where that is more
  size_t shared = 96 * 1024;  // bytes of shared memory a block: what sm_86 has, and a half of what sm_90 has
  size_t growth = 4;          // a round scans so many times the rows of all rounds before
};

class FlatSearch {
 public:
  // planes: n rows of the row format; factors: n * factor_bytes; ids: n. Throws Unavailable where there is no
  // such device, Error(LimitExceeded) where its memory is short.
  FlatSearch(size_t device, const RowFormat& format, size_t n, const uint8_t* planes, const uint8_t* factors,
             const int64_t* ids, const FlatLimits& limits = {});

  size_t size() const noexcept { return rows_; }
  size_t bytes() const noexcept;  // on the device
  const RowFormat& format() const noexcept { return format_; }

  // min_scores: of each query, scores that do not count, nor any below; null: none. mask: bit i % 16 of mask[i / 16]
  // allows row i; null: all. scores, ids: count * k, best first; missing results are -infinity and -1. Threads: one
  // search at a time, the others wait.
  void search(const Queries& queries, size_t k, const float* min_scores, const uint16_t* mask, float* scores,
              int64_t* ids) const;

 private:
  struct Batch;
  void run(Batch& batch) const;
  size_t round(Batch& batch, size_t first, size_t rows) const;

  size_t device_, rows_;
  RowFormat format_;
  FlatLimits limits_;
  DeviceArray<uint8_t> blocks_, factors_;
  DeviceArray<uint32_t> groups_;
  DeviceArray<int64_t> ids_;
  mutable std::mutex mutex_;
};

}  // namespace bebr::cuda
