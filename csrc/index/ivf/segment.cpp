#include "index/ivf/segment.h"

#include <algorithm>
#include <utility>

#include "index/ivf/scan.h"

namespace bebr {

IvfSegment::IvfSegment(const RowFormat& format, std::shared_ptr<const Centroids> centroids, std::vector<RowView> lists,
                       std::shared_ptr<const IvfSegment> copied_from, const RowView& together, OwnLists own)
    : SegmentReader(format),
      centroids_(std::move(centroids)),
      lists_(std::move(lists)),
      first_(lists_.size() + 1),
      copied_from_(std::move(copied_from)),
      together_(together),
      own_(std::move(own)) {
  lists_changed();
}

void IvfSegment::lists_changed() noexcept {
  for (size_t l = 0; l < lists_.size(); ++l) first_[l + 1] = first_[l] + lists_[l].rows;
  ids_made_ = false;
}

size_t IvfSegment::list_of(size_t position) const noexcept {
  return static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), position) - first_.begin() - 1);
}

std::span<const int64_t> IvfSegment::ids() const {
  const std::lock_guard lock(ids_mutex_);
  if (!ids_made_) {
    ids_.clear();
    ids_.reserve(rows());
    for (const RowView& list : lists_) ids_.insert(ids_.end(), list.ids, list.ids + list.rows);
    ids_made_ = true;
  }
  return ids_;
}

std::vector<std::span<const int64_t>> IvfSegment::id_parts() const {
  std::vector<std::span<const int64_t>> parts;
  for (const RowView& list : lists_) parts.emplace_back(list.ids, list.rows);
  return parts;
}

int64_t IvfSegment::position_of(int64_t slot) const noexcept {
  if (slot < 0) return -1;
  const auto at = static_cast<size_t>(slot);
  const auto l =
      static_cast<size_t>(std::upper_bound(first_slot_.begin(), first_slot_.end(), at) - first_slot_.begin() - 1);
  const size_t row = at - first_slot_[l];
  return l < lists_.size() && row < lists_[l].rows ? static_cast<int64_t>(first_[l] + row) : -1;
}

void IvfSegment::positions(std::span<const int64_t> ids, int64_t* out) const {
  if (!file_) return SegmentReader::positions(ids, out);
  by_slot_.find_all(ids, out);
  for (size_t i = 0; i < ids.size(); ++i) out[i] = position_of(out[i]);
}

std::vector<int64_t> IvfSegment::following(int64_t after, size_t skip, size_t count) const {
  if (!file_) return SegmentReader::following(after, skip, count);
  std::vector<int64_t> rows = by_slot_.following(after, skip, count);
  for (int64_t& row : rows) row = position_of(row);
  return rows;
}

Rows IvfSegment::copy_rows(std::span<const uint32_t> positions) const {
  Rows out;
  out.planes.reserve(positions.size() * format().spec.row_bytes());
  out.factors.reserve(positions.size() * format().factor_bytes());
  out.ids.reserve(positions.size());
  size_t l = 0;
  for (const uint32_t position : positions) {
    if (position < first_[l] || position >= first_[l + 1]) l = list_of(position);
    copy_row(format(), lists_[l], position - first_[l], out);
  }
  return out;
}

std::vector<size_t> IvfSegment::list_sizes(const BitmapView& dead) const {
  const RowFilter live{{}, nullptr, dead, RowFilter::kUncounted};
  std::vector<size_t> sizes;
  sizes.reserve(lists_.size());
  for (size_t l = 0; l < lists_.size(); ++l) sizes.push_back(live.count(first_[l], lists_[l].rows));
  return sizes;
}

Rows IvfSegment::live_rows(const BitmapView& dead) const {
  std::vector<uint32_t> live;
  RowFilter{{}, nullptr, dead, RowFilter::kUncounted}.each(
      0, rows(), [&](size_t at) { live.push_back(static_cast<uint32_t>(at)); });
  return copy_rows(live);
}

void IvfSegment::search(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
                        TopKBatch& tops) const {
  IvfScan(*this, queries, options, filter, tops).run();
}

LookedAt IvfSegment::looked_at(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter) const {
  TopKBatch none(queries.size(), options.k, options.min_scores);
  return IvfScan(*this, queries, options, filter, none).looked_at();
}

bool IvfSegment::by_whole_codes(size_t queries, const SearchOptions& options, bool filtered) const {
  return !filtered && IvfScan::by_whole_codes(*this, queries, options);
}

}  // namespace bebr
