#include "index/graph/entries.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "code/layout.h"

namespace bebr {
namespace {

constexpr size_t kPiece = 2 * kBlockRows;  // rows judged by one threshold

}  // namespace

void EntrySample::take(const GraphView& view) {
  const RecordLayout& layout = view.layout;
  view.sample(slots_);
  for (const uint32_t slot : slots_) __builtin_prefetch(view.record(slot));
  std::erase_if(slots_, [&](uint32_t slot) { return std::isnan(load_float(view.record(slot))); });
  const size_t rows = block_count(slots_.size()) * kBlockRows;
  codes_.resize(rows * layout.lead);
  factors_.resize(rows * sizeof(float));
  sums_.resize(rows);
  kept_.resize(kPiece);
  kept_scores_.resize(kPiece);
  for (size_t i = 0; i < slots_.size(); ++i) {
    const uint8_t *record = view.record(slots_[i]), *code = record + kCodeAt;
    std::memcpy(factors_.data() + i * sizeof(float), record, sizeof(float));
    uint8_t* to = codes_.data() + sign_offset(layout.lead, i, 0);
    uint32_t g = 0;
    for (; g + 4 <= layout.lead; g += 4) std::memcpy(to + g * kBlockRows, code + g, 4);
    if (g < layout.lead) std::memcpy(codes_.data() + sign_offset(layout.lead, i, g), code + g, layout.lead - g);
  }
}

size_t EntrySample::choose(const GraphView& view, const BitQuery& query, std::span<Candidate> best) {
  constexpr int32_t kNoBias = 0;
  if (slots_.empty()) return 0;
  const RecordLayout& layout = view.layout;
  const ScanQueries tables{1, layout.lead, query.near.tables.data(), nullptr, &kNoBias};
  view.kernels.scan_table(codes_.data(), block_count(slots_.size()), tables, sums_.data(), sums_.size());
  constexpr FactorCode kFloats{sizeof(float), 0, 0};
  size_t n = 0;
  for (size_t first = 0; first < slots_.size(); first += kPiece) {
    const size_t rows = std::min(kPiece, slots_.size() - first);
    const float threshold = n < best.size() ? kLowest : best[n - 1].score;
    const size_t kept = view.kernels.select(sums_.data() + first, rows, factors_.data() + first * sizeof(float),
                                            kFloats, view.mode, nullptr, query.base - query.near.offset,
                                            query.near.scale, threshold, 0, kept_.data(), kept_scores_.data());
    for (size_t i = 0; i < kept; ++i) {
      const float score = kept_scores_[i];
      if (!(score > (n < best.size() ? kLowest : best[n - 1].score))) continue;
      size_t at = n < best.size() ? n++ : n - 1;
      for (; at > 0 && score > best[at - 1].score; --at) best[at] = best[at - 1];
      best[at] = {score, slots_[first + kept_[i]]};
    }
  }
  return n;
}

}  // namespace bebr
