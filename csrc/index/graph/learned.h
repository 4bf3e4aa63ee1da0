// What walks learn of a graph from its own documents, taken as queries.
#pragma once

#include <mutex>
#include <optional>

#include "index/graph/best_score.h"
#include "index/graph/candidates.h"
#include "index/graph/view.h"

namespace bebr {

// The same for the same nodes.
struct Learned {
  float margin;       // learn_margin (graph/margin.h)
  float growth = 0;   // 2 / m, where m is the dimension of the rows around a row; 0: too few rows to tell
  float longest = 0;  // the length of the longest row
};

Learned learn(const GraphView& view, const CodeSpace& space, const BestScore& best);

// How far a walk goes that is to go to `ef` candidates in the mean, for k results.
//
// So many are too few for a query whose rows crowd, and too many where they lie apart. Within r times the distance of
// its k-th row lie about k r^m rows: so a walk goes to (ef / k)^(1/m) times that distance, to half of ef candidates at
// least and to half as many again at most (docs/experiments/graph-reach.md).
class WalkReach {
 public:
  WalkReach(const Learned& learned, double ef, double k);
  size_t limit() const noexcept { return limit_; }
  bool bounded() const noexcept { return k_ > 0; }
  // best: of the query, BestScore::of.
  WalkBound bound(float best) const noexcept { return {k_, fewest_, more_, best}; }

 private:
  size_t limit_, k_ = 0, fewest_ = 0;
  float more_ = 0;
};

// What was learned of nodes that change.
class KeptLearned {
 public:
  Learned of(const GraphView& view, const CodeSpace& space, const BestScore& best) const {
    const std::lock_guard lock(mutex_);
    if (!known_) known_ = learn(view, space, best);
    return *known_;
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    known_.reset();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::optional<Learned> known_;
};

}  // namespace bebr
