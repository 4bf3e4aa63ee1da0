// A graph index under eight threads that add, remove and search at once. ThreadSanitizer is what makes this test
// strict: `make tsan`.
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/threads.h"
#include "check.h"
#include "indexes.h"

namespace bebr::test {
namespace {

std::unique_ptr<Index> make_index(uint32_t inlined) {
  const uint32_t widths[] = {64, 32, 8};
  RowFormat format;
  format.spec = CodeSpec::make(widths);
  CodeSpace space{std::vector<float>(64), std::vector<float>(64, 0.01f), 0.1f, 1, 0, true};
  for (size_t j = 0; j < 64; ++j) space.gram[j] = 1.0f / static_cast<float>(1 + j);
  return graph_index(format, {8, 16, 0, inlined}, space);
}

struct Batch {
  std::vector<uint8_t> planes, factors;
  std::vector<int64_t> ids;
};

Batch make_batch(Random& random, int64_t first, size_t n) {
  Batch batch;
  for (size_t i = 0; i < n; ++i) {
    for (int b = 0; b < 13; ++b) batch.planes.push_back(static_cast<uint8_t>(random()));
    for (const int b : {0x00, 0x3c}) batch.factors.push_back(static_cast<uint8_t>(b));  // 1.0
    batch.ids.push_back(first + static_cast<int64_t>(i));
  }
  return batch;
}

void add(Index& index, const Batch& batch) {
  index.add({batch.ids.size(), batch.planes.data(), batch.factors.data(), batch.ids.data(), nullptr});
}

void check_writers_and_readers(uint32_t inlined) {
  const std::unique_ptr<Index> index = make_index(inlined);
  Random start(30);
  add(*index, make_batch(start, 1000000, 100));  // these stay
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      Random random(static_cast<uint32_t>(31 + t));
      std::vector<float> y(64 * 8), base(8);
      SearchOptions options;
      options.ef_search = 16;
      for (int round = 0; round < 12; ++round) {
        const int64_t first = t * 10000 + round * 40;
        if (t < 3) add(*index, make_batch(random, first, 40));
        if (t < 3 && round > 0) {
          std::vector<int64_t> old;
          for (int64_t i = 0; i < 30; ++i) old.push_back(first - 40 + i);
          if (index->remove(old) != 30) ++wrong;
        }
        for (size_t search = 0; search < 8; ++search) {
          const size_t count = 1 + search;
          for (float& value : y) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
          const Answer answer = answer_of(*index, {count, y.data(), base.data(), nullptr, nullptr, nullptr}, options);
          if (std::count(answer.ids.begin(), answer.ids.end(), -1) != 0) ++wrong;  // at least 100 rows, always
          for (size_t q = 0; q < count; ++q) {
            const auto last = answer.scores.rend() - static_cast<ptrdiff_t>(options.k * q);
            if (!std::is_sorted(last - static_cast<ptrdiff_t>(options.k), last)) ++wrong;
          }
        }
        if (!index->contains(1000000 + round) || index->size() < 100) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0, wrong.load());
  const size_t want = 100 + 3 * (12 * 40 - 11 * 30);
  CHECK(index->size() == want && index->rows().ids.size() == want, index->size());
}

BEBR_TEST(graph_takes_writers_and_readers_at_once) { check_writers_and_readers(0); }

// Links change with their neighbours' bytes.
BEBR_TEST(graph_with_neighbours_bytes_takes_writers_and_readers_at_once) { check_writers_and_readers(8); }

// Rounds, not locks: the graph is the same whatever the number of threads.
void check_threads(uint32_t inlined) {
  const size_t before = num_threads();
  std::vector<std::vector<int64_t>> found;
  for (const size_t threads : {1u, 4u}) {
    set_num_threads(threads);
    const std::unique_ptr<Index> index = make_index(inlined);
    Random random(40);
    add(*index, make_batch(random, 0, 1500));
    std::vector<int64_t> gone;
    for (int64_t i = 0; i < 700; ++i) gone.push_back(2 * i);
    index->remove(gone);
    add(*index, make_batch(random, 5000, 300));
    std::vector<float> y(64 * 50), base(50);
    for (float& value : y) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
    found.push_back(answer_of(*index, {50, y.data(), base.data(), nullptr, nullptr, nullptr}, {}).ids);
  }
  set_num_threads(before);
  CHECK(found[0] == found[1], "1 and 4 threads, inlined " << inlined);
}

BEBR_TEST(graph_does_not_depend_on_threads) {
  check_threads(0);
  check_threads(8);
}

// Most rows are allowed, and many queries ask: a copy of the rows is scanned, which threads make in parts.
BEBR_TEST(filtered_graph_answers_do_not_depend_on_threads) {
  const size_t before = num_threads();
  const std::unique_ptr<Index> index = make_index(0);
  Random random(50);
  add(*index, make_batch(random, 0, 1800));
  std::vector<int64_t> allowed;
  for (int64_t i = 0; i < 1800; ++i)
    if (i % 9 != 0) allowed.push_back(i);
  std::vector<float> y(64 * 50), base(50);
  for (float& value : y) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
  SearchOptions options;
  options.ef_search = 64;
  options.batch_invariant = false;
  std::vector<Answer> found;
  for (const size_t threads : {1u, 4u}) {
    set_num_threads(threads);
    found.push_back(answer_of(*index, {50, y.data(), base.data(), nullptr, nullptr, nullptr}, options, allowed));
  }
  set_num_threads(before);
  CHECK(found[0] == found[1], "1 and 4 threads");
  CHECK(std::none_of(found[0].ids.begin(), found[0].ids.end(), [](int64_t id) { return id % 9 == 0 || id < 0; }), "");
}

}  // namespace
}  // namespace bebr::test
