// RowSearch against an exact search of the CPU's flat index.
#include "cuda/row_search.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "../indexes.h"
#include "code/planes.h"
#include "rows.h"

namespace bebr::test {
namespace {

struct SearchCase {
  std::vector<uint32_t> widths;
  uint32_t rows, count, k, parts;  // parts: 0: one part, and every query looks at it
  Factor factor;
  bool stage_factor, masked, floored;
  bool streamed = false;  // the device has no room for all rows
  bool signs = false;     // it has sign planes alone
};

std::ostream& operator<<(std::ostream& out, const SearchCase& c) {
  out << "rows " << c.rows << ", queries " << c.count << ", k " << c.k << ", parts " << c.parts << ", factor "
      << static_cast<int>(c.factor) << ", stage " << c.stage_factor << ", mask " << c.masked << ", floor " << c.floored
      << ", streamed " << c.streamed << ", signs " << c.signs << ", " << how() << ", widths";
  for (const uint32_t w : c.widths) out << ' ' << w;
  return out;
}

// Sizes of parts, some of them empty.
std::vector<size_t> sizes_of(Random& random, const SearchCase& c) {
  std::vector<size_t> cuts{0, c.rows}, sizes;
  for (uint32_t i = 1; i < c.parts; ++i) cuts.push_back(below(random, c.rows + 1));
  std::sort(cuts.begin(), cuts.end());
  for (size_t i = 1; i < cuts.size(); ++i) sizes.push_back(cuts[i] - cuts[i - 1]);
  return sizes;
}

// What the CPU finds among the rows that a query looks at and may find.
Answer wanted(const Index& index, const Queries& queries, const SearchCase& c, const float* floors,
              const std::vector<std::vector<int64_t>>& allowed) {
  Answer want;
  for (uint32_t q = 0; q < c.count; ++q) {
    SearchOptions options;
    options.k = c.k;
    options.exact = true;
    if (c.floored) options.min_scores = floors + q;
    Queries one;
    one.count = 1;
    one.y = queries.y + q * index.format().spec.dims();
    one.base = queries.base + q;
    const Answer found = answer_of(index, one, options, AllowedIds(allowed[q]));
    want.ids.insert(want.ids.end(), found.ids.begin(), found.ids.end());
    want.scores.insert(want.scores.end(), found.scores.begin(), found.scores.end());
  }
  return want;
}

[[maybe_unused]] constexpr size_t kMemory = size_t{1} << 36;  // what the emulated device has
[[maybe_unused]] constexpr size_t kWork = size_t{1} << 20;    // that of DeviceRows

// So many bytes of it, and those that a search works in; all again. A GPU has what it has.
void leave([[maybe_unused]] size_t bytes) {
#if defined(BEBR_EMULATED)
  cuda::set_memory(kMemory);
  cuda::set_memory(kMemory - cuda::free_memory() + kWork + bytes);
#endif
}
void leave_all() {
#if defined(BEBR_EMULATED)
  cuda::set_memory(kMemory);
  cuda::set_pinned(kMemory);
#endif
}

// Of rows on the device.
size_t bytes_of(const RowFormat& format, const std::vector<size_t>& sizes) {
  size_t slots = 0;
  for (const size_t size : sizes) slots += block_count(size) * kBlockRows;
  return slots * (format.spec.row_bytes() + (format.factor != Factor::None ? format.code.bytes : 0) + sizeof(int64_t));
}

// Answers that stay on the device are the host's, as they are and as distances within a radius.
void compare_there(const cuda::RowSearch& search, const cuda::Asked& asked, const std::vector<float>& scores,
                   const std::vector<int64_t>& ids) {
  cuda::Unit unit;
  const cuda::DeviceAnswers same = search.search_there(asked, unit);
  CHECK_SAME(same.scores.get().data(), scores.data(), scores.size(), "scores that stay");
  CHECK_SAME(same.ids.get().data(), ids.data(), ids.size(), "ids that stay");
  std::vector<float> offset(asked.queries.count), want(scores.size());
  for (size_t q = 0; q < offset.size(); ++q) offset[q] = 0.3f + static_cast<float>(q % 7) / 3;
  unit.distance = unit.calibrated = unit.limited = true;
  unit.offset = offset.data();
  unit.scale = 1.7f;
  unit.factor = 0.9f;
  unit.summand = 0.1f;
  const auto in_unit = [&](size_t i) {
    const float distance = offset[i / asked.k] - scores[i] / unit.scale;
    const float product = unit.factor * distance;
    return ids[i] < 0 ? std::numeric_limits<float>::infinity() : product + unit.summand;
  };
  if (ids[ids.size() / 2] >= 0) unit.radius = in_unit(ids.size() / 2);
  std::vector<int64_t> within(ids);
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool beyond = in_unit(i) > unit.radius;
    want[i] = beyond ? std::numeric_limits<float>::infinity() : in_unit(i);
    if (beyond) within[i] = -1;
  }
  const cuda::DeviceAnswers changed = search.search_there(asked, unit);
  CHECK_SAME(changed.scores.get().data(), want.data(), want.size(), "distances that stay");
  CHECK_SAME(changed.ids.get().data(), within.data(), within.size(), "ids within a radius");
}

void compare(Random& random, const SearchCase& c, const cuda::SearchLimits& limits) {
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
  const std::unique_ptr<bool[]> allow(new bool[c.rows]);
  for (uint32_t i = 0; i < c.rows; ++i) allow[i] = !c.masked || below(random, 2) != 0;

  const std::vector<size_t> sizes = sizes_of(random, c);
  std::vector<uint32_t> begin{0}, parts, all(sizes.size());
  std::iota(all.begin(), all.end(), 0u);
  std::vector<std::vector<int64_t>> allowed(c.count);
  for (uint32_t q = 0; q < c.count; ++q) {
    std::shuffle(all.begin(), all.end(), random);
    const uint32_t looked = c.parts > 0 ? below(random, c.parts + 1) : 1;
    parts.insert(parts.end(), all.begin(), all.begin() + looked);
    begin.push_back(static_cast<uint32_t>(parts.size()));
    size_t row = 0;
    for (size_t part = 0; part < sizes.size(); ++part)
      for (const size_t end = row + sizes[part]; row < end; ++row)
        if (allow[row] && std::find(parts.begin() + begin[q], parts.end(), part) != parts.end())
          allowed[q].push_back(ids[row]);
  }
  Queries queries;
  queries.count = c.count;
  queries.y = y.data();
  queries.base = base.data();
  const Answer want = wanted(*index, queries, c, floors.data(), allowed);

  const cuda::RowArrays arrays{sizes, rows.planes.data(), factors.data(), ids.data()};
  cuda::Residency residency;
  if (c.signs) residency.kind = cuda::Residency::Signs;
  if (c.streamed) leave(bytes_of(format, sizes) - 1);
  const cuda::RowSearch search(0, format, arrays, limits, residency);
  leave_all();
  CHECK(search.rows().resident() != c.streamed, c);
  CHECK(search.rows().signs() == (c.signs && c.widths.size() > 1), c);
  std::vector<float> scores(size_t{c.count} * c.k);
  std::vector<int64_t> found(scores.size());
  const cuda::Asked asked{queries, c.k,
                          c.parts > 0 ? std::optional(cuda::PartsOfQueries{begin.data(), parts.data()}) : std::nullopt,
                          c.floored ? floors.data() : nullptr, c.masked ? allow.get() : nullptr};
  search.search(asked, scores.data(), found.data());
  CHECK_SAME(found.data(), want.ids.data(), found.size(), c);
  CHECK_SAME(scores.data(), want.scores.data(), scores.size(), c);
  if (c.streamed || c.rows <= 100) compare_there(search, asked, scores, found);
  ++cases.count;
}

BEBR_TEST(search_equals_the_exact_search_of_the_cpu) {
  Random random(30);
  in_every_order(random, [&] {
    for (const auto& widths : std::vector<std::vector<uint32_t>>{{8}, {64, 64}, {136, 72, 40, 8}, {200, 200, 200, 160}})
      for (const uint32_t rows : {1u, 100u, 700u})
        for (const uint32_t parts : {0u, 7u}) {
          const SearchCase c{widths,
                             rows,
                             1 + below(random, 30),
                             1 + below(random, 15),
                             parts,
                             static_cast<Factor>(below(random, 3)),
                             below(random, 2) != 0,
                             below(random, 2) != 0,
                             below(random, 3) == 0};
          cuda::SearchLimits limits;
          limits.batch = 1 + below(random, 20);
          limits.room = 16;
          limits.piece = 16u << below(random, 5);
          compare(random, c, limits);
        }
  });
}

// Enough queries for wgmma: of all rows, and of parts that most of them look at.
BEBR_TEST(search_by_wgmma_is_exact) {
  Random random(43);
#if defined(BEBR_EMULATED)
  cuda::set_wgmma(true);
  const size_t before = cuda::products_by_wgmma();
#endif
  in_every_order(random, [&] {
    for (const uint32_t count : {150u})
      for (const uint32_t parts : {0u, 2u}) {
        cuda::SearchLimits limits;
        limits.room = 16;
        compare(random, {{72, 40, 8}, 200, parts > 0 ? 2 * count : count, 5, parts, Factor::Mul, false, false, false},
                limits);
      }
  });
#if defined(BEBR_EMULATED)
  CHECK(cuda::products_by_wgmma() > before, "nothing was multiplied by wgmma");
  cuda::set_wgmma(false);
#endif
}

// Sign planes there, other planes in the host's memory: rounds find more than there is room for, and are divided.
BEBR_TEST(search_of_sign_planes_is_exact) {
  Random random(41);
  in_every_order(random, [&] {
    for (const auto& widths : std::vector<std::vector<uint32_t>>{{16}, {64, 64}, {136, 72, 40, 8}, {264, 264, 200}})
      for (const uint32_t parts : {0u, 5u}) {
        SearchCase c{widths,
                     300 + below(random, 400),
                     1 + below(random, 12),
                     1 + below(random, 15),
                     parts,
                     static_cast<Factor>(below(random, 3)),
                     below(random, 2) != 0,
                     below(random, 2) != 0,
                     below(random, 3) == 0};
        c.signs = true;
        cuda::SearchLimits limits;
        limits.room_of_signs = 16;
        limits.piece = 16u << below(random, 3);
        compare(random, c, limits);
      }
  });
}

#if defined(BEBR_EMULATED)
// Rows that the device has no room for come window by window, whose copies land early and late.
BEBR_TEST(search_streams_what_does_not_fit) {
  Random random(37);
  in_every_order(random, [&] {
    compare(random, {{8}, 3, 4, 7, 0, Factor::None, false, false, false}, {});  // fewer rows than results, all there
    for (const uint32_t parts : {0u, 9u}) {
      SearchCase c{{72, 40},   300, 1 + below(random, 9), 1 + below(random, 9), parts, Factor::Mul, false, parts > 0,
                   parts == 0, true};
      cuda::SearchLimits limits;
      limits.streamed = 4;
      limits.room = 16;
      limits.piece = 16u << below(random, 3);
      limits.window = 1500;
      compare(random, c, limits);
    }
  });
}

// What neither fits nor can be brought is refused by both sizes, and nothing of it stays on the device.
BEBR_TEST(search_refuses_what_cannot_be_brought) {
  Random random(38);
  const CodeRows rows = make_rows(random, {64}, 4000, Factor::None, 2);
  const RowFormat format{rows.spec, Factor::None, false, rows.code, rows.code};
  const std::vector<int64_t> ids(rows.rows);
  const std::vector<size_t> sizes{rows.rows};
  const auto refused = [&](const std::string& why, const cuda::Residency& residency = {}) {
    const size_t before = cuda::free_memory();
    try {
      cuda::RowSearch(0, format, {sizes, rows.planes.data(), nullptr, ids.data()}, {}, residency);
      CHECK(false, "rows were taken: want " << why);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::LimitExceeded && error.what() == why, error.what());
    }
    CHECK(cuda::free_memory() == before, "memory is lost: " << before - cuda::free_memory());
  };
  leave(30000);
  refused("even a piece at a time, the index's rows need 1.03 MiB on the device, which has 1.03 MiB left");
  leave(40000);
  cuda::set_pinned(1000);
  refused(
      "the index's rows need 1.06 MiB on the device, which has 1.04 MiB left, and 0.03 MiB of the host's memory "
      "cannot be pinned");
  refused("the index's rows need 1.06 MiB on the device, which has 1.04 MiB left",
          {.most = size_t{1} << 30, .kind = cuda::Residency::Whole});
  leave_all();
  refused("the index's rows need 0.06 MiB on the device, and may have 0.05 MiB there",
          {.most = 50000, .kind = cuda::Residency::Whole});
  refused("even a piece at a time, the index's rows need 0.03 MiB on the device, and may have 0.02 MiB there",
          {.most = 20000});
  const RowFormat two{CodeSpec::make(std::vector<uint32_t>{32, 32}), Factor::None, false, rows.code, rows.code};
  try {
    cuda::RowSearch(0, two, {sizes, rows.planes.data(), nullptr, ids.data()}, {},
                    {.most = 40000, .kind = cuda::Residency::Signs});
    CHECK(false, "sign planes were taken");
  } catch (const Error& error) {
    CHECK(
        std::string(error.what()) == "the index's sign planes need 0.05 MiB on the device, and may have 0.04 MiB there",
        error.what());
  }
}

