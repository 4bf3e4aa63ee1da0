// What a search is asked for, of every kind of index; each kind reads its own fields.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/search_work.h"

namespace bebr {

struct SearchOptions {
  size_t k = 10;  // results a query
  // Scores by code are exact: no row is lost that a bound on its score cannot rule out, of IVF in the lists looked at.
  // A graph scores every row.
  bool exact = false;
  // Results do not depend on which queries share the batch. Otherwise a large batch may be scored by whole codes at
  // once, which is faster for it and finds no less.
  bool batch_invariant = true;

  size_t first_stage_rows = 0;  // flat: candidates that the first stage keeps at least; 0: default_first_stage_rows

  size_t nprobe = 1;  // IVF: lists looked at
  // IVF: a row is completed over all planes if its sign plane's score, raised by this many standard deviations of what
  // the sign plane cannot see, reaches the k-th result so far.
  float margin = 3;
  size_t enough = 0;  // IVF: with fewer results than this, at most k, more lists are looked at; 0: k

  size_t ef_search = 0;  // graph: candidates that the walk keeps, at least k

  // Every row above min_scores, of IVF in the nprobe lists looked at; a filter widens nothing. k: as many as there are.
  bool range = false;

  const float* min_scores = nullptr;        // of each query: only results that score above it. Null: any
  const std::atomic<bool>* stop = nullptr;  // looked at between pieces of work
  SearchWork* work = nullptr;               // that is added to; null: nobody wants to know
};

// For a model that did not measure how many it needs.
inline size_t default_first_stage_rows(size_t k, size_t rows) { return std::max({size_t{64}, 4 * k, rows / 64}); }

// Throws Error(Cancelled) once the search was told to stop, or this thread is to give up.
inline void check_stop(const std::atomic<bool>* stop) {
  check_interrupt();
  if (stop != nullptr && stop->load(std::memory_order_relaxed)) fail(ErrorCode::Cancelled, "the search was stopped");
}
inline void check_stop(const SearchOptions& options) { check_stop(options.stop); }

inline void note_work(SearchWork* work, uint64_t scanned, uint64_t survivors) noexcept {
  if (work != nullptr) work->add(scanned, survivors);
}

}  // namespace bebr
