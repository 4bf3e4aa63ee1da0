#include "index/ivf/rows.h"

#include <string>

#include "base/error.h"

namespace bebr {

IvfRows::IvfRows(const RowFormat& format, std::shared_ptr<const Centroids> centroids)
    : format_(format), stores_(centroids->size()) {
  std::vector<RowView> lists(stores_.size());
  segment_ = std::make_shared<IvfSegment>(format, std::move(centroids), std::move(lists));
}

IvfRows::IvfRows(const IvfSegment& copied) : IvfRows(copied.format(), copied.shared_centroids()) {
  for (size_t l = 0; l < stores_.size(); ++l) {
    stores_[l].assign(format_, copied.list(l));
    segment_->list_view(l) = stores_[l].view();
    rows_ += stores_[l].size();
  }
  segment_->lists_changed();
}

void IvfRows::check(const NewRows& rows) const {
  if (rows_ + rows.n > UINT32_MAX) fail(ErrorCode::LimitExceeded, "an IVF index holds at most 2^32 - 1 vectors");
  for (size_t i = 0; i < rows.n; ++i)
    if (rows.lists[i] >= stores_.size())
      fail(ErrorCode::InvalidArgument, "lists[" + std::to_string(i) + "] is " + std::to_string(rows.lists[i]) +
                                           ": want below " + std::to_string(stores_.size()));
}

void IvfRows::insert(const NewRows& rows, RowPlace* places) {
  std::vector<uint32_t> more(stores_.size());
  for (size_t i = 0; i < rows.n; ++i) ++more[rows.lists[i]];
  for (size_t l = 0; l < stores_.size(); ++l) {
    if (more[l] == 0) continue;
    try {
      stores_[l].grow(format_, stores_[l].size() + more[l]);
    } catch (...) {
      segment_->list_view(l) = stores_[l].view();  // some of its buffers may have moved
      throw;
    }
    segment_->list_view(l) = stores_[l].view();
  }
  // From here on nothing can fail.
  for (size_t i = 0; i < rows.n; ++i) {
    RowStore& store = stores_[rows.lists[i]];
    places[i] = place_of(rows.lists[i], store.size());
    store.append(format_, 1, rows.planes + i * format_.spec.row_bytes(), rows.factors + i * format_.factor_bytes(),
                 rows.ids + i);
    segment_->list_view(rows.lists[i]) = store.view();
  }
  rows_ += rows.n;
}

std::optional<RowPlace> IvfRows::remove(RowPlace place) noexcept {
  RowStore& store = stores_[list_of(place)];
  store.remove(format_, row_of(place));
  segment_->list_view(list_of(place)) = store.view();
  --rows_;
  return row_of(place) < store.size() ? std::optional(place) : std::nullopt;
}

void IvfRows::each(const std::function<void(int64_t, RowPlace)>& fn) const {
  for (size_t l = 0; l < stores_.size(); ++l)
    for (size_t i = 0; i < stores_[l].size(); ++i) fn(stores_[l].view().ids[i], place_of(l, i));
}

}  // namespace bebr