// A budget below what there is: windows as large as it allows.
BEBR_TEST(search_within_a_budget) {
  Random random(42);
  const CodeRows rows = make_rows(random, {64}, 4000, Factor::None, 2);
  const RowFormat format{rows.spec, Factor::None, false, rows.code, rows.code};
  const std::vector<int64_t> ids(rows.rows);
  const std::vector<size_t> sizes{rows.rows};
  const size_t all = bytes_of(format, sizes);
  const auto made = [&](size_t most) {
    return cuda::RowSearch(0, format, {sizes, rows.planes.data(), nullptr, ids.data()}, {}, {.most = most})
        .rows()
        .bytes();
  };
  CHECK(made(all) >= all, "what fits is there");
  CHECK(made(all - 1) < all && made(all - 1) > all / 2, "windows of half the budget: " << made(all - 1));
}
#endif

// Rows that get better one after the other: every round finds more than there is room for, and is run again.
BEBR_TEST(search_divides_what_there_is_no_room_for) {
  Random random(31);
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
  cuda::SearchLimits limits;
  limits.room = 1;
  limits.growth = 100;
  limits.piece = 256;
  const std::vector<size_t> sizes{rows};
  const cuda::RowSearch search(0, format, {sizes, planes.data(), nullptr, ids.data()}, limits);
  const std::vector<uint32_t> begin{0, 1}, parts{0};
  for (const auto& looked :
       {std::optional<cuda::PartsOfQueries>(), std::optional(cuda::PartsOfQueries{begin.data(), parts.data()})}) {
    std::vector<float> scores(150);
    std::vector<int64_t> found(150);
    search.search({queries, 150, looked}, scores.data(), found.data());
    CHECK_SAME(found.data(), want.ids.data(), found.size(), "rows that get better");
    CHECK_SAME(scores.data(), want.scores.data(), scores.size(), "rows that get better");
  }
}

}  // namespace
}  // namespace bebr::test
