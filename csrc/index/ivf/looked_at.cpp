// Which lists a search of an IvfSegment looks at (ivf/search.cpp).
#include <algorithm>
#include <numeric>

#include "base/threads.h"
#include "index/ivf/scan.h"

namespace bebr {

namespace {

constexpr size_t kNearest = 32;     // queries whose nearest lists are looked for together
constexpr double kRanksMore = 1.5;  // lists ranked at first, of those that are expected to be looked at
constexpr size_t kDeeper = 16;      // and after that, of those ranked before
constexpr size_t kMost = 4;         // all lists, where a kMost-th of them would be ranked
constexpr size_t kListCost = 1;     // a list costs as much as so many blocks of 16 rows, beside its own
constexpr double kRankCost = .25;   // and that again where it is ranked among all

}  // namespace

// Whether lists are enough that hold so many rows: `found` that may be found, of `seen`, where a search of all rows
// would look at `unfiltered`. The k nearest of a share s of the rows around a query lie among unfiltered / sqrt(s)
// rows: where a filter leaves all of them, a search looks at no more than one without it. Far from most of what it
// leaves, the nearest lie in many lists, for all are about as far: these are to hold nearly the share that all rows
// have.
bool IvfScan::enough(size_t found, double seen, double unfiltered) const {
  if (!some_) return true;
  const auto held = static_cast<double>(found);
  const auto least = static_cast<double>(std::min(few_, kRowsAResult * options_.k));
  return held >= std::min(least, unfiltered) && held * seen >= unfiltered * unfiltered &&
         held >= std::min(share_ * kNearShare * seen, apart_rows(unfiltered));
}

double IvfScan::own_rows(double unfiltered) const {
  return std::max(share_ * kApartOwn * more_, kFewestOwn) * unfiltered;
}

double IvfScan::apart_rows(double unfiltered) const {
  return std::max(share_ * kApart * more_, kFewestApart) * unfiltered;
}

bool IvfScan::may_scan_together() const {
  return segment_.together().rows > 0 && kernels_.expand_queries > 0 && filter_.rows == nullptr;
}

bool IvfScan::all_pay(std::span<const uint32_t> lists) const {
  if (!may_scan_together()) return false;
  size_t blocks = kListCost * lists.size();
  for (const uint32_t l : lists) blocks += block_count(segment_.list(l).rows);
  return blocks >= block_count(segment_.rows());
}

// To rank all lists, and to read as many rows as a query does that is far from them.
bool IvfScan::all_pay_unranked() const {
  const auto lists = static_cast<double>(segment_.lists());
  const double unfiltered = static_cast<double>(segment_.whole().rows()) * static_cast<double>(nprobe_) / lists;
  const double read = ranks_own() ? own_rows(unfiltered) : apart_rows(unfiltered);
  const double rows = std::min(read, static_cast<double>(segment_.rows()));
  return may_scan_together() &&
         static_cast<double>(block_count(segment_.rows())) <= kRankCost * lists + rows / kBlockRows;
}

IvfScan::Lists IvfScan::nearest_lists(size_t first, std::span<const uint32_t> who, std::vector<size_t> nprobe,
                                      size_t results) const {
  const size_t all = segment_.lists();
  const Centroids& centroids = segment_.centroids();
  const uint32_t dim = centroids.dim();
  const bool widens = (some_ || results > 0) && !options_.range && options_.min_scores == nullptr;
  // How many of `ranked` lists a query looks at, at least so many of them; 0: too few are ranked. Where these hold too
  // few results, twice as many at least, as searches do (Group::probe_all).
  struct Looked {
    size_t lists = 0;
    bool apart = false;
    double found = 0, seen = 0, unfiltered = 0;  // rows of those ranked
  };
  const auto looks_at = [&](std::span<const uint32_t> ranked, size_t fewest) -> Looked {
    size_t found = 0;
    double seen = 0, unfiltered = 0;
    for (size_t p = 0; widens && p < ranked.size(); ++p) {
      found += allowed_of(ranked[p]);
      seen += static_cast<double>(segment_.whole().list(ranked[p]).rows);
      if (p < nprobe_) unfiltered = seen;
      if (p + 1 < fewest || !enough(found, seen, unfiltered)) continue;
      if (found >= results) return {p + 1, static_cast<double>(found) * seen >= kFar * unfiltered * unfiltered};
      fewest = std::min(all, 2 * (p + 1));
    }
    const size_t looked = !widens || ranked.size() == all ? ranked.size() : 0;
    return {looked, widens && some_, static_cast<double>(found), seen, unfiltered};
  };
  std::vector<size_t> depth = nprobe;  // lists that are ranked
  const double first_depth = (widens ? kRanksMore : 1) * static_cast<double>(expected_);
  if (some_ && !options_.range)
    for (size_t& d : depth) d = std::clamp(static_cast<size_t>(first_depth), d, all);
  Lists of(who.size());
  std::vector<size_t> left(who.size()), now, fresh;
  std::vector<Far> far;
  std::iota(left.begin(), left.end(), size_t{0});
  std::vector<float> vectors;
  std::vector<uint32_t> lists, ranked;
  while (!left.empty()) {
    size_t least = all;  // those that look at the fewest, together
    for (const size_t i : left) least = std::min(least, depth[i]);
    now.clear();
    std::erase_if(left, [&](size_t i) {
      if (depth[i] == least) now.push_back(i);
      return depth[i] == least;
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
    for (size_t at = 0; at < now.size(); ++at) {
      const std::span<const uint32_t> mine(lists.data() + at * least, least);
      Looks& looks = of[now[at]];
      const Looked looked = looks_at(mine, nprobe[now[at]]);
      if (looked.lists > 0) looks = {{mine.begin(), mine.begin() + static_cast<ptrdiff_t>(looked.lists)}, looked.apart};
      if (widens && (looked.lists > 0 ? all_pay(looks.lists) : all_pay_unranked())) {
        looks = all_lists();
      } else if (looked.lists == 0 && ranks_own() && looked.found < kNearShare * share_ * looked.seen) {
        far.push_back({now[at], nprobe[now[at]], own_rows(looked.unfiltered)});
      } else if (looked.lists == 0) {
        depth[now[at]] = kMost * kDeeper * least < all ? kDeeper * least : all;
        left.push_back(now[at]);
      }
    }
  }
  rank_own(first, who, far, results, of);
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
    looked.lists.insert(looked.lists.end(), of[i].lists.begin(), of[i].lists.end());
    looked.begin[i + 1] = static_cast<uint32_t>(looked.lists.size());
  }
  return looked;
}

}  // namespace bebr
