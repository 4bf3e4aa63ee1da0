// The beginning of a walk through records that hold their neighbours' bytes, where these say much: from the best entry
// to the best neighbour by its bytes, as long as that is better. Walks that completed rows from the entry on read three
// quarters of all their codes before they came near (docs/experiments/graph-reach.md).
#include <algorithm>

#include "index/graph/walk.h"

namespace bebr {
namespace {

constexpr size_t kMostMoves = 4;
// The best of many scores by first bytes is so by luck, too: so much, in standard deviations of the bits beyond, is
// taken off before others are compared with it.
constexpr float kLuck = 0.5f;

}  // namespace

void Walk::begin_descent(const GraphView& view, const Candidate& entry) {
  moves_ = 0;
  next_ = Step::Descend;
  move(view, entry);
}

void Walk::move(const GraphView& view, const Candidate& to) {
  at_ = {to.score - kLuck * query.near.spread, to.node};
  ask(view.record(at_.node), view.layout.links / 64 * 64, view.layout.stride);
}

void Walk::descend(const GraphView& view) {
  const RecordLayout& layout = view.layout;
  const uint8_t* record = view.record(at_.node);
  Candidate best = at_;
  for (size_t i = 0; const uint32_t number : scan_neighbours(view, record, 0, at_.score)) {
    const uint32_t link = load_link(record + layout.links + 4 * size_t{number});
    const float score = kept_scores_[i++];
    if (link < view.rows && score > best.score) best = {score, link};
  }
  scanned += layout.degree;
  if (best.node == at_.node || moves_ == kMostMoves) return arrive(view);
  ++moves_;
  move(view, best);
}

// To all bits of this node, and of the entries.
void Walk::arrive(const GraphView& view) {
  next_ = Step::Complete;
  uint64_t& word = visited_[at_.node / 64];
  if ((word >> at_.node % 64 & 1) != 0) return;  // an entry
  word |= uint64_t{1} << at_.node % 64;
  seen_[seen_count_++] = passed_[passed_count_++] = at_.node;
  ask(view.record(at_.node), 0, view.layout.factors);
}

// Of the first `count` slots of passed_, those whose scores by bytes are above the mean; how many. The others may be
// met again. While little is found yet nearly all neighbours pass, and few of them stay.
size_t Walk::better_half(size_t count) {
  float sum = 0, best = kLowest;
  for (size_t i = 0; i < count; ++i) {
    sum += kept_scores_[i];
    best = std::max(best, kept_scores_[i]);
  }
  const float mean = std::min(sum / static_cast<float>(count), best);
  size_t left = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t slot = passed_[i];
    const bool stays = kept_scores_[i] >= mean;
    visited_[slot / 64] &= ~(uint64_t{stays ? 0u : 1u} << slot % 64);
    passed_[left] = slot;
    left += stays ? 1 : 0;
  }
  return left;
}

}  // namespace bebr
