#include "index/flat/segment.h"

#include <utility>

namespace bebr {

FlatSegment::FlatSegment(const RowFormat& format, std::vector<RowView> views, std::span<const int64_t> ids,
                         std::shared_ptr<const void> owner, std::optional<std::span<const uint32_t>> by_id)
    : SegmentReader(format, by_id), views_(std::move(views)), ids_(ids), owner_(std::move(owner)) {}

Rows FlatSegment::copy_rows(std::span<const uint32_t> positions) const {
  Rows out;
  out.planes.reserve(positions.size() * format().spec.row_bytes());
  out.factors.reserve(positions.size() * format().factor_bytes());
  out.ids.reserve(positions.size());
  for (const uint32_t position : positions) {
    size_t view = 0, at = position;
    while (at >= views_[view].rows) at -= views_[view++].rows;
    copy_row(format(), views_[view], at, out);
  }
  return out;
}

void FlatSegment::search(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
                         TopKBatch& tops) const {
  std::vector<FlatPart> parts;
  add_parts(filter, parts);
  scan_flat(format(), parts, queries, options, false, tops);
}

bool FlatSegment::by_whole_codes(size_t queries, const SearchOptions& options, bool) const {
  return flat_expands(queries, options);
}

void FlatSegment::add_parts(const RowFilter& filter, std::vector<FlatPart>& parts) const {
  size_t first = 0;
  for (const RowView& view : views_) {
    parts.push_back({view, filter, first});
    if (views_.size() > 1) parts.back().filter.dead_rows = RowFilter::kUncounted;  // of all views, not of one
    first += view.rows;
  }
}

}  // namespace bebr
