// IdMap against std::unordered_map, over any sequence of writes; ids near each other, far apart, and multiples.
#include "index/id_map.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "check.h"

namespace bebr::test {
namespace {

BEBR_TEST(id_map_equals_a_map_over_any_writes) {
  Random random(11);
  for (const int64_t step : {int64_t{1}, int64_t{64}, int64_t{1} << 40}) {
    IdMap<uint32_t> map;
    std::unordered_map<int64_t, uint32_t> model;
    CHECK(!map.contains(0) && !map.erase(0), "an empty map has nothing");
    for (int i = 0; i < 20'000; ++i) {
      const int64_t id = static_cast<int64_t>(random() % 700) * step;
      if (random() % 5 < 2) {
        CHECK(map.erase(id) == (model.erase(id) == 1), "erase " << id);
      } else {
        const uint32_t value = static_cast<uint32_t>(random());
        const bool added = model.insert_or_assign(id, value).second;
        CHECK(map.set(id, value) == added, "set " << id);
      }
      CHECK(map.size() == model.size(), "size after " << i << " writes");
    }
    std::vector<int64_t> asked;
    std::vector<uint32_t> want, found, all, every;
    for (int64_t i = 0; i < 800; ++i) {
      const int64_t id = i * step;
      const auto at = model.find(id);
      const uint32_t* here = map.find(id);
      CHECK((here != nullptr) == (at != model.end()), "find " << id);
      asked.push_back(id);
      if (at != model.end() && here != nullptr) {
        CHECK(*here == at->second, "value of " << id);
        want.push_back(at->second);
      }
    }
    map.find_all(asked, [&](size_t i, const uint32_t* value) {
      CHECK(value == map.find(asked[i]), "find_all, id " << asked[i]);
      if (value != nullptr) found.push_back(*value);
    });
    for (const int64_t id : {int64_t{-1}, INT64_MIN})
      CHECK(!map.contains(id) && !map.erase(id), "no id is negative: " << id);
    CHECK(found == want, "find_all gives the values in the order of the ids");
    map.each([&](uint32_t value) { every.push_back(value); });
    for (const auto& [id, value] : model) all.push_back(value);
    std::sort(all.begin(), all.end());
    std::sort(every.begin(), every.end());
    CHECK(every == all, "each gives every value once");
  }
}

}  // namespace
}  // namespace bebr::test
