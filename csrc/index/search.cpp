#include "index/search.h"

#include <vector>

#include "index/flat/segment.h"

namespace bebr {

void search(std::span<const SegmentView> segments, QueryBatch& queries, const SearchOptions& options, TopKBatch& tops) {
  if (segments.empty()) return;
  const RowFormat& format = segments.front().reader->format();
  std::vector<FlatPart> parts;
  for (const SegmentView& segment : segments) {
    if (!(segment.reader->format() == format))
      fail(ErrorCode::InvalidArgument, "segments hold codes of different formats: want those of one model");
    static_cast<const FlatSegment&>(*segment.reader).add_parts(segment.filter, parts);
  }
  scan_flat(format, parts, queries, options, tops);
}

}  // namespace bebr
