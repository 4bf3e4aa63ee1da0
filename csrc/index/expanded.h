// Search by whole codes, many queries at once: rows are expanded to bytes and multiplied with all queries that search
// them (Kernels::expand, dot_expanded). For batches over flat rows and for IVF lists that many queries probe.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/threads.h"
#include "index/best_bounds.h"
#include "index/byte_queries.h"
#include "index/options.h"
#include "index/query.h"
#include "index/rows.h"
#include "index/topk.h"

namespace bebr {

// Of each query: what the upper bound of a candidate's score must be above. Scans of different rows for the same
// queries share these, in several threads: what one of them has found rules out rows of all.
class Thresholds {
 public:
  explicit Thresholds(size_t queries) : values_(queries), tails_(queries) {
    for (std::atomic<float>& value : values_) value.store(kLowest, std::memory_order_relaxed);
    for (std::atomic<float>& tail : tails_) tail.store(0, std::memory_order_relaxed);
  }
  float of(uint32_t query) const noexcept { return values_[query].load(std::memory_order_relaxed); }
  void raise(uint32_t query, float to) noexcept { raise(values_[query], to); }
  // The most that the dims behind the leading ones have added to a row whose score was above the threshold then, in
  // standard deviations of what they add. To be raised before the threshold.
  float tail(uint32_t query) const noexcept { return tails_[query].load(std::memory_order_relaxed); }
  void raise_tail(uint32_t query, float to) noexcept { raise(tails_[query], to); }

 private:
  static void raise(std::atomic<float>& value, float to) noexcept {
    float now = value.load(std::memory_order_relaxed);
    while (now < to && !value.compare_exchange_weak(now, to, std::memory_order_relaxed)) {
    }
  }

  std::vector<std::atomic<float>> values_, tails_;
};

// Candidates of some queries, in one thread. Queries are rounded to bytes. A row stays a candidate while rounding may
// hide that it belongs to the answer; the few candidates left at the end are completed with the fine query.
class ExpandedScan {
 public:
  // Queries that one scan should take, for k results each: rows are expanded once for all of them, and their candidates
  // must fit in memory.
  static size_t max_batch(size_t k);

  // Whether a scan of so many rows may read the leading dims of most rows alone (leads of make_byte_queries). It learns
  // from the k best so far what the other dims add to rows like these, so these have to be its own: no floor, and no
  // thresholds at first.
  static bool leads(size_t rows, const SearchOptions& options);

  // queries: must not change while this lives; several scans may read the same ones. base: of each query. k: results a
  // query. rows: that a query is going to look at, more or less. thresholds: at first, scores that do not count. exact:
  // rounding is taken by its upper bound and nothing is lost; else by its standard deviation.
  ExpandedScan(const RowFormat& format, const ByteQueries& queries, const float* base, size_t k, size_t rows,
               Thresholds& thresholds, bool exact);

  // From now on reads the leading dims of most rows alone, where the queries have leads; all dims at first.
  void lead();

  // Scans the rows of `view` that `mask` allows (a bit a row; null: all) for queries `who`. The view must not change
  // until these queries are completed.
  // `next`: what is scanned after it, null: nothing that is known.
  void scan(const RowView& view, const uint16_t* mask, std::span<const uint32_t> who, const RowView* next = nullptr);

  // The k best lower bounds so far, in no order: fewer where there are fewer rows, or where they are another scan's.
  std::span<const float> best(uint32_t query) const { return best_.of(query); }

  // Rows that may belong to the answer of a query, by what is known so far.
  size_t candidates(uint32_t query);

  // Completes the candidates of a query into `top`, and forgets them; how many. prefetch: prefetches their codes.
  void prefetch(uint32_t query);
  size_t finalize(uint32_t query, const FineQuery& fine, TopK& top);

 private:
  struct Candidate {
    Candidate() noexcept {}  // whatever was there: nothing to write before it is filled
    float upper;             // bound of its final score
    uint32_t view, row;
  };
  struct QueryCandidates {
    std::vector<Candidate> candidates;
    void prefetch_end() const { __builtin_prefetch(candidates.data() + candidates.size(), 1); }
  };

