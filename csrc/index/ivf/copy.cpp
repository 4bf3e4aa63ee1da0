#include "index/ivf/copy.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace bebr {
namespace {

// What a segment of copies looks at, and itself.
struct Held {
  Held(std::shared_ptr<const std::vector<RowStore>> stores, const std::shared_ptr<const IvfSegment>& from)
      : lists(std::move(stores)), segment(from->format(), from->shared_centroids(), views(), from) {}
  std::vector<RowView> views() const {
    std::vector<RowView> found;
    for (const RowStore& list : *lists) found.push_back(list.size() > 0 ? list.view() : RowView{});
    return found;
  }

  std::shared_ptr<const std::vector<RowStore>> lists;
  IvfSegment segment;
};

}  // namespace

IvfCopy::IvfCopy(std::shared_ptr<const IvfSegment> from, std::vector<uint32_t> rows)
    : from_(std::move(from)), rows_(std::move(rows)), lists_(std::make_shared<std::vector<RowStore>>(from_->lists())) {
  for (size_t i = 0; i < rows_.size(); ++i)
    if (rows_[i] >= from_->rows() || (i > 0 && rows_[i] <= rows_[i - 1]))
      fail(ErrorCode::InvalidArgument, "rows[" + std::to_string(i) + "] is " + std::to_string(rows_[i]) +
                                           ": want ascending positions below " + std::to_string(from_->rows()));
}

bool IvfCopy::grow(size_t rows) {
  const std::lock_guard lock(mutex_);
  const size_t end = done_ + std::min(rows, rows_.size() - done_);
  std::vector<uint32_t> some;
  while (done_ < end) {
    const size_t l = from_->list_of(rows_[done_]), first = from_->first(l), next = from_->first(l + 1);
    RowStore& store = (*lists_)[l];
    // A list at a time, so that its store is made once, in the size that it keeps.
    const auto last = std::lower_bound(rows_.begin() + static_cast<ptrdiff_t>(done_), rows_.end(), next);
    some.assign(rows_.begin() + static_cast<ptrdiff_t>(done_), last);
    for (uint32_t& row : some) row -= static_cast<uint32_t>(first);
    store.reserve(from_->format(), some.size());
    store.append(from_->format(), from_->list(l), some);
    done_ += some.size();
  }
  return done_ == rows_.size();
}

std::shared_ptr<const IvfSegment> IvfCopy::whole() const {
  const std::lock_guard lock(mutex_);
  if (done_ < rows_.size())
    fail(ErrorCode::InvalidArgument,
         std::to_string(done_) + " of " + std::to_string(rows_.size()) + " rows are copied: want all of them");
  const auto held = std::make_shared<Held>(lists_, from_);
  return {held, &held->segment};
}

}  // namespace bebr
