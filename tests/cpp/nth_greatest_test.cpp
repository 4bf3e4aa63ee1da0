// The n-th greatest score is that of a sorted list, however scores are spread.
#include "index/flat/nth_greatest.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <string_view>
#include <vector>

#include "check.h"

namespace bebr::test {
namespace {

BEBR_TEST(the_nth_greatest_is_that_of_a_sorted_list) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  Random random(1);
  std::normal_distribution<float> normal;
  const std::pair<std::string_view, std::function<float()>> spreads[] = {
      {"normal", [&] { return normal(random); }},
      {"few values", [&] { return static_cast<float>(random() % 7); }},
      {"one value", [&] { return -3.5f; }},
      {"one far away", [&] { return random() % 90 == 0 ? 1e30f : normal(random); }},
      {"neighbours", [&] { return 1 + static_cast<float>(random() % 5) * 0x1p-23f; }},
      {"tiny", [&] { return static_cast<float>(random() % 100) * std::numeric_limits<float>::denorm_min(); }},
      {"huge", [&] { return (random() % 2 == 0 ? 3e38f : -3e38f) / static_cast<float>(1 + random() % 9); }},
      {"infinite", [&] { return random() % 3 == 0   ? kInfinite
                                : random() % 2 == 0 ? -kInfinite
                                                    : normal(random); }},
  };
  for (const auto& [name, one] : spreads)
    for (const size_t size : {1, 2, 63, 64, 65, 71, 400, 1024, 5000}) {
      std::vector<float> scores(size);
      for (float& score : scores) score = one();
      std::vector<float> sorted = scores;
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      for (const size_t n : {size_t{1}, (size + 3) / 4, (size + 1) / 2, size - size / 10, size})
        CHECK(nth_greatest(scores, n) == sorted[n - 1], name << ", " << n << " of " << size);
    }
}

}  // namespace
}  // namespace bebr::test
