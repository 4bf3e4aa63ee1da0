// One search of an IvfSegment, inside: which lists a query looks at (ivf/search.cpp), and the three ways through them.
//
// ivf/progressive.cpp: sign planes by lookup tables, then the other planes of what they leave over. A list may have one
// visitor or many.
// ivf/whole.cpp: whole codes, of which no row is lost; where sign planes rule out few rows.
// ivf/expanded_lists.cpp: whole codes by all visitors of a list at once; where that pays: IvfScan::expands.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "index/expanded.h"
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
  // What enough() asks of a query that few allowed rows are near to. 10^6 rows in 2,048 lists, a share s nearest to
  // some vector allowed, queries far from it: lists that hold kApart sqrt(s) times the rows that a search of all looks
  // at find .98 of what a scan does, of a half as of a tenth; of a tenth kFewestApart times these rows find .996.
  // Nearly the share of all: of rows allowed by chance, that goes up and down.
  static constexpr double kApart = 12, kNearShare = 0.75, kFewestApart = 10;
  // The same where a copy's lists are ranked by the rows that they hold: .98 to .99, of a half as of 2 %.
  static constexpr double kApartOwn = 8, kFewestOwn = 2.5;
  static constexpr double kFar = 8;          // times what is enough() of rows that are near: all of them are far
  static constexpr size_t kRowsAResult = 8;  // that the lists hold at least, as far as they do without a filter

  class Group;
  class Progressive;
  class Whole;
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
  // Rows that lists are to hold for a query that is far from all of them.
  double apart_rows(double unfiltered) const;
  double own_rows(double unfiltered) const;
  // Whether to scan all rows one after the other, by whole codes, takes no longer than these lists; than what is left
  // to do for a query to which the lists ranked so far are not enough().
  bool all_pay(std::span<const uint32_t> lists) const;
  bool all_pay_unranked() const;
  bool may_scan_together() const;
  // Whether a query that looks at these does so.
  bool together(std::span<const uint32_t> lists) const { return lists.size() == segment_.lists() && all_pay(lists); }
  // Rows of a list that may be found.
  size_t allowed_of(size_t list) const;
  void search_copied(const std::vector<Place>& few);
  void set_masks();
  // What select may keep of a list, null: all of it; false: nothing. room: where a mask may be put.
  bool masked(size_t list, std::vector<uint16_t>& room, const uint16_t*& mask) const;
  bool masked(size_t first, size_t rows, std::vector<uint16_t>& room, const uint16_t*& mask) const;
  // Lists that a query looks at, the nearest first. apart: many more than one that is near to what it may find.
  struct Looks {
    std::vector<uint32_t> lists;
    bool apart = false;
  };
  using Lists = std::vector<Looks>;  // of each query
  Looks all_lists() const;
  // Those that queries first + who[i] look at: nprobe[i] of them, and so many more that these are enough() and hold as
  // many rows as there are to be results; all of them where these are together() and that takes no longer.
  Lists nearest_lists(size_t first, std::span<const uint32_t> who, std::vector<size_t> nprobe, size_t results) const;
  // Of queries far from what they may find, by the rows of each list of a copy (ivf/own_lists.cpp).
  bool ranks_own() const { return segment_.own().centroids != nullptr; }
  struct Far {
    size_t at;        // who[at], and of[at]
    size_t fewest;    // lists
    double rows = 0;  // that these are to hold
  };
  void rank_own(size_t first, std::span<const uint32_t> who, std::span<const Far> far, size_t results, Lists& of) const;
  // Whether lists that so many queries visit so often in all are scored by whole codes.
  static bool expands(const IvfSegment& segment, size_t queries, size_t visits, const SearchOptions& options);
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

// Lists [from, to) of a query, the nearest first.
struct Ranks {
  size_t from, to;
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
  using Scans = std::vector<std::optional<ExpandedScan>>;  // of a thread each

  void complete_allowed();
  void scan_expanded(const std::vector<uint32_t>& who, const Lists& looks, size_t visited);
  void scan_round(const Visits& visits, Scans& scans);
  uint32_t more_tiles(size_t rows) const;
  void probe_all();
  void probe(const std::vector<uint32_t>& who, Lists& looks);
  void scan_progressive(std::span<const uint32_t> who, std::span<Looks> looks);
  size_t sample_first(std::vector<uint32_t>& lists) const;
  void scan_whole(std::span<const uint32_t> who, std::span<const Looks> looks, std::span<const Ranks> left);
  Visits visits(std::span<const uint32_t> who, std::span<const Looks> looks, std::span<const Ranks> ranks) const;

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
  // Forgets what sign planes left over so far.
  void begin_sample(uint32_t query) { sampled_[query] = {}; }
  // Whether whole codes are the faster way through a query's other lists, by what sign planes left over since then.
  bool gives_up(uint32_t query) const;

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

  // Rows that were scanned while a query had k results, those that its sign plane kept, and those that the first two
  // planes did.
  struct Sampled {
    size_t rows = 0, kept = 0, left = 0;
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
  std::vector<Sampled> sampled_;
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

// A list at a time, by whole codes: every row has its final score. In one thread.
class IvfScan::Whole {
 public:
  explicit Whole(Group& group);
  ~Whole() { note_work(scan_.options_.work, scanned_, survivors_); }
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;
  void scan_list(size_t list, std::span<const uint32_t> who);
  // All rows of the segment, which are together().
  void scan_together(std::span<const uint32_t> who);

 private:
  enum class Split : uint8_t { No, Done, TooLarge };

  bool split(uint32_t query);
  void scan(const RowView& rows, const uint16_t* mask, std::span<const uint32_t> who);
  void push(uint32_t query, const RowView& list, size_t row, size_t rows, const uint16_t* mask);

  Group& group_;
  const IvfScan& scan_;
  const RowFormat& format_;
  const CodeSpec& spec_;
  // Of all queries of the group, as far as they came.
  size_t query_bytes_;
  std::vector<Split> split_;
  std::vector<float> error_;  // of a score as a float, before the factor
  Buffer y8_;                 // both of split_fine, one behind the other
  // Of the chunk at hand.
  Buffer expanded_, visitors_;
  std::vector<uint16_t> mask_;
  std::vector<int32_t> products_, sums_;
  std::vector<uint32_t> rows_;
  std::vector<float> scores_;
  size_t scanned_ = 0, survivors_ = 0;  // as of SearchWork
};

}  // namespace bebr
