// Choosing links: the distances of codes, and robust pruning.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "index/graph_record.h"
#include "index/graph_walk.h"

namespace bebr {

// A node that another may link to, and its squared distance.
struct Near {
  float distance;
  uint32_t node;
  bool operator<(const Near& other) const {
    return distance < other.distance || (distance == other.distance && node < other.node);
  }
};

// Distances are those of reconstructions x = mu + A v (times the factor where it multiplies), as if the columns of A
// were orthogonal: v_a^T A^T A v_b is taken from the diagonal alone (csrc/README.md: what that costs).
class Linker {
 public:
  Linker(const GraphView& view, const CodeSpace& space) : view_(view), space_(space) {}
  static constexpr float kAlpha = 1.2f;

  // The document in `slot` as a query; returns its norm.
  float as_query(uint32_t slot, BitQuery& query, bool first_line);
  // Squared distance from a query of this norm, from the score it gives.
  float distance(float norm, float score, uint32_t node) const noexcept {
    const uint8_t* record = view_.record(node);
    const float inner =
        view_.mode == Factor::Sub ? (score + load_float(record)) / space_.scale + space_.offset : 2 * score;
    return norm + load_float(record + view_.layout.norm) - inner;
  }
  // Distances of `nodes` from `slot`, nearest first.
  void measure(uint32_t slot, std::span<const uint32_t> nodes, std::vector<Near>& to);
  // From candidates, nearest first: the nearest is kept, and whatever lies much nearer to it than to the node itself
  // (kAlpha times) is passed over; then the next. At most `degree`. The kept ones stay in `candidates`.
  void prune(std::vector<Near>& candidates, size_t degree);

 private:
  const GraphView view_;
  const CodeSpace& space_;
  BitQuery query_;
  std::vector<float> v_, scores_;
  std::vector<uint32_t> rest_;
  std::vector<size_t> rest_at_;
};

}  // namespace bebr
