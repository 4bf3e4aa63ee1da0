// The ids that a search may answer, and which rows of a segment have them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "index/row_filter.h"
#include "index/segment.h"

namespace bebr {

// Of one search, whatever it looks at. For one thread; the ids outlive it.
class WantedIds {
 public:
  // `queries`: how many look at the rows.
  WantedIds(std::span<const int64_t> ids, size_t queries) : ids_(ids), queries_(queries) {}

  // out[i]: the position of ids[i] in a segment; -1: it is not there. Of removed rows, too, where `dead` leaves them
  // out.
  using Find = std::function<void(std::span<const int64_t> ids, int64_t* out)>;
  // The rows of a segment that have one of the ids, removed ones too; of those that `allow` lets through, where it is
  // present.
  RowSet rows_of(const SegmentReader& segment, const BitmapView& allow, const Find& find);

 private:
  RowSet found_in(const SegmentReader& segment, const Find& find);
  // A bit an id, from `first` on.
  struct Bits {
    int64_t first = 0;
    std::vector<uint64_t> words;  // none where the ids lie too far apart
  };
  const Bits& bits();
  bool ascending() const;  // each id once

  std::span<const int64_t> ids_;
  size_t queries_;
  std::optional<Bits> bits_;  // made when a segment first asks for them
};

}  // namespace bebr
