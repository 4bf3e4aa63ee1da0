// One search over several flat segments: the same answers, to the bit, as one segment of all rows gives, and as a naive
// model does, however the rows are cut, which of them are removed or allowed, and whatever scores are equal.
#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "check.h"
#include "code/planes.h"
#include "index/flat/segment.h"
#include "index/flat/tail.h"
#include "index/search.h"
#include "indexes.h"

namespace bebr::test {
namespace {

struct Fixture {
  RowFormat format;
  size_t rows;
  std::vector<uint8_t> planes, factors;
  std::vector<int64_t> ids;
  std::vector<float> y, base, stage_y, stage_base;
  size_t queries;

  // Codes of few kinds, so that many scores are equal.
  Fixture(Random& random, RowFormat format_, size_t rows_, size_t queries_)
      : format(format_), rows(rows_), queries(queries_) {
    const size_t row_bytes = format.spec.row_bytes(), factor_bytes = format.factor_bytes(), kinds = rows / 8 + 1;
    std::vector<uint8_t> kind_planes(kinds * row_bytes), kind_factors(kinds * factor_bytes);
    for (uint8_t& byte : kind_planes) byte = static_cast<uint8_t>(random());
    for (size_t i = 0; i < kind_factors.size(); i += 2) {  // fp16 of .5 to 2
      kind_factors[i] = static_cast<uint8_t>(random());
      kind_factors[i + 1] = static_cast<uint8_t>(0x38 + below(random, 8));
    }
    for (size_t i = 0; i < rows; ++i) {
      const size_t kind = below(random, static_cast<uint32_t>(kinds));
      planes.insert(planes.end(), kind_planes.begin() + static_cast<ptrdiff_t>(kind * row_bytes),
                    kind_planes.begin() + static_cast<ptrdiff_t>((kind + 1) * row_bytes));
      factors.insert(factors.end(), kind_factors.begin() + static_cast<ptrdiff_t>(kind * factor_bytes),
                     kind_factors.begin() + static_cast<ptrdiff_t>((kind + 1) * factor_bytes));
    }
    ids.resize(rows);
    std::iota(ids.begin(), ids.end(), 5);
    std::shuffle(ids.begin(), ids.end(), random);
    const auto fill = [&](std::vector<float>& values, size_t n) {
      values.resize(n);
      for (float& value : values) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
    };
    for (std::vector<float>* values : {&y, &stage_y}) fill(*values, queries * format.spec.dims());
    for (std::vector<float>* values : {&base, &stage_base}) fill(*values, queries);
  }

  Queries view(bool own_stage) const {
    Queries all{queries, y.data(), base.data(), nullptr, nullptr, nullptr};
    if (own_stage) all.stage_y = stage_y.data(), all.stage_base = stage_base.data();
    return all;
  }
  const uint8_t* row(size_t i) const { return planes.data() + i * format.spec.row_bytes(); }
  const uint8_t* factor(size_t i) const { return factors.data() + i * format.factor_bytes(); }

