// Copies of some rows in lists: the same rows, and searches far from all of them, which read whole codes.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "check.h"
#include "code/layout.h"
#include "code/planes.h"
#include "index/complete.h"
#include "index/ivf/copy.h"
#include "indexes.h"
#include "kernels/kernels.h"

namespace bebr::test {
namespace {

constexpr uint32_t kDim = 8;
constexpr size_t kLists = 40, kRows = 9000, kQueries = 20, kUnfit = 9;

// List l lies at place l of a line, and has rows of any codes. Every other query is at the begin of the line, the
// others are at its end.
struct Fixture {
  RowFormat format;
  std::unique_ptr<Index> index;
  std::vector<float> y, base, vectors;

  Fixture(Random& random, const RowFormat& format_) : format(format_) {
    std::vector<float> centroids(kLists * kDim);
    for (size_t l = 0; l < kLists; ++l) centroids[l * kDim] = static_cast<float>(l);
    index = ivf_index(format, kDim, centroids);
    std::vector<uint8_t> planes(kRows * format.spec.row_bytes()), factors;
    std::vector<int64_t> ids(kRows);
    std::vector<uint32_t> list(kRows);
    for (uint8_t& byte : planes) byte = static_cast<uint8_t>(random());
    for (size_t i = 0; i < kRows; ++i) {
      ids[i] = static_cast<int64_t>(kRows - i);
      list[i] = below(random, kLists);
      for (uint32_t f = 0; f < format.factors(); ++f)  // fp16 of .5 to 2
        factors.insert(factors.end(), {static_cast<uint8_t>(random()), static_cast<uint8_t>(0x38 + below(random, 8))});
    }
    index->add({kRows, planes.data(), factors.data(), ids.data(), list.data()});
    for (std::vector<float>* values : {&y, &base}) {
      values->resize(values == &y ? kQueries * format.spec.dims() : kQueries);
      for (float& value : *values) value = static_cast<float>(below(random, 2001)) / 1000 - 1;
    }
    y[kUnfit * format.spec.dims()] = 1.999f;  // does not fit in two bytes
    for (size_t q = 0; q < kQueries; ++q) {
      vectors.resize((q + 1) * kDim);
      vectors[q * kDim] = q % 2 == 1 ? -1.0f : static_cast<float>(kLists);
    }
  }
  std::shared_ptr<const IvfSegment> segment() const {
    return std::static_pointer_cast<const IvfSegment>(index->reading().segment);
  }
  Queries queries(size_t first, size_t count) const {
    return {count,   y.data() + first * format.spec.dims(), base.data() + first, nullptr,
            nullptr, vectors.data() + first * kDim};
  }
};

std::vector<RowFormat> formats() {
  const FactorCode code = FactorCode::make(2, 0, 0);
  const uint32_t one[] = {64}, three[] = {72, 40, 8}, six[] = {128, 128, 88, 40, 16, 8};
  return {{CodeSpec::make(one), Factor::Sub, false, code, code},
          {CodeSpec::make(three), Factor::Mul, true, code, code},
          {CodeSpec::make(six), Factor::None, false, code, code}};
}

// Rows in the lists from `first` on, so many of a hundred.
std::vector<uint64_t> wanted(const IvfSegment& segment, Random& random, size_t first, uint32_t percent) {
  std::vector<uint64_t> bits(words_for(segment.rows()));
  for (size_t at = segment.first(first); at < segment.rows(); ++at)
    if (below(random, 100) < percent) set_bit(bits, at);
  return bits;
}

// own: its lists are ranked by vectors of their own, in the order that is not that of the line.
std::shared_ptr<const IvfSegment> copied(const std::shared_ptr<const IvfSegment>& from, std::vector<uint64_t> bits,
                                         size_t at_once, bool own = false) {
  IvfCopy copy(from, std::move(bits));
  while (!copy.grow(at_once)) {
  }
  if (!own) return copy.whole();
  const CodeMeans means = copy.means();
  std::vector<float> vectors(means.lists.size() * kDim);
  for (size_t i = 0; i < means.lists.size(); ++i) vectors[i * kDim] = static_cast<float>(kLists - means.lists[i]);
  return copy.whole(vectors);
}

Answer answer(const IvfSegment& segment, const Fixture& f, size_t first, size_t count, const SearchOptions& options,
              const BitmapView& dead) {
  QueryBatch batch(f.format.spec, f.queries(first, count));
  TopKBatch tops(count, options.k, nullptr);
  segment.search(batch, options, {{}, nullptr, dead}, tops);
  return answer_of(tops, options.k);
}

// Every row of the lists that the first `count` queries look at.
Answer every_row(const IvfSegment& segment, const Fixture& f, size_t count, const SearchOptions& options,
                 const BitmapView& dead) {
  QueryBatch batch(f.format.spec, f.queries(0, count));
  TopKBatch tops(count, options.k, nullptr);
  const LookedAt looked = segment.looked_at(batch, options, {{}, nullptr, dead});
  for (size_t q = 0; q < count; ++q)
    for (size_t i = looked.begin[q]; i < looked.begin[q + 1]; ++i) {
      const RowView& list = segment.list(looked.lists[i]);
      for (uint32_t row = 0; row < list.rows; ++row)
        if (!dead[segment.first(looked.lists[i]) + row])
          complete_rows(f.format, list, batch.fine()[q], f.base[q], {&row, 1}, tops[q]);
    }
  return answer_of(tops, options.k);
}

BEBR_TEST(rows_of_a_copy_stand_in_lists_and_together) {
  Random random(1);
  for (const RowFormat& format : formats()) {
    const Fixture f(random, format);
    const auto from = f.segment();
    const std::vector<uint64_t> bits = wanted(*from, random, 3, 30);
    for (const size_t at_once : {size_t{1}, size_t{700}, kRows}) {
      const auto copy = copied(from, bits, at_once);
      const RowView& together = copy->together();
      CHECK(together.rows == copy->rows(), together.rows << " of " << copy->rows());
      std::vector<uint32_t> positions;
      RowFilter{view_of(bits), nullptr, {}, RowFilter::kUncounted}.each(
          0, from->rows(), [&](size_t at) { positions.push_back(static_cast<uint32_t>(at)); });
      const Rows want = from->copy_rows(positions);
      std::vector<uint32_t> all(copy->rows());
      for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
      const Rows got = copy->copy_rows(all);
      CHECK(got.planes == want.planes && got.factors == want.factors && got.ids == want.ids, at_once << " at once");
      Rows one_by_one;
      for (size_t i = 0; i < together.rows; ++i) copy_row(format, together, i, one_by_one);
      CHECK(one_by_one.planes == want.planes && one_by_one.factors == want.factors && one_by_one.ids == want.ids,
            at_once << " at once");
    }
  }
}

// In whole lists, and together; ranked as the lists that they were copied from, and by vectors of their own.
constexpr std::pair<uint32_t, bool> kCopies[] = {{100, false}, {40, false}, {8, false}, {2, false},
                                                 {100, true},  {40, true},  {8, true},  {2, true}};

// margin 0: sign planes lose what they can.
BEBR_TEST(a_query_far_from_all_rows_of_a_copy_loses_none_of_its_lists) {
  const size_t before = num_threads();
  Random random(2);
  for (const RowFormat& format : formats()) {
    const Fixture f(random, format);
    const auto from = f.segment();
    for (const auto& [percent, own] : kCopies) {
      const auto copy = copied(from, wanted(*from, random, 20, percent), kRows, own);
      std::vector<uint64_t> gone(words_for(copy->rows()));
      for (size_t at = 0; at < copy->rows(); at += 7) set_bit(gone, at);
      for (const BitmapView& dead : {BitmapView{}, view_of(gone)}) {
        SearchOptions options;
        options.nprobe = 2;
        options.margin = 0;
        const Answer want = every_row(*copy, f, kQueries, options, dead);
        for (const size_t threads : {1, 3}) {
          set_num_threads(threads);
          const Answer batch = answer(*copy, f, 0, kQueries, options, dead);
          for (size_t q = 0; q < kQueries; ++q) {
            const auto where = [&] { return std::to_string(percent) + " %, query " + std::to_string(q); };
            const Answer alone = answer(*copy, f, q, 1, options, dead);
            CHECK_SAME(alone.ids.data(), batch.ids.data() + q * options.k, options.k, where());
            CHECK_SAME(alone.scores.data(), batch.scores.data() + q * options.k, options.k, where());
            if (q % 2 == 0 || kernels().expand_queries == 0) continue;
            CHECK_SAME(batch.ids.data() + q * options.k, want.ids.data() + q * options.k, options.k, where());
            CHECK_SAME(batch.scores.data() + q * options.k, want.scores.data() + q * options.k, options.k, where());
          }
        }
        options.exact = true;
        for (const size_t nprobe : {size_t{2}, kLists}) {
          options.nprobe = nprobe;
          CHECK(answer(*copy, f, 0, kQueries, options, dead) == every_row(*copy, f, kQueries, options, dead),
                percent << " %, nprobe " << nprobe);
        }
      }
    }
  }
  set_num_threads(before);
}

// The rows of list `l` that are wanted, as CodeMeans sees them: all of few, else 32 that are evenly spaced.
void check_means(const RowFormat& format, const IvfSegment& from, const std::vector<uint64_t>& bits,
                 const CodeMeans& means) {
  const RowFilter filter{view_of(bits), nullptr, {}, RowFilter::kUncounted};
  size_t at = 0;
  for (size_t l = 0; l < from.lists(); ++l) {
    std::vector<uint32_t> rows;
    filter.each(from.first(l), from.list(l).rows, [&](size_t row) { rows.push_back(static_cast<uint32_t>(row)); });
    if (rows.empty()) continue;
    CHECK(at < means.lists.size() && means.lists[at] == l, "list " << l);
    std::vector<double> sum(format.spec.dims());
    double total = 0;
    const size_t count = std::min<size_t>(rows.size(), 32);
    for (size_t i = 0; i < count; ++i) {
      const Rows row = from.copy_rows({&rows[i * rows.size() / count], 1});
      std::vector<float> v(format.spec.dims());
      unpack_row(format.spec, row.planes.data(), v.data());
      const double f = format.factor == Factor::Mul ? double{format.code.value(row.factors.data())} : 1;
      for (size_t j = 0; j < v.size(); ++j) sum[j] += f * double{v[j]};
      total += f;
    }
    CHECK(std::abs(double{means.weights[at]} - total / static_cast<double>(count)) < 1e-5, "list " << l);
    for (size_t j = 0; j < sum.size(); ++j)
      CHECK(std::abs(double{means.values[at * sum.size() + j]} - sum[j] / total) < 1e-5, "list " << l << ", " << j);
    ++at;
  }
  CHECK(at == means.lists.size() && at == means.weights.size(), at << " of " << means.lists.size());
}

BEBR_TEST(lists_of_a_copy_have_the_means_of_its_rows) {
  Random random(4);
  for (const RowFormat& format : formats()) {
    const Fixture f(random, format);
    const auto from = f.segment();
    for (const uint32_t percent : {100u, 10u, 3u}) {
      const std::vector<uint64_t> bits = wanted(*from, random, 3, percent);
      IvfCopy copy(from, bits);
      while (!copy.grow(500)) {
      }
      if (percent == 3)  // fewer than 8 rows a list: who is far from them reads them all
        CHECK(copy.means().lists.empty(), copy.means().lists.size());
      else
        check_means(format, *from, bits, copy.means());
      std::string refused;
      try {
        static_cast<void>(copy.whole(std::vector<float>(3)));
      } catch (const Error& error) {
        refused = error.what();
      }
      CHECK(refused.find("own has 3 floats: want ") != std::string::npos, refused);
    }
  }
}

// Far from all rows: those lists that are nearest by what they hold, until they hold enough. Near them as ever.
BEBR_TEST(far_queries_go_by_the_rows_that_lists_hold) {
  Random random(5);
  const Fixture f(random, formats()[1]);
  const auto from = f.segment();
  const std::vector<uint64_t> bits = wanted(*from, random, 20, 40);
  const auto plain = copied(from, bits, kRows), own = copied(from, bits, kRows, true);
  SearchOptions options;
  options.k = 2;
  options.nprobe = 1;
  const auto looked = [&](const IvfSegment& segment) {
    QueryBatch batch(f.format.spec, f.queries(0, kQueries));
    return segment.looked_at(batch, options, {{}, nullptr, {}});
  };
  const LookedAt by_line = looked(*plain), by_rows = looked(*own);
  const double share = static_cast<double>(own->rows()) / static_cast<double>(from->rows());
  for (size_t q = 0; q < kQueries; ++q) {
    const auto of = [&](const LookedAt& all) {
      return std::vector<uint32_t>(all.lists.begin() + all.begin[q], all.lists.begin() + all.begin[q + 1]);
    };
    const std::vector<uint32_t> mine = of(by_rows);
    if (q % 2 == 0) {
      CHECK(mine == of(by_line), "query " << q);
      continue;
    }
    // The query is at -1, and nearest to it by the lists' own vectors is the last one.
    const double enough = 8 * std::sqrt(share) * static_cast<double>(from->list(0).rows);
    size_t held = 0, p = 0;
    for (; p < mine.size() && static_cast<double>(held) < enough; ++p) {
      CHECK(mine[p] == kLists - 1 - p, "query " << q << ", list " << p << " is " << mine[p]);
      held += own->list(mine[p]).rows;
    }
    CHECK(p == mine.size() && static_cast<double>(held) >= enough && p > 1 && p < 20, p << " of " << mine.size());
  }
  options.k = own->rows();  // none is enough
  const LookedAt every = looked(*own);
  for (size_t q = 1; q < kQueries; q += 2)
    CHECK(every.begin[q + 1] - every.begin[q] == kLists, every.begin[q + 1] - every.begin[q]);
}

// Nearly all rows are kept where a row's sign plane says nothing of its score: its queries go on by whole codes.
BEBR_TEST(sign_planes_that_rule_nothing_out_are_given_up) {
  Random random(3);
  const Fixture f(random, formats()[2]);
  const auto segment = f.segment();
  SearchOptions options;
  options.nprobe = kLists;
  options.margin = 1e6f;
  // One by one, and some that share lists, too few of them for whole codes from the start.
  for (const auto& [invariant, count] : {std::pair{true, kQueries}, std::pair{false, size_t{6}}}) {
    options.batch_invariant = invariant;
    options.work = nullptr;
    const Answer want = every_row(*segment, f, count, options, {});
    SearchWork work;
    options.work = &work;
    CHECK(answer(*segment, f, 0, count, options, {}) == want, count << " queries");
    if (kernels().expand_queries > 0)  // else all of them
      CHECK(work.survivors < count * kRows / 3, work.survivors.load() << " completed");
  }
}

}  // namespace
}  // namespace bebr::test
