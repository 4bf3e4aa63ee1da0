// Some rows of an IvfSegment, copied list by list: what a search for these rows alone reads, in place of all with a
// mask. They also stand one after the other, for searches to which that many short lists cost more than all rows.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "index/ivf/code_means.h"
#include "index/ivf/segment.h"
#include "index/rows.h"

namespace bebr {

// Threads: any number of callers at once.
class IvfCopy {
 public:
  // rows: bit i % 64 of word i / 64 is that of position i. Throws Error(InvalidArgument) for fewer bits than rows.
  IvfCopy(std::shared_ptr<const IvfSegment> from, std::vector<uint64_t> rows);
  // Copies so many rows more, up to the end of a list, or those that are left; whether these are all.
  bool grow(size_t rows);
  // Of the lists copied so far, where it pays to rank them by the rows that they hold; else of none.
  CodeMeans means() const;
  // All rows, in the same lists, for ever. own: vectors that stand for the rows of each list in means(), in the space
  // of the centroids; empty: there are none. Throws Error(InvalidArgument) before the rows are copied, and for another
  // number of floats.
  std::shared_ptr<const IvfSegment> whole(std::span<const float> own = {}) const;

 private:
  struct Copied;
  struct Held;

  std::shared_ptr<const IvfSegment> from_;
  std::vector<uint64_t> rows_;
  std::shared_ptr<Copied> copied_;
  bool ranks_ = false;
  CodeMeans means_;
  mutable std::mutex mutex_;
};

}  // namespace bebr
