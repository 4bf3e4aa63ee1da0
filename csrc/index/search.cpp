#include "index/search.h"

#include <string>
#include <vector>

#include "index/flat/segment.h"

namespace bebr {
namespace {

// Flat rows beside lists or a graph: so few are all completed, and give the others a threshold. More are scanned after
// them, for what can beat the k-th result: of 17,000 rows beside a million, half were completed before, and took most
// of a search's time (docs/experiments/segment-kinds.md).
constexpr size_t kFewFlat = 2048;

size_t flat_rows(std::span<const FlatPart> parts) {
  size_t rows = 0;
  for (const FlatPart& part : parts) rows += part.filter.count(part.first, part.rows.rows);
  return rows;
}

}  // namespace

void search(std::span<const SegmentView> segments, QueryBatch& queries, const SearchOptions& options, TopKBatch& tops) {
  if (options.k < 1) fail(ErrorCode::InvalidArgument, "k is 0: want k >= 1");
  if (options.enough > options.k)
    fail(ErrorCode::InvalidArgument, "enough is " + std::to_string(options.enough) + ": want 1 to k");
  if (segments.empty() || queries.size() == 0) return;
  const RowFormat& format = segments.front().reader->format();
  std::vector<FlatPart> parts;
  std::vector<const SegmentView*> others;
  for (const SegmentView& segment : segments) {
    if (!(segment.reader->format() == format))
      fail(ErrorCode::InvalidArgument, "segments hold codes of different formats: want those of one model");
    if (segment.reader->kind() == SegmentKind::Flat)
      static_cast<const FlatSegment&>(*segment.reader).add_parts(segment.filter, parts);
    else
      others.push_back(&segment);
  }
  const bool last = !others.empty() && flat_rows(parts) > kFewFlat;
  if (!last) scan_flat(format, parts, queries, options, false, tops);
  // These begin with the thresholds that were reached so far.
  for (const SegmentView* segment : others) {
    SearchOptions own = options;
    if (segment->effort > 0) own.nprobe = own.ef_search = segment->effort;
    segment->reader->search(queries, own, segment->filter, tops);
  }
  if (last) scan_flat(format, parts, queries, options, true, tops);
}

}  // namespace bebr
