// The last pass of a bulk build: chunks of rows, each in the order of its lists, become the file of an IvfIndex. Bytes
// are those that IvfIndex::save would write for the same rows in the same order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/file.h"
#include "index/ivf/centroids.h"
#include "index/raw/raw.h"
#include "index/rows.h"

namespace bebr {

struct MergeJob {
  const RowFormat& format;
  const Centroids& centroids;
  std::span<const std::string> chunks;  // files, in the order of their rows
  std::span<const Section> extra;       // the caller's own sections
  RawFormat raw;                        // of the chunks' raw vectors; dim 0: there are none
  size_t memory = 0;                    // bytes to work in, about
  // Called now and then, from this thread; may throw to stop.
  std::function<void(uint64_t done, uint64_t rows)> progress;
};

// Throws Error(InvalidArgument) for an id that comes twice, Error(LimitExceeded) for more rows than slots, or ids that
// cannot be put in order within the memory; then there is no file.
void merge_chunks(const std::string& path, const MergeJob& job);

}  // namespace bebr
