// The walk of a graph: from a few entry points to the best `ef` nodes it can find for a query.
//
// A walk waits for memory more than it computes, so it is cut into steps: each ends by asking for what the next one
// reads, and the walks of a batch take turns in one thread (walk_each). Each finds what it would find alone.
//
// A neighbour's own record is read in two steps, its first line and, where that is good enough, all of its code. Where
// records hold their neighbours' bytes, a scan of them stands for the first lines.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "index/graph/candidates.h"
#include "index/graph/entries.h"
#include "index/graph/view.h"
#include "index/options.h"
#include "kernels/kernels.h"

namespace bebr {

class Walk {
 public:
  BitQuery query;
  CandidateList found;                // by the last walk: the best ef nodes found for `query`
  size_t scanned = 0, survivors = 0;  // of the last walk, as of SearchWork

  // margin: how many standard deviations of the unseen bits a neighbour's first line, or its bytes in the record, may
  // fall short.
  void begin(const GraphView& view, size_t ef, const WalkBound& bound, float margin);
  // To the best of `entries`, once `query` is set.
  void enter(const GraphView& view, EntrySample& entries);
  // False once no candidate is left to go to.
  bool step(const GraphView& view);

 private:
  enum class Step { Descend, Hop, Judge, Complete };

  // Down to where the query's rows are (graph/descent.cpp).
  void begin_descent(const GraphView& view, const Candidate& entry);
  void move(const GraphView& view, const Candidate& to);
  void descend(const GraphView& view);
  void arrive(const GraphView& view);
  size_t better_half(size_t count);

  bool hop(const GraphView& view);
  bool hop_by_scan(const GraphView& view);
  std::span<const uint32_t> scan_neighbours(const GraphView& view, const uint8_t* record, float slack, float threshold);
  void ask_next(const GraphView& view);
  void judge(const GraphView& view);
  void complete(const GraphView& view);
  void end();
  // Sums over the first lines of some slots, into sums_; returns what they are to be multiplied with.
  float score_first_lines(const GraphView& view, std::span<const uint32_t> slots);

  Step next_ = Step::Complete;
  bool descends_ = false;
  size_t moves_ = 0;      // of the descent
  Candidate at_;          // where it is, and what a better node has to score more than
  bool walking_ = false;  // the last walk did not end, so bits are left in visited_
  float margin_ = 0, slack_ = 0;
  std::vector<uint64_t> visited_;     // a bit a slot
  std::vector<uint32_t> seen_;        // slots with a bit there: the first seen_count_ ..
  size_t seen_count_ = 0, near_ = 0;  // .. and from near_ on, those that this hop found
  std::vector<uint32_t> passed_;      // whose first lines are good enough
  size_t passed_count_ = 0;
  std::vector<int32_t> sums_;
  std::vector<float> scores_;       // of those that passed
  std::vector<uint32_t> inserted_;  // of them, those that entered `found`
  std::vector<uint32_t> kept_;      // by a scan of neighbours: their numbers, and scores by their bytes
  std::vector<float> kept_scores_;
  std::vector<uint8_t> near_factors_;  // without those of the first stage
};

// Walks that take turns: how many was measured (docs/experiments/graph-walk.md).
inline constexpr size_t kLanes = 4;

// Into L2: more lines can be under way than L1 has room to wait for (docs/experiments/graph-walk.md).
inline void ask(const uint8_t* p, size_t from, size_t to) {
  for (size_t at = from; at < to; at += 64) __builtin_prefetch(p + at, 0, 2);
}

// What walking needs; every thread keeps its own, so that a query allocates nothing.
struct WalkLanes {
  std::array<Walk, kLanes> walks;
  EntrySample entries;

  static WalkLanes& mine();
};

// How the walks of a batch are made. stop: Error(Cancelled) is thrown soon after it is set.
struct WalkOptions {
  size_t ef;
  float margin;
  const std::atomic<bool>* stop = nullptr;
};

// Walks for the queries of [begin, end). set(q, query) fills in one, and says where its walk ends; take(q, walk) gets
// what was found for it, in the order in which the walks end.
template <typename Set, typename Take>
void walk_each(const GraphView& view, size_t begin, size_t end, const WalkOptions& options, const Set& set,
               const Take& take) {
  WalkLanes& lanes = WalkLanes::mine();
  lanes.entries.take(view);
  std::array<size_t, kLanes> query;  // of each lane that walks: the first `walking` ones
  std::array<Walk*, kLanes> walk;
  size_t next = begin, walking = 0;
  const auto start = [&](size_t lane) {
    query[lane] = next++;
    const WalkBound bound = set(query[lane], walk[lane]->query);
    walk[lane]->begin(view, options.ef, bound, options.margin);
    walk[lane]->enter(view, lanes.entries);
  };
  for (; walking < kLanes && next < end; ++walking) {
    walk[walking] = &lanes.walks[walking];
    start(walking);
  }
  while (walking > 0) {
    check_stop(options.stop);
    for (size_t lane = 0; lane < walking;) {
      if (walk[lane]->step(view)) {
        ++lane;
        continue;
      }
      take(query[lane], *walk[lane]);
      if (next < end) {
        start(lane++);
      } else {  // the last lane takes this one's place
        --walking;
        walk[lane] = walk[walking];
        query[lane] = query[walking];
      }
    }
  }
}

}  // namespace bebr
