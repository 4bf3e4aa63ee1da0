#include "index/ivf/ivf.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "index/new_ids.h"

namespace bebr {

IvfIndex::IvfIndex(const RowFormat& format, Centroids centroids)
    : format_(format), centroids_(std::move(centroids)), lists_(centroids_.size()), stores_(centroids_.size()) {}

size_t IvfIndex::size() const {
  std::shared_lock lock(mutex_);
  return rows_ - dead_;
}

std::vector<size_t> IvfIndex::list_sizes() const {
  std::shared_lock lock(mutex_);
  std::vector<size_t> sizes;
  sizes.reserve(lists_.size());
  for (const List& list : lists_) sizes.push_back(list.view.rows - list.dead);
  return sizes;
}

// A mapped file has its ids in order; in memory a map is built when first needed.
void IvfIndex::need_map() const {
  std::lock_guard lock(map_mutex_);
  if (map_built_) return;
  if (!file_) {
    place_of_.reserve(rows_);
    for (uint32_t l = 0; l < lists_.size(); ++l)
      for (uint32_t i = 0; i < lists_[l].view.rows; ++i) place_of_.set(lists_[l].view.ids[i], Place{l, i});
  }
  map_built_ = true;
}

bool IvfIndex::find(int64_t id, Place& place) const {
  if (!file_) {
    const Place* found = place_of_.find(id);
    if (found != nullptr) place = *found;
    return found != nullptr;
  }
  const uint64_t slots = first_.back();
  const auto id_at = [&](uint32_t slot) { return slot < slots ? file_ids_[slot] : int64_t{-1}; };
  // Numbered from some id on without a gap, as rows mostly are, the place is known.
  const uint64_t guess = by_id_.empty() ? 0 : static_cast<uint64_t>(id) - static_cast<uint64_t>(id_at(by_id_.front()));
  auto at = by_id_.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(guess, by_id_.size()));
  if (at == by_id_.end() || id_at(*at) != id)
    at = std::lower_bound(by_id_.begin(), by_id_.end(), id,
                          [&](uint32_t slot, int64_t wanted) { return id_at(slot) < wanted; });
  if (at == by_id_.end() || id_at(*at) != id) return false;
  const auto list = std::upper_bound(first_.begin(), first_.end(), uint64_t{*at}) - first_.begin() - 1;
  place = {static_cast<uint32_t>(list), static_cast<uint32_t>(*at - first_[static_cast<size_t>(list)])};
  const List& there = lists_[place.list];
  return place.row < there.view.rows && there.has(place.row);
}

void IvfIndex::add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids, const uint32_t* lists) {
  if (file_)
    fail(ErrorCode::ReadOnly, "this index is mapped from " + file_->path() + ": open it with mmap=False to add");
  std::unique_lock lock(mutex_);
  need_map();
  check_new_ids({ids, n}, place_of_);
  std::vector<uint32_t> more(lists_.size());
  for (size_t i = 0; i < n; ++i) {
    if (lists[i] >= lists_.size())
      fail(ErrorCode::InvalidArgument, "lists[" + std::to_string(i) + "] is " + std::to_string(lists[i]) +
                                           ": want below " + std::to_string(lists_.size()));
    if (lists_[lists[i]].view.rows + size_t{++more[lists[i]]} > UINT32_MAX - kBlockRows)
      fail(ErrorCode::LimitExceeded, "a list holds at most 2^32 - 16 vectors");
  }
  check_factors(format_, n, factors);
  place_of_.reserve(place_of_.size() + n);
  for (size_t l = 0; l < lists_.size(); ++l)
    if (more[l] > 0) make_room(l, more[l]);
  // From here on nothing can fail.
  for (size_t i = 0; i < n; ++i) {
    RowStore& store = stores_[lists[i]];
    place_of_.set(ids[i], Place{lists[i], static_cast<uint32_t>(store.size())});
    store.append(format_, 1, planes + i * format_.spec.row_bytes(), factors + i * format_.factor_bytes(), ids + i);
    lists_[lists[i]].view = store.view();
  }
  rows_ += n;
}

// For so many more rows of a list. The buffers of its store move one by one, so its view follows even where one of them
// cannot grow.
void IvfIndex::make_room(size_t list, size_t more) {
  try {
    stores_[list].grow(format_, stores_[list].size() + more);
  } catch (...) {
    lists_[list].view = stores_[list].view();
    throw;
  }
  lists_[list].view = stores_[list].view();
}

