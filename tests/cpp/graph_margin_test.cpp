// How far a row's first bytes may fall short, learned from a graph's own links.
#include <cmath>
#include <memory>
#include <numeric>
#include <shared_mutex>
#include <vector>

#include "check.h"
#include "index/graph/margin.h"
#include "index/graph/rows.h"

namespace bebr::test {
namespace {

constexpr uint32_t kDims = 256, kRowBytes = 3 * kDims / 8, kInlined = 32;

// Rows of random signs under ids first, first + 1, ..; all with the same bits beyond them, or random ones.
void add(GraphRows& rows, Random& random, bool alike, int64_t first, size_t n) {
  std::vector<uint8_t> planes(n * kRowBytes);
  for (size_t i = 0; i < planes.size(); ++i) {
    const bool sign = i % kRowBytes < kDims / 8;
    planes[i] = static_cast<uint8_t>(sign || !alike ? random() : 0x5a);
  }
  const std::vector<uint8_t> no_factors(1);
  std::vector<int64_t> ids(n);
  std::iota(ids.begin(), ids.end(), first);
  std::vector<RowPlace> places(n);
  rows.insert({n, planes.data(), no_factors.data(), ids.data(), nullptr}, places.data());
  rows.changed();
  std::shared_mutex mutex;
  rows.finish_insert(mutex);
}

struct Graph {
  explicit Graph(uint32_t inlined)
      : rows(format(), {16, 24, 0, inlined}, {std::vector<float>(kDims, 1), std::vector<float>(kDims), 0, 1, 0, false}),
        segment(std::static_pointer_cast<const GraphSegment>(rows.reader())) {}
  float learned() const { return learn_margin(segment->view({}), segment->space()); }

  static RowFormat format() {
    const uint32_t widths[] = {kDims, kDims, kDims};
    RowFormat format;
    format.spec = CodeSpec::make(widths);
    format.factor = Factor::None;
    return format;
  }

  GraphRows rows;
  std::shared_ptr<const GraphSegment> segment;
};

BEBR_TEST(margins_are_learned_from_bits_that_near_rows_share) {
  for (const bool alike : {false, true}) {
    Random random(80);
    Graph graph(kInlined);
    CHECK(graph.learned() == 2, "without rows: " << graph.learned());
    add(graph.rows, random, alike, 0, 10);
    CHECK(graph.learned() == 2, "of few: " << graph.learned());
    add(graph.rows, random, alike, 10, 600);
    const float margin = graph.learned();
    CHECK(alike ? margin == 2 : margin > 0.5f && margin < 2, margin);
    CHECK(graph.learned() == margin, "another time: " << graph.learned());
  }
}

BEBR_TEST(where_few_bytes_are_beside_the_links_their_margin_is_as_of_first_lines) {
  Random random(81);
  for (const uint32_t inlined : {0u, 28u}) {
    Graph graph(inlined);
    add(graph.rows, random, false, 0, 600);
    CHECK(graph.learned() == 2, inlined << ": " << graph.learned());
  }
}

}  // namespace
}  // namespace bebr::test
