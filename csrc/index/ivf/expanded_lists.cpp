// Lists by whole codes (expanded.h): a list at a time for all of its visitors.
//
// Where a query looks at many lists, the nearest ones of every query come first, and set thresholds. Of the rows of the
// others the leading dims rule nearly all out. Without these thresholds lists are no place for leading dims: of rows
// near a query too many stay (docs/experiments/leading-dims.md, "Lists").
#include <algorithm>
#include <atomic>
#include <optional>

#include "base/threads.h"
#include "index/expanded.h"
#include "index/ivf/scan.h"
#include "index/tile_choice.h"

namespace bebr {
namespace {

constexpr size_t kPieceRows = 2048;   // of a list that a thread scans before it looks for more to do
constexpr size_t kNearest = 2;        // lists of each query that come first
constexpr size_t kFewestVisits = 64;  // of a list, on average, that pay for expanding it once more

}  // namespace

void IvfScan::Group::scan_expanded(const std::vector<uint32_t>& who, const Lists& looks, size_t visited) {
  const IvfSegment& segment = scan_.segment_;
  const SearchOptions& options = scan_.options_;
  const CodeSpec& spec = scan_.format_.spec;
  const size_t rows = segment.rows() * visited / (segment.lists() * who.size());  // that a query looks at
  // Of a query that looks at lists in the order of the segment, the first ones are not the nearest.
  const bool ranked = std::none_of(looks.begin(), looks.end(), [](const Looks& mine) { return mine.apart; });
  // Rows of a single list, such as a copy of the allowed ones, are no nearer than flat rows: leading dims from the
  // start.
  const bool single = segment.lists() == 1;
  const bool many = visited >= kFewestVisits * segment.lists() &&
                    (single || (ranked && visited >= scan_.kernels_.lead_lists * who.size()));
  const ByteQueries bytes = make_byte_queries(spec, y(), count_, many && ExpandedScan::leads(rows, options),
                                              most_entry(spec, scan_.kernels_, options.exact), more_tiles(rows));
  const bool leads = bytes.least_tiles < bytes.tiles();
  Thresholds thresholds(count_);
  if (!leads)
    for (const uint32_t i : who) thresholds.raise(i, top(i).threshold());
  // No more than there may be pieces of lists.
  Scans scans(std::min(num_threads(), segment.lists() + segment.rows() / kPieceRows));
  parallel_for(scans.size(), 1, [&](size_t begin, size_t end) {
    for (size_t s = begin; s < end; ++s)
      scans[s].emplace(scan_.format_, bytes, scan_.queries_.base() + first_, options.k, rows / scans.size(), thresholds,
                       options.exact);
  });
  std::vector<Ranks> first, rest;
  for (const Looks& mine : looks) {
    first.push_back({0, leads && !single ? std::min(kNearest, mine.lists.size()) : mine.lists.size()});
    rest.push_back({first.back().to, mine.lists.size()});
  }
  const auto lead = [&] {
    parallel_for(scans.size(), 1, [&](size_t begin, size_t end) {
      for (size_t s = begin; s < end; ++s) scans[s]->lead();
    });
  };
  if (leads && single) lead();
  scan_round(visits(who, looks, first), scans);
  if (leads && !single) {
    lead();
    scan_round(visits(who, looks, rest), scans);
  }
  finalize_all(
      scans, options, who, thresholds, [this](uint32_t i) -> const FineQuery& { return fine(i); },
      [this](uint32_t i) -> TopK& { return top(i); });
}

// rows: that a query looks at.
uint32_t IvfScan::Group::more_tiles(size_t rows) const {
  const SearchOptions& options = scan_.options_;
  const ByteSearch search{y(), scan_.queries_.base() + first_, count_, options.k, rows, options.exact};
  const IvfSegment& segment = scan_.segment_;
  if (!may_take_more_tiles(search, segment.rows())) return 0;
  SampledRows sample(segment.rows());
  for (size_t l = 0; l < segment.lists(); ++l) sample.add(scan_.format_, segment.list(l));
  return bebr::more_tiles(scan_.format_, search, sample);
}

// Every thread scans pieces of lists until none is left, with candidates of its own.
void IvfScan::Group::scan_round(const Visits& visits, Scans& scans) {
  const IvfSegment& segment = scan_.segment_;
  struct Piece {
    size_t list, row;
    RowView rows;
  };
  std::vector<Piece> pieces;
  for (size_t l = 0; l < segment.lists(); ++l)
    for (size_t row = 0; row < segment.list(l).rows && !visits.of(l).empty(); row += kPieceRows)
      pieces.push_back(
          {l, row, segment.list(l).part(scan_.format_, row, std::min(kPieceRows, segment.list(l).rows - row))});
  std::atomic<size_t> next{0};
  parallel_for(scans.size(), 1, [&](size_t begin, size_t end) {
    for (size_t s = begin; s < end; ++s) {
      std::vector<uint16_t> room;
      for (size_t at = next++, then; at < pieces.size(); at = then) {
        check_stop(scan_.options_);
        then = next++;
        const Piece& piece = pieces[at];
        const uint16_t* mask = nullptr;
        if (!scan_.masked(piece.list, room, mask)) continue;
        scans[s]->scan(piece.rows, mask != nullptr ? mask + piece.row / kBlockRows : nullptr, visits.of(piece.list),
                       then < pieces.size() ? &pieces[then].rows : nullptr);
        note_work(scan_.options_.work, visits.of(piece.list).size() * piece.rows.rows, 0);
      }
    }
  });
}

}  // namespace bebr
