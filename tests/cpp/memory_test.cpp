// An add that runs out of memory, wherever it does, leaves the index as it was.
#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <vector>

#include "base/threads.h"
#include "check.h"
#include "index/raw/raw.h"
#include "indexes.h"
#include "short_memory.h"

namespace {

std::atomic<long> left{-1};  // allocations until one fails; below 0: none does

bool fails() { return left.load() >= 0 && left.fetch_sub(1) == 0; }

}  // namespace

// NOLINTBEGIN: the linker's names
extern "C" {
void* __real__Znwm(size_t size);
void* __real_aligned_alloc(size_t alignment, size_t size);
void* __wrap__Znwm(size_t size);
void* __wrap_aligned_alloc(size_t alignment, size_t size);

void* __wrap__Znwm(size_t size) {
  if (fails()) throw std::bad_alloc();
  return __real__Znwm(size);
}
void* __wrap_aligned_alloc(size_t alignment, size_t size) {
  return fails() ? nullptr : __real_aligned_alloc(alignment, size);
}
}
// NOLINTEND

namespace bebr::test {

ShortMemory::ShortMemory(size_t fails_at) { left = static_cast<long>(fails_at); }
ShortMemory::~ShortMemory() { left = -1; }
bool ShortMemory::failed() const { return left < 0; }

namespace {

constexpr uint32_t kDims = 64, kRowBytes = 13, kDim = 8, kLists = 3;

// Rows that are there, and rows of the add that runs out of memory.
struct Sizes {
  size_t before = 70, more = 40;
};

RowFormat format_of_test() {
  const uint32_t widths[] = {kDims, 32, 8};
  return {CodeSpec::make(widths), Factor::Mul, true, FactorCode::make(2, 0, 0), FactorCode::make(2, 0, 0)};
}

struct Batch {
  std::vector<uint8_t> planes, factors;
  std::vector<int64_t> ids;
  std::vector<uint32_t> lists;
  std::vector<float> x;

  Batch(uint32_t seed, int64_t first, size_t n) {
    Random random(seed);
    for (size_t i = 0; i < n; ++i) {
      for (uint32_t b = 0; b < kRowBytes; ++b) planes.push_back(static_cast<uint8_t>(random()));
      factors.insert(factors.end(), {0x00, 0x3c, 0x00, 0x3c});  // 1 in fp16
      ids.push_back(first + static_cast<int64_t>(i));
      lists.push_back(below(random, kLists));
      for (uint32_t j = 0; j < kDim; ++j) x.push_back(static_cast<float>(below(random, 100)));
    }
  }
};

// make() -> an index with the first batch; add(index, batch), of so many rows; state(index) -> what can be seen of it.
template <typename Make, typename Add, typename State>
void check_all_or_nothing(const char* kind, size_t rows, const Make& make, const Add& add, const State& state) {
  set_num_threads(1);
  const Batch more(8, 1000, rows);
  const auto whole = make();
  const auto before = state(*whole);
  add(*whole, more);
  const auto after = state(*whole);
  for (size_t n = 0;; ++n) {
    const auto index = make();
    bool thrown = false, reached = false;
    {
      const ShortMemory memory(n);
      try {
        add(*index, more);
      } catch (const std::bad_alloc&) {
        thrown = true;
      }
      reached = memory.failed();
    }
    CHECK(state(*index) == (thrown ? before : after), kind << ": allocation " << n << " failed");
    if (!reached) {
      CHECK(n > 5, kind << ": " << n << " allocations");
      return;
    }
    if (!thrown) continue;  // memory that was not needed
    add(*index, more);
    CHECK(state(*index) == after, kind << ": again, after allocation " << n << " failed");
  }
}

// All rows by id, and the ids that a search for more rows than there are finds.
auto state_of(const Index& index) {
  const Rows rows = index.rows();
  std::vector<std::pair<int64_t, std::vector<uint8_t>>> by_id;
  for (size_t i = 0; i < rows.ids.size(); ++i) {
    std::vector<uint8_t> row(rows.planes.begin() + static_cast<ptrdiff_t>(i * kRowBytes),
                             rows.planes.begin() + static_cast<ptrdiff_t>((i + 1) * kRowBytes));
    row.insert(row.end(), rows.factors.begin() + static_cast<ptrdiff_t>(4 * i),
               rows.factors.begin() + static_cast<ptrdiff_t>(4 * i + 4));
    by_id.emplace_back(rows.ids[i], std::move(row));
  }
  std::sort(by_id.begin(), by_id.end());
  std::vector<float> y(kDims);
  Random random(9);
  for (float& value : y) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
  const float base = 0, vector[kDim] = {};
  SearchOptions options;
  options.k = 200;
  options.exact = true;
  options.nprobe = kLists;
  std::vector<int64_t> found = answer_of(index, {1, y.data(), &base, nullptr, nullptr, vector}, options).ids;
  std::erase(found, int64_t{-1});
  std::sort(found.begin(), found.end());
  return std::tuple(by_id, found, index.size(), index.max_id(), index.contains(1000));
}

// empty() -> an index without rows.
template <typename Empty>
void check_index(const char* kind, bool lists, const Sizes& sizes, const Empty& empty) {
  const auto add = [lists](Index& index, const Batch& b) {
    index.add({b.ids.size(), b.planes.data(), b.factors.data(), b.ids.data(), lists ? b.lists.data() : nullptr});
  };
  check_all_or_nothing(
      kind, sizes.more,
      [&] {
        auto index = empty();
        add(*index, Batch(7, 0, sizes.before));
        return index;
      },
      add, [](const Index& index) { return state_of(index); });
}

BEBR_TEST(flat_adds_all_or_nothing) {
  check_index("flat", false, {}, [] { return flat_index(format_of_test()); });
}

BEBR_TEST(ivf_adds_all_or_nothing) {
  check_index("ivf", true, {}, [] { return ivf_index(format_of_test(), kDim, std::vector<float>(kLists * kDim)); });
}

// Every row makes allocations of its own, and every allocation a graph anew. So there are few rows; the last ones of
// the add have slots in another word of the graph's bits.
BEBR_TEST(graph_adds_all_or_nothing) {
  check_index("graph", false, {60, 6}, [] {
    const CodeSpace space{std::vector<float>(kDims, 1.0f), std::vector<float>(kDims), 0, 1, 0, false};
    return graph_index(format_of_test(), {8, 16, 0}, space);
  });
}

BEBR_TEST(raw_vectors_add_all_or_nothing) {
  const Sizes sizes;
  check_all_or_nothing(
      "raw", sizes.more,
      [&] {
        auto raw = std::make_unique<RawVectors>(RawFormat{kDim, RawType::Float16});
        const Batch b(7, 0, sizes.before);
        raw->add(b.ids.size(), b.x.data(), b.ids.data());
        return raw;
      },
      [](RawVectors& raw, const Batch& b) { raw.add(b.ids.size(), b.x.data(), b.ids.data()); },
      [](const RawVectors& raw) {
        const std::vector<int64_t> ids = raw.ids();
        return std::pair(ids, raw.values(ids));
      });
}

}  // namespace
}  // namespace bebr::test
