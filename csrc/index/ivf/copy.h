// Some rows of an IvfSegment, copied list by list: what a search for these rows alone reads, in place of all with a
// mask. They also stand one after the other, for searches to which that many short lists cost more than all rows.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

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
  // All rows, in the same lists, for ever. Throws Error(InvalidArgument) before they are copied.
  std::shared_ptr<const IvfSegment> whole() const;

 private:
  struct Copied;
  struct Held;

  std::shared_ptr<const IvfSegment> from_;
  std::vector<uint64_t> rows_;
  std::shared_ptr<Copied> copied_;
  mutable std::mutex mutex_;
};

}  // namespace bebr
