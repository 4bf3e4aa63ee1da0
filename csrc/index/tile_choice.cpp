#include "index/tile_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "index/expanded.h"

namespace bebr {
namespace {

constexpr size_t kQueries = 16;           // of a batch, that are tried
constexpr size_t kResults = 10;           // that these look for, or fewer
constexpr size_t kFirstPieces = 4;        // after which is counted for the first time
constexpr size_t kFewestPairs = 1 << 19;  // of rows and queries, that make trying cost a hundredth or less
constexpr size_t kFewestRows = 4 * SampledRows::kPieces * SampledRows::kPieceRows;

}  // namespace

void SampledRows::add(const RowFormat& format, const RowView& rows) {
  while (pieces_.size() < kPieces) {
    const size_t wanted = pieces_.size() * all_ / kPieces;
    if (wanted >= seen_ + rows.rows) break;
    const size_t first = (wanted - seen_) / kBlockRows * kBlockRows;
    pieces_.push_back(rows.part(format, first, std::min(kPieceRows, rows.rows - first)));
  }
  seen_ += rows.rows;
}

bool may_take_more_tiles(const ByteSearch& search, size_t all) {
  return search.count * search.rows >= kFewestPairs && all >= kFewestRows;
}

uint32_t more_tiles(const RowFormat& format, const ByteSearch& search, const SampledRows& sample) {
  const size_t dims = format.spec.dims(), count = std::min(kQueries, search.count), k = std::min(kResults, search.k);
  std::vector<float> y(count * dims), base(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t query = i * search.count / count;
    std::copy_n(search.y + query * dims, dims, y.data() + i * dims);
    base[i] = search.base[query];
  }
  const ByteQueries bytes =
      make_byte_queries(format.spec, y.data(), count, false, most_entry(format.spec, kernels(), search.exact));
  Thresholds thresholds(count);
  ExpandedScan scan(format, bytes, base.data(), k, 0, thresholds, search.exact);
  std::vector<uint32_t> who(count);
  std::iota(who.begin(), who.end(), 0u);
  const auto undecided = [&] {  // rows, as a multiple of those that are found
    size_t rows = 0;
    for (const uint32_t i : who) rows += scan.candidates(i);
    return static_cast<double>(rows) / static_cast<double>(k * count);
  };
  const std::span<const RowView> pieces = sample.pieces();
  const size_t step = std::max<size_t>(1, pieces.size() / kFirstPieces);
  double seen = 0;
  const auto look_at = [&](size_t piece) {
    scan.scan(pieces[piece], nullptr, who);
    seen += static_cast<double>(pieces[piece].rows);
  };
  for (size_t i = 0; i < pieces.size(); i += step) look_at(i);
  const double first = undecided(), first_rows = seen;
  for (size_t i = 0; i < pieces.size(); ++i)
    if (i % step > 0) look_at(i);
  const double second = undecided(), all = static_cast<double>(sample.all());
  if (first == 0) return 0;
  // Among more rows the best stand closer: what is undecided grows by a power of the rows.
  const double power = std::max(0.0, std::log(second / first) / std::log(seen / first_rows));
  const double ratio = second * std::pow(all / seen, power);
  return (ratio - 1) * static_cast<double>(search.k) * kernels().completed_tiles > static_cast<double>(search.rows) ? 1
                                                                                                                    : 0;
}

}  // namespace bebr
