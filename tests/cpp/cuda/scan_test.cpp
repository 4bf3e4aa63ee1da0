// The scans of cuda/scan.cu and scan_sm90.cu against the engine's specification: expand, dot_expanded and select of
// scalar*.cpp.
#include "cuda/scan.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#if defined(BEBR_EMULATED)
#include "cuda/least_sum.h"
#endif
#include "index/byte_queries.h"
#include "index/query.h"
#include "rows.h"

namespace bebr::test {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

struct ScanCase {
  std::vector<uint32_t> widths;
  uint32_t rows, count, shares;
  Factor factor;
  uint32_t factor_bytes;
  bool masked;
  uint32_t first_row, room;
  size_t shared;         // of a block: less than the whole plan takes cuts it into chunks
  bool visited = false;  // each query looks at some ranges of rows; else all look at all
  bool wide = false;     // by wgmma
};

std::ostream& operator<<(std::ostream& out, const ScanCase& c) {
  out << "rows " << c.first_row << " to " << c.rows << ", queries " << c.count << ", shares " << c.shares << ", factor "
      << static_cast<int>(c.factor) << " of " << c.factor_bytes << " bytes, mask " << c.masked << ", room " << c.room
      << ", shared " << c.shared << ", visited " << c.visited << ", wide " << c.wide << ", " << how() << ", widths";
  for (const uint32_t w : c.widths) out << ' ' << w;
  return out;
}

// Rows that some queries look at.
struct Range {
  uint32_t first, end;
  std::vector<uint32_t> visitors;
};

std::vector<Range> ranges_of(Random& random, const ScanCase& c) {
  std::vector<uint32_t> all(c.count);
  std::iota(all.begin(), all.end(), 0u);
  if (!c.visited) return {{c.first_row, c.rows, all}};
  std::vector<Range> ranges;
  for (uint32_t first = c.first_row; first < c.rows;) {
    const uint32_t end = std::min(c.rows, first + 16 * (1 + below(random, 30)));
    std::shuffle(all.begin(), all.end(), random);
    ranges.push_back({first,
                      end - std::min(below(random, 3), end - first - 1),
                      {all.begin(), all.begin() + 1 + below(random, c.count)}});
    first = end;
  }
  return ranges;
}

// What passes the thresholds of all queries, by the specification.
struct Wanted {
  std::vector<float> base, scale, threshold;
  std::vector<std::vector<cuda::Candidate>> candidates;
};

Wanted specified(Random& random, const ScanCase& c, const CodeRows& rows, const ByteQueries& queries,
                 const std::vector<uint16_t>& mask, const std::vector<Range>& ranges) {
  const Kernels& scalar = kernels(Isa::Scalar);
  const size_t blocks = block_count(c.rows), padded = blocks * kBlockRows;
  std::vector<uint8_t> expanded(blocks * expanded_bytes(rows.spec.groups()));
  scalar.expand(rows.scan(), 0, blocks, rows.spec.groups(), expanded.data());
  queries.copy_quads(blocks, queries.tiles(), expanded.data());
  std::vector<int32_t> sums(c.count * padded);
  scalar.dot_expanded(expanded.data(), blocks, queries.all_groups(), queries.y8.as<int8_t>(), c.count, sums.data(),
                      padded);
  std::vector<uint32_t> kept(padded + 16);
  std::vector<float> scores(padded + 16);
  Wanted wanted;
  for (uint32_t q = 0; q < c.count; ++q) {
    const auto select = [&](float above) {
      return scalar.select(sums.data() + q * padded, c.rows, rows.factors.data(), rows.code, c.factor,
                           c.masked ? mask.data() : nullptr, wanted.base[q], queries.scale[q], above, 0, kept.data(),
                           scores.data());
    };
    wanted.base.push_back(queries.base[q] + static_cast<float>(below(random, 2000)) / 300 - 3);
    // Of a third of the queries everything passes, of the others about a tenth.
    const size_t all = select(kLowest);
    std::vector<float> order(scores.begin(), scores.begin() + static_cast<ptrdiff_t>(all));
    std::sort(order.begin(), order.end(), std::greater<>());
    wanted.threshold.push_back(q % 3 == 0 || all < 10 ? kLowest : order[all / 10]);
    const size_t n = select(wanted.threshold[q]);
    wanted.candidates.emplace_back();
    for (const Range& range : ranges)
      for (size_t i = 0; i < n && std::ranges::count(range.visitors, q) > 0; ++i)
        if (kept[i] >= range.first && kept[i] < range.end) wanted.candidates.back().push_back({scores[i], kept[i]});
  }
  return wanted;
}

void compare(Random& random, const ScanCase& c) {
  const CodeRows rows = make_rows(random, c.widths, c.rows, c.factor, c.factor_bytes);
  std::vector<float> y(size_t{c.count} * rows.spec.dims());
  for (size_t i = 0; i < y.size(); ++i)  // leading dims are larger, as in a spectrum: some quads are repeated
    y[i] = (static_cast<float>(random() % 2001) - 1000) / static_cast<float>(20 + i % rows.spec.dims());
  const ByteQueries queries = make_byte_queries(rows.spec, y.data(), c.count);
  std::vector<uint16_t> mask(block_count(c.rows));
  for (uint16_t& m : mask) m = static_cast<uint16_t>(random());
  const std::vector<Range> ranges = ranges_of(random, c);
  const Wanted wanted = specified(random, c, rows, queries, mask, ranges);

  const cuda::ScanTile tile = c.wide ? cuda::kWideTile : cuda::tile_for(c.count, false);
  std::vector<cuda::ScanItem> listed;
  std::vector<uint32_t> who;
  for (const Range& range : ranges) {
    cuda::add_items(tile, range.first, range.end, c.shares, static_cast<uint32_t>(who.size()),
                    static_cast<uint32_t>(range.visitors.size()), listed);
    who.insert(who.end(), range.visitors.begin(), range.visitors.end());
  }
  const cuda::DeviceArray<cuda::ScanItem> items(listed);
  const cuda::DeviceArray<uint32_t> visitors(who);

  const cuda::ScanPlan plan = cuda::make_plan(rows.spec, queries.copied, tile, c.shared);
  CHECK(plan.room.bytes <= c.shared, "the plan takes " << plan.room.bytes << ", " << c);
  const cuda::DeviceArray<uint32_t> words(cuda::plan_words(plan));
  const cuda::DeviceArray<int8_t> y8(
      cuda::arrange(plan, queries.y8.as<int8_t>(), c.count, y8_stride(rows.spec.groups())));
  const cuda::DeviceArray<uint16_t> device_mask(mask);
  const cuda::DeviceArray<float> base(wanted.base), scale(queries.scale), threshold(wanted.threshold);
  cuda::DeviceArray<uint32_t> found(c.count);
  cuda::DeviceArray<cuda::Candidate> candidates(size_t{c.count} * c.room);
  found.fill_bytes(0);

  cuda::ScanArgs args;
  args.codes = rows.view();
  args.factors = rows.factor_view();
  if (c.masked) args.mask = device_mask.data();
  args.items = items.data();
  if (c.visited) args.visitors = visitors.data();
  args.tile = tile;
  args.plan = words.data();
  args.chunks = static_cast<uint32_t>(plan.chunks.size());
  args.steps = plan.steps();
  args.shared = plan.room;
  args.y8 = y8.data();
  args.base = base.data();
  args.scale = scale.data();
  args.threshold = threshold.data();
  args.found = found.data();
  args.candidates = candidates.data();
  args.room = c.room;
  cuda::scan_codes(args, listed.size());

  const std::vector<uint32_t> got_found = found.get();
  std::vector<cuda::Candidate> got = candidates.get();
  for (uint32_t q = 0; q < c.count; ++q) {
    const auto& want = wanted.candidates[q];
    CHECK(got_found[q] == want.size(),
          "query " << q << " found " << got_found[q] << ", want " << want.size() << "; " << c);
    if (want.size() > c.room) continue;  // counted, and as many kept as there is room for
    cuda::Candidate* mine = got.data() + size_t{q} * c.room;
    std::sort(mine, mine + want.size(), [](const auto& a, const auto& b) { return a.row < b.row; });
    for (size_t i = 0; i < want.size(); ++i) {
      CHECK(mine[i].row == want[i].row,
            "query " << q << " row " << mine[i].row << ", want " << want[i].row << "; " << c);
      CHECK(std::memcmp(&mine[i].score, &want[i].score, 4) == 0, "query " << q << " row " << want[i].row << " scores "
                                                                          << mine[i].score << ", want " << want[i].score
                                                                          << "; " << c);
    }
  }
  ++cases.count;
}

constexpr size_t kShared = 96 * 1024;

BEBR_TEST(scan_equals_scalar) {
  const std::vector<std::vector<uint32_t>> all = {{8},
                                                  {24, 16, 8},
                                                  {64, 64},
                                                  {72, 72, 72},
                                                  {136, 128, 64, 40, 40, 24, 16, 8},
                                                  {104, 96, 88, 88, 80},
                                                  {40, 40, 40, 40, 40, 40, 40, 40},
                                                  {80, 80, 80, 80, 80, 80, 80},
                                                  {96, 96, 96, 96, 96, 96},
                                                  {200, 160, 120, 80}};
  Random random(7);
  in_every_order(random, [&] {
    for (const auto& widths : all)
      for (const uint32_t rows : {1u, 15u, 129u, 300u, 520u}) {
        const auto factor = static_cast<Factor>(below(random, 3));
        const uint32_t most[] = {8, 32, 70};
        compare(random, {widths, rows, 1 + below(random, most[below(random, 3)]), 1 + below(random, 3), factor,
                         1u << below(random, 3), below(random, 2) != 0,
                         rows > 256 && below(random, 2) != 0 ? 16 * below(random, 16) : 0u, rows, kShared,
                         below(random, 2) != 0});
      }
  });
}

// Some tiles of one block: copies overlap with products, and stages are written over.
BEBR_TEST(scan_of_many_tiles) {
  Random random(8);
  in_every_order_twice([&] {
    compare(random, {{40, 24}, 1100, 3, 1, Factor::Mul, 2, true, 0, 1100, kShared});
    compare(random, {{40, 40, 40, 40, 40, 32, 24}, 140, 3, 1, Factor::Mul, 1, false, 0, 140, kShared});
    compare(random, {{136, 72}, 700, 9, 1, Factor::Sub, 4, false, 0, 700, 16 * 1024});  // in chunks
  });
}

// More queries than two tiles of them have, some of which look at some rows each.
BEBR_TEST(scan_of_many_queries) {
  Random random(11);
  in_every_order(random, [&] {
    compare(random, {{40, 24, 8}, 1000, 130, 2, Factor::Mul, 2, true, 0, 1000, kShared, below(random, 2) != 0});
  });
}

BEBR_TEST(scan_in_chunks) {
  Random random(9);
  in_every_order(random, [&] {
    for (const uint32_t dims : {136u, 264u, 520u})
      for (const size_t shared : {size_t{24} * 1024, size_t{48} * 1024})
        compare(random, {{dims, dims / 16 * 8, 8}, 200, 5, 2, Factor::Mul, 2, false, 0, 200, shared});
  });
  compare(random, {{4096, 2048, 1024}, 20, 2, 1, Factor::Mul, 1, false, 0, 20, kShared});
  compare(random, {{4088, 4088, 4088, 4088, 4088, 4088, 4088, 4088}, 17, 2, 1, Factor::None, 1, false, 0, 17, kShared});
}

BEBR_TEST(scan_counts_more_than_there_is_room_for) {
  Random random(10);
  in_every_order(random, [&] { compare(random, {{64, 32}, 300, 7, 2, Factor::Mul, 2, false, 0, 20, kShared}); });
}

// The same by wgmma, of tiles of 256 queries, most of which do not exist.
constexpr size_t kWideShared = 227 * 1024;

BEBR_TEST(scan_by_wgmma_equals_scalar) {
  if (!can_run_wgmma()) return;
  const std::vector<std::vector<uint32_t>> all = {{8},
                                                  {24, 16, 8},
                                                  {72, 72, 72},
                                                  {136, 128, 64, 40, 40, 24, 16, 8},
                                                  {104, 96, 88, 88, 80},
                                                  {96, 96, 96, 96, 96, 96},
                                                  {40, 40, 40, 40, 40, 40, 40, 40},
                                                  {200, 160, 120, 80}};
  Random random(12);
  in_every_order(random, [&] {
    for (const auto& widths : all)
      for (const uint32_t rows : {1 + below(random, 140), 300u}) {
        const auto factor = static_cast<Factor>(below(random, 3));
        const uint32_t most[] = {8, 40, 260};
        compare(random, {widths, rows, 1 + below(random, most[below(random, 3)]), 1 + below(random, 3), factor,
                         1u << below(random, 3), below(random, 2) != 0,
                         rows > 256 && below(random, 2) != 0 ? 16 * below(random, 16) : 0u, rows, kWideShared,
                         below(random, 2) != 0, true});
      }
  });
}

BEBR_TEST(scan_by_wgmma_of_many_tiles) {
  if (!can_run_wgmma()) return;
  Random random(13);
  in_every_order_twice([&] {
    compare(random, {{72, 40}, 400, 3, 1, Factor::Mul, 2, true, 0, 400, kWideShared, false, true});
    compare(random, {{24, 16}, 270, 140, 1, Factor::Sub, 4, false, 0, 270, kWideShared, false, true});
    compare(random, {{136, 72}, 270, 9, 1, Factor::None, 2, false, 0, 270, 64 * 1024, false, true});  // in chunks
  });
}

BEBR_TEST(scan_by_wgmma_in_chunks) {
  if (!can_run_wgmma()) return;
  Random random(14);
  in_every_order(random, [&] {
    compare(random, {{520, 256, 8}, 140, 5, 2, Factor::Mul, 1, false, 0, 140, 80 * 1024, false, true});
  });
}

#if defined(BEBR_EMULATED)
float score_of(const cuda::QueryNumbers& numbers, int32_t sum, Factor factor, float value) {
  const float product = numbers.scale * static_cast<float>(sum);
  const float score = numbers.base + product;
  return factor == Factor::None ? score : factor == Factor::Mul ? score * value : score - value;
}

// No sum below the least one passes with any factor of the range; with the best of them, one a little above it does.
BEBR_TEST(least_sum_is_below_all_that_pass) {
  Random random(15);
  const auto value = [&](float size) { return (static_cast<float>(random() % 2001) / 1000 - 1) * size; };
  for (int i = 0; i < 20000; ++i) {
    const auto factor = static_cast<Factor>(i % 3);
    const float size = std::ldexp(1.0f, static_cast<int>(below(random, 40)) - 20);
    const float low = (0.01f + std::abs(value(3))) * (factor == Factor::Sub ? size : 1);
    const float scale = size * (0.001f + std::abs(value(0.02f)));
    const cuda::QueryNumbers numbers{value(size), scale, value(8 * size), cuda::safe_inverse(scale)};
    const float high = low * (1 + std::abs(value(1)));
    const int32_t least = cuda::least_sum(numbers, cuda::range_of(factor, low, high));
    const float best = factor == Factor::Mul && numbers.threshold > 0 ? high : low;
    for (const int32_t less : {1, 2, 10, 1000})
      for (const float of : {low, high})
        CHECK(!(score_of(numbers, least - less, factor, of) > numbers.threshold),
              "sum " << least - less << " passes, " << i);
    const int32_t enough = least + 4 + std::abs(least) / 10000 + static_cast<int32_t>(size / scale / 1000);
    CHECK(score_of(numbers, enough, factor, best) > numbers.threshold, "sum " << enough << " does not pass, " << i);
  }
  const auto of = [](float scale, float threshold, float low) {
    return cuda::least_sum({0.5f, scale, threshold, cuda::safe_inverse(scale)}, cuda::range_of(Factor::Mul, low, 2));
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr int32_t kAll = -cuda::kMostSum - 1;
  CHECK(of(0.1f, kInfinity, 1) == cuda::kMostSum - 1, "nothing passes");
  CHECK(of(0.1f, kLowest, 1) == kAll, "everything passes");
  for (const float threshold : {-1.0f, 1.0f})
    CHECK(of(0, threshold, 1) == kAll && of(0.1f, threshold, 0) == kAll && of(0.1f, threshold, -1) == kAll,
          "what a division could not tell is looked at");
}
#endif

}  // namespace
}  // namespace bebr::test
