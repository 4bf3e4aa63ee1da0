#include "index/ivf/copy.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "index/row_filter.h"

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

IvfCopy::IvfCopy(std::shared_ptr<const IvfSegment> from, std::vector<uint64_t> rows)
    : from_(std::move(from)), rows_(std::move(rows)), lists_(std::make_shared<std::vector<RowStore>>(from_->lists())) {
  if (rows_.size() < words_for(from_->rows()))
    fail(ErrorCode::InvalidArgument, "rows has " + std::to_string(rows_.size()) + " words for " +
                                         std::to_string(from_->rows()) + " rows: want at least " +
                                         std::to_string(words_for(from_->rows())));
}

bool IvfCopy::grow(size_t rows) {
  const std::lock_guard lock(mutex_);
  const RowFilter wanted{view_of(rows_), nullptr, {}, RowFilter::kUncounted};
  std::vector<uint32_t> some;
  for (size_t copied = 0; copied < rows && done_ < lists_->size(); ++done_) {
    const size_t first = from_->first(done_);
    some.clear();
    wanted.each(first, from_->list(done_).rows, [&](size_t at) { some.push_back(static_cast<uint32_t>(at - first)); });
    if (some.empty()) continue;
    RowStore& store = (*lists_)[done_];
    store.reserve(from_->format(), some.size());
    store.append(from_->format(), from_->list(done_), some);
    copied += some.size();
  }
  return done_ == lists_->size();
}

std::shared_ptr<const IvfSegment> IvfCopy::whole() const {
  const std::lock_guard lock(mutex_);
  if (done_ < lists_->size())
    fail(ErrorCode::InvalidArgument,
         std::to_string(done_) + " of " + std::to_string(lists_->size()) + " lists are copied: want all of them");
  const auto held = std::make_shared<Held>(lists_, from_);
  return {held, &held->segment};
}

}  // namespace bebr
