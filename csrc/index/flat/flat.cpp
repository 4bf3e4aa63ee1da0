#include "index/flat/flat.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "index/new_ids.h"

namespace bebr {

FlatIndex::FlatIndex(const RowFormat& format) : format_(format) {}

FlatIndex::FlatIndex(const RowFormat& format, RowStore store) : format_(format), store_(std::move(store)) {}

size_t FlatIndex::size() const {
  std::shared_lock lock(mutex_);
  return view().rows - dead_;
}

bool FlatIndex::alive(size_t row) const noexcept { return alive_.empty() || (alive_[row / 16] >> (row % 16) & 1) != 0; }

void FlatIndex::need_map() const {
  std::lock_guard lock(map_mutex_);
  if (map_built_) return;
  row_of_.reserve(view().rows);
  for (size_t i = 0; i < view().rows; ++i)
    if (alive(i)) row_of_.set(view().ids[i], static_cast<uint32_t>(i));
  map_built_ = true;
}

void FlatIndex::add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids) {
  if (file_)
    fail(ErrorCode::ReadOnly, "this index is mapped from " + file_->path() + ": open it with mmap=False to add");
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

size_t FlatIndex::remove(std::span<const int64_t> remove_ids) {
  std::unique_lock lock(mutex_);
  need_map();
  size_t removed = 0;
  for (const int64_t id : remove_ids) {
    const uint32_t* found = row_of_.find(id);
    if (found == nullptr) continue;
    const size_t at = *found;
    if (file_) {
      if (alive_.empty()) alive_.assign(block_count(mapped_.rows), 0xffff);
      alive_[at / 16] = static_cast<uint16_t>(alive_[at / 16] & ~(1u << at % 16));
      ++dead_;
    } else {
      store_.remove(format_, at);
    }
    row_of_.erase(id);
    ++removed;
    if (!file_ && at < store_.size()) row_of_.set(store_.view().ids[at], static_cast<uint32_t>(at));
  }
  return removed;
}

bool FlatIndex::contains(int64_t id) const {
  std::shared_lock lock(mutex_);
  need_map();
  return row_of_.contains(id);
}

int64_t FlatIndex::max_id() const {
  std::shared_lock lock(mutex_);
  int64_t largest = -1;
  for (size_t i = 0; i < view().rows; ++i)
    if (alive(i)) largest = std::max(largest, view().ids[i]);
  return largest;
}

Rows FlatIndex::rows() const {
  std::shared_lock lock(mutex_);
  Rows out;
  const size_t live = view().rows - dead_;
  out.planes.reserve(live * format_.spec.row_bytes());
  out.factors.reserve(live * format_.factor_bytes());
  out.ids.reserve(live);
  for (size_t i = 0; i < view().rows; ++i)
    if (alive(i)) copy_row(format_, view(), i, out);
  return out;
}

Rows FlatIndex::rows(std::span<const int64_t> ids) const {
  std::shared_lock lock(mutex_);
  need_map();
  Rows out;
  for (const int64_t id : ids) {
    const uint32_t* found = row_of_.find(id);
    if (found == nullptr) fail(ErrorCode::UnknownId, "id " + std::to_string(id) + " is not in this index");
    copy_row(format_, view(), *found, out);
  }
  return out;
}

}  // namespace bebr
