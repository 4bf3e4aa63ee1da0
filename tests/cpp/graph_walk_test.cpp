// Walks: what they find against a plain reading of the algorithm, and walks in turns against walks alone.
#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <shared_mutex>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "check.h"
#include "index/graph/margin.h"
#include "index/graph/rows.h"
#include "index/graph/walk.h"
#include "indexes.h"

namespace bebr::test {
namespace {

constexpr uint32_t kDims = 256, kRowBytes = 88;  // more than a first line holds

RowFormat format_of_test(bool stage_factor = false) {
  const uint32_t widths[] = {kDims, 256, 128, 64};
  RowFormat format;
  format.spec = CodeSpec::make(widths);
  format.stage_factor = stage_factor;
  return format;
}

CodeSpace space_of_test() {
  CodeSpace space{std::vector<float>(kDims), std::vector<float>(kDims, 0.01f), 0.1f, 1, 0, false};
  for (size_t j = 0; j < kDims; ++j) space.gram[j] = 1.0f / static_cast<float>(1 + j);
  return space;
}

std::vector<float> random_floats(Random& random, size_t n) {
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
  return values;
}

// Rows under ids first, first + 1, ..; every fourth is a copy of another, so that scores are equal.
struct Batch {
  std::vector<uint8_t> planes, factors;
  std::vector<int64_t> ids;

