#include "index/graph/learned.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "index/graph/link.h"
#include "index/graph/margin.h"
#include "index/graph/walk.h"

namespace bebr {
namespace {

constexpr size_t kDocuments = 64, kLeastDocuments = 32;
constexpr size_t kNear = 10, kFar = 64;  // of the candidates of a document, the two whose distances are compared
constexpr double kLeastShare = 0.5, kMostShare = 1.5;  // of ef: candidates that a walk goes to

float longest_row(const GraphView& view, const CodeSpace& space, const BestScore& best,
                  std::span<const uint32_t> slots) {
  std::vector<float> y;
  float longest = 0;
  for (const uint32_t slot : slots) {
    const float base = document_as_query(view, space, slot, y);
    longest = std::max(longest, best.squared_length(y.data(), base));
  }
  return std::sqrt(longest);
}

}  // namespace

Learned learn(const GraphView& view, const CodeSpace& space, const BestScore& best) {
  Learned learned{learn_margin(view, space)};
  std::vector<uint32_t> slots;
  view.sample(slots);
  std::erase_if(slots, [&](uint32_t slot) { return std::isnan(load_float(view.record(slot))); });
  learned.longest = longest_row(view, space, best, slots);
  const size_t step = std::max<size_t>(slots.size() / kDocuments, 1), documents = slots.size() / step;
  std::vector<float> y, bests(documents);
  float grown = 0;
  size_t count = 0;
  walk_each(
      view, 0, documents, {kFar, learned.margin},
      [&](size_t i, BitQuery& query) {
        const float base = document_as_query(view, space, slots[i * step], y);
        query.set(view.layout, y.data(), base, view.kernels);
        bests[i] = best.of(y.data(), base, learned.longest);
        return WalkBound{};
      },
      [&](size_t i, const Walk& walk) {
        if (walk.found.size() < kFar) return;
        const float near = bests[i] - walk.found[kNear - 1].score, far = bests[i] - walk.found[kFar - 1].score;
        const float growth = std::log(far / near) / std::log(static_cast<float>(kFar) / kNear);
        if (!(near > 0) || !std::isfinite(growth)) return;
        grown += growth;
        ++count;
      });
  if (count >= kLeastDocuments) learned.growth = grown / static_cast<float>(count);
  return learned;
}

WalkReach::WalkReach(const Learned& learned, double ef, double k) : limit_(static_cast<size_t>(std::ceil(ef))) {
  if (!(learned.growth > 0) || !(ef > k)) return;
  limit_ = static_cast<size_t>(std::ceil(kMostShare * ef));
  k_ = std::min(static_cast<size_t>(std::ceil(k)), limit_);
  fewest_ = std::max<size_t>(static_cast<size_t>(kLeastShare * ef), 1);
  more_ = static_cast<float>(std::pow(ef / k, static_cast<double>(learned.growth))) - 1;
}

}  // namespace bebr
