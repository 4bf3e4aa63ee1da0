// Search by whole codes, many queries at once: rows are expanded to bytes and multiplied with all queries that search
// them (Kernels::expand, dot_expanded). For batches over flat rows and for IVF lists that many queries probe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "index/query.h"
#include "index/rows.h"
#include "index/topk.h"

namespace bebr {

// Candidates of some queries, in one thread. Queries are rounded to bytes. A row stays a candidate while rounding may
// hide that it belongs to the answer; the few candidates left at the end are completed with the fine query.
class ExpandedScan {
 public:
  // Queries that one scan should take, for k results each: rows are expanded once for all of them, and their candidates
  // must fit in memory.
  static size_t max_batch(size_t k);

  // queries: must not change while this lives; several scans may read the same ones. base: of each query. k: results a
  // query. min_scores: of each query, scores that do not count; null: none. exact: rounding is taken by its upper bound
  // and nothing is lost; else by its standard deviation.
  ExpandedScan(const RowFormat& format, const ByteQueries& queries, const float* base, size_t k,
               const float* min_scores, bool exact);

  // Scans the rows of `view` that `mask` allows (a bit a row; null: all) for queries `who`. The view must not change
  // until these queries are completed.
  void scan(const RowView& view, const uint16_t* mask, std::span<const uint32_t> who);

  // Prefetches a chunk of rows: what is scanned next.
  void prefetch_rows(const RowView& view, size_t first = 0) const;

  // The k best lower bounds so far, in no order: fewer where there are fewer rows. Of several scans over parts
  // of the rows, the k-th of all together is a threshold for each.
  std::span<const float> best(uint32_t query) const { return lists_[query].lower_bounds; }
  void raise_threshold(uint32_t query, float to) { thresholds_[query] = std::max(thresholds_[query], to); }

  // Completes the candidates of a query into `top`, and forgets them. prefetch: prefetches their codes.
  void prefetch(uint32_t query);
  void finalize(uint32_t query, const FineQuery& fine, TopK& top);

 private:
  // Its final score lies between the two bounds.
  struct Candidate {
    float lower, upper;
    uint32_t view, row;
  };
  struct QueryCandidates {
    std::vector<Candidate> candidates;
    std::vector<float> lower_bounds;  // the k best ones, worst in front
  };

  void select(uint32_t query, const int32_t* sums, size_t first, size_t rows, const uint16_t* mask);
  void collect(uint32_t query, size_t rows);
  void drop(uint32_t query);

  const RowFormat& format_;
  const CodeSpec& spec_;
  const Kernels& kernels_;
  size_t k_;
  const ByteQueries& queries_;
  std::vector<float> base_, raises_;  // raises: of a score by bytes, before the factor
  std::vector<float> thresholds_;     // a candidate's upper bound must be above
  std::vector<QueryCandidates> lists_;
  std::vector<RowView> views_;
  // Of the view at hand.
  Buffer y8_, expanded_;
  std::vector<int32_t> sums_;
  std::vector<uint32_t> rows_;
  std::vector<float> scores_;
};

}  // namespace bebr
