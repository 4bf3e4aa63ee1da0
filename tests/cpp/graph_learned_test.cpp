// How far walks go: the best score of a query, and how fast rows become more with distance, learned from a graph.
#include <cmath>
#include <memory>
#include <numeric>
#include <shared_mutex>
#include <vector>

#include "check.h"
#include "index/graph/learned.h"
#include "index/graph/link.h"
#include "index/graph/margin.h"
#include "index/graph/rows.h"

namespace bebr::test {
namespace {

constexpr uint32_t kDims = 256, kRowBytes = 2 * kDims / 8;

RowFormat format_with(Factor factor) {
  const uint32_t widths[] = {kDims, kDims};
  RowFormat format;
  format.spec = CodeSpec::make(widths);
  format.factor = factor;
  return format;
}

// Columns of other lengths, and a mean of which a part lies beside them.
CodeSpace space_with_mean() {
  CodeSpace space{std::vector<float>(kDims), std::vector<float>(kDims), 2, 1.5f, 0.7f, false};
  for (size_t j = 0; j < kDims; ++j) {
    space.gram[j] = 4.0f / static_cast<float>(2 + j);
    space.mean[j] = 0.02f * space.gram[j];
  }
  return space;
}

CodeSpace plain_space() { return {std::vector<float>(kDims, 1), std::vector<float>(kDims), 0, 1, 0, false}; }

struct Graph {
  Graph(Factor factor, const CodeSpace& space)
      : rows(format_with(factor), {16, 64, 0, 0}, space),
        segment(std::static_pointer_cast<const GraphSegment>(rows.reader())),
        best(space, factor == Factor::Sub ? Factor::Sub : Factor::Mul) {}

  // Of random bits in the first `bits` dims, the same ones elsewhere. factors: two bytes each, if there are some.
  void add(Random& random, size_t bits, int64_t first, size_t n, const std::vector<uint8_t>& factors = {0}) {
    std::vector<uint8_t> planes(n * kRowBytes);
    for (size_t i = 0; i < planes.size(); ++i)
      planes[i] = static_cast<uint8_t>(i % (kDims / 8) < bits / 8 ? random() : 0x5a);
    std::vector<int64_t> ids(n);
    std::iota(ids.begin(), ids.end(), first);
    std::vector<RowPlace> places(n);
    rows.insert({n, planes.data(), factors.data(), ids.data(), nullptr}, places.data());
    rows.changed();
    std::shared_mutex mutex;
    rows.finish_insert(mutex);
  }
  Learned learned() const { return learn(segment->view({}), segment->space(), best); }

  GraphRows rows;
  std::shared_ptr<const GraphSegment> segment;
  BestScore best;
};

BEBR_TEST(a_document_as_a_query_has_its_own_length) {
  Random random(90);
  for (const Factor factor : {Factor::None, Factor::Mul}) {
    Graph graph(factor, space_with_mean());
    std::vector<uint8_t> factors;
    for (size_t i = 0; i < 50; ++i) factors.insert(factors.end(), {uint8_t(random()), 0x38});  // .5 to 1
    graph.add(random, kDims, 0, 50, factors);
    const GraphView view = graph.segment->view({});
    float longest = 0;
    for (uint32_t slot = 0; slot < 50; ++slot) {
      std::vector<float> y;
      const float base = document_as_query(view, graph.segment->space(), slot, y);
      BitQuery query;
      query.set(view.layout, y.data(), base);
      float own;
      view.score_rows(query, &slot, 1, &own);
      const float length = graph.best.squared_length(y.data(), base);
      CHECK(std::abs(own - length) < 1e-3f * length, own << " for " << length);
      longest = std::max(longest, length);
      // In its own direction no row has more than the longest one.
      CHECK(graph.best.of(y.data(), base, std::sqrt(longest)) >= 0.999f * own, own);
    }
    CHECK(graph.learned().longest == std::sqrt(longest), graph.learned().longest << " for " << std::sqrt(longest));
  }
}

BEBR_TEST(by_squared_distances_the_best_row_is_where_the_query_is) {
  Random random(91);
  const CodeSpace space = space_with_mean();
  const BestScore best(space, Factor::Sub);
  for (size_t i = 0; i < 20; ++i) {
    // x = mu + A v as a query, and as a row with the factor scale (||x||^2 - offset).
    std::vector<float> v(kDims), y(kDims);
    float dot = space.mean_norm, norm = space.mean_norm;
    for (size_t j = 0; j < kDims; ++j) {
      v[j] = static_cast<float>(below(random, 2001)) / 1000 - 1;
      y[j] = 2 * space.scale * (space.gram[j] * v[j] + space.mean[j]);
      dot += space.mean[j] * v[j];
      norm += 2 * space.mean[j] * v[j] + space.gram[j] * v[j] * v[j];
    }
    const float base = space.scale * (2 * dot - space.offset);
    const float own = space.scale * (2 * norm - space.offset) - space.scale * (norm - space.offset);
    const float got = best.of(y.data(), base, 0);
    CHECK(std::abs(got - own) < 1e-3f * std::abs(own), got << " for " << own);
  }
}

BEBR_TEST(rows_of_fewer_dims_become_fewer_by_distance) {
  float growth[2];
  for (const size_t bits : {32u, 256u}) {
    Random random(92);
    Graph graph(Factor::None, plain_space());
    CHECK(graph.learned().growth == 0, "without rows: " << graph.learned().growth);
    graph.add(random, bits, 0, 60);
    CHECK(graph.learned().growth == 0, "too few: " << graph.learned().growth);
    graph.add(random, bits, 60, 2000);
    const Learned learned = graph.learned();
    CHECK(learned.growth > 0 && learned.growth < 1, learned.growth);
    CHECK(graph.learned().growth == learned.growth, "another time: " << graph.learned().growth);
    growth[bits == 256] = learned.growth;
  }
  CHECK(growth[0] > 1.5f * growth[1], growth[0] << " for 32 bits, " << growth[1] << " for 256");
}

BEBR_TEST(walks_go_as_far_as_their_number_of_candidates_lies_in_the_mean) {
  const Learned learned{2, 0.5f, 1};
  const WalkReach reach(learned, 40, 10);
  const WalkBound bound = reach.bound(3);
  CHECK(reach.limit() == 60 && bound.k == 10 && bound.fewest == 20, reach.limit());
  CHECK(bound.more == 1 && bound.best == 3, bound.more);  // 4^.5 times the distance

  // No more than k, or nothing learned: as many candidates as ever.
  for (const WalkReach& plain : {WalkReach(learned, 10, 10), WalkReach({2, 0, 1}, 10, 5)})
    CHECK(plain.limit() == 10 && plain.bound(3).k == 0, plain.limit());
}

BEBR_TEST(what_was_learned_is_kept_until_it_is_forgotten) {
  Random random(93);
  Graph one(Factor::None, plain_space()), other(Factor::None, plain_space());
  one.add(random, 32, 0, 600);
  other.add(random, 256, 0, 600);
  KeptLearned kept;
  const auto of = [&](const Graph& graph) {
    return kept.of(graph.segment->view({}), graph.segment->space(), graph.best).growth;
  };
  CHECK(of(one) == one.learned().growth, of(one));
  CHECK(of(other) == one.learned().growth, "kept: " << of(other));
  kept.forget();
  CHECK(of(other) == other.learned().growth, of(other));
}

}  // namespace
}  // namespace bebr::test
