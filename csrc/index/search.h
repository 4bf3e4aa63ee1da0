// One search over several segments of any kind.
#pragma once

#include <memory>
#include <span>

#include "index/options.h"
#include "index/query_batch.h"
#include "index/segment.h"
#include "index/topk.h"

namespace bebr {

struct SegmentView {
  std::shared_ptr<const SegmentReader> reader;
  RowFilter filter;
  size_t effort = 0;  // nprobe of IVF, ef_search of a graph; 0: those of the options
};

// Pushes the best rows of all segments for each query. All flat segments are scanned as one (flat/scan.h). Throws
// Error(InvalidArgument) where formats differ, or k or min_scores are out of range; Error(Cancelled) once options.stop
// is set.
void search(std::span<const SegmentView> segments, QueryBatch& queries, const SearchOptions& options, TopKBatch& tops);

}  // namespace bebr
