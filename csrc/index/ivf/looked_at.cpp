// Which lists a search of an IvfSegment looks at (ivf/search.cpp).
#include <algorithm>
#include <numeric>

#include "base/threads.h"
#include "index/ivf/scan.h"

namespace bebr {

namespace {

constexpr size_t kNearest = 32;  // queries whose nearest lists are looked for together

}  // namespace

IvfScan::Lists IvfScan::nearest_lists(size_t first, std::span<const uint32_t> who, std::vector<size_t> nprobe,
                                      size_t enough) const {
  const size_t all = segment_.lists();
  const Centroids& centroids = segment_.centroids();
  const uint32_t dim = centroids.dim();
  const bool widens = !allowed_in_.empty() && options_.min_scores == nullptr;
  Lists of(who.size());
  std::vector<size_t> left(who.size()), now, fresh;
  std::iota(left.begin(), left.end(), size_t{0});
  std::vector<float> vectors;
  std::vector<uint32_t> lists, ranked;
  while (!left.empty()) {
    size_t least = all;  // those that look at the fewest, together
    for (const size_t i : left) least = std::min(least, nprobe[i]);
    now.clear();
    std::erase_if(left, [&](size_t i) {
      if (nprobe[i] == least) now.push_back(i);
      return nprobe[i] == least;
    });
    vectors.clear();
    fresh.clear();
    lists.resize(now.size() * least);
    for (size_t at = 0; at < now.size(); ++at) {
      const size_t query = first + who[now[at]];
      if (const auto kept = queries_.ranking(query, centroids, least); !kept.empty()) {
        std::copy(kept.begin(), kept.end(), lists.begin() + static_cast<ptrdiff_t>(at * least));
        continue;
      }
      fresh.push_back(at);
      vectors.insert(vectors.end(), queries_.vectors() + query * dim, queries_.vectors() + (query + 1) * dim);
    }
    ranked.resize(fresh.size() * least);
    parallel_for(fresh.size(), kNearest, [&](size_t begin, size_t end) {
      centroids.nearest(vectors.data() + begin * dim, end - begin, least, ranked.data() + begin * least);
    });
    for (size_t i = 0; i < fresh.size(); ++i) {
      const std::span<const uint32_t> mine(ranked.data() + i * least, least);
      std::copy(mine.begin(), mine.end(), lists.begin() + static_cast<ptrdiff_t>(fresh[i] * least));
      if (segment_.shares_centroids()) queries_.keep_ranking(first + who[now[fresh[i]]], centroids, mine);
    }
    const double wanted = least > nprobe_ ? kApart * wanted_ : wanted_;
    for (size_t at = 0; at < now.size(); ++at) {
      const std::span<const uint32_t> mine(lists.data() + at * least, least);
      size_t held = 0;
      for (size_t p = 0; widens && p < least; ++p) held += allowed_in_[mine[p]];
      if (widens && least < all && (held < enough || static_cast<double>(held) < wanted)) {
        nprobe[now[at]] = std::min(all, 2 * least);
        left.push_back(now[at]);
      } else {
        of[now[at]].assign(mine.begin(), mine.end());
      }
    }
  }
  return of;
}

// Without looking at them: a search finds as many rows as these hold, up to k.
LookedAt IvfScan::looked_at() {
  const size_t count = queries_.size(), live = filter_.live(segment_.rows());
  LookedAt looked;
  looked.begin.resize(count + 1);
  const Way way = live > 0 ? choose(live) : Way::Nothing;
  looked.all = way == Way::Copied || way == Way::Direct;
  if (way != Way::Lists) return looked;
  count_allowed();

  std::vector<uint32_t> who(count);
  std::iota(who.begin(), who.end(), 0u);
  const size_t enough = options_.enough > 0 ? options_.enough : options_.k;
  const Lists of = nearest_lists(0, who, std::vector<size_t>(count, nprobe_), enough);
  for (size_t i = 0; i < count; ++i) {
    looked.lists.insert(looked.lists.end(), of[i].begin(), of[i].end());
    looked.begin[i + 1] = static_cast<uint32_t>(looked.lists.size());
  }
  return looked;
}

}  // namespace bebr
