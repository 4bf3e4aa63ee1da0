// Queries take a tile more where rounding leaves many rows undecided, and only there.
#include "index/tile_choice.h"

#include <random>
#include <vector>

#include "check.h"

namespace bebr::test {
namespace {

constexpr size_t kRows = 4096, kQueries = 256;
constexpr uint32_t kDims = 64;
constexpr size_t kResults = 15;

RowFormat format() {
  RowFormat format;
  const uint32_t widths[] = {kDims, kDims, kDims, kDims};
  format.spec = CodeSpec::make(widths);
  format.factor = Factor::None;
  return format;
}

RowStore random_rows(Random& random, size_t rows) {
  const RowFormat form = format();
  std::vector<uint8_t> planes(rows * form.spec.row_bytes());
  for (uint8_t& byte : planes) byte = static_cast<uint8_t>(random());
  std::vector<int64_t> ids(rows);
  RowStore store;
  store.append(form, rows, planes.data(), nullptr, ids.data());
  return store;
}

// Normal entries, the first four dims `times` as large.
std::vector<float> queries(Random& random, float times) {
  std::normal_distribution<float> normal;
  std::vector<float> y(kQueries * kDims);
  for (size_t i = 0; i < y.size(); ++i) y[i] = normal(random) * (i % kDims < 4 ? times : 1.0f);
  return y;
}

uint32_t chosen(const std::vector<float>& y, const RowView& rows, size_t looked_at) {
  const std::vector<float> base(kQueries);
  const ByteSearch search{y.data(), base.data(), kQueries, kResults, looked_at, false};
  if (!may_take_more_tiles(search, rows.rows)) return 0;
  SampledRows sample(rows.rows);
  const size_t half = rows.rows / 2 / kBlockRows * kBlockRows;
  sample.add(format(), rows.part(format(), 0, half));
  sample.add(format(), rows.part(format(), half, rows.rows - half));
  CHECK(sample.pieces().size() == SampledRows::kPieces, sample.pieces().size());
  return more_tiles(format(), search, sample);
}

BEBR_TEST(large_dims_take_a_tile_more_where_few_rows_are_looked_at) {
  Random random(7);
  const RowStore rows = random_rows(random, kRows);
  const std::vector<float> even = queries(random, 1), steep = queries(random, 30);
  CHECK(chosen(even, rows.view(), kRows) == 0, "even");
  CHECK(chosen(steep, rows.view(), kRows / 2) == 1, "steep");
  CHECK(chosen(steep, rows.view(), 1 << 24) == 0, "steep, more rows than what is undecided costs");
}

BEBR_TEST(few_rows_or_pairs_are_not_tried) {
  Random random(8);
  const RowStore rows = random_rows(random, 1024);
  const std::vector<float> steep = queries(random, 30);
  CHECK(chosen(steep, rows.view(), 1024) == 0, "few rows");
  CHECK(chosen(steep, random_rows(random, kRows).view(), 16) == 0, "few pairs");
}

BEBR_TEST(pieces_are_spread_over_rows_of_any_parts) {
  Random random(9);
  const RowStore rows = random_rows(random, 2048);
  for (const size_t part : {16u, 48u, 2032u}) {
    SampledRows sample(rows.size());
    for (size_t first = 0; first < rows.size(); first += part)
      sample.add(format(), rows.view().part(format(), first, std::min(part, rows.size() - first)));
    CHECK(sample.pieces().size() == SampledRows::kPieces, "parts of " << part);
    for (size_t i = 0; i < sample.pieces().size(); ++i) {
      const RowView& piece = sample.pieces()[i];
      const auto first = static_cast<size_t>(piece.ids - rows.view().ids);
      CHECK(first <= 128 * i && 128 * i < first + kBlockRows, "piece " << i << " at " << first);
      CHECK(piece.rows > 0 && first + piece.rows <= rows.size(), "piece " << i << " of " << piece.rows);
    }
  }
}

}  // namespace
}  // namespace bebr::test
