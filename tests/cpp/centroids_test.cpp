// Many centroids are looked at through groups: nearly always the nearest, always in order, never one twice.
#include "index/ivf/centroids.h"

#include <algorithm>
#include <set>
#include <vector>

#include "check.h"

namespace bebr::test {
namespace {

constexpr uint32_t kDim = 8;
constexpr size_t kCount = 4200, kRows = 2500;  // rows: two full chunks and a part of one

std::vector<float> values(Random& random, size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> x(count * kDim);
  for (float& v : x) v = normal(random);
  return x;
}

float distance(const float* a, const float* b) {
  float sum = 0;
  for (uint32_t j = 0; j < kDim; ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

// How many of x are assigned to their nearest of the first `count` of c.
size_t assigned_to_the_nearest(const std::vector<float>& c, size_t count, size_t most_direct,
                               const std::vector<float>& x) {
  const Centroids centroids(kDim, count, c.data(), false, most_direct);
  std::vector<uint32_t> lists(kRows);
  centroids.assign(x.data(), kRows, lists.data());
  size_t nearest = 0;
  for (size_t i = 0; i < kRows; ++i) {
    const float* row = x.data() + i * kDim;
    float best = distance(row, c.data());
    for (size_t l = 1; l < count; ++l) best = std::min(best, distance(row, c.data() + l * kDim));
    nearest += distance(row, c.data() + size_t{lists[i]} * kDim) <= best * 1.0001f ? 1 : 0;
  }
  return nearest;
}

BEBR_TEST(rows_are_assigned_to_the_nearest_of_many_centroids_nearly_always) {
  Random random(5);
  const std::vector<float> c = values(random, kCount), x = values(random, kRows);
  const size_t of_all = assigned_to_the_nearest(c, kCount, Centroids::kMostDirect, x);
  CHECK(of_all > kRows * 9 / 10, of_all << " of " << kRows);
  const size_t few = assigned_to_the_nearest(c, 1000, 999, x);
  CHECK(few > kRows * 97 / 100 && few < kRows, few << " of " << kRows);  // fewer than all: through groups
  const size_t directly = assigned_to_the_nearest(c, 1000, 1000, x);
  CHECK(directly == kRows, directly << " of " << kRows);
}

BEBR_TEST(equal_centroids_are_in_the_order_of_their_numbers) {
  Random random(8);
  for (const size_t distinct : {3, 40, 300}) {
    std::vector<float> c = values(random, 300);
    for (size_t i = distinct; i < 300; ++i) std::copy_n(c.data() + i % distinct * kDim, kDim, c.data() + i * kDim);
    const Centroids centroids(kDim, 300, c.data(), false);
    const std::vector<float> x = values(random, 1);
    std::vector<uint32_t> every(300);
    centroids.nearest(x.data(), 1, 300, every.data());
    for (size_t p = 1; p < 300; ++p)
      CHECK(every[p - 1] % distinct != every[p] % distinct || every[p - 1] < every[p], distinct << ", rank " << p);
    for (const size_t probes : {1, 2, 16, 30, 100}) {
      std::vector<uint32_t> lists(probes);
      centroids.nearest(x.data(), 1, probes, lists.data());
      CHECK(std::equal(lists.begin(), lists.end(), every.begin()), distinct << ", " << probes << " probes");
    }
  }
}

BEBR_TEST(probes_through_groups_are_in_order_and_differ) {
  Random random(6);
  const std::vector<float> c = values(random, kCount), x = values(random, 20);
  const Centroids centroids(kDim, kCount, c.data(), false);
  for (const size_t probes : {size_t{1}, size_t{50}, kCount}) {
    std::vector<uint32_t> lists(20 * probes);
    centroids.nearest(x.data(), 20, probes, lists.data());
    for (size_t i = 0; i < 20; ++i) {
      const uint32_t* mine = lists.data() + i * probes;
      CHECK(std::set<uint32_t>(mine, mine + probes).size() == probes, probes << " probes, query " << i);
      for (size_t p = 1; p < probes; ++p)
        CHECK(distance(x.data() + i * kDim, c.data() + size_t{mine[p - 1]} * kDim) <=
                  distance(x.data() + i * kDim, c.data() + size_t{mine[p]} * kDim) * 1.0001f + 1e-4f,
              probes << " probes, query " << i << ", rank " << p);
    }
  }
}

// Products beyond the range of a float: whatever is nearest, lists are some of those there are, each once.
BEBR_TEST(vectors_near_the_limit_of_a_float_get_lists_that_there_are) {
  Random random(7);
  for (const size_t count : {size_t{1}, size_t{8}, size_t{100}, kCount}) {
    for (const bool by_product : {false, true}) {
      std::vector<float> c = values(random, count), x = values(random, 40);
      for (float& value : c) value *= 1e30f;
      for (float& value : x) value = value > 0 ? 3e38f : -3e38f;
      const Centroids centroids(kDim, count, c.data(), by_product);
      std::vector<uint32_t> lists(40 * count);
      centroids.assign(x.data(), 40, lists.data());
      CHECK(*std::max_element(lists.begin(), lists.begin() + 40) < count, count << " centroids");
      for (const size_t probes : {size_t{1}, std::min<size_t>(count, 60), count}) {
        centroids.nearest(x.data(), 40, probes, lists.data());
        for (size_t i = 0; i < 40; ++i) {
          const std::set<uint32_t> mine(lists.begin() + static_cast<ptrdiff_t>(i * probes),
                                        lists.begin() + static_cast<ptrdiff_t>((i + 1) * probes));
          CHECK(mine.size() == probes && *mine.rbegin() < count, probes << " of " << count << ", query " << i);
        }
      }
    }
  }
}

}  // namespace
}  // namespace bebr::test
