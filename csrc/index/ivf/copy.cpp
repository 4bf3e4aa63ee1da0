#include "index/ivf/copy.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "index/row_filter.h"

namespace bebr {
namespace {

// Rows a list from which a copy ranks its own lists. Of fewer rows a query that is far from all reads all of them.
constexpr size_t kRankedFrom = 8;

}  // namespace

// What a segment of copies looks at. Rows stand one after the other; a list begins a block, and so has sign planes of
// its own.
struct IvfCopy::Copied {
  RowStore rows;
  Buffer signs;
  std::vector<size_t> sizes;  // of the lists so far

  void append(const RowFormat& format, const RowView& from, std::span<const uint32_t> some) {
    const size_t first = rows.size(), block = signs.size() / block_bytes(format.spec);
    rows.append(format, from, some);
    signs.resize(signs.size() + block_count(some.size()) * block_bytes(format.spec));
    copy_signs(rows.view().scan(format.spec), first, some.size(), block * kBlockRows, signs.data());
    sizes.push_back(some.size());
  }
  std::vector<RowView> lists(const RowFormat& format) const {
    std::vector<RowView> found;
    size_t first = 0, block = 0;
    for (const size_t size : sizes) {
      RowView list = rows.view().rows_from(format, first, size);
      list.blocks = signs.data() + block * block_bytes(format.spec);
      found.push_back(size > 0 ? list : RowView{});
      first += size;
      block += block_count(size);
    }
    return found;
  }
};

// A segment, and the rows that it looks at.
struct IvfCopy::Held {
  Held(std::shared_ptr<const Copied> copied, const std::shared_ptr<const IvfSegment>& from, OwnLists own)
      : rows(std::move(copied)),
        segment(from->format(), from->shared_centroids(), rows->lists(from->format()), from, rows->rows.view(),
                std::move(own)) {}

  std::shared_ptr<const Copied> rows;
  IvfSegment segment;
};

IvfCopy::IvfCopy(std::shared_ptr<const IvfSegment> from, std::vector<uint64_t> rows)
    : from_(std::move(from)), rows_(std::move(rows)), copied_(std::make_shared<Copied>()) {
  if (rows_.size() < words_for(from_->rows()))
    fail(ErrorCode::InvalidArgument, "rows has " + std::to_string(rows_.size()) + " words for " +
                                         std::to_string(from_->rows()) + " rows: want at least " +
                                         std::to_string(words_for(from_->rows())));
}

bool IvfCopy::grow(size_t rows) {
  const std::lock_guard lock(mutex_);
  const RowFilter wanted{view_of(rows_), nullptr, {}, RowFilter::kUncounted};
  const RowFormat& format = from_->format();
  std::vector<size_t>& done = copied_->sizes;
  if (done.empty()) {  // room for all of them: what a search copies is not to move again
    const size_t all = wanted.count(0, from_->rows());
    ranks_ = all >= kRankedFrom * from_->lists();
    if (ranks_) means_.reserve(format, from_->lists());
    done.reserve(from_->lists());
    copied_->rows.reserve(format, all);
    copied_->signs.reserve((all / kBlockRows + std::min(all, from_->lists())) * block_bytes(format.spec));
  }
  std::vector<uint32_t> some;
  for (size_t copied = 0; copied < rows && done.size() < from_->lists(); copied += some.size()) {
    const size_t list = done.size(), first = from_->first(list);
    some.clear();
    wanted.each(first, from_->list(list).rows, [&](size_t at) { some.push_back(static_cast<uint32_t>(at - first)); });
    copied_->append(format, from_->list(list), some);
    if (ranks_) means_.append(format, from_->list(list), some, static_cast<uint32_t>(list));
  }
  return done.size() == from_->lists();
}

CodeMeans IvfCopy::means() const {
  const std::lock_guard lock(mutex_);
  // To make groups of more centroids would take as long as many searches. Values and packed weights are to take no
  // more memory than the rows.
  const RowFormat& format = from_->format();
  const size_t vectors = (2 * sizeof(float) + sizeof(int16_t)) * from_->centroids().dim() * means_.lists.size();
  const size_t row = format.spec.row_bytes() + format.factor_bytes() + sizeof(int64_t);
  const bool pays = means_.lists.size() <= Centroids::kMostDirect && vectors <= row * copied_->rows.size();
  return pays ? means_ : CodeMeans{};
}

std::shared_ptr<const IvfSegment> IvfCopy::whole(std::span<const float> own) const {
  const std::lock_guard lock(mutex_);
  const size_t done = copied_->sizes.size();
  if (done < from_->lists())
    fail(ErrorCode::InvalidArgument,
         std::to_string(done) + " of " + std::to_string(from_->lists()) + " lists are copied: want all of them");
  const Centroids& of_all = from_->centroids();
  OwnLists ranked;
  if (!own.empty()) {
    const size_t floats = means_.lists.size() * of_all.dim();
    if (own.size() != floats)
      fail(ErrorCode::InvalidArgument,
           "own has " + std::to_string(own.size()) + " floats: want " + std::to_string(floats));
    ranked = {std::make_shared<const Centroids>(of_all.dim(), means_.lists.size(), own.data(), of_all.by_product()),
              means_.lists};
  }
  const auto held = std::make_shared<Held>(copied_, from_, std::move(ranked));
  return {held, &held->segment};
}

}  // namespace bebr
