// Flat and IVF indexes under eight threads that add, remove and search at once; `make tsan` makes this test strict.
#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "indexes.h"

namespace bebr::test {
namespace {

constexpr size_t kLists = 7, kStay = 100;
constexpr uint32_t kDim = 8, kDims = 64, kRowBytes = 13;

RowFormat format_of_test() {
  const uint32_t widths[] = {kDims, 32, 8};
  return {CodeSpec::make(widths), Factor::Mul, false, FactorCode::make(2, 0, 0), FactorCode::make(2, 0, 0)};
}

struct Batch {
  std::vector<uint8_t> planes, factors;
  std::vector<int64_t> ids;
  std::vector<uint32_t> lists;
};

Batch make_batch(Random& random, int64_t first, size_t n) {
  Batch batch;
  for (size_t i = 0; i < n; ++i) {
    for (uint32_t b = 0; b < kRowBytes; ++b) batch.planes.push_back(static_cast<uint8_t>(random()));
    batch.factors.insert(batch.factors.end(), {0x00, 0x3c});  // 1 in fp16
    batch.ids.push_back(first + static_cast<int64_t>(i));
    batch.lists.push_back(below(random, kLists));
  }
  return batch;
}

struct Query {
  std::vector<float> y = std::vector<float>(kDims), vector = std::vector<float>(kDim);
  float base = 0;
  explicit Query(Random& random) {
    for (float& value : y) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
    for (float& value : vector) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
  }
  Queries view() const { return {1, y.data(), &base, nullptr, nullptr, vector.data()}; }
};

// add(batch), remove(ids) -> how many, search(query) -> ids found, best first.
template <typename Add, typename Remove, typename Search>
int wrong_answers(const Add& add, const Remove& remove, const Search& search) {
  Random start(50);
  add(make_batch(start, 1000000, kStay));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      Random random(static_cast<uint32_t>(51 + t));
      for (int round = 0; round < 12; ++round) {
        const int64_t first = t * 10000 + round * 40;
        if (t < 3) add(make_batch(random, first, 40));
        if (t < 3 && round > 0) {
          std::vector<int64_t> old;
          for (int64_t i = 0; i < 30; ++i) old.push_back(first - 40 + i);
          if (remove(old) != 30) ++wrong;
        }
        for (int i = 0; i < 8; ++i)
          if (search(Query(random)).size() != 10) ++wrong;  // at least 100 rows, always
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return wrong.load();
}

constexpr size_t kLeft = kStay + 3 * (12 * 40 - 11 * 30);

void check_threads(Index& index, bool lists, const SearchOptions& options) {
  const int wrong = wrong_answers(
      [&](const Batch& b) {
        index.add({b.ids.size(), b.planes.data(), b.factors.data(), b.ids.data(), lists ? b.lists.data() : nullptr});
      },
      [&](const std::vector<int64_t>& ids) { return index.remove(ids); },
      [&](const Query& query) {
        std::vector<int64_t> ids = answer_of(index, query.view(), options).ids;
        std::erase(ids, int64_t{-1});
        return ids;
      });
  CHECK(wrong == 0 && index.size() == kLeft, "wrong " << wrong << ", rows " << index.size());
}

BEBR_TEST(flat_takes_writers_and_readers_at_once) {
  SearchOptions options;
  options.first_stage_rows = 40;
  check_threads(*flat_index(format_of_test()), false, options);
}

BEBR_TEST(ivf_takes_writers_and_readers_at_once) {
  Random random(49);
  std::vector<float> centroids(kLists * kDim);
  for (float& value : centroids) value = static_cast<float>(below(random, 200)) / 100 - 1;
  SearchOptions options;
  options.nprobe = 2;
  check_threads(*ivf_index(format_of_test(), kDim, centroids), true, options);
}

}  // namespace
}  // namespace bebr::test
