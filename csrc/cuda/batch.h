// Some queries on a device, in all forms that kernels take, and the best that was found of them so far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cuda/complete.h"
#include "cuda/device_rows.h"
#include "cuda/plan.h"
#include "cuda/scan.h"
#include "index/query_batch.h"

namespace bebr::cuda {

class Batch {
 public:
  // scanned: what the device has of codes of `spec`, these or their sign planes. room: candidates of a query in a
  // round. shared: bytes of shared memory that a block may take. min_scores: as of RowSearch::search, of these queries.
  Batch(const CodeSpec& spec, const CodeSpec& scanned, const Queries& queries, ScanTile tile, size_t k, size_t room,
        size_t shared, const float* min_scores);
  // Bytes on the device of a query, about.
  static size_t bytes_of_query(const CodeSpec& spec, size_t k, size_t room);

  size_t size() const noexcept { return count_; }
  size_t room() const noexcept { return room_; }
  ScanTile tile() const noexcept { return scan_.tile; }

  // What the rounds that follow look at. mask: whether each row may be found, 16 an entry; null: all.
  void look_at(const RowsOnDevice& rows, DevicePointer<const uint16_t> mask);
  // Scans rows for those whose score by bytes, raised by a bound on what rounding the query to bytes and planes that
  // are not scanned can hide, lies above the k-th final score so far; completes them; and merges them into the k best.
  // Returns the most candidates of a query: where these are more than there is room for, nothing has changed. visitors:
  // of items; empty: visitor i is query i.
  size_t round(const std::vector<ScanItem>& items, const std::vector<uint32_t>& visitors = {});

  // k of each query, best first; missing ones are -infinity and -1.
  const DeviceArray<float>& scores() const noexcept { return best_scores_; }
  const DeviceArray<int64_t>& ids() const noexcept { return best_ids_; }

 private:
  size_t count_, room_;
  DeviceArray<int8_t> y8_;
  DeviceArray<int16_t> y16_;
  DeviceArray<float> base_, raised_, scale_, floor_, threshold_, best_scores_;
  DeviceArray<double> fine_scale_;
  DeviceArray<int32_t> ones_;
  DeviceArray<uint32_t> words_, found_, visitors_;
  DeviceArray<ScanItem> items_;
  DeviceArray<Candidate> candidates_;
  DeviceArray<int64_t> best_ids_;
  DeviceArray<uint8_t> work_;
  ScanArgs scan_;
  CompleteArgs complete_;
  BestArgs best_;
};

}  // namespace bebr::cuda
