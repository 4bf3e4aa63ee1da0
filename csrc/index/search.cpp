#include "index/search.h"

#include <string>
#include <vector>

#include "index/flat/segment.h"

namespace bebr {

void search(std::span<const SegmentView> segments, QueryBatch& queries, const SearchOptions& options, TopKBatch& tops) {
  if (options.k < 1) fail(ErrorCode::InvalidArgument, "k is 0: want k >= 1");
  if (options.enough > options.k)
    fail(ErrorCode::InvalidArgument, "enough is " + std::to_string(options.enough) + ": want 1 to k");
  if (segments.empty() || queries.size() == 0) return;
  const RowFormat& format = segments.front().reader->format();
  std::vector<FlatPart> parts;
  for (const SegmentView& segment : segments) {
    if (!(segment.reader->format() == format))
      fail(ErrorCode::InvalidArgument, "segments hold codes of different formats: want those of one model");
    if (segment.reader->kind() == SegmentKind::Flat)
      static_cast<const FlatSegment&>(*segment.reader).add_parts(segment.filter, parts);
  }
  scan_flat(format, parts, queries, options, tops);
  // These begin with the thresholds that were reached so far.
  for (const SegmentView& segment : segments) {
    if (segment.reader->kind() == SegmentKind::Flat) continue;
    SearchOptions own = options;
    if (segment.effort > 0) own.nprobe = own.ef_search = segment.effort;
    segment.reader->search(queries, own, segment.filter, tops);
  }
}

}  // namespace bebr
