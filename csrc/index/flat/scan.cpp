// Which rows are looked at, and in which way: one by one where they are few, a copy of them where a batch pays for it,
// else a scan of blocks (flat/block_scan.cpp).
#include "index/flat/scan.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/threads.h"
#include "index/flat/block_scan.h"
#include "index/flat/whole_sums.h"

namespace bebr {
namespace {

constexpr size_t kExpandedFrom = 8;    // of Kernels::expand_queries: sign planes alone rule out nearly all rows
constexpr size_t kCopyCost = 150;      // copying a row out costs about as much as passing over this many in a scan
constexpr size_t kCopiedAtOnce = 512;  // rows for which another thread pays

class FlatScan {
 public:
  FlatScan(const RowFormat& format, std::span<const FlatPart> parts, QueryBatch& queries, const SearchOptions& options,
           bool follows, TopKBatch& tops)
      : format_(format), parts_(parts), queries_(queries), options_(options), follows_(follows), tops_(tops) {}

  void run() {
    choose();
    if (!copied_.empty()) return scan_flat(format_, copied_, queries_, copy_options_, follows_, tops_);
    if (eligible_ == 0) return;
    if (!direct_)
      return scan_blocks(format_, parts_, queries_, options_, eligible_, first_stage_rows_, follows_, tops_);
    SearchOptions exact = options_;
    exact.exact = true;
    // All rows for many queries: whole codes rule most of them out, and give the same scores.
    if (!filtered_ && flat_expands(queries_.size(), exact))
      return scan_blocks(format_, parts_, queries_, exact, eligible_, first_stage_rows_, follows_, tops_);
    note_work(options_.work, queries_.size() * chosen_.size(), 0);
    const std::vector<FineQuery>& fine = queries_.fine();
    std::optional<WholeSums> sums;
    if (WholeSums::pays(queries_.size(), chosen_.size(), parts_)) sums.emplace(format_, parts_, fine, options_);
    parallel_for(queries_.size(), 1, [&](size_t begin, size_t end) {
      for (size_t q = begin; q < end; ++q)
        parts_.complete(format_, chosen_, fine[q], queries_.base()[q], options_, tops_[q],
                        sums ? sums->of(q) : nullptr);
    });
  }

 private:
  void choose() {
    for (const FlatPart& part : parts_.parts()) {
      const RowFilter& filter = part.filter;
      const bool counted = filter.dead_rows != RowFilter::kUncounted;
      const size_t live =
          counted ? part.rows.rows - filter.dead_rows
                  : RowFilter{{}, nullptr, filter.dead, RowFilter::kUncounted}.count(part.first, part.rows.rows);
      live_ += live;
      filtered_ = filtered_ || filter.filtered();
      eligible_ += filter.filtered() ? filter.count(part.first, part.rows.rows) : live;
    }
    if (options_.first_stage_rows == 0) first_stage_rows_ = default_first_stage_rows(options_.k, live_);
    first_stage_rows_ = std::max({first_stage_rows_, options_.first_stage_rows, options_.k});
    if (eligible_ == 0) return;
    const size_t few = options_.exact || follows_ ? 0 : first_stage_rows_;
    direct_ = eligible_ <= few || (filtered_ && eligible_ <= live_ / kCompleteCost);
    if (filtered_ && queries_.size() * (live_ - eligible_) >= kCopyCost * eligible_) copy(few);
    if (!copied_.empty()) return;
    if (direct_) {
      chosen_.reserve(eligible_);
      each_eligible([&](size_t p, size_t row) { chosen_.push_back(parts_.first(p) + static_cast<uint32_t>(row)); });
      return;
    }
    make_bitmaps();
  }

  // A batch that may find few rows pays for a copy of them alone; in parts, which threads copy side by side.
  void copy(size_t few) {
    copy_options_ = options_;
    copy_options_.first_stage_rows = first_stage_rows_;
    if (direct_ && eligible_ > few && !options_.exact && options_.batch_invariant) {
      // All of these are to be completed, whoever asks; an exact scan gives the same scores.
      if (queries_.size() < kCopyCost / kCompleteCost) return;
      copy_options_.exact = true;
    }
    std::vector<std::vector<uint32_t>> rows(parts_.parts().size());
    each_eligible([&](size_t p, size_t row) { rows[p].push_back(static_cast<uint32_t>(row)); });
    const size_t count = std::clamp(eligible_ / kCopiedAtOnce, size_t{1}, num_threads());
    const size_t each = (eligible_ + count - 1) / count;
    stores_.resize(count);
    parallel_for(count, 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i)
        copy_some(rows, std::min(eligible_, i * each), std::min(eligible_, (i + 1) * each), stores_[i]);
    });
    for (const RowStore& store : stores_) copied_.push_back({store.view(), {}, 0});
  }

  // Those from number `first` to `end` of all the rows, which are listed by part.
  void copy_some(const std::vector<std::vector<uint32_t>>& rows, size_t first, size_t end, RowStore& store) const {
    store.reserve(format_, end - first);
    size_t before = 0;
    for (size_t p = 0; p < rows.size(); ++p) {
      const size_t from = std::max(first, before), to = std::min(end, before + rows[p].size());
      if (from < to) store.append(format_, parts_[p].rows, std::span(rows[p]).subspan(from - before, to - from));
      before += rows[p].size();
    }
  }

  template <typename Fn>
  void each_eligible(const Fn& fn) const {
    for (size_t p = 0; p < parts_.parts().size(); ++p)
      parts_[p].filter.each(parts_[p].first, parts_[p].rows.rows, [&](size_t at) { fn(p, at - parts_[p].first); });
  }

  // Masks are made of bitmaps, not of lists.
  void make_bitmaps() {
    for (FlatPart& part : parts_.parts()) {
      if (part.filter.rows == nullptr) continue;
      bitmaps_.emplace_back(words_for(part.first + part.rows.rows));
      for (const uint32_t row : *part.filter.rows)
        if (row < 64 * bitmaps_.back().size()) set_bit(bitmaps_.back(), row);
      part.filter.allow = view_of(bitmaps_.back());
      part.filter.rows = nullptr;
    }
  }

  const RowFormat& format_;
  FlatParts parts_;
  QueryBatch& queries_;
  const SearchOptions& options_;
  bool follows_;
  TopKBatch& tops_;
  size_t live_ = 0, eligible_ = 0, first_stage_rows_ = 0;
  bool filtered_ = false;
  bool direct_ = false;  // few rows to look at: all of chosen_ are completed, nothing is scanned
  std::vector<uint32_t> chosen_;
  std::vector<std::vector<uint64_t>> bitmaps_;  // of filters that came as lists
  std::vector<RowStore> stores_;                // the eligible rows alone
  std::vector<FlatPart> copied_;                // what is searched instead
  SearchOptions copy_options_;
};

}  // namespace

bool flat_expands(size_t queries, const SearchOptions& options) {
  const size_t from = kernels().expand_queries;
  if (from == 0) return false;
  if (options.exact) return queries >= from;  // bounds of sign planes rule out few rows
  return !options.batch_invariant && queries >= kExpandedFrom * from;
}

void scan_flat(const RowFormat& format, std::span<const FlatPart> parts, QueryBatch& queries,
               const SearchOptions& options, bool follows, TopKBatch& tops) {
  if (queries.size() > 0) FlatScan(format, parts, queries, options, follows, tops).run();
}

}  // namespace bebr
