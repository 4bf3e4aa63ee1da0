// Where walks begin: at the best of a sample of slots, by the leading bytes of their codes. These are copied side by
// side once a batch, so that a query scans them as it scans a flat index.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "index/graph/candidates.h"
#include "index/graph/view.h"

namespace bebr {

class EntrySample {
 public:
  // From GraphView::sample, without free slots. Codes stay as they are until the walks have begun.
  void take(const GraphView& view);
  size_t size() const noexcept { return slots_.size(); }
  // The best ones, best first; of equal ones the earlier. Returns how many: best.size(), or all there are.
  size_t choose(const GraphView& view, const BitQuery& query, std::span<Candidate> best);

 private:
  std::vector<uint32_t> slots_;
  Buffer codes_, factors_;  // blocks of the scan layout; floats, of the same line of a record
  std::vector<int32_t> sums_;
  std::vector<uint32_t> kept_;  // numbers of those that a piece of the scan kept, and their scores
  std::vector<float> kept_scores_;
};

}  // namespace bebr