  Batch(Random& random, int64_t first, size_t n) : planes(n * kRowBytes), ids(n) {
    for (uint8_t& byte : planes) byte = static_cast<uint8_t>(random());
    for (size_t i = 4; i < n; i += 4) std::copy_n(planes.data(), kRowBytes, planes.data() + i * kRowBytes);
    for (size_t i = 0; i < n; ++i) factors.insert(factors.end(), {0x00, 0x3c});  // 1 in fp16
    std::iota(ids.begin(), ids.end(), first);
  }
  NewRows rows() const { return {ids.size(), planes.data(), factors.data(), ids.data(), nullptr}; }
};

// Best first, in the plainest words: one candidate after the other, no steps, no turns.
std::vector<Candidate> walked_plainly(const GraphView& view, const BitQuery& query, size_t ef, const WalkBound& bound,
                                      float margin) {
  const RecordLayout& layout = view.layout;
  std::vector<uint32_t> sample;
  view.sample(sample);
  const auto first_lines = [&](const std::vector<uint32_t>& slots, float more) {
    std::vector<int32_t> sums(slots.size());
    view.kernels.dot_bits8(view.nodes + kCodeAt, layout.stride, layout.prefix, query.y8.as<int8_t>(), query.total8,
                           slots.data(), slots.size(), sums.data());
    std::vector<float> scores;
    for (size_t i = 0; i < slots.size(); ++i) {
      const float raw = query.base + query.scale8 * static_cast<float>(sums[i]) + more;
      scores.push_back(view.score(raw, load_float(view.record(slots[i]))));
    }
    return scores;
  };
  std::vector<Candidate> found;
  std::vector<uint8_t> seen(view.rows), been(view.rows);
  const auto nth = [&](size_t n) { return found.size() < n ? kLowest : found[n - 1].score; };
  const auto threshold = [&] {
    if (bound.k == 0) return nth(ef);
    const float kth = nth(bound.k), short_of = std::max(bound.best - kth, 0.0f);
    return std::max(nth(ef), std::min(nth(bound.fewest), kth - bound.more * short_of));
  };
  const auto complete = [&](const std::vector<uint32_t>& slots) {
    std::vector<float> scores(slots.size());
    view.score_rows(query, slots.data(), slots.size(), scores.data());
    for (size_t i = 0; i < slots.size(); ++i) {
      if (!(scores[i] > nth(ef))) continue;
      if (found.size() == ef) found.pop_back();
      const auto at = std::find_if(found.begin(), found.end(), [&](const Candidate& c) { return c.score < scores[i]; });
      found.insert(at, {scores[i], slots[i]});
    }
  };
  // By the leading bytes of a slot's own code: blocks of entries and bytes in a record must say the same.
  const auto by_leading_bytes = [&](uint32_t slot, float more) {
    const uint8_t* code = view.record(slot) + kCodeAt;
    int32_t sum = 0;
    for (size_t byte = 0; byte < layout.lead; ++byte) {
      const uint8_t* low = query.near.tables.data() + byte / 4 * 128 + byte % 4 * 16;
      sum += low[code[byte] & 15] + low[64 + (code[byte] >> 4)];
    }
    const float raw = query.base - query.near.offset + more;
    return view.score(raw + query.near.scale * static_cast<float>(sum), load_float(view.record(slot)));
  };
  std::vector<uint32_t> order(sample.size()), starts;
  std::iota(order.begin(), order.end(), 0u);
  std::vector<float> scores;
  for (const uint32_t slot : sample) scores.push_back(by_leading_bytes(slot, 0));
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  for (size_t i = 0; i < std::min<size_t>(4, order.size()); ++i) starts.push_back(sample[order[i]]);
  std::vector<uint32_t> links(layout.degree);
  const bool descends = layout.near > 0 && margin < kUsualMargin;
  if (descends && !starts.empty()) {
    const float luck = 0.5f * query.near.spread;
    uint32_t at = starts[0];
    float least = by_leading_bytes(at, 0) - luck;
    for (size_t moves = 0; moves <= 4; ++moves) {
      uint32_t best = at;
      float highest = least;
      const size_t n = view.links(at, links.data());
      for (size_t i = 0; i < n; ++i) {
        const float score = by_leading_bytes(links[i], 0);
        if (score > highest) best = links[i];
        highest = std::max(highest, score);
      }
      if (best == at || moves == 4) break;
      at = best;
      least = highest - luck;
    }
    if (std::find(starts.begin(), starts.end(), at) == starts.end()) starts.push_back(at);
  }
  for (const uint32_t slot : starts) seen[slot] = 1;
  complete(starts);
  while (true) {
    const auto next = std::find_if(found.begin(), found.end(), [&](const Candidate& c) { return been[c.node] == 0; });
    if (next == found.end() || next->score < threshold()) return found;
    been[next->node] = 1;
    std::vector<uint32_t> near, passed;
    const size_t n = view.links(next->node, links.data());
    const float worst = threshold();
    for (size_t i = 0; i < n; ++i) {
      if (layout.near > 0 && !(by_leading_bytes(links[i], margin * query.near.spread) > worst)) continue;
      if (seen[links[i]] == 0) near.push_back(links[i]);
      seen[links[i]] = 1;
    }
    if (layout.near == 0) {
      const std::vector<float> lines = first_lines(near, margin * query.spread);
      for (size_t i = 0; i < near.size(); ++i)
        if (lines[i] > worst) passed.push_back(near[i]);
    } else if (descends && 4 * near.size() > 3 * layout.degree) {
      float sum = 0, best = kLowest;
      for (const uint32_t link : near) {
        const float score = by_leading_bytes(link, margin * query.near.spread);
        sum += score;
        best = std::max(best, score);
      }
      const float mean = std::min(sum / static_cast<float>(near.size()), best);
      for (const uint32_t link : near) {
        const bool stays = by_leading_bytes(link, margin * query.near.spread) >= mean;
        if (stays) passed.push_back(link);
        seen[link] = stays ? 1 : 0;
      }
    } else {
      passed = near;
    }
    complete(passed);
  }
}

// A graph that the walks of all kernels go through: a view has kernels of its own.
struct Walked {
  GraphRows rows;
  std::shared_ptr<const GraphSegment> segment;