  // Memory to ask for, a little at a time: a chunk's lines asked for at once wait for each other.
  struct Bytes {
    const uint8_t *at = nullptr, *end = nullptr;
    size_t lines() const noexcept { return (static_cast<size_t>(end - at) + 63) / 64; }
    void prefetch(size_t& some) noexcept {
      for (; some > 0 && at < end; --some, at += 64) __builtin_prefetch(at, 0, 2);
    }
  };
  struct Lines {
    Bytes sign, rest;
    size_t count() const noexcept { return sign.lines() + rest.lines(); }
    void prefetch(size_t some) noexcept {
      sign.prefetch(some);
      rest.prefetch(some);
    }
  };
  // Of a chunk's rows from number `first` on; null where the format has none.
  struct Factors {
    const uint8_t* at = nullptr;
    FactorCode code;
    size_t first = 0;
    float of(size_t row) const noexcept { return code.value(at + (row - first) * code.bytes); }
  };
  void read_factors(size_t first, size_t rows, size_t queries);

  void expand(const RowView& view, size_t first, size_t blocks);
  // Of the chunk that begins with row `first`.
  Lines lines(const RowView& view, size_t first) const;
  size_t select(uint32_t query, float raise, float threshold, const int32_t* sums, size_t first, size_t rows,
                const uint16_t* mask);
  void set_threshold(uint32_t query, const int32_t* sums, size_t first, size_t rows, const uint16_t* mask);
  void read(uint32_t tiles);
  void learn_tail(uint32_t query);
  void raise_tail(uint32_t query, int32_t added);
  void choose_tiles();
  float raise_of(uint32_t query) const;
  float lower_bound(uint32_t query, size_t i) const;
  size_t add_tails(uint32_t query, const int32_t* sums, size_t first, size_t rows);
  void collect(uint32_t query, size_t rows);
  void prefetch_list(uint32_t query) const {
    best_.prefetch(query);
    __builtin_prefetch(&lists_[query]);
  }
  void drop(uint32_t query);

  const RowFormat& format_;
  const CodeSpec& spec_;
  const Kernels& kernels_;
  size_t k_;
  const ByteQueries& queries_;
  size_t chunk_rows_;                 // that are expanded at a time
  std::vector<float> base_, raises_;  // raises: of a score by bytes, before the factor
  // Of a score by leading dims: the tiles that are read, and the standard deviation of what they do not see, rounding
  // included.
  uint32_t tiles_ = 0;
  std::vector<float> unseen_;
  Buffer tails_;      // of all queries (ByteQueries::copy_tail)
  Buffer row_tails_;  // of a chunk's rows (Kernels::expand_tail), of those that have one
  std::vector<uint8_t> has_tail_;
  size_t expected_rows_;  // of a query
  // Of rows and queries: so far; when tiles were chosen, or the second chunk began; when they are chosen again.
  size_t pairs_ = 0, last_choice_ = 0, next_choice_ = 0;
  size_t wasted_ = 0;  // since tiles were chosen: tails of rows that are no candidates
  Thresholds& thresholds_;
  BestBounds best_;  // of lower bounds
  std::vector<QueryCandidates> lists_;
  std::vector<RowView> views_;
  // Of the view at hand, and of its chunk.
  Buffer y8_, expanded_;
  Factors factors_;
  std::vector<float> floats_;  // factors
  std::vector<int32_t> sums_;
  std::vector<uint32_t> rows_;
  std::vector<float> scores_, order_;
};

// Of several scans over parts of the rows, the k-th best lower bound of all together is the threshold: the candidates
// left are those of all rows, however these were shared out.
void raise_threshold(const std::vector<std::optional<ExpandedScan>>& scans, size_t k, uint32_t query,
                     Thresholds& thresholds);

// Completes queries `who` of scans over parts of the rows, on all threads. fine, top: of a query.
template <typename Fine, typename Top>
void finalize_all(std::vector<std::optional<ExpandedScan>>& scans, const SearchOptions& options,
                  std::span<const uint32_t> who, Thresholds& thresholds, const Fine& fine, const Top& top) {
  parallel_for(who.size(), 1, [&](size_t begin, size_t end) {
    size_t survivors = 0;
    for (size_t i = begin; i < end; ++i) {
      raise_threshold(scans, options.k, who[i], thresholds);
      for (std::optional<ExpandedScan>& scan : scans) {
        if (i + 1 < end) scan->prefetch(who[i + 1]);
        survivors += scan->finalize(who[i], fine(who[i]), top(who[i]));
      }
    }
    note_work(options.work, 0, survivors);
  });
}

}  // namespace bebr
