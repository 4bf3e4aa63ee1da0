// The k best of what each query has seen are those of a sorted list, few or many, in whatever pieces they come.
#include "index/best_bounds.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "check.h"

namespace bebr::test {
namespace {

BEBR_TEST(best_bounds_are_those_of_a_sorted_list) {
  Random random(1);
  constexpr uint32_t kQueries = 3;
  for (const size_t k : {1, 2, 8, 9, 10, 16, 17, 32, 33, 100}) {
    BestBounds best(kQueries, k);
    std::vector<std::vector<float>> seen(kQueries);
    for (size_t turn = 0; turn < 40; ++turn) {
      const uint32_t query = below(random, kQueries);
      std::vector<float> added(below(random, 12));
      for (float& value : added) value = below(random, 20) == 0 ? kLowest : static_cast<float>(below(random, 50));
      std::vector<float>& all = seen[query];
      all.insert(all.end(), added.begin(), added.end());
      std::sort(all.begin(), all.end(), std::greater<>());
      const float worst = best.add(query, added), want = all.size() < k ? kLowest : all[k - 1];
      CHECK(worst == want, "k " << k << ", turn " << turn << ": " << worst << " for " << want);
      std::vector<float> got(best.of(query).begin(), best.of(query).end());
      got.resize(k, kLowest);
      std::sort(got.begin(), got.end(), std::greater<>());
      for (size_t i = 0; i < k; ++i)
        CHECK(got[i] == (i < all.size() ? all[i] : kLowest), "k " << k << ", turn " << turn << ", rank " << i);
    }
  }
}

}  // namespace
}  // namespace bebr::test
