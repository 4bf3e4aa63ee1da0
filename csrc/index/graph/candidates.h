// The candidates of a walk, best first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "index/topk.h"
#include "kernels/floats.h"

namespace bebr {

struct Candidate {
  float score;
  uint32_t node;
};

// The best `limit` candidates so far, best first, and which of them the walk has not been to yet.
//
// Entry i is number i + 1 of the arrays. Before all is the best score there can be, behind them the worst, so that four
// entries at a time are compared with a new one, and moved, without a branch.
class CandidateList {
 public:
  void reset(size_t limit) {
    limit_ = limit;
    size_ = next_ = 0;
    const size_t room = 1 + limit + 4;
    if (scores_.size() < room) {
      scores_.resize(room);
      nodes_.resize(room);
    }
    scores_[0] = std::numeric_limits<float>::infinity();
    std::fill_n(scores_.begin() + 1, limit + 4, kLowest);
  }
  // A score must be above this to matter.
  float threshold() const noexcept { return scores_[limit_]; }
  bool insert(float score, uint32_t node) {
    if (!(score > threshold())) return false;  // nor NaN
    const size_t at = size_ <= kShort ? put(score, node) : put_far(score, node);
    if (size_ < limit_) ++size_;
    if (at < next_) next_ = at;
    return true;
  }
  // The best one not yet taken; false when all are.
  bool take(uint32_t& node) {
    if (!peek(node)) return false;
    nodes_[++next_] |= kTaken;
    return true;
  }
  // The same, and it stays.
  bool peek(uint32_t& node) {
    while (next_ < size_ && (nodes_[next_ + 1] & kTaken) != 0) ++next_;
    if (next_ == size_) return false;
    node = nodes_[next_ + 1];
    return true;
  }
  size_t size() const noexcept { return size_; }
  Candidate operator[](size_t i) const noexcept { return {scores_[i + 1], nodes_[i + 1] & ~kTaken}; }

 private:
  static constexpr uint32_t kTaken = 1u << 31;
  // Up to so many entries are all compared. Where a new one goes is what a processor cannot foresee: each wrong guess
  // costs as much as 20 of them.
  static constexpr size_t kShort = 64;

  // Behind all that score at least as much; returns where that is.
  size_t put(float score, uint32_t node) noexcept {
    const Floats new_score = Floats{} + score;
    const Ints new_node = Ints{} + static_cast<int32_t>(node);
    Ints stay = {};  // minus how many
    for (size_t i = std::min(size_, limit_ - 1) / 4 * 4 + 4; i > 0;) {
      i -= 4;
      const Floats old = load_floats(&scores_[i + 1]), before = load_floats(&scores_[i]);
      Ints old_node, node_before;
      std::memcpy(&old_node, &nodes_[i + 1], sizeof old_node);
      std::memcpy(&node_before, &nodes_[i], sizeof node_before);
      const Ints stays = old >= new_score, goes_here = before >= new_score;
      stay += stays;
      const Floats moved = goes_here ? new_score : before, score_now = stays ? old : moved;
      const Ints node_moved = goes_here ? new_node : node_before, node_now = stays ? old_node : node_moved;
      std::memcpy(&scores_[i + 1], &score_now, sizeof score_now);
      std::memcpy(&nodes_[i + 1], &node_now, sizeof node_now);
    }
    scores_[limit_ + 1] = kLowest;  // the last one, if there were enough
    return static_cast<size_t>(-sum_of(stay));
  }

  // The same for long lists.
  size_t put_far(float score, uint32_t node) noexcept {
    const size_t at = not_below(score), moved = std::min(size_, limit_ - 1) - at;
    std::memmove(&scores_[at + 2], &scores_[at + 1], moved * sizeof(float));
    std::memmove(&nodes_[at + 2], &nodes_[at + 1], moved * sizeof(uint32_t));
    scores_[at + 1] = score;
    nodes_[at + 1] = node;
    return at;
  }

  // How many candidates score at least this. By halves to a short piece, which is counted: without a branch on a
  // score.
  size_t not_below(float score) const noexcept {
    constexpr size_t kCounted = 32;
    const float *first = scores_.data() + 1, *from = first;
    size_t left = size_, count = 0;
    while (left > kCounted) {
      const size_t half = left / 2;
      from += from[half - 1] >= score ? half : 0;
      left -= half;
    }
    for (size_t i = 0; i < left; ++i) count += from[i] >= score ? 1 : 0;
    return static_cast<size_t>(from - first) + count;
  }

  std::vector<float> scores_;
  std::vector<uint32_t> nodes_;
  size_t limit_ = 0, size_ = 0, next_ = 0;
};

}  // namespace bebr
