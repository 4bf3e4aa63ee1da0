#include "collection/group_column.h"

#include <charconv>

#include "index/row_filter.h"

namespace bebr {

void GroupColumn::check(size_t part_rows) const {
  const auto too_large = [&](const auto& places) {
    return std::any_of(places.begin(), places.end(), [&](size_t place) { return place >= texts.size(); });
  };
  const bool fits = each ? values() == part_rows && rows.empty()
                         : values() == rows.size() && std::is_sorted(rows.begin(), rows.end()) &&
                               (rows.empty() || rows.back() < part_rows);
  if (!fits || too_large(places8) || too_large(places16))
    fail(ErrorCode::InvalidArgument, "values are " + std::to_string(values()) + " of " + std::to_string(texts.size()) +
                                         " texts, for " + std::to_string(part_rows) + " rows: they do not fit these");
}

std::string GroupColumn::text(size_t i) const {
  if (!numbers.empty()) return std::to_string(numbers[i]);
  return texts[places8.empty() ? places16[i] : places8[i]];
}

std::vector<uint64_t> GroupColumn::having(const std::unordered_set<std::string>& some, size_t part_rows) const {
  std::vector<uint64_t> words(words_for(part_rows));
  const auto mark = [&](const auto& all, const auto& wanted) {
    for (size_t i = 0; i < all.size(); ++i)
      if (wanted(all[i])) set_bit(words, each ? i : rows[i]);
  };
  if (!numbers.empty()) {
    std::unordered_set<int64_t> wanted;
    for (const std::string& text : some) {
      int64_t number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error == std::errc{} && end == text.data() + text.size()) wanted.insert(number);
    }
    mark(numbers, [&](int64_t number) { return wanted.contains(number); });
    return words;
  }
  std::vector<char> wanted(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) wanted[i] = some.contains(texts[i]) ? 1 : 0;
  const auto of = [&](size_t place) { return wanted[place] != 0; };
  mark(places8, of);
  mark(places16, of);
  return words;
}

}  // namespace bebr
