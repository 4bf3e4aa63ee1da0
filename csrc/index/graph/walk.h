// The walk of a graph: from a few entry points to the best `ef` nodes it can find for a query.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "index/graph/record.h"
#include "index/topk.h"
#include "kernels/kernels.h"

namespace bebr {

// The nodes of a graph while nobody moves them.
struct GraphView {
  const RecordLayout& layout;
  const Kernels& kernels;
  Factor mode;  // Mul where there is no factor: records hold 1
  const uint8_t* nodes;
  size_t rows;                       // slots; links beyond them are passed over
  size_t entries;                    // a walk begins at slots below this ..
  std::span<const uint64_t> closed;  // .. that have no bit here

  const uint8_t* record(uint32_t slot) const noexcept { return nodes + size_t{slot} * layout.stride; }
  bool open(size_t slot) const noexcept {
    return slot / 64 >= closed.size() || (closed[slot / 64] >> slot % 64 & 1) == 0;
  }
  float score(float raw, float factor) const noexcept { return mode == Factor::Sub ? raw - factor : raw * factor; }
  // Exact scores of `count` rows over all their bits.
  void score_rows(const BitQuery& query, const uint32_t* rows, size_t count, float* scores) const;
  // The links of a slot that lead somewhere; room for layout.degree.
  size_t links(uint32_t slot, uint32_t* to) const noexcept;
};

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
    size_t low = 0, high = size_;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (entries_[middle].score >= score) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (size_ < limit_) ++size_;
    std::memmove(entries_.data() + low + 1, entries_.data() + low, (size_ - 1 - low) * sizeof(Candidate));
    entries_[low] = {score, node};
    if (low < next_) next_ = low;
    return true;
  }
  // The best one not yet taken; false when all are.
  bool take(uint32_t& node) {
    while (next_ < size_ && (entries_[next_].node & kTaken) != 0) ++next_;
    if (next_ == size_) return false;
    node = entries_[next_].node;
    entries_[next_++].node |= kTaken;
    return true;
  }
  size_t size() const noexcept { return size_; }
  Candidate operator[](size_t i) const noexcept { return {entries_[i].score, entries_[i].node & ~kTaken}; }

 private:
  static constexpr uint32_t kTaken = 1u << 31;
  std::vector<Candidate> entries_;
  size_t limit_ = 0, size_ = 0, next_ = 0;
};

// What a walk needs; every thread keeps its own, so that a query allocates nothing.
class Walker {
 public:
  static Walker& mine();

  BitQuery query;
  CandidateList found;  // by the last walk

  // Fills `found` with the best ef nodes found for `query`. margin: how many standard deviations of the unseen bits a
  // neighbour's first line may fall short.
  // stop: looked at between hops; once it is set, what was found so far is left.
  void walk(const GraphView& view, size_t ef, float margin, const std::atomic<bool>* stop = nullptr);

 private:
  void enter(const GraphView& view);
  // Sums over the first lines of near_[0 .. count), into sums_; returns what they are to be multiplied with.
  float score_first_lines(const GraphView& view, size_t count);
  void complete(const GraphView& view, std::span<const uint32_t> nodes);

  std::vector<uint64_t> visited_;
  bool walking_ = false;  // the last walk did not end, so bits are left in visited_
  std::vector<uint32_t> touched_, near_, passed_;
  std::vector<int32_t> sums_;
};

}  // namespace bebr
