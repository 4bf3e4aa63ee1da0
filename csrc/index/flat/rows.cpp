#include "index/flat/rows.h"

#include "base/error.h"

namespace bebr {

FlatRows::FlatRows(const FlatSegment& copied) : format_(copied.format()) {
  store_.assign(format_, copied.views().front());
}

std::shared_ptr<const SegmentReader> FlatRows::reader() const {
  const RowView view = store_.view();
  return std::make_shared<const FlatSegment>(format_, std::vector{view}, std::span(view.ids, view.rows), nullptr);
}

void FlatRows::check(const NewRows& rows) const {
  if (store_.size() + rows.n > UINT32_MAX - kBlockRows)
    fail(ErrorCode::LimitExceeded, "a flat index holds at most 2^32 - 16 vectors");
}

void FlatRows::insert(const NewRows& rows, RowPlace* places) {
  const size_t first = store_.size();
  store_.append(format_, rows.n, rows.planes, rows.factors, rows.ids);
  for (size_t i = 0; i < rows.n; ++i) places[i] = first + i;
}

std::optional<RowPlace> FlatRows::remove(RowPlace place) noexcept {
  store_.remove(format_, place);
  return place < store_.size() ? std::optional(place) : std::nullopt;
}

void FlatRows::each(const std::function<void(int64_t, RowPlace)>& fn) const {
  const RowView view = store_.view();
  for (size_t i = 0; i < view.rows; ++i) fn(view.ids[i], i);
}

}  // namespace bebr
