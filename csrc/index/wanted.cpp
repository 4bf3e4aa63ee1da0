#include "index/wanted.h"

#include <algorithm>
#include <functional>
#include <iterator>

namespace bebr {
namespace {

// From an eighth of the rows on, every row is asked whether its id is wanted. Half of 400,000 rows, a single query of a
// file of lists: 29.7 -> 2.5 ms, in memory 5.8 -> 2.2 (docs/experiments/filtered-batches.md).
constexpr size_t kManyIds = 8;
// Then the wanted ids are bits. Ids are spread at most so much thinner than rows, or the bits would be many.
constexpr size_t kThinIds = 16;
// So many queries and fewer do not gain by ascending rows what these take to come by.
constexpr size_t kFewQueries = 8;

}  // namespace

const WantedIds::Bits& WantedIds::bits() {
  if (bits_) return *bits_;
  Bits& made = bits_.emplace();
  const auto [low, high] = std::minmax_element(ids_.begin(), ids_.end());
  made.first = std::max<int64_t>(0, *low);
  if (*high < made.first || static_cast<uint64_t>(*high - made.first) >= kThinIds * ids_.size()) return made;
  made.words.resize(words_for(static_cast<size_t>(*high - made.first) + 1));
  for (const int64_t id : ids_)
    if (id >= made.first) set_bit(made.words, static_cast<size_t>(id - made.first));
  return made;
}

bool WantedIds::ascending() const {
  return std::adjacent_find(ids_.begin(), ids_.end(), std::greater_equal<>()) == ids_.end();
}

RowSet WantedIds::rows_of(const SegmentReader& segment, const BitmapView& allow, const Find& find) {
  RowSet set = found_in(segment, find);
  if (!allow.present()) return set;
  std::erase_if(set.rows, [&](uint32_t row) { return !allow[row]; });
  for (size_t i = 0; i < set.bits.size(); ++i) set.bits[i] &= allow.bits64(64 * i);
  return set;
}

RowSet WantedIds::found_in(const SegmentReader& segment, const Find& find) {
  const size_t all = segment.rows();
  RowSet set;
  const auto as_bits = [&] { set.bits.resize(words_for(std::max<size_t>(1, all))); };
  if (!ids_.empty() && ids_.size() >= all / kManyIds && !bits().words.empty()) {
    const BitmapView wanted = view_of(bits_->words);
    as_bits();
    size_t row = 0;
    for (const std::span<const int64_t> part : segment.id_parts())
      for (const int64_t id : part) {
        const uint64_t at = static_cast<uint64_t>(id) - static_cast<uint64_t>(bits_->first);  // below: beyond all bits
        set.bits[row / 64] |= uint64_t{wanted[at]} << row % 64;
        ++row;
      }
    return set;
  }
  const auto each_found = [&](const auto& fn) {
    int64_t found[1024];  // of all at once, the array would take longer to come by than to fill
    for (size_t first = 0; first < ids_.size(); first += std::size(found)) {
      const auto some = ids_.subspan(first, std::min(std::size(found), ids_.size() - first));
      find(some, found);
      for (size_t i = 0; i < some.size(); ++i)
        if (found[i] >= 0) fn(static_cast<uint32_t>(found[i]));
    }
  };
  if (ids_.size() > all / 64) {
    as_bits();
    each_found([&](uint32_t row) { set_bit(set.bits, row); });
    return set;
  }
  // Few are looked at one by one. Sorting more than a thousandth of all takes longer than a bitmap does.
  set.rows.reserve(ids_.size());
  each_found([&](uint32_t row) { set.rows.push_back(row); });
  const bool sorted = std::is_sorted(set.rows.begin(), set.rows.end());
  // A graph takes rows in any order, if each comes once. 3,990 of 399,000, the fastest of 40 on a busy machine, in us,
  // by bits and so: 211 and 137 for one query, 506 and 458 for 4, 725 and 715 for 8, 881 and 1,014 for 64.
  const bool any_order = segment.kind() == SegmentKind::Graph && queries_ <= kFewQueries && ascending();
  set.listed = sorted || any_order || ids_.size() < all / 1024;
  if (!set.listed) {
    as_bits();
    for (const uint32_t row : set.rows) set_bit(set.bits, row);
    return set;
  }
  if (any_order) return set;
  if (!sorted) std::sort(set.rows.begin(), set.rows.end());
  set.rows.erase(std::unique(set.rows.begin(), set.rows.end()), set.rows.end());
  return set;
}

}  // namespace bebr
