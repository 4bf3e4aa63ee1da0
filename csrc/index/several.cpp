#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "index/index.h"
#include "index/search.h"

namespace bebr {
namespace {

void expect_bits(const BitmapView& bitmap, const char* name, size_t rows) {
  if (bitmap.present() && bitmap.bits < rows)
    fail(ErrorCode::InvalidArgument, std::string(name) + " has " + std::to_string(words_for(bitmap.bits)) +
                                         " words for " + std::to_string(rows) + " rows: want at least " +
                                         std::to_string(words_for(rows)));
}

}  // namespace

void search(std::span<const IndexView> indexes, const AllowedIds& allow, QueryBatch& queries,
            const SearchOptions& options, TopKBatch& tops) {
  std::vector<Index::Reading> readings;
  std::deque<std::vector<uint64_t>> bitmaps;
  std::deque<RowSet> sets;
  std::optional<WantedIds> wanted;
  if (allow) wanted.emplace(*allow, queries.size());
  std::vector<SegmentView> segments;
  for (const IndexView& view : indexes) {
    readings.push_back(view.index->reading());
    const Index::Reading& now = readings.back();
    const size_t rows = now.segment->rows();
    expect_bits(view.dead, "dead", rows);
    expect_bits(view.allow, "allow", rows);
    if (view.dead_rows != RowFilter::kUncounted && view.dead_rows > rows)
      fail(ErrorCode::InvalidArgument, "dead_rows is " + std::to_string(view.dead_rows) + " of an index with " +
                                           std::to_string(rows) + " rows: want at most those");
    RowFilter filter{view.allow, nullptr, view.dead, view.dead_rows};
    if (!view.dead.present()) {
      filter.dead = now.dead;
      filter.dead_rows = now.dead_rows;
    } else if (now.dead.present()) {
      std::vector<uint64_t>& both = bitmaps.emplace_back(view.dead.words, view.dead.words + words_for(rows));
      for (size_t i = 0; i < both.size(); ++i) both[i] |= now.dead.bits64(64 * i);
      filter.dead = view_of(both);
      filter.dead_rows = RowFilter::kUncounted;
    }
    if (wanted) sets.emplace_back(view.index->rows_of(*wanted, view.allow)).restrict(filter);
    segments.push_back({now.segment, filter, view.effort});
  }
  search(segments, queries, options, tops);
}

}  // namespace bebr