  // Rows [first, last): in memory, or the frozen rows of a tail that goes on.
  std::shared_ptr<const FlatSegment> segment(size_t first, size_t last, bool frozen) const {
    const size_t n = last - first;
    if (frozen) {
      TailRows tail(format);
      const size_t half = n / 2;
      tail.append(half, row(first), factor(first), ids.data() + first);
      tail.append(n - half, row(first + half), factor(first + half), ids.data() + first + half);
      auto made = tail.freeze();
      if (n > 0) tail.append(1, row(first), factor(first), ids.data() + first);
      return made;
    }
    const auto store = std::make_shared<RowStore>();
    store->append(format, n, row(first), factor(first), ids.data() + first);
    const RowView rows_here = store->view();
    return std::make_shared<const FlatSegment>(format, std::vector{rows_here}, std::span(rows_here.ids, n), store);
  }
};

struct Bits {
  bool present = false;
  std::vector<uint8_t> of;  // of every row
  // Of rows [first, last).
  std::vector<uint64_t> words(size_t first, size_t last) const {
    std::vector<uint64_t> cut(words_for(last - first));
    for (size_t i = first; present && i < last; ++i)
      if (of[i] != 0) set_bit(cut, i - first);
    return cut;
  }
};

Bits random_bits(Random& random, size_t rows, double share) {
  Bits bits{share >= 0, std::vector<uint8_t>(rows)};
  for (uint8_t& bit : bits.of) bit = below(random, 1000000) < share * 1e6 ? 1 : 0;
  return bits;
}

struct Case {
  Bits allow, dead;
  SearchOptions options;
  bool own_stage = false, as_lists = false;
};

// cuts: where segments begin, ascending, from 0.
Answer searched(const Fixture& f, const Case& c, const std::vector<size_t>& cuts, Random& random) {
  std::vector<SegmentView> segments;
  std::vector<std::vector<uint64_t>> bitmaps;
  std::vector<std::vector<uint32_t>> lists;
  bitmaps.reserve(2 * cuts.size());
  lists.reserve(cuts.size());
  for (size_t s = 0; s < cuts.size(); ++s) {
    const size_t first = cuts[s], last = s + 1 < cuts.size() ? cuts[s + 1] : f.rows;
    RowFilter filter;
    if (c.dead.present) filter.dead = {bitmaps.emplace_back(c.dead.words(first, last)).data(), last - first};
    if (c.allow.present && c.as_lists) {
      std::vector<uint32_t>& list = lists.emplace_back();
      for (size_t i = first; i < last; ++i)
        if (c.allow.of[i] != 0) list.push_back(static_cast<uint32_t>(i - first));
      filter.rows = &list;
    } else if (c.allow.present) {
      static const uint64_t nothing = 0;
      const std::vector<uint64_t>& words = bitmaps.emplace_back(c.allow.words(first, last));
      filter.allow = {words.empty() ? &nothing : words.data(), last - first};
    }
    segments.push_back({f.segment(first, last, below(random, 3) == 0), filter});
  }
  QueryBatch batch(f.format.spec, f.view(c.own_stage));
  TopKBatch tops(f.queries, c.options.k, c.options.min_scores);
  search(segments, batch, c.options, tops);
  return answer_of(tops, c.options.k);
}

// The whole method in plain loops: what is allowed, the best of it by the sign plane, the best of these by all planes.
Answer naive(const Fixture& f, const Case& c) {
  const CodeSpec& spec = f.format.spec;
  const Queries queries = f.view(c.own_stage);
  const float* stage_y = c.own_stage ? queries.stage_y : queries.y;
  const LutQueries tables = make_lut_queries(spec, stage_y, f.queries, spec.dims());
  std::vector<uint32_t> eligible;
  size_t live = 0;
  for (size_t i = 0; i < f.rows; ++i) {
    const bool dead = c.dead.present && c.dead.of[i] != 0;
    live += dead ? 0 : 1;
    if (!dead && (!c.allow.present || c.allow.of[i] != 0)) eligible.push_back(static_cast<uint32_t>(i));
  }
  const size_t survivors = std::max(c.options.first_stage_rows, c.options.k);
  const bool all = c.options.exact || eligible.size() <= survivors || (c.allow.present && eligible.size() <= live / 64);
  Answer answer;
  for (size_t q = 0; q < f.queries; ++q) {
    std::vector<Hit> first;
    for (const uint32_t i : eligible) {
      int32_t sum = 0;
      for (uint32_t j = 0; j < spec.dims(); ++j) {
        const int32_t y8 = tables.y8.as<int8_t>()[q * y8_stride(spec.groups()) + j];
        sum += (f.row(i)[j / 8] >> j % 8 & 1) != 0 ? y8 : -y8;
      }
      const float raw =
          (c.own_stage ? queries.stage_base : queries.base)[q] + tables.scale[q] * static_cast<float>(sum);
      const FactorCode& code = f.format.stage_factor ? f.format.stage_code : f.format.code;
      const float factor = code.value(f.factor(i) + (f.format.stage_factor ? f.format.code.bytes : 0));
      first.push_back({f.format.factor == Factor::Mul ? raw * factor : raw - factor, f.ids[i]});
    }
    std::vector<size_t> order(first.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return better(first[a], first[b]); });
    if (!all && order.size() > survivors) order.resize(survivors);
    const FineQuery fine = make_fine_query(spec, queries.y + q * spec.dims());
    const double step = fine.scale * (1u << (spec.planes - 1));
    std::vector<Hit> hits;
    std::vector<float> v(spec.dims());
    for (const size_t at : order) {
      const uint32_t i = eligible[at];
      unpack_row(spec, f.row(i), v.data());
      double dot = 0;  // exact: small integers times a power of two
      for (uint32_t j = 0; j < spec.dims(); ++j) dot += step * fine.y16.as<int16_t>()[j] * double{v[j]};
      const double factor = double{f.format.code.value(f.factor(i))}, raw = double{queries.base[q]} + dot;
      const Hit hit{static_cast<float>(f.format.factor == Factor::Mul ? raw * factor : raw - factor), f.ids[i]};
      if (c.options.min_scores == nullptr || hit.score > c.options.min_scores[q]) hits.push_back(hit);
    }
    std::sort(hits.begin(), hits.end(), better);
    for (size_t i = 0; i < c.options.k; ++i) {
      answer.scores.push_back(i < hits.size() ? hits[i].score : -std::numeric_limits<float>::infinity());
      answer.ids.push_back(i < hits.size() ? hits[i].id : -1);
    }
  }
  return answer;
}

RowFormat random_format(Random& random) {
  constexpr uint32_t kWidths[][3] = {{64, 32, 8}, {40, 40, 0}, {24, 0, 0}, {136, 64, 64}};
  const uint32_t* widths = kWidths[below(random, 4)];
  const uint32_t planes = widths[1] == 0 ? 1 : widths[2] == 0 ? 2 : 3;
  return {CodeSpec::make({widths, planes}), below(random, 2) == 0 ? Factor::Mul : Factor::Sub, below(random, 2) == 0,
          FactorCode::make(2, 0, 0), FactorCode::make(2, 0, 0)};
}

std::vector<size_t> random_cuts(Random& random, size_t rows) {
  std::vector<size_t> cuts = {0};
  for (size_t n = below(random, 7); n > 0; --n) cuts.push_back(below(random, static_cast<uint32_t>(rows + 1)));
  std::sort(cuts.begin(), cuts.end());
  return cuts;
}

BEBR_TEST(flat_answers_do_not_depend_on_how_rows_are_cut) {
  const size_t before = num_threads();
  for (uint32_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    const bool large = seed % 10 == 0;  // enough rows for a sample and several threads
    const Fixture f(random, random_format(random), large ? 9000 : below(random, 700),
                    large ? 3 : 1 + below(random, 12));
    Case c;
    constexpr double kAllow[] = {-1, -1, 0, 0.002, 0.05, 0.5}, kDead[] = {-1, 0, 0.3, 0.97};
    c.allow = random_bits(random, f.rows, kAllow[below(random, 6)]);
    c.dead = random_bits(random, f.rows, kDead[below(random, 4)]);
    c.own_stage = below(random, 2) == 0;
    c.as_lists = below(random, 2) == 0;
    c.options.k = 1 + below(random, 30);
    c.options.first_stage_rows = 1 + below(random, 100);
    c.options.exact = below(random, 3) == 0;
    std::vector<float> min_scores(f.queries, 1.0f);
    if (below(random, 4) == 0) c.options.min_scores = min_scores.data();
    const Answer want = naive(f, c);
    for (int round = 0; round < 3; ++round) {
      set_num_threads(1 + below(random, 3));
      const Answer got = searched(f, c, round == 0 ? std::vector<size_t>{0} : random_cuts(random, f.rows), random);
      const size_t at = first_difference(got.ids.data(), want.ids.data(), want.ids.size());
      CHECK(at == want.ids.size(), "seed " << seed << ", round " << round << ": at " << at << " got " << got.ids[at]
                                           << ' ' << got.scores[at] << ", want " << want.ids[at] << ' '
                                           << want.scores[at]);
      CHECK(got == want, "scores; seed " << seed << ", round " << round);
    }
  }
  set_num_threads(before);
}

// Many queries by whole codes, where the machine has a fast way: cuts and threads change nothing there either.
BEBR_TEST(flat_answers_by_whole_codes_do_not_depend_on_how_rows_are_cut) {
  const size_t before = num_threads();
  const size_t queries = std::max<size_t>(64, 8 * kernels().expand_queries);
  Random random(3);
  const Fixture f(random, random_format(random), 9000, queries);
  Case c;
  c.dead = random_bits(random, f.rows, 0.2);
  c.options.batch_invariant = false;
  c.options.first_stage_rows = 50;
  set_num_threads(1);
  const Answer want = searched(f, c, {0}, random);
  for (int round = 0; round < 4; ++round) {
    set_num_threads(1 + below(random, 3));
    CHECK(searched(f, c, random_cuts(random, f.rows), random) == want, "round " << round);
  }
  set_num_threads(before);
}

// So many queries that the allowed rows are copied out, and so many of these that each thread copies a part.
BEBR_TEST(flat_answers_from_copied_rows_do_not_depend_on_threads) {
  const size_t before = num_threads();
  Random random(5);
  const Fixture f(random, random_format(random), 12000, 40);
  Case c;
  c.allow = random_bits(random, f.rows, 0.15);
  c.dead = random_bits(random, f.rows, 0.05);
  c.options.first_stage_rows = 50;
  set_num_threads(1);
  const Answer want = searched(f, c, {0}, random);
  for (const size_t threads : {2, 3, 8}) {
    set_num_threads(threads);
    c.as_lists = threads == 3;
    CHECK(searched(f, c, random_cuts(random, f.rows), random) == want, threads << " threads");
  }
  set_num_threads(before);
}

BEBR_TEST(a_batch_gets_the_answers_that_its_queries_get_alone) {
  Random random(4);
  // Of many survivors a batch makes the sums of all rows (flat/whole_sums.h); those of query 9 do not fit.
  constexpr std::pair<double, size_t> kCases[] = {{-1, 20}, {-1, 600}, {.3, 20}, {.3, 600}, {.012, 20}, {.002, 20}};
  for (const auto& [share, first_stage_rows] : kCases) {
    Fixture f(random, random_format(random), 4000, 80);
    f.y[9 * f.format.spec.dims()] = 1.999f;
    Case c;
    c.allow = random_bits(random, f.rows, share);
    c.options.first_stage_rows = first_stage_rows;
    const Answer whole = searched(f, c, {0, 1000}, random);
    for (size_t q = 0; q < f.queries; q += 9) {
      Fixture one = f;
      one.queries = 1;
      const auto dims = static_cast<ptrdiff_t>(f.format.spec.dims()), at = static_cast<ptrdiff_t>(q);
      one.y.assign(f.y.begin() + at * dims, f.y.begin() + (at + 1) * dims);
      one.base.assign(1, f.base[q]);
      const Answer alone = searched(one, c, {0}, random);
      const auto where = [&, share = share] {
        return "share " + std::to_string(share) + ", query " + std::to_string(q);
      };
      CHECK_SAME(alone.ids.data(), whole.ids.data() + q * c.options.k, c.options.k, where());
      CHECK_SAME(alone.scores.data(), whole.scores.data() + q * c.options.k, c.options.k, where());
    }
  }
}

BEBR_TEST(a_search_that_is_told_to_stop_stops) {
  Random random(5);
  const Fixture f(random, random_format(random), 5000, 2);
  const std::atomic<bool> stop{true};
  for (const bool exact : {false, true}) {
    Case c;
    c.options.stop = &stop;
    c.options.exact = exact;
    try {
      searched(f, c, {0, 100}, random);
      CHECK(false, "not stopped");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::Cancelled, error.what());
    }
  }
}

