// One search of an IvfSegment, inside: which lists a query looks at (ivf/search.cpp), and the two ways through them.
//
// ivf/progressive.cpp: sign planes by lookup tables, then the other planes of what they leave over. A list may have one
// visitor or many.
// expanded.cpp: whole codes by all visitors of a list at once; worth it from Kernels::expand_queries visitors on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "index/ivf/segment.h"
#include "index/query_batch.h"
#include "index/row_filter.h"
#include "index/topk.h"

namespace bebr {

class IvfScan {
 public:
  IvfScan(const IvfSegment& segment, QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
          TopKBatch& tops);
  void run();
  // What run() looks at, for a search elsewhere. Exact searches alone; of others it is no more than is needed.
  LookedAt looked_at();
  static bool by_whole_codes(const IvfSegment& segment, size_t queries, const SearchOptions& options);

 private:
  // What enough() asks of a query that few allowed rows are near to. 10^6 rows in 2,048 lists, the tenth nearest to
  // some vector allowed, queries far from it: .85 of what a scan finds with a bound of 4, .93 with 8, .965 with 12; .98
  // with 16, of 1.2 times the rows. Nearly: of rows allowed by chance, that share goes up and down. And no fewer than
  // kFewestApart rows: of the hundredth nearest, a bound of 12 lets a fifth be held, of .82 of what a scan finds.
  static constexpr double kApart = 12, kNearShare = 0.75, kFewestApart = 8192;
  static constexpr size_t kRowsAResult = 8;  // that the lists hold at least, as far as they do without a filter

  class Group;
  class Progressive;
  struct Place {
    uint32_t list, row;
  };

  // How the rows that a filter allows are come by.
  enum class Way { Nothing, Copied, Direct, Lists };
  Way choose(size_t live);
  void prepare_filter();
  std::vector<Place> places() const;
  void count_allowed();
  bool enough(size_t found, double seen, double unfiltered) const;
  // Rows of a list that may be found.
  size_t allowed_of(size_t list) const;
  void search_copied(const std::vector<Place>& few);
  void set_masks();
  // What select may keep of a list, null: all of it; false: nothing. room: where a mask may be put.
  bool masked(size_t list, std::vector<uint16_t>& room, const uint16_t*& mask) const;
  // Lists of each query, the nearest first.
  using Lists = std::vector<std::vector<uint32_t>>;
  // Those that queries first + who[i] look at: nprobe[i] of them, and so many more that these are enough() and hold as
  // many rows as there are to be results.
  Lists nearest_lists(size_t first, std::span<const uint32_t> who, std::vector<size_t> nprobe, size_t results) const;
  // Whether lists that are visited so often in all are scored by whole codes.
  static bool expands(const IvfSegment& segment, size_t visits, const SearchOptions& options);
  // How many are taken together.
  static size_t group_of(const IvfSegment& segment, size_t queries, size_t nprobe, const SearchOptions& options);

  const IvfSegment& segment_;
  const RowFormat& format_;
  QueryBatch& queries_;
  const SearchOptions& options_;
  const RowFilter& filter_;
  TopKBatch& tops_;
  const Kernels& kernels_;
  const FineQuery* fine_ = nullptr;
  bool some_;  // a part of all rows may be found: a filter's, or those of a copy
  size_t nprobe_ = 1;
  size_t expected_ = 1;                       // lists that a query looks at, of rows allowed by chance
  std::vector<std::vector<uint16_t>> masks_;  // where the filter is a list: of each list of rows; empty: no row of it
  bool direct_ = false;                       // all of allowed_ are completed, nothing is scanned
  size_t few_ = 0;                            // rows that may be found, where these are some
  std::vector<size_t> allowed_in_;            // of each list, where that was counted beforehand
  double share_ = 1;                          // these, of all
  double more_ = 1;                           // times the rows are looked at for them, if they are allowed by chance
  std::vector<Place> allowed_;
};

// Which queries probe which list.
struct Visits {
  std::vector<uint32_t> begin, visitors;  // visitors of list l: begin[l] .. begin[l + 1]

  std::span<const uint32_t> of(size_t list) const {
    return {visitors.data() + begin[list], begin[list + 1] - begin[list]};
  }
};

// Some queries, numbered from 0; in one thread, but where they are scored by whole codes.
class IvfScan::Group {
 public:
  Group(const IvfScan& scan, size_t first, size_t count) : scan_(scan), first_(first), count_(count) {}
  void run();

  const IvfScan& scan() const noexcept { return scan_; }
  size_t first() const noexcept { return first_; }
  size_t size() const noexcept { return count_; }
  const FineQuery& fine(size_t i) const { return scan_.fine_[first_ + i]; }
  float base(size_t i) const { return scan_.queries_.base()[first_ + i]; }  // of the final score
  TopK& top(size_t i) { return scan_.tops_[first_ + i]; }
  // The queries' y; where the search is exact, the values that their fine forms represent.
  const float* y() const;

 private:
  void complete_allowed();
  void scan_expanded(const std::vector<uint32_t>& who, const Visits& visits);
  void probe_all();
  void probe(const std::vector<uint32_t>& who, const Lists& lists);
  void scan_progressive(std::span<const uint32_t> who, std::span<const std::vector<uint32_t>> lists);
  Visits visits(std::span<const uint32_t> who, std::span<const std::vector<uint32_t>> lists, size_t from,
                size_t to) const;

  const IvfScan& scan_;
  size_t first_, count_;
};

// A list at a time, by the sign plane first; for some queries of a group, in one thread.
class IvfScan::Progressive {
 public:
  explicit Progressive(Group& group);
  ~Progressive() { note_work(scan_.options_.work, scanned_, survivors_); }
  Progressive(const Progressive&) = delete;
  Progressive& operator=(const Progressive&) = delete;
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
  void prefetch(const RowView& list, std::span<const uint32_t> rows, size_t from, size_t to) const;
  size_t narrow(uint32_t query, const RowView& list, Kept& kept, size_t at);
  size_t best_first(uint32_t* rows, float* scores, size_t n);
  void finish(uint32_t query, const RowView& list, const Kept& kept);

  Group& group_;
  const IvfScan& scan_;
  const RowFormat& format_;
  const CodeSpec& spec_;
  bool two_steps_ = false, stage_factors_ = false;
  const LutQueries& tables_;  // of all queries, not of the group's alone
  std::vector<Raise> raises_;
  // Of the list at hand.
  std::vector<int32_t> sums_, bias_;
  std::vector<uint16_t> mask_;
  std::vector<uint32_t> rows_;
  std::vector<float> scores_, order_;
  std::vector<Kept> kept_;
  std::vector<Left> left_;
  size_t after_two_ = 0;                // bytes of the rest that the second plane takes
  size_t scanned_ = 0, survivors_ = 0;  // as of SearchWork
  Buffer gathered_, y8_;
};

}  // namespace bebr
