// The candidates of a walk, best first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/buffer.h"
#include "index/topk.h"
#include "kernels/floats.h"
#include "kernels/kernels.h"

namespace bebr {

struct Candidate {
  float score;
  uint32_t node;
};

// Where a walk ends before its list is full. A candidate does not matter that falls short of `best` by more than 1 +
// more times what the k-th does, unless it is among the first `fewest`. k 0: nothing of this.
struct WalkBound {
  size_t k = 0, fewest = 0;
  float more = 0, best = 0;
};

// The best `limit` candidates so far, best first, and which of them the walk has not been to yet.
//
// Before all entries is the best score there can be, behind them the worst, so that vectors of entries are compared
// with a new one, and moved, without a branch.
class CandidateList {
 public:
  // k, fewest: at most `limit`.
  void reset(size_t limit, const WalkBound& bound = {}) {
    limit_ = limit;
    bound_ = bound;
    size_ = next_ = 0;
    const size_t room = kBefore + round_up(limit, kBefore) + kBefore;
    scores_.resize(std::max(scores_.size(), room * sizeof(float)));
    nodes_.resize(std::max(nodes_.size(), room * sizeof(uint32_t)));
    scores()[-1] = std::numeric_limits<float>::infinity();
    std::fill_n(scores(), room - kBefore, kLowest);
    threshold_ = kLowest;
  }
  // A score must be above this to matter.
  float threshold() const noexcept { return threshold_; }
  bool insert(float score, uint32_t node) {
    if (!(score > scores()[limit_ - 1])) return false;  // nor NaN
    const size_t at = size_ <= kShort ? put(score, node) : put_far(score, node);
    grow(1, at);
    return true;
  }
  // Some, one after the other. inserted: room for `count`, gets those that were; returns how many.
  size_t insert(const Kernels& kernels, const float* new_scores, const uint32_t* new_nodes, size_t count,
                uint32_t* inserted) {
    if (kernels.put_candidates != nullptr && limit_ <= kMostPut) {
      const PutCandidates done =
          kernels.put_candidates(scores(), nodes(), limit_, new_scores, new_nodes, count, inserted);
      grow(done.count, done.first);
      return done.count;
    }
    size_t n = 0;
    for (size_t i = 0; i < count; ++i)
      if (insert(new_scores[i], new_nodes[i])) inserted[n++] = new_nodes[i];
    return n;
  }
  // The best one not yet taken; false when all that matter are.
  bool take(uint32_t& node) {
    if (!peek(node)) return false;
    nodes()[next_++] |= kTaken;
    return true;
  }
  // The same, and it stays.
  bool peek(uint32_t& node) {
    while (next_ < size_ && (nodes()[next_] & kTaken) != 0) ++next_;
    if (next_ == size_ || scores()[next_] < threshold_) return false;
    node = nodes()[next_];
    return true;
  }
  size_t size() const noexcept { return size_; }
  Candidate operator[](size_t i) const noexcept { return {scores()[i], nodes()[i] & ~kTaken}; }

 private:
  static constexpr uint32_t kTaken = 1u << 31;
  // Up to so many entries are all compared. Where a new one goes is what a processor cannot foresee: each wrong guess
  // costs as much as 20 of them.
  static constexpr size_t kShort = 64;
  static constexpr size_t kBefore = 16;  // so that the first entry is aligned as a vector is

  float* scores() noexcept { return scores_.as<float>() + kBefore; }
  const float* scores() const noexcept { return scores_.as<float>() + kBefore; }
  uint32_t* nodes() noexcept { return nodes_.as<uint32_t>() + kBefore; }
  const uint32_t* nodes() const noexcept { return nodes_.as<uint32_t>() + kBefore; }

  // By so many, of which the best one is now at `first`.
  void grow(size_t count, size_t first) noexcept {
    size_ = std::min(size_ + count, limit_);
    next_ = std::min(next_, first);
    threshold_ = scores()[limit_ - 1];
    if (bound_.k == 0) return;
    const float kth = scores()[bound_.k - 1], short_of = std::max(bound_.best - kth, 0.0f);
    threshold_ = std::max(threshold_, std::min(scores()[bound_.fewest - 1], kth - bound_.more * short_of));
  }

  // Behind all that score at least as much; returns where that is.
  size_t put(float new_score, uint32_t new_node) noexcept {
    float* const score = scores();
    uint32_t* const node = nodes();
    const Floats score_put = Floats{} + new_score;
    const Ints node_put = Ints{} + static_cast<int32_t>(new_node);
    Ints stay = {};  // minus how many
    for (size_t i = std::min(size_, limit_ - 1) / 4 * 4 + 4; i > 0;) {
      i -= 4;
      const Floats old = load_floats(score + i), before = load_floats(score + i - 1);
      Ints old_node, node_before;
      std::memcpy(&old_node, node + i, sizeof old_node);
      std::memcpy(&node_before, node + i - 1, sizeof node_before);
      const Ints stays = old >= score_put, goes_here = before >= score_put;
      stay += stays;
      const Floats moved = goes_here ? score_put : before, score_now = stays ? old : moved;
      const Ints node_moved = goes_here ? node_put : node_before, node_now = stays ? old_node : node_moved;
      std::memcpy(score + i, &score_now, sizeof score_now);
      std::memcpy(node + i, &node_now, sizeof node_now);
    }
    score[limit_] = kLowest;  // the last one, if there were enough
    return static_cast<size_t>(-sum_of(stay));
  }

  // The same for long lists.
  size_t put_far(float score, uint32_t node) noexcept {
    const size_t at = not_below(score), moved = std::min(size_, limit_ - 1) - at;
    std::memmove(scores() + at + 1, scores() + at, moved * sizeof(float));
    std::memmove(nodes() + at + 1, nodes() + at, moved * sizeof(uint32_t));
    scores()[at] = score;
    nodes()[at] = node;
    return at;
  }

  // How many candidates score at least this. By halves to a short piece, which is counted: without a branch on a
  // score.
  size_t not_below(float score) const noexcept {
    constexpr size_t kCounted = 32;
    const float* from = scores();
    size_t left = size_, count = 0;
    while (left > kCounted) {
      const size_t half = left / 2;
      from += from[half - 1] >= score ? half : 0;
      left -= half;
    }
    for (size_t i = 0; i < left; ++i) count += from[i] >= score ? 1 : 0;
    return static_cast<size_t>(from - scores()) + count;
  }

  Buffer scores_, nodes_;
  WalkBound bound_;
  float threshold_ = kLowest;
  size_t limit_ = 0, size_ = 0, next_ = 0;
};

}  // namespace bebr
