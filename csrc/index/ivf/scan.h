// One search of an IvfIndex, inside: which lists a query looks at (ivf/search.cpp), and the two ways through them.
//
// ivf/progressive.cpp: sign planes by lookup tables, then the other planes of what they leave over. A list may have one
// visitor or many.
// expanded.cpp: whole codes by all visitors of a list at once; worth it from Kernels::expand_queries visitors on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "index/ivf/ivf.h"
#include "index/query.h"
#include "index/topk.h"

namespace bebr {

class IvfIndex::Scan {
 public:
  // allowed: the rows to look at, in order, where params.filtered. direct: all of them are completed, nothing is
  // scanned.
  Scan(const IvfIndex& index, const Queries& queries, const float* vectors, const IvfParams& params,
       std::vector<Place> allowed, bool direct);

  void run(std::vector<std::vector<Hit>>& hits) const;

 private:
  class Group;
  class Progressive;

  // Exact: scores are raised by bounds, not by a margin of standard deviations.
  bool exact() const noexcept { return params_.margin < 0; }
  void set_masks();
  // What select may keep of a list, or null: all of it.
  const uint16_t* mask(size_t list) const {
    if (params_.filtered) return masks_[list].data();
    return index_.lists_[list].alive.empty() ? nullptr : index_.lists_[list].alive.data();
  }
  bool nothing_in(size_t list) const {
    const List& l = index_.lists_[list];
    return l.view.rows == l.dead || (params_.filtered && masks_[list].empty());
  }
  bool expands(size_t queries, size_t probes) const;

  const IvfIndex& index_;
  const Queries& queries_;
  const float* vectors_;
  const IvfParams& params_;
  const Kernels& kernels_;
  size_t probes_ = 1;
  std::vector<std::vector<uint16_t>> masks_;  // filtered: of each list; empty: no row of it
  bool direct_ = false;
  std::vector<Place> allowed_;
};

// Which queries probe which list.
struct Visits {
  std::vector<uint32_t> begin, visitors;  // visitors of list l: begin[l] .. begin[l + 1]

  std::span<const uint32_t> of(size_t list) const {
    return {visitors.data() + begin[list], begin[list + 1] - begin[list]};
  }
};

// Some queries, in one thread.
class IvfIndex::Scan::Group {
 public:
  struct Query {
    FineQuery fine;
    float base = 0;  // of the final score
    TopK top;
  };

  Group(const Scan& scan, size_t first, size_t count);
  void run(std::vector<Hit>* hits);

  const Scan& scan() const noexcept { return scan_; }
  size_t first() const noexcept { return first_; }
  std::vector<Query>& queries() noexcept { return queries_; }
  // The queries' y; where the search is exact, the values that their fine forms represent, put into `room`.
  const float* values(std::vector<float>& room) const;

 private:
  void complete_allowed();
  void scan_expanded(const std::vector<uint32_t>& who, const Visits& visits);
  void probe_all();
  void probe(const std::vector<uint32_t>& who, size_t probes, std::optional<Progressive>& progressive);
  Visits visits(const std::vector<uint32_t>& who, const std::vector<uint32_t>& lists, size_t probes, size_t from,
                size_t to) const;

  const Scan& scan_;
  const IvfIndex& index_;
  size_t first_;
  std::vector<Query> queries_;
};

// A list at a time, by the sign plane first.
class IvfIndex::Scan::Progressive {
 public:
  explicit Progressive(Group& group);
  // Scans a list for queries `who`: at most Kernels::batch_queries.
  void scan_list(size_t list, std::span<const uint32_t> who);

 private:
  struct Raise {
    float scan = 0;    // of the sign plane's score, before the factor
    float second = 0;  // of the first two planes' score
    float base = 0;    // of the sign plane's score
  };
  // The places of the rows that a query keeps, in rows_ and scores_, then in left_.
  struct Kept {
    size_t first, count;
    float base;
  };
  struct Left {
    uint32_t row;
    int32_t sum;  // over the first two planes
  };

  ScanQueries gather(std::span<const uint32_t> who);
  void prefetch(const List& list, std::span<const uint32_t> rows, size_t from, size_t to) const;
  size_t narrow(uint32_t query, const List& list, Kept& kept, size_t at);
  size_t best_first(uint32_t* rows, float* scores, size_t n);
  void finish(uint32_t query, const List& list, const Kept& kept);

  Group& group_;
  const Scan& scan_;
  const IvfIndex& index_;
  const CodeSpec& spec_;
  bool two_steps_ = false, stage_factors_ = false;
  LutQueries coarse_;
  std::vector<Raise> raises_;
  // Of the list at hand.
  std::vector<int32_t> sums_, bias_;
  std::vector<uint32_t> rows_;
  std::vector<float> scores_, order_;
  std::vector<Kept> kept_;
  std::vector<Left> left_;
  size_t after_two_ = 0;  // bytes of the rest that the second plane takes
  Buffer tables_, y8_;
};

}  // namespace bebr
