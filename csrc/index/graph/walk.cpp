#include "index/graph/walk.h"

#include <algorithm>
#include <array>

namespace bebr {
namespace {

constexpr size_t kMostEntries = 256, kStarts = 4;

void prefetch(const uint8_t* p, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(p + at);
}

}  // namespace

void GraphView::score_rows(const BitQuery& query, const uint32_t* some, size_t count, float* scores) const {
  constexpr size_t kPiece = 32;
  int32_t sums[kPiece];
  for (size_t i = 0; i < count; i += kPiece) {
    const size_t n = std::min(kPiece, count - i);
    for (size_t j = i + n; j < std::min(count, i + n + kPiece); ++j) prefetch(record(some[j]), layout.factors);
    kernels.dot_bits16(nodes + kCodeAt, layout.stride, layout.spec.row_bytes(), query.y16.as<int16_t>(), query.total16,
                       some + i, n, sums);
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

Walker& Walker::mine() {
  thread_local Walker walker;
  return walker;
}

// Scores the first lines of a few hundred slots at even steps and starts from the best. Insertion order makes them a
// random sample, which replaces the upper levels of other graphs (docs/experiments/graph-entries.md).
void Walker::enter(const GraphView& view) {
  const size_t step = (view.entries + kMostEntries - 1) / kMostEntries;
  size_t count = 0;
  for (size_t slot = 0; slot < view.entries; slot += step)
    if (view.open(slot)) near_[count++] = static_cast<uint32_t>(slot);
  // Where nearly all slots are free or not linked yet.
  for (size_t slot = 0, none = count; none == 0 && slot < view.entries && count < kMostEntries; ++slot)
    if (view.open(slot)) near_[count++] = static_cast<uint32_t>(slot);
  for (size_t i = 0; i < count; ++i) __builtin_prefetch(view.record(near_[i]));
  const float scale = score_first_lines(view, count);
  std::array<Candidate, kStarts> best;
  size_t n = 0;
  for (size_t i = 0; i < count; ++i) {
    const float raw = query.base + scale * static_cast<float>(sums_[i]);
    const float score = view.score(raw, load_float(view.record(near_[i])));
    if (!(score > (n < kStarts ? kLowest : best[n - 1].score))) continue;  // nor NaN: a free slot
    size_t at = n < kStarts ? n++ : n - 1;
    for (; at > 0 && score > best[at - 1].score; --at) best[at] = best[at - 1];
    best[at] = {score, near_[i]};
  }
  for (size_t i = 0; i < n; ++i) {
    const uint32_t node = best[i].node;
    visited_[node / 64] |= uint64_t{1} << node % 64;
    touched_.push_back(node);
    passed_[i] = node;
  }
  complete(view, {passed_.data(), n});
}

float Walker::score_first_lines(const GraphView& view, size_t count) {
  const RecordLayout& layout = view.layout;
  if (query.wide) {
    view.kernels.dot_bits16(view.nodes + kCodeAt, layout.stride, layout.prefix, query.first16.as<int16_t>(),
                            query.total_first16, near_.data(), count, sums_.data());
    return query.scale16;
  }
  view.kernels.dot_bits8(view.nodes + kCodeAt, layout.stride, layout.prefix, query.y8.as<int8_t>(), query.total8,
                         near_.data(), count, sums_.data());
  return query.scale8;
}

void Walker::complete(const GraphView& view, std::span<const uint32_t> nodes) {
  const RecordLayout& layout = view.layout;
  view.kernels.dot_bits16(view.nodes + kCodeAt, layout.stride, layout.spec.row_bytes(), query.y16.as<int16_t>(),
                          query.total16, nodes.data(), nodes.size(), sums_.data());
  for (size_t i = 0; i < nodes.size(); ++i) {
    const uint8_t* record = view.record(nodes[i]);
    const float raw = query.base + query.scale16 * static_cast<float>(sums_[i]);
    if (found.insert(view.score(raw, load_float(record)), nodes[i]))
      prefetch(record + layout.links / 64 * 64, layout.links % 64 + 4 * layout.degree);
  }
}

void Walker::walk(const GraphView& view, size_t ef, float margin, const std::atomic<bool>* stop) {
  const RecordLayout& layout = view.layout;
  found.reset(ef);
  if (walking_) {  // out of memory, then
    std::fill(visited_.begin(), visited_.end(), 0);
    touched_.clear();
  }
  walking_ = true;
  if (visited_.size() < (view.rows + 63) / 64) visited_.resize((view.rows + 63) / 64);
  const size_t room = std::max<size_t>(kMostEntries, layout.degree) + 1;
  near_.resize(room);
  passed_.resize(room);
  sums_.resize(room);
  if (view.entries > 0) enter(view);
  const float slack = margin * query.spread;
  uint32_t node;
  while (found.take(node)) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) break;
    // These two tests are unpredictable (about 50 % taken), so they are branch-free: 15 to 20 % faster
    // (docs/experiments/graph-walk.md).
    const uint8_t* links = view.record(node) + layout.links;
    uint32_t* near = near_.data();
    size_t n = 0;
    for (uint32_t i = 0; i < layout.degree; ++i) {
      const uint32_t link = load_link(links + 4 * i);
      if (link >= view.rows) {
        if (link == kNoLink) break;
        continue;
      }
      __builtin_prefetch(view.record(link));
      uint64_t& word = visited_[link / 64];
      near[n] = link;
      n += ~word >> link % 64 & 1;
      word |= uint64_t{1} << link % 64;
    }
    touched_.insert(touched_.end(), near, near + n);
    const float scale = score_first_lines(view, n);
    const float threshold = found.threshold();
    uint32_t* passed = passed_.data();
    size_t good = 0;
    for (size_t i = 0; i < n; ++i) {
      const float raw = query.base + scale * static_cast<float>(sums_[i]) + slack;
      passed[good] = near[i];
      good += view.score(raw, load_float(view.record(near[i]))) > threshold ? 1 : 0;
    }
    for (size_t i = 0; i < good; ++i)
      for (size_t at = 64; at < layout.factors; at += 64) __builtin_prefetch(view.record(passed[i]) + at);
    complete(view, {passed, good});
  }
  for (const uint32_t seen : touched_) visited_[seen / 64] = 0;
  touched_.clear();
  walking_ = false;
}

}  // namespace bebr
