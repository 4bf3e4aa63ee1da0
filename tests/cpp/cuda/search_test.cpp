// FlatSearch on the emulated device against an exact search of the CPU's flat index.
#include "cuda/search.h"

#include <numeric>

#include "../indexes.h"
#include "code/planes.h"
#include "rows.h"

namespace bebr::test {
namespace {

struct SearchCase {
  std::vector<uint32_t> widths;
  uint32_t rows, count, k;
  Factor factor;
  bool stage_factor, masked, floored;
};

std::ostream& operator<<(std::ostream& out, const SearchCase& c) {
  out << "rows " << c.rows << ", queries " << c.count << ", k " << c.k << ", factor " << static_cast<int>(c.factor)
      << ", stage " << c.stage_factor << ", mask " << c.masked << ", floor " << c.floored << ", order "
      << static_cast<int>(emulate::order) << ", widths";
  for (const uint32_t w : c.widths) out << ' ' << w;
  return out;
}

void compare(Random& random, const SearchCase& c, const cuda::FlatLimits& limits) {
  const CodeRows rows = make_rows(random, c.widths, c.rows, c.factor, 2);
  const RowFormat format{rows.spec, c.factor, c.stage_factor, rows.code, rows.code};
  std::vector<uint8_t> factors(c.rows * format.factor_bytes());
  for (uint32_t i = 0; i < c.rows; ++i)
    for (uint32_t f = 0; f < format.factors(); ++f)
      std::copy_n(rows.factors.data() + (i + f) % c.rows * 2, 2, factors.data() + i * format.factor_bytes() + 2 * f);
  std::vector<int64_t> ids(c.rows);
  std::iota(ids.begin(), ids.end(), int64_t{3});
  std::shuffle(ids.begin(), ids.end(), random);
  const std::unique_ptr<Index> index = flat_index(format);
  index->add({c.rows, rows.planes.data(), factors.data(), ids.data(), nullptr});

  std::vector<float> y(size_t{c.count} * rows.spec.dims()), base(c.count), floors(c.count);
  for (size_t i = 0; i < y.size(); ++i)
    y[i] = (static_cast<float>(random() % 2001) - 1000) / static_cast<float>(20 + i % rows.spec.dims());
  for (float& b : base) b = static_cast<float>(below(random, 100)) / 30;
  for (float& f : floors) f = static_cast<float>(below(random, 100)) / 10;
  std::vector<uint16_t> mask(block_count(c.rows));
  for (uint16_t& m : mask) m = static_cast<uint16_t>(random());
  std::vector<int64_t> allowed;
  for (uint32_t i = 0; i < c.rows; ++i)
    if ((mask[i / 16] >> i % 16 & 1) != 0) allowed.push_back(ids[i]);

  SearchOptions options;
  options.k = c.k;
  options.exact = true;
  if (c.floored) options.min_scores = floors.data();
  Queries queries;
  queries.count = c.count;
  queries.y = y.data();
  queries.base = base.data();
  const Answer want = answer_of(*index, queries, options, c.masked ? AllowedIds(allowed) : std::nullopt);

  const cuda::FlatSearch search(0, format, c.rows, rows.planes.data(), factors.data(), ids.data(), limits);
  std::vector<float> scores(size_t{c.count} * c.k);
  std::vector<int64_t> found(scores.size());
  search.search(queries, c.k, options.min_scores, c.masked ? mask.data() : nullptr, scores.data(), found.data());
  CHECK_SAME(found.data(), want.ids.data(), found.size(), c);
  CHECK_SAME(scores.data(), want.scores.data(), scores.size(), c);
}

BEBR_TEST(search_equals_the_exact_search_of_the_cpu) {
  Random random(30);
  in_every_order(random, [&] {
    for (const auto& widths : std::vector<std::vector<uint32_t>>{{8}, {64, 64}, {136, 72, 40, 8}, {200, 200, 200, 160}})
      for (const uint32_t rows : {1u, 100u, 700u}) {
        const SearchCase c{widths,
                           rows,
                           1 + below(random, 30),
                           1 + below(random, 15),
                           static_cast<Factor>(below(random, 3)),
                           below(random, 2) != 0,
                           below(random, 2) != 0,
                           below(random, 3) == 0};
        cuda::FlatLimits limits;
        limits.batch = 1 + below(random, 20);
        limits.room = 16;
        compare(random, c, limits);
      }
  });
}

// Rows that get better one after the other: every round finds more than there is room for, and is run again.
BEBR_TEST(search_divides_what_there_is_no_room_for) {
  Random random(31);
  emulate::order = emulate::Order::Forward;
  const CodeSpec spec = CodeSpec::make(std::vector<uint32_t>{8, 8, 8, 8});
  const uint32_t rows = 1500;
  std::vector<uint8_t> planes(rows * spec.row_bytes());
  std::vector<int64_t> ids(rows);
  for (uint32_t i = 0; i < rows; ++i) {
    std::vector<float> v(8);
    for (uint32_t j = 0; j < 8; ++j) v[j] = static_cast<float>(2 * (i * 8 + j) / 8 * 15 / rows) / 8 - 15.0f / 8;
    pack_row(spec, v.data(), planes.data() + i * spec.row_bytes());
    ids[i] = i;
  }
  const RowFormat format{spec, Factor::None, false, FactorCode::make(2, 0, 0), FactorCode::make(2, 0, 0)};
  const std::unique_ptr<Index> index = flat_index(format);
  index->add({rows, planes.data(), nullptr, ids.data(), nullptr});
  const std::vector<float> y(8, 1.0f), base(1, 0.0f);
  Queries queries;
  queries.count = 1;
  queries.y = y.data();
  queries.base = base.data();
  SearchOptions options;
  options.k = 150;
  options.exact = true;
  const Answer want = answer_of(*index, queries, options);
  cuda::FlatLimits limits;
  limits.room = 1;
  limits.growth = 100;
  const cuda::FlatSearch search(0, format, rows, planes.data(), nullptr, ids.data(), limits);
  std::vector<float> scores(150);
  std::vector<int64_t> found(150);
  search.search(queries, 150, nullptr, nullptr, scores.data(), found.data());
  CHECK_SAME(found.data(), want.ids.data(), found.size(), "rows that get better");
  CHECK_SAME(scores.data(), want.scores.data(), scores.size(), "rows that get better");
}

}  // namespace
}  // namespace bebr::test
