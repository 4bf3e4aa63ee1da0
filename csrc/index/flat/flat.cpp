#include "index/flat/flat.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "index/new_ids.h"

namespace bebr {

FlatIndex::FlatIndex(const RowFormat& format) : format_(format) {}

FlatIndex::FlatIndex(std::shared_ptr<const FlatSegment> segment, std::string source)
    : format_(segment->format()), segment_(std::move(segment)), source_(std::move(source)) {}

size_t FlatIndex::size() const {
  std::shared_lock lock(mutex_);
  return row_count() - dead_count_;
}

FlatIndex::Reading FlatIndex::reading() const {
  std::shared_lock lock(mutex_);
  std::shared_ptr<const FlatSegment> segment = segment_;
  if (!segment) {
    const RowView view = store_.view();
    segment = std::make_shared<const FlatSegment>(format_, std::vector{view}, std::span(view.ids, view.rows), nullptr);
  }
  return {std::move(lock), std::move(segment), view_of(dead_)};
}

void FlatIndex::need_map() const {
  std::lock_guard lock(map_mutex_);
  if (map_built_) return;
  const RowView view = store_.view();
  row_of_.reserve(view.rows);
  for (size_t i = 0; i < view.rows; ++i) row_of_.set(view.ids[i], static_cast<uint32_t>(i));
  map_built_ = true;
}

void FlatIndex::find(std::span<const int64_t> ids, int64_t* out) const {
  if (segment_) {
    segment_->positions(ids, out);
    const BitmapView dead = view_of(dead_);
    for (size_t i = 0; i < ids.size(); ++i)
      if (out[i] >= 0 && dead[static_cast<size_t>(out[i])]) out[i] = -1;
    return;
  }
  need_map();
  row_of_.find_all(ids, [&](size_t i, const uint32_t* row) { out[i] = row != nullptr ? int64_t{*row} : -1; });
}

void FlatIndex::positions(std::span<const int64_t> ids, int64_t* out) const {
  std::shared_lock lock(mutex_);
  find(ids, out);
}

void FlatIndex::add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids) {
  if (segment_) fail(ErrorCode::ReadOnly, "this index is " + source_);
  std::unique_lock lock(mutex_);
  if (store_.size() + n > UINT32_MAX - kBlockRows)
    fail(ErrorCode::LimitExceeded, "a flat index holds at most 2^32 - 16 vectors");
  need_map();
  check_new_ids({ids, n}, row_of_);
  check_factors(format_, n, factors);
  const size_t first = store_.size();
  row_of_.reserve(row_of_.size() + n);  // so that nothing can fail once the rows are there
  store_.append(format_, n, planes, factors, ids);
  for (size_t i = 0; i < n; ++i) row_of_.set(ids[i], static_cast<uint32_t>(first + i));
}

size_t FlatIndex::remove(std::span<const int64_t> ids) {
  std::unique_lock lock(mutex_);
  size_t removed = 0;
  if (segment_) {
    if (dead_.empty()) dead_.resize(words_for(segment_->rows()));
    for (const int64_t id : ids) {
      int64_t row;
      find({&id, 1}, &row);
      if (row < 0) continue;
      set_bit(dead_, static_cast<size_t>(row));
      ++dead_count_;
      ++removed;
    }
    return removed;
  }
  need_map();
  for (const int64_t id : ids) {
    const uint32_t* found = row_of_.find(id);
    if (found == nullptr) continue;
    const size_t at = *found;
    store_.remove(format_, at);
    row_of_.erase(id);
    ++removed;
    if (at < store_.size()) row_of_.set(store_.view().ids[at], static_cast<uint32_t>(at));
  }
  return removed;
}

bool FlatIndex::contains(int64_t id) const {
  int64_t row;
  positions({&id, 1}, &row);
  return row >= 0;
}

int64_t FlatIndex::max_id() const {
  const Reading now = reading();
  const std::span<const int64_t> ids = now.segment->ids();
  int64_t largest = -1;
  for (size_t i = 0; i < ids.size(); ++i)
    if (!now.dead[i]) largest = std::max(largest, ids[i]);
  return largest;
}

Rows FlatIndex::rows() const {
  const Reading now = reading();
  std::vector<uint32_t> live;
  live.reserve(now.segment->rows());
  for (size_t i = 0; i < now.segment->rows(); ++i)
    if (!now.dead[i]) live.push_back(static_cast<uint32_t>(i));
  return now.segment->copy_rows(live);
}

Rows FlatIndex::rows(std::span<const int64_t> ids) const {
  const Reading now = reading();
  std::vector<int64_t> found(ids.size());
  find(ids, found.data());
  std::vector<uint32_t> rows;
  rows.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (found[i] < 0) fail(ErrorCode::UnknownId, "id " + std::to_string(ids[i]) + " is not in this index");
    rows.push_back(static_cast<uint32_t>(found[i]));
  }
  return now.segment->copy_rows(rows);
}

std::vector<uint32_t> FlatIndex::rows_of(std::span<const int64_t> ids) const {
  std::vector<int64_t> found(ids.size());
  find(ids, found.data());
  std::vector<uint32_t> rows;
  rows.reserve(ids.size());
  for (const int64_t row : found)
    if (row >= 0) rows.push_back(static_cast<uint32_t>(row));
  if (!std::is_sorted(rows.begin(), rows.end())) std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

void FlatIndex::search(QueryBatch& queries, const SearchOptions& options, const AllowedIds& allow,
                       TopKBatch& tops) const {
  const Reading now = reading();
  const std::vector<uint32_t> rows = allow ? rows_of(*allow) : std::vector<uint32_t>{};
  const SegmentView segment = {now.segment, {{}, allow ? &rows : nullptr, now.dead}};
  bebr::search({&segment, 1}, queries, options, tops);
}

std::vector<std::vector<Hit>> FlatIndex::range(QueryBatch& queries, const SearchOptions& options,
                                               const AllowedIds& allow) const {
  SearchOptions all = options;
  all.k = std::max<size_t>(1, size());
  all.exact = true;
  TopKBatch tops(queries.size(), all.k, options.min_scores);
  search(queries, all, allow, tops);
  return tops.sorted();
}

}  // namespace bebr
