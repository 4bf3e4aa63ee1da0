// The lists of a copy, ranked by the rows of it that they hold: for queries that are far from all of these. The
// centroids that the lists were made by stand for all rows there, of which few are in the copy, and those on one side.
#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "base/threads.h"
#include "index/ivf/scan.h"

namespace bebr {
namespace {

constexpr size_t kTogether = 32;  // queries whose lists are ranked together

}  // namespace

IvfScan::Looks IvfScan::all_lists() const {
  Looks all{std::vector<uint32_t>(segment_.lists()), true};
  std::iota(all.lists.begin(), all.lists.end(), 0u);
  return all;
}

void IvfScan::rank_own(size_t first, std::span<const uint32_t> who, std::span<const Far> far, size_t results,
                       Lists& of) const {
  if (far.empty()) return;
  const OwnLists& own = segment_.own();
  const size_t count = own.lists.size(), dim = own.centroids->dim();
  parallel_for(far.size(), kTogether, [&](size_t begin, size_t end) {
    std::vector<float> vectors;
    for (size_t i = begin; i < end; ++i) {
      const float* vector = queries_.vectors() + (first + who[far[i].at]) * dim;
      vectors.insert(vectors.end(), vector, vector + dim);
    }
    std::vector<uint32_t> ranked((end - begin) * count);
    own.centroids->nearest(vectors.data(), end - begin, count, ranked.data());
    for (size_t i = begin; i < end; ++i) {
      const uint32_t* mine = ranked.data() + (i - begin) * count;
      size_t fewest = far[i].fewest, held = 0, p = 0;
      for (bool enough = false; !enough && p < count; ++p) {
        held += allowed_of(own.lists[mine[p]]);
        if (p + 1 < fewest || static_cast<double>(held) < far[i].rows) continue;
        enough = held >= results;
        fewest = 2 * (p + 1);
      }
      Looks& looks = of[far[i].at];
      looks.apart = true;
      for (size_t r = 0; r < p; ++r) looks.lists.push_back(own.lists[mine[r]]);
      // Those without rows, too: there is nothing more to look at.
      if (p == count || all_pay(looks.lists)) looks = all_lists();
    }
  });
}

}  // namespace bebr
