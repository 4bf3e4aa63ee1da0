// The scan of sign planes: every row of some flat segments, which are searched as if they were one.
#pragma once

#include <cstddef>
#include <span>

#include "index/options.h"
#include "index/query_batch.h"
#include "index/row_filter.h"
#include "index/rows.h"
#include "index/topk.h"

namespace bebr {

// Rows of a segment from position `first` on, a multiple of 16; bits and positions of the filter are the segment's.
struct FlatPart {
  RowView rows;
  RowFilter filter;
  size_t first = 0;
};

// Completing a row costs about as much as scanning this many: filtered rows that are fewer by it are completed, all of
// them.
inline constexpr size_t kCompleteCost = 64;

// Pushes the best rows of all parts for each query. The answer is the same however the same rows are cut into parts and
// shared by threads: survivors are the best of all parts together by first-stage score, of equal ones those of smaller
// ids. Their default number, and whether few allowed rows are completed without a scan, go by the rows of all parts.
// follows: lists or graphs of the same collection were searched before. A query that has k results from these completes
// the survivors that reach the k-th of them, raised by the margin that rules out rows of lists.
void scan_flat(const RowFormat& format, std::span<const FlatPart> parts, QueryBatch& queries,
               const SearchOptions& options, bool follows, TopKBatch& tops);

// Whether a batch of so many queries is scored by whole codes.
bool flat_expands(size_t queries, const SearchOptions& options);

}  // namespace bebr
