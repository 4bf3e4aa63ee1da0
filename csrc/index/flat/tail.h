// TailRows: rows that are only ever appended, while searches go on over what was there before.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "base/buffer.h"
#include "index/flat/segment.h"
#include "index/id_map.h"
#include "index/rows.h"

namespace bebr {

// Frozen segments share the storage. No byte that one of them may read is written again: rows go to places that no
// segment has yet, the block that is not full is each segment's own copy, and storage that has become too small is
// left to those that have it. Threads: any number of callers at once.
class TailRows {
 public:
  explicit TailRows(const RowFormat& format) : format_(format) {}

  const RowFormat& format() const noexcept { return format_; }
  size_t size() const;
  // Takes the memory of so many rows at once: growing row by row needs up to three times as much for a while.
  void reserve(size_t rows);
  // planes: n rows of row_bytes; factors: n rows of factor_bytes; ids >= 0, which may be there already. All or nothing.
  void append(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids);
  // What is there now, for ever.
  std::shared_ptr<const FlatSegment> freeze() const;
  // out[i]: the position of the newest row of ids[i]; -1: there is none.
  void positions(std::span<const int64_t> ids, int64_t* out) const;

 private:
  // Of `capacity` rows, a multiple of 16; the rows past those that were appended are undefined.
  struct Storage {
    size_t capacity = 0;
    Buffer blocks, rest, factors, stage_factors, ids;
  };
  void grow(size_t rows);
  RowView view(size_t rows) const;

  RowFormat format_;
  size_t rows_ = 0;
  std::shared_ptr<Storage> storage_ = std::make_shared<Storage>();
  Buffer open_;  // the block that is not full
  IdMap<uint32_t> newest_;
  mutable std::mutex mutex_;
};

}  // namespace bebr
