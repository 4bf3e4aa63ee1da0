#include "index/graph/margin.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "code/planes.h"
#include "index/graph/link.h"

namespace bebr {
namespace {

constexpr float kLeast = 0.5f;       // below that nothing was measured
constexpr uint32_t kLeastNear = 32;  // with fewer bytes, less than the usual margin finds too little
// The nearest link is passed over: it may be a copy, whose bits are all the same. Pruning leaves no second one.
constexpr size_t kDocuments = 64, kFirstLink = 1, kLastLink = 5, kLeastPairs = 64;
constexpr float kShare = 0.75f;  // of these links, how many the margin lets pass

// What the bits beyond the neighbours' bytes add to the score of `record`: y is the query's.
float beyond(const RecordLayout& layout, const std::vector<float>& y, const uint8_t* record) {
  float sum = 0;
  for (size_t i = layout.near; i < layout.order.size(); ++i) {
    const float* of = y.data() + 8 * size_t{layout.groups[i]};
    const float* sign = kByteSigns.sign[record[kCodeAt + i]];
    float byte = 0;
    for (size_t b = 0; b < 8; ++b) byte += of[b] * sign[b];
    sum += layout.weights[i] * byte;
  }
  return sum;
}

// The standard deviation of that, for random bits.
float spread_beyond(const RecordLayout& layout, const std::vector<float>& y) {
  float sum = 0;
  for (size_t g = 0; g < layout.unseen.size(); ++g) {
    float squares = 0;
    for (size_t b = 0; b < 8; ++b) squares += y[8 * g + b] * y[8 * g + b];
    sum += layout.unseen[g] * layout.unseen[g] * squares;
  }
  return std::sqrt(sum);
}

}  // namespace

float learn_margin(const GraphView& view, const CodeSpace& space) {
  const RecordLayout& layout = view.layout;
  if (layout.near < kLeastNear) return kUsualMargin;
  std::vector<uint32_t> slots, links(layout.degree);
  std::vector<float> added, y;
  view.sample(slots);
  const size_t step = std::max<size_t>(slots.size() / kDocuments, 1);
  for (size_t i = 0; i < slots.size(); i += step) {
    document_as_query(view, space, slots[i], y);
    const float spread = spread_beyond(layout, y);
    const size_t end = std::min(kLastLink, view.links(slots[i], links.data()));
    for (size_t j = kFirstLink; j < end; ++j) {
      const float deviations = beyond(layout, y, view.record(links[j])) / spread;
      if (std::isfinite(deviations)) added.push_back(deviations);
    }
  }
  if (added.size() < kLeastPairs) return kUsualMargin;
  const auto at = added.begin() + static_cast<ptrdiff_t>(kShare * static_cast<float>(added.size()));
  std::nth_element(added.begin(), at, added.end());
  return std::clamp(*at, kLeast, kUsualMargin);
}

}  // namespace bebr