BEBR_TEST(segments_know_where_ids_stand) {
  Random random(6);
  const Fixture f(random, random_format(random), 500, 1);
  std::vector<int64_t> asked = f.ids, found(f.rows + 3);
  for (const int64_t id : {int64_t{-1}, int64_t{4}, int64_t{1} << 40}) asked.push_back(id);
  for (const bool frozen : {false, true}) {
    const auto segment = f.segment(0, f.rows, frozen);
    segment->positions(asked, found.data());
    for (size_t i = 0; i < f.rows; ++i) CHECK(found[i] == static_cast<int64_t>(i), "id " << asked[i]);
    for (size_t i = f.rows; i < asked.size(); ++i) CHECK(found[i] == -1, "id " << asked[i]);
    const Rows rows = segment->copy_rows(std::vector<uint32_t>{499, 0, 17});
    CHECK(rows.ids == (std::vector<int64_t>{f.ids[499], f.ids[0], f.ids[17]}), "ids");
    CHECK_SAME(rows.planes.data(), f.row(499), f.format.spec.row_bytes(), "row 499");
    CHECK_SAME(rows.factors.data(), f.factor(499), f.format.factor_bytes(), "factors of row 499");
  }
}

// Readers of frozen rows while a writer goes on; `make tsan` makes this test strict.
BEBR_TEST(frozen_rows_of_a_tail_do_not_change) {
  Random random(7);
  const Fixture f(random, random_format(random), 1200, 1);
  TailRows tail(f.format);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  Case c;
  c.options.exact = true;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      while (!done) {
        const auto frozen = tail.freeze();
        Answer answers[2];
        for (Answer& answer : answers) {
          QueryBatch batch(f.format.spec, f.view(false));
          TopKBatch tops(1, 10, nullptr);
          const SegmentView segment{frozen, {}};
          search({&segment, 1}, batch, c.options, tops);
          answer = answer_of(tops, 10);
        }
        if (!(answers[0] == answers[1])) ++wrong;
        for (size_t i = 0; i < frozen->rows(); ++i)
          if (frozen->ids()[i] != f.ids[i]) ++wrong;
        int64_t position = 0;
        if (frozen->rows() > 0) frozen->positions({&f.ids[frozen->rows() - 1], 1}, &position);
        if (frozen->rows() > 0 && position != static_cast<int64_t>(frozen->rows()) - 1) ++wrong;
      }
    });
  }
  for (size_t i = 0; i < f.rows;) {
    const size_t n = std::min<size_t>(1 + below(random, 9), f.rows - i);
    tail.append(n, f.row(i), f.factor(i), f.ids.data() + i);
    i += n;
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0 && tail.size() == f.rows, wrong.load());
}

}  // namespace
}  // namespace bebr::test
