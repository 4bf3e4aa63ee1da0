#include "index/graph/view.h"

#include <algorithm>

namespace bebr {

void GraphView::score_rows(const BitQuery& query, const uint32_t* some, size_t count, float* scores) const {
  constexpr size_t kPiece = 32;
  int32_t sums[kPiece];
  for (size_t i = 0; i < count; i += kPiece) {
    const size_t n = std::min(kPiece, count - i);
    for (size_t j = i + n; j < std::min(count, i + n + kPiece); ++j)
      for (size_t at = 0; at < layout.factors; at += 64) __builtin_prefetch(record(some[j]) + at);
    dot_codes(query, some + i, n, sums);
    for (size_t j = 0; j < n; ++j)
      scores[i + j] = score(query.base + query.scale16 * static_cast<float>(sums[j]), load_float(record(some[i + j])));
  }
}

size_t GraphView::links(uint32_t slot, uint32_t* to) const noexcept {
  const uint8_t* from = record(slot) + layout.links;
  size_t n = 0;
  for (uint32_t i = 0; i < layout.degree; ++i) {
    const uint32_t link = load_link(from + 4 * i);
    if (link == kNoLink) break;
    if (link < rows) to[n++] = link;
  }
  return n;
}

void GraphView::sample(std::vector<uint32_t>& slots) const {
  constexpr size_t kMost = 256;
  slots.clear();
  const size_t step = (entries + kMost - 1) / kMost;
  for (size_t slot = 0; slot < entries; slot += step)
    if (open(slot)) slots.push_back(static_cast<uint32_t>(slot));
  // Where nearly all slots are free or not linked yet.
  for (size_t slot = 0, none = slots.size(); none == 0 && slot < entries && slots.size() < kMost; ++slot)
    if (open(slot)) slots.push_back(static_cast<uint32_t>(slot));
}

}  // namespace bebr