  // stage_factor: rows have one beside their own, and all of them differ.
  explicit Walked(const GraphParams& params, bool stage_factor = false)
      : rows(format_of_test(stage_factor), params, space_of_test()) {
    Random random(50);
    Batch batch(random, 0, 900);
    if (stage_factor) {
      batch.factors.clear();
      for (size_t i = 0; i < 2 * 900; ++i) batch.factors.insert(batch.factors.end(), {uint8_t(random()), 0x3c});
    }
    std::vector<RowPlace> places(900);
    rows.insert(batch.rows(), places.data());
    rows.changed();
    std::shared_mutex mutex;
    rows.finish_insert(mutex);
    segment = std::static_pointer_cast<const GraphSegment>(rows.reader());
  }
};

void check_walks_in_turns(const Kernels& tested, Random& random, const Walked& graph) {
  std::vector<uint64_t> closed(900 / 64 + 1);
  for (size_t i = 0; i < 900; i += 3) set_bit(closed, i);
  for (const bool some_closed : {false, true}) {
    const GraphView all = graph.segment->view({});
    const GraphView view{all.layout,  tested,
                         all.mode,    all.code,
                         all.nodes,   all.rows,
                         all.entries, some_closed ? std::span<const uint64_t>(closed) : std::span<const uint64_t>()};
    for (const size_t count : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 23u}) {
      const size_t ef = 1 + below(random, 60);
      const float margin = static_cast<float>(below(random, 3));
      const std::vector<float> y = random_floats(random, count * kDims), base = random_floats(random, count);
      WalkBound bound;
      if (below(random, 2) == 0) {
        bound = {1 + below(random, ef), 1 + below(random, ef), static_cast<float>(below(random, 10)) / 20,
                 static_cast<float>(below(random, 20))};
      }
      const auto set = [&](size_t q, BitQuery& query) {
        query.set(view.layout, y.data() + q * kDims, base[q], view.kernels);
        return bound;
      };
      size_t taken = 0;
      walk_each(view, 0, count, {ef, margin}, set, [&](size_t q, const Walk& walk) {
        BitQuery query;
        set(q, query);
        const std::vector<Candidate> want = walked_plainly(view, query, ef, bound, margin);
        CHECK(walk.found.size() == want.size(), count << " walks, number " << q << ", ef " << ef);
        for (size_t i = 0; i < want.size(); ++i)
          CHECK(walk.found[i].node == want[i].node && walk.found[i].score == want[i].score,
                count << " walks, number " << q << ", ef " << ef << ", candidate " << i);
        ++taken;
      });
      CHECK(taken == count, taken << " of " << count);
    }
  }
}

BEBR_KERNEL_TEST(walks_in_turns_find_what_plain_ones_find) {
  static const Walked graph({16, 40, 0});
  Random random(51);
  check_walks_in_turns(tested, random, graph);
}

// One block of neighbours, two and three, the last ones not full; all of a code and some.
BEBR_KERNEL_TEST(walks_by_neighbours_bytes_find_what_plain_ones_find) {
  static const Walked one({16, 40, 0, 32}), two({22, 40, 0, 64}), three({40, 40, 0, 4}), staged({22, 40, 0, 32}, true);
  Random random(54);
  for (const Walked* graph : {&one, &two, &three, &staged}) check_walks_in_turns(tested, random, *graph);
}

// Batches of any size, filtered or not, over rows of which some were removed.
void check_batches(Random& random, uint32_t inlined) {
  const size_t before = num_threads();
  const auto index = graph_index(format_of_test(), {16, 40, 0, inlined}, space_of_test());
  SearchOptions options;
  options.ef_search = 20;
  const auto check = [&](const char* state) {
    for (const size_t count : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 41u}) {
      const std::vector<float> y = random_floats(random, count * kDims), base = random_floats(random, count);
      std::vector<int64_t> half;
      for (int64_t id = 0; id < 2000; ++id)
        if (below(random, 2) == 0) half.push_back(id);
      for (const AllowedIds& allow : {AllowedIds(std::nullopt), AllowedIds(half)}) {
        Answer alone;
        for (size_t q = 0; q < count; ++q) {
          const Answer one =
              answer_of(*index, {1, y.data() + q * kDims, base.data() + q, nullptr, nullptr, nullptr}, options, allow);
          alone.scores.insert(alone.scores.end(), one.scores.begin(), one.scores.end());
          alone.ids.insert(alone.ids.end(), one.ids.begin(), one.ids.end());
        }
        for (const size_t threads : {1u, 3u}) {
          set_num_threads(threads);
          const Answer batch =
              answer_of(*index, {count, y.data(), base.data(), nullptr, nullptr, nullptr}, options, allow);
          CHECK(batch == alone,
                state << ", inlined " << inlined << ", " << count << " queries, " << threads << " threads");
        }
        set_num_threads(1);
      }
    }
  };
  set_num_threads(1);
  check("empty");
  const Batch one(random, 0, 1), many(random, 1, 1500);
  index->add(one.rows());
  check("one row");
  index->add(many.rows());
  check("rows");
  std::vector<int64_t> gone;
  for (int64_t id = 0; id < 70; ++id) gone.push_back(20 * id);
  index->remove(gone);
  check("removed, still walked through");
  for (int64_t& id : gone) id += 5;
  index->remove(gone);
  check("removed, repaired");
  set_num_threads(before);
}

