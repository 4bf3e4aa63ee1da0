// How far a neighbour's bytes in a record may fall short of what the rest of its code adds.
//
// Two standard deviations of random bits hide hardly any near row, but where the bytes say much, fewer are faster at
// equal recall. How many is learned from the graph: some of its documents are taken as queries, and their links as what
// they are to find (docs/experiments/graph-inline.md).
#pragma once

#include <atomic>
#include <limits>

#include "index/graph/record.h"
#include "index/graph/view.h"

namespace bebr {

// In standard deviations of random bits, between a half and two; of some documents that are linked, the same ones for
// the same nodes. Two where there are too few of them, or their bytes are few.
float learn_margin(const GraphView& view, const CodeSpace& space);

// What was learned of nodes that change. Threads: forget() while nobody asks.
class LearnedMargin {
 public:
  float of(const GraphView& view, const CodeSpace& space) const {
    float known = known_.load(std::memory_order_relaxed);
    if (known == kUnknown) {  // others may learn the same beside this one
      known = learn_margin(view, space);
      known_.store(known, std::memory_order_relaxed);
    }
    return known;
  }
  void forget() noexcept { known_.store(kUnknown, std::memory_order_relaxed); }

 private:
  static constexpr float kUnknown = std::numeric_limits<float>::infinity();
  mutable std::atomic<float> known_{kUnknown};
};

}  // namespace bebr
