// The values that rows have at one path of their payloads, by which hits are grouped (bebr/store/columns).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/error.h"

namespace bebr {

// Of one part. A value is a whole number, or a place in a list of texts: of what it is as JSON, so that equal texts are
// equal values. "" is none to group by: an object.
struct GroupColumn {
  std::span<const uint8_t> places8;    // one of these three has the values, the others are empty
  std::span<const uint16_t> places16;  //
  std::span<const int64_t> numbers;    //
  std::vector<std::string> texts;
  std::span<const uint32_t> rows;  // of the values, ascending, a row as often as it has values; not where `each`
  bool each = false;               // each row has one value
  std::vector<std::shared_ptr<const void>> owners;  // of what the spans look at

  size_t values() const noexcept { return places8.size() + places16.size() + numbers.size(); }
  // Throws Error(InvalidArgument) where the values do not fit the rows of the part, or the texts.
  void check(size_t part_rows) const;
  // As JSON, of value i.
  std::string text(size_t i) const;
  // fn(text) for each value of a row, in their order.
  template <typename Fn>
  void each_of(uint32_t row, const Fn& fn) const {
    if (each) return fn(text(row));
    const auto [begin, end] = std::equal_range(rows.begin(), rows.end(), row);
    for (auto at = begin; at != end; ++at) fn(text(static_cast<size_t>(at - rows.begin())));
  }
  // A bit for each row that has one of these values.
  std::vector<uint64_t> having(const std::unordered_set<std::string>& some, size_t part_rows) const;
};

}  // namespace bebr
