// The candidates of a walk, best first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "index/topk.h"

namespace bebr {

struct Candidate {
  float score;
  uint32_t node;
};

// The best `limit` candidates so far, best first, and which of them the walk has not been to yet.
class CandidateList {
 public:
  void reset(size_t limit) {
    limit_ = limit;
    size_ = next_ = 0;
    if (entries_.size() < limit + 1) entries_.resize(limit + 1);
  }
  // A score must be above this to matter.
  float threshold() const noexcept { return size_ < limit_ ? kLowest : entries_[size_ - 1].score; }
  bool insert(float score, uint32_t node) {
    if (!(score > threshold())) return false;  // nor NaN
    const size_t at = not_below(score);
    if (size_ < limit_) ++size_;
    std::memmove(entries_.data() + at + 1, entries_.data() + at, (size_ - 1 - at) * sizeof(Candidate));
    entries_[at] = {score, node};
    if (at < next_) next_ = at;
    return true;
  }
  // The best one not yet taken; false when all are.
  bool take(uint32_t& node) {
    if (!peek(node)) return false;
    entries_[next_++].node |= kTaken;
    return true;
  }
  // The same, and it stays.
  bool peek(uint32_t& node) {
    while (next_ < size_ && (entries_[next_].node & kTaken) != 0) ++next_;
    if (next_ == size_) return false;
    node = entries_[next_].node;
    return true;
  }
  size_t size() const noexcept { return size_; }
  Candidate operator[](size_t i) const noexcept { return {entries_[i].score, entries_[i].node & ~kTaken}; }

 private:
  static constexpr uint32_t kTaken = 1u << 31;

  // How many candidates score at least this. By halves to a short piece, which is counted: without a branch on a
  // score, since a processor cannot foresee those.
  size_t not_below(float score) const noexcept {
    constexpr size_t kCounted = 32;
    const Candidate* from = entries_.data();
    size_t left = size_, count = 0;
    while (left > kCounted) {
      const size_t half = left / 2;
      from += from[half - 1].score >= score ? half : 0;
      left -= half;
    }
    for (size_t i = 0; i < left; ++i) count += from[i].score >= score ? 1 : 0;
    return static_cast<size_t>(from - entries_.data()) + count;
  }

  std::vector<Candidate> entries_;
  size_t limit_ = 0, size_ = 0, next_ = 0;
};

}  // namespace bebr