BEBR_TEST(a_batch_of_a_graph_finds_what_its_queries_find_alone) {
  Random random(51);
  check_batches(random, 0);
  check_batches(random, 32);
}

// What a stopped walk leaves behind does not reach the next one.
BEBR_TEST(a_walk_after_a_stopped_one_finds_everything) {
  Random random(52);
  const auto index = graph_index(format_of_test(), {16, 40, 0}, space_of_test());
  const Batch batch(random, 0, 600);
  index->add(batch.rows());
  const std::vector<float> y = random_floats(random, 9 * kDims), base = random_floats(random, 9);
  const Queries queries{9, y.data(), base.data(), nullptr, nullptr, nullptr};
  SearchOptions options;
  options.ef_search = 30;
  const size_t before = num_threads();
  set_num_threads(1);
  const Answer want = answer_of(*index, queries, options);

  GraphRows rows(format_of_test(), {16, 40, 0}, space_of_test());
  std::vector<RowPlace> places(600);
  rows.insert(batch.rows(), places.data());
  rows.changed();
  std::shared_mutex mutex;
  rows.finish_insert(mutex);
  const auto segment = std::static_pointer_cast<const GraphSegment>(rows.reader());
  const GraphView view = segment->view({});
  std::atomic<bool> stop{false};
  bool stopped = false;
  try {
    walk_each(
        view, 0, 9, {30, 2, &stop},
        [&](size_t q, BitQuery& query) {
          query.set(view.layout, y.data() + q * kDims, base[q], view.kernels);
          return WalkBound{};
        },
        [&](size_t, const Walk&) { stop = true; });  // the others are under way
  } catch (const Error& error) {
    stopped = error.code() == ErrorCode::Cancelled;
  }
  CHECK(stopped, "it went on");
  CHECK(answer_of(*index, queries, options) == want, "after a stopped batch");
  set_num_threads(before);
}

BEBR_TEST(candidates_stay_the_best_in_order) {
  Random random(53);
  for (const size_t limit : {1u, 2u, 7u, 31u, 32u, 33u, 64u, 65u, 200u}) {
    CandidateList list;
    list.reset(limit);
    std::vector<Candidate> plain;
    std::vector<uint8_t> taken;
    for (uint32_t node = 0; node < 600; ++node) {
      const auto score = static_cast<float>(below(random, 100));  // many are equal
      const bool fits = plain.size() < limit || score > plain.back().score;
      CHECK(list.insert(score, node) == fits, "limit " << limit << ", node " << node);
      taken.push_back(0);
      if (fits) {
        if (plain.size() == limit) plain.pop_back();
        const auto at = std::find_if(plain.begin(), plain.end(), [&](const Candidate& c) { return c.score < score; });
        plain.insert(at, {score, node});
      }
      if (below(random, 3) == 0) {
        const auto next = std::find_if(plain.begin(), plain.end(), [&](const Candidate& c) { return !taken[c.node]; });
        uint32_t got = 0;
        CHECK(list.take(got) == (next != plain.end()), "limit " << limit << ", node " << node);
        if (next != plain.end()) {
          CHECK(got == next->node, "took " << got << " for " << next->node);
          taken[got] = 1;
        }
      }
      CHECK(list.size() == plain.size(), "limit " << limit);
      for (size_t i = 0; i < plain.size(); ++i)
        CHECK(list[i].node == plain[i].node && list[i].score == plain[i].score, "limit " << limit << ", at " << i);
    }
  }
}

}  // namespace
}  // namespace bebr::test