size_t IvfIndex::remove(std::span<const int64_t> ids) {
  std::unique_lock lock(mutex_);
  need_map();
  size_t removed = 0;
  for (const int64_t id : ids) {
    Place at;
    if (!find(id, at)) continue;
    List& list = lists_[at.list];
    if (file_) {
      if (list.alive.empty()) list.alive.assign(block_count(list.view.rows), 0xffff);
      list.alive[at.row / 16] = static_cast<uint16_t>(list.alive[at.row / 16] & ~(1u << at.row % 16));
      ++list.dead;
      ++dead_;
      ++removed;
      continue;
    }
    RowStore& store = stores_[at.list];
    store.remove(format_, at.row);
    list.view = store.view();
    place_of_.erase(id);
    ++removed;
    if (at.row < store.size()) place_of_.set(store.view().ids[at.row], at);
    --rows_;
  }
  return removed;
}

bool IvfIndex::contains(int64_t id) const {
  std::shared_lock lock(mutex_);
  need_map();
  Place place;
  return find(id, place);
}

int64_t IvfIndex::max_id() const {
  std::shared_lock lock(mutex_);
  int64_t largest = -1;
  for (const List& list : lists_)
    for (size_t i = 0; i < list.view.rows; ++i)
      if (list.has(i)) largest = std::max(largest, list.view.ids[i]);
  return largest;
}

Rows IvfIndex::rows() const {
  std::shared_lock lock(mutex_);
  Rows out;
  out.planes.reserve((rows_ - dead_) * format_.spec.row_bytes());
  out.factors.reserve((rows_ - dead_) * format_.factor_bytes());
  out.ids.reserve(rows_ - dead_);
  for (const List& list : lists_)
    for (size_t i = 0; i < list.view.rows; ++i)
      if (list.has(i)) copy_row(format_, list.view, i, out);
  return out;
}

Rows IvfIndex::rows(std::span<const int64_t> ids) const {
  std::shared_lock lock(mutex_);
  need_map();
  Rows out;
  for (const int64_t id : ids) {
    Place at;
    if (!find(id, at)) fail(ErrorCode::UnknownId, "id " + std::to_string(id) + " is not in this index");
    copy_row(format_, lists_[at.list].view, at.row, out);
  }
  return out;
}

std::vector<IvfIndex::Place> IvfIndex::places_of(std::span<const int64_t> ids) const {
  need_map();
  std::vector<Place> found;
  found.reserve(ids.size());
  if (!file_) {
    place_of_.find_all(ids, [&](size_t, const Place* at) {
      if (at != nullptr) found.push_back(*at);
    });
  } else {
    Place at;
    for (const int64_t id : ids)
      if (find(id, at)) found.push_back(at);
  }
  // By lists as they were found; rows of a list ascend by then, where ids do.
  std::vector<size_t> begin(lists_.size() + 1);
  for (const Place& at : found) ++begin[at.list + 1];
  for (size_t l = 0; l < lists_.size(); ++l) begin[l + 1] += begin[l];
  std::vector<Place> places(found.size());
  std::vector<size_t> next(begin.begin(), begin.end() - 1);
  for (const Place& at : found) places[next[at.list]++] = at;
  const auto before = [](const Place& a, const Place& b) { return a.row < b.row; };
  for (size_t l = 0; l < lists_.size(); ++l) {
    const auto first = places.begin() + static_cast<ptrdiff_t>(begin[l]);
    const auto last = places.begin() + static_cast<ptrdiff_t>(begin[l + 1]);
    if (!std::is_sorted(first, last, before)) std::sort(first, last, before);
  }
  const auto same = [](const Place& a, const Place& b) { return a.list == b.list && a.row == b.row; };
  places.erase(std::unique(places.begin(), places.end(), same), places.end());
  return places;
}

std::unique_ptr<IvfIndex> IvfIndex::materialize_subset(std::span<const Place> places) const {
  const std::vector<float> nowhere(centroids_.dim());
  auto apart = std::make_unique<IvfIndex>(format_, Centroids(centroids_.dim(), 1, nowhere.data(), false));
  RowStore& store = apart->stores_[0];
  store.reserve(format_, places.size());
  std::vector<uint32_t> rows;
  for (size_t i = 0; i < places.size();) {
    const uint32_t list = places[i].list;
    rows.clear();
    for (; i < places.size() && places[i].list == list; ++i) rows.push_back(places[i].row);
    store.append(format_, lists_[list].view, rows);
  }
  apart->lists_[0].view = store.view();
  apart->rows_ = store.size();
  return apart;
}

}  // namespace bebr
