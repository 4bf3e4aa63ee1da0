#include "index/id_order.h"

#include <algorithm>
#include <numeric>

namespace bebr {

IdOrder::IdOrder(std::span<const int64_t> ids, std::span<const uint32_t> by_id) : ids_(ids), by_id_(by_id) {}

std::vector<uint32_t> IdOrder::of(std::span<const int64_t> ids) {
  if (std::is_sorted(ids.begin(), ids.end())) return {};
  std::vector<uint32_t> order(ids.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [ids](uint32_t a, uint32_t b) { return ids[a] < ids[b] || (ids[a] == ids[b] && a < b); });
  return order;
}

// N binary searches step by step together: half of the rest is passed over where the id before the middle is not above
// the wanted one.
template <size_t N>
void IdOrder::find_some(const int64_t* ids, int64_t* out) const noexcept {
  size_t at[N] = {};
  for (size_t left = size(); left > 1;) {
    const size_t half = left / 2;
    for (size_t i = 0; i < N; ++i) at[i] += id_at(at[i] + half) <= ids[i] ? half : 0;
    left -= half;
  }
  for (size_t i = 0; i < N; ++i) out[i] = size() > 0 && ids[i] >= 0 && id_at(at[i]) == ids[i] ? row_at(at[i]) : -1;
}

std::vector<int64_t> IdOrder::following(int64_t after, size_t skip, size_t count) const {
  size_t first = 0;
  for (size_t left = size(); left > 0;) {  // the first place whose id is above
    const size_t half = left / 2;
    if (id_at(first + half) > after) {
      left = half;
    } else {
      first += half + 1;
      left -= half + 1;
    }
  }
  const size_t begin = first + std::min(skip, size() - first), end = begin + std::min(count, size() - begin);
  std::vector<int64_t> rows;
  rows.reserve(end - begin);
  for (size_t place = begin; place < end; ++place) {
    const int64_t row = row_at(place);
    rows.push_back(static_cast<size_t>(row) < ids_.size() ? row : -1);
  }
  return rows;
}

int64_t IdOrder::find(int64_t id) const noexcept {
  int64_t row;
  find_all({&id, 1}, &row);
  return row;
}

void IdOrder::find_all(std::span<const int64_t> ids, int64_t* out) const noexcept {
  constexpr size_t kTogether = 16;
  const int64_t first = size() > 0 ? id_at(0) : 0, last = size() > 0 ? id_at(size() - 1) : -1;
  size_t i = 0;
  // Numbered from some id on without a gap, as rows mostly are, an id's place is known.
  const auto guessed = [&](int64_t id, int64_t& row) {
    const uint64_t place = static_cast<uint64_t>(id) - static_cast<uint64_t>(first);
    if (place >= size() || id_at(place) != id || (place + 1 < size() && id_at(place + 1) == id)) return false;
    row = row_at(place);
    return true;
  };
  while (i < ids.size()) {
    if (ids[i] < first || ids[i] > last) {  // new rows mostly have numbers beyond those of every file
      out[i++] = -1;
    } else if (guessed(ids[i], out[i])) {
      ++i;
    } else if (i + kTogether <= ids.size()) {
      find_some<kTogether>(ids.data() + i, out + i);
      i += kTogether;
    } else {
      find_some<1>(ids.data() + i, out + i);
      ++i;
    }
  }
}

}  // namespace bebr
