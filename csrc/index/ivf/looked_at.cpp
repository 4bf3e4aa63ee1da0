// Which lists a search looks at (ivf/search.cpp), without looking at them: it finds as many rows as these hold, up to
// k.
#include <algorithm>
#include <numeric>

#include "index/ivf/scan.h"

namespace bebr {

LookedAt IvfScan::looked_at() {
  const size_t count = queries_.size(), all = segment_.lists(), live = filter_.live(segment_.rows());
  LookedAt looked;
  looked.begin.resize(count + 1);
  const Way way = live > 0 ? choose(live) : Way::Nothing;
  looked.all = way == Way::Copied || way == Way::Direct;
  if (way != Way::Lists) return looked;
  count_allowed();

  const size_t enough = options_.enough > 0 ? options_.enough : options_.k;
  const bool widens = options_.min_scores == nullptr;
  const uint32_t dim = segment_.centroids().dim();
  std::vector<std::vector<uint32_t>> of(count);
  std::vector<uint32_t> who(count), later;
  std::iota(who.begin(), who.end(), 0u);
  std::vector<float> vectors;
  double wanted = wanted_;
  for (size_t nprobe = nprobe_; !who.empty(); nprobe = std::min(all, 2 * nprobe), wanted = kApart * wanted_) {
    vectors.clear();
    for (const uint32_t i : who)
      vectors.insert(vectors.end(), queries_.vectors() + size_t{i} * dim, queries_.vectors() + (size_t{i} + 1) * dim);
    std::vector<uint32_t> lists(who.size() * nprobe);
    segment_.centroids().nearest(vectors.data(), who.size(), nprobe, lists.data());
    later.clear();
    for (size_t at = 0; at < who.size(); ++at) {
      const std::span<const uint32_t> mine(lists.data() + at * nprobe, nprobe);
      size_t held = 0;
      for (const uint32_t list : mine) held += allowed_in_[list];
      if (widens && nprobe < all && (held < enough || static_cast<double>(held) < wanted))
        later.push_back(who[at]);
      else
        of[who[at]].assign(mine.begin(), mine.end());
    }
    who.swap(later);
  }
  for (size_t i = 0; i < count; ++i) {
    looked.lists.insert(looked.lists.end(), of[i].begin(), of[i].end());
    looked.begin[i + 1] = static_cast<uint32_t>(looked.lists.size());
  }
  return looked;
}

}  // namespace bebr
