// Search of an IvfSegment: which lists every query looks at, and by which of two ways (ivf/scan.h).
#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "index/complete.h"
#include "index/expanded.h"
#include "index/ivf/scan.h"

namespace bebr {
namespace {

constexpr size_t kGroup = 256;         // queries taken together: their integer forms stay in L2
constexpr size_t kSharedVisits = 2;    // queries a list, on average, from which going list by list pays
constexpr double kCopyCost = 100;      // copying a row out costs as much as this many scanned by tables
constexpr double kCopyCostWhole = 20;  // the same by whole codes
constexpr double kCompleteCost = 20;   // a row completed costs as much as this many scanned, with what the scan keeps
constexpr double kRowBytes = 4;        // to expand these takes as long as to scan a row by its sign plane
constexpr size_t kSampleRows = 128;    // of lists that tell what sign planes rule out
constexpr size_t kPiece = 64;          // rows that one call of a kernel completes

// Of n in so many parts, the largest.
size_t part(size_t n, size_t parts) { return (n + parts - 1) / parts; }

// Of n in as few equal parts as will do where none is above `most`.
size_t largest_share(size_t n, size_t most) { return part(n, part(n, most)); }

}  // namespace

IvfScan::IvfScan(const IvfSegment& segment, QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
                 TopKBatch& tops)
    : segment_(segment),
      format_(segment.format()),
      queries_(queries),
      options_(options),
      filter_(filter),
      tops_(tops),
      kernels_(kernels()),
      some_(filter.filtered() || &segment.whole() != &segment),
      nprobe_(std::clamp<size_t>(options.nprobe, 1, segment.lists())),
      expected_(nprobe_) {}

void IvfScan::run() {
  const size_t live = filter_.live(segment_.rows());
  if (live == 0) return;
  const Way way = choose(live);
  if (way == Way::Nothing) return;
  if (way == Way::Copied) return search_copied(places());
  if (some_) prepare_filter();
  fine_ = queries_.fine().data();
  const size_t count = queries_.size(), group = group_of(segment_, count, direct_ ? 0 : expected_, options_);
  // Before threads ask for it one after the other.
  if (options_.exact) queries_.exact_y();
  if (!direct_ && !expands(segment_, group, group * expected_, options_))
    static_cast<void>(options_.exact ? queries_.exact_tables() : queries_.stage_tables());
  const auto run = [&](size_t begin, size_t end) {
    for (size_t g = begin; g < end; ++g) Group(*this, g * group, std::min(group, count - g * group)).run();
  };
  const size_t groups = (count + group - 1) / group;
  // By whole codes threads share the lists of a group, for a row is expanded once for all of its queries.
  if (!direct_ && expands(segment_, group, group * expected_, options_))
    run(0, groups);
  else
    parallel_for(groups, 1, run);
}

// --- which rows may be found
IvfScan::Way IvfScan::choose(size_t live_rows) {
  if (!some_) return Way::Lists;
  few_ = filter_.filtered() ? filter_.count(0, segment_.rows()) : live_rows;
  if (few_ == 0) return Way::Nothing;
  if (!options_.range) {
    // The k nearest of fewer rows lie in more lists. Of rows allowed by chance the cube root keeps recall level; of
    // rows that lie together the square root does (40,000 rows, 256 lists, nprobe 6, a tenth allowed: .985 unfiltered;
    // by chance .990 and .996, together .968 and .98).
    const auto rows = static_cast<double>(segment_.whole().rows()), few = static_cast<double>(few_);
    const auto all = static_cast<double>(segment_.lists());
    share_ = few / rows;
    more_ = std::sqrt(rows / few);
    expected_ = static_cast<size_t>(std::min(std::ceil(static_cast<double>(nprobe_) * more_), all));
    if (!filter_.filtered()) return Way::Lists;
    const double scanned = static_cast<double>(live_rows) * static_cast<double>(expected_) / all;
    const double asking = options_.batch_invariant ? 1 : static_cast<double>(queries_.size());
    const bool whole = expands(segment_, queries_.size(), queries_.size() * expected_, options_);
    const double copies = (whole ? kCopyCostWhole : kCopyCost) * few;
    if (few_ > options_.k && asking * (scanned - few) > copies) return Way::Copied;
    direct_ = few <= std::max(static_cast<double>(options_.k), scanned / kCompleteCost);
  }
  return direct_ ? Way::Direct : Way::Lists;
}

void IvfScan::prepare_filter() {
  if (direct_ || filter_.rows != nullptr) allowed_ = places();
  if (!direct_ && filter_.rows != nullptr) set_masks();
  if (!direct_ && !options_.range && !filter_.all()) count_allowed();
}

// Of few queries the lists that they come by are counted as they come.
void IvfScan::count_allowed() {
  if (filter_.rows == nullptr && queries_.size() * expected_ < segment_.lists()) return;
  allowed_in_.resize(segment_.lists());
  for (size_t l = 0; l < segment_.lists(); ++l)
    allowed_in_[l] = filter_.count(segment_.first(l), segment_.list(l).rows);
}

size_t IvfScan::allowed_of(size_t l) const {
  if (filter_.all()) return segment_.list(l).rows;
  return allowed_in_.empty() ? filter_.count(segment_.first(l), segment_.list(l).rows) : allowed_in_[l];
}

// The rows that may be found, in order.
std::vector<IvfScan::Place> IvfScan::places() const {
  std::vector<Place> found;
  size_t l = 0;
  filter_.each(0, segment_.rows(), [&](size_t at) {
    while (at >= segment_.first(l) + segment_.list(l).rows) ++l;
    found.push_back({static_cast<uint32_t>(l), static_cast<uint32_t>(at - segment_.first(l))});
  });
  return found;
}

// A segment of these rows alone, in one list.
void IvfScan::search_copied(const std::vector<Place>& few) {
  RowStore store;
  store.reserve(format_, few.size());
  std::vector<uint32_t> rows;
  for (size_t i = 0; i < few.size();) {
    const uint32_t l = few[i].list;
    rows.clear();
    for (; i < few.size() && few[i].list == l; ++i) rows.push_back(few[i].row);
    store.append(format_, segment_.list(l), rows);
  }
  const std::vector<float> nowhere(segment_.centroids().dim());
  auto centroid = std::make_shared<const Centroids>(segment_.centroids().dim(), 1, nowhere.data(), false);
  const IvfSegment copied(format_, std::move(centroid), {store.view()});
  IvfScan(copied, queries_, options_, RowFilter{}, tops_).run();
}

void IvfScan::set_masks() {
  masks_.resize(segment_.lists());
  for (const Place& at : allowed_) {
    std::vector<uint16_t>& mask = masks_[at.list];
    if (mask.empty()) mask.resize(block_count(segment_.list(at.list).rows));
    mask[at.row / 16] = static_cast<uint16_t>(mask[at.row / 16] | (1u << at.row % 16));
  }
}

bool IvfScan::masked(size_t l, std::vector<uint16_t>& room, const uint16_t*& mask) const {
  const size_t rows = segment_.list(l).rows;
  if (rows == 0) return false;
  if (filter_.all()) return true;
  if (filter_.rows != nullptr) {
    mask = masks_[l].data();
    return !masks_[l].empty();
  }
  return masked(segment_.first(l), rows, room, mask);
}

// The same of rows that stand one after the other, where the filter is no list.
bool IvfScan::masked(size_t first, size_t rows, std::vector<uint16_t>& room, const uint16_t*& mask) const {
  if (filter_.all()) return true;
  room.resize(round_up(rows, 64) / 16);
  mask = room.data();
  return filter_.masks(first, rows, room.data());
}

// --- in which way
// What a search by sign planes takes longer for a query is more or less the same for any number of lists: the rows of
// its nearest ones, of which few are ruled out. So a query pays for so many bytes of codes to be expanded
// (docs/experiments/whole-codes.md).
bool IvfScan::expands(const IvfSegment& segment, size_t queries, size_t visits, const SearchOptions& options) {
  const Kernels& kernel = kernels();
  if (kernel.expand_queries == 0 || queries < kernel.expand_queries) return false;
  if (options.batch_invariant && !options.exact) return false;
  if (visits >= kernel.expand_queries * segment.lists()) return true;
  const auto rows = static_cast<double>(segment.rows());
  const double visitors = static_cast<double>(visits) / static_cast<double>(segment.lists());  // of a list
  const double bytes = std::min(1.0, visitors) * rows * segment.format().spec.row_bytes();     // that are expanded
  return bytes <= static_cast<double>(queries) * kernel.expand_bytes + kRowBytes * visitors * rows;
}

size_t IvfScan::group_of(const IvfSegment& segment, size_t queries, size_t nprobe, const SearchOptions& options) {
  const size_t together = largest_share(queries, ExpandedScan::max_batch(options.k));
  if (expands(segment, together, together * nprobe, options)) return together;
  return std::min(kGroup, part(queries, num_threads()));
}

bool IvfScan::by_whole_codes(const IvfSegment& segment, size_t queries, const SearchOptions& options) {
  const size_t nprobe = std::clamp<size_t>(options.nprobe, 1, segment.lists());
  const size_t group = group_of(segment, queries, nprobe, options), last = queries % group;
  return expands(segment, group, group * nprobe, options) &&
         (last == 0 || expands(segment, last, last * nprobe, options));
}

const float* IvfScan::Group::y() const {
  return (scan_.options_.exact ? scan_.queries_.exact_y() : scan_.queries_.y()) + first_ * scan_.format_.spec.dims();
}

void IvfScan::Group::run() {
  if (scan_.direct_)
    complete_allowed();
  else
    probe_all();
}

// All that are asked go through the lists together, each through its own: whole codes of a list are expanded once.
void IvfScan::Group::probe_all() {
  const SearchOptions& options = scan_.options_;
  const size_t all = scan_.segment_.lists(), enough = options.enough > 0 ? options.enough : options.k;
  std::vector<uint32_t> who(count_);
  for (uint32_t i = 0; i < who.size(); ++i) who[i] = i;
  std::vector<size_t> nprobe(count_, scan_.nprobe_);
  const bool widens = scan_.nprobe_ < all && options.min_scores == nullptr;
  std::vector<TopK> before;  // what other segments gave, to begin again with
  for (size_t i = 0; widens && i < count_; ++i) before.push_back(top(i));
  while (!who.empty()) {
    Lists looks = scan_.nearest_lists(first_, who, nprobe, 0);
    probe(who, looks);
    if (!widens) return;
    // Fewer than enough results only where fewer rows exist: look at more lists, from the start, for their order may
    // change.
    std::vector<uint32_t> later;
    nprobe.clear();
    for (size_t at = 0; at < who.size(); ++at) {
      const uint32_t i = who[at];
      if (top(i).hits().size() >= enough || looks[at].lists.size() == all) continue;
      top(i) = before[i];
      later.push_back(i);
      nprobe.push_back(std::min(all, 2 * looks[at].lists.size()));
    }
    who = std::move(later);
  }
}

void IvfScan::Group::probe(const std::vector<uint32_t>& who, Lists& looks) {
  size_t visited = 0;
  for (const Looks& mine : looks) visited += mine.lists.size();
  if (expands(scan_.segment_, who.size(), visited, scan_.options_)) return scan_expanded(who, looks, visited);
  parallel_for(who.size(), part(who.size(), num_threads()), [&](size_t begin, size_t end) {
    scan_progressive(std::span(who).subspan(begin, end - begin), std::span(looks).subspan(begin, end - begin));
  });
}

// Some lists from the middle of those that a query looks at stand for all but the nearest: they go right behind that.
// Returns how many these and the nearest are.
size_t IvfScan::Group::sample_first(std::vector<uint32_t>& lists) const {
  if (lists.size() < 3) return lists.size();
  const auto middle = lists.begin() + static_cast<ptrdiff_t>(lists.size() / 2);
  auto end = middle;
  for (size_t rows = 0; end != lists.end() && rows < kSampleRows; ++end) rows += scan_.segment_.list(*end).rows;
  std::rotate(lists.begin() + 1, middle, end);
  return 1 + static_cast<size_t>(end - middle);
}

// The nearest list of a query sets a threshold. If sign planes rule out too few rows of a sample of the others, these
// are read as whole codes.
void IvfScan::Group::scan_progressive(std::span<const uint32_t> who, std::span<Looks> looks) {
  const IvfSegment& segment = scan_.segment_;
  const bool whole = scan_.kernels_.expand_queries > 0;
  size_t most = 0, visited = 0;
  std::vector<Ranks> left;      // by whole codes
  std::vector<size_t> sampled;  // ranks of the nearest and of the sample
  for (Looks& mine : looks) {
    most = std::max(most, mine.lists.size());
    visited += mine.lists.size();
    // Of a query far from all rows sign planes rule out too few of any list. Of many rows with a mask whole codes
    // would be read in vain.
    const bool none = mine.apart && whole && !scan_.filter_.filtered();
    left.push_back({none ? 0 : mine.lists.size(), mine.lists.size()});
    sampled.push_back(none ? 0 : sample_first(mine.lists));
  }
  Progressive progressive(*this);
  if (scan_.options_.batch_invariant || visited < kSharedVisits * segment.lists()) {
    // In the order of its own lists alone, a query's answer does not depend on the others.
    for (size_t i = 0; i < who.size(); ++i) {
      const auto scan = [&](size_t from, size_t to) {
        for (size_t rank = from; rank < to; ++rank) progressive.scan_list(looks[i].lists[rank], who.subspan(i, 1));
      };
      scan(0, std::min<size_t>(1, sampled[i]));
      progressive.begin_sample(who[i]);
      scan(1, sampled[i]);
      if (whole && progressive.gives_up(who[i])) left[i].from = sampled[i];
      scan(sampled[i], left[i].from);
    }
  } else {
    const size_t batch = scan_.kernels_.batch_queries;
    std::vector<Ranks> slice(who.size());
    const auto scan_to = [&](const auto& rank) {
      for (size_t i = 0; i < who.size(); ++i) slice[i] = {slice[i].to, std::max<size_t>(slice[i].to, rank(i))};
      const Visits now = visits(who, looks, slice);
      for (size_t l = 0; l < segment.lists(); ++l) {
        const std::span<const uint32_t> visitors = now.of(l);
        for (size_t v = 0; v < visitors.size(); v += batch)
          progressive.scan_list(l, visitors.subspan(v, std::min(batch, visitors.size() - v)));
      }
    };
    scan_to([&](size_t i) { return std::min<size_t>(1, sampled[i]); });
    for (const uint32_t query : who) progressive.begin_sample(query);
    scan_to([&](size_t i) { return sampled[i]; });
    for (size_t i = 0; i < who.size(); ++i)
      if (whole && progressive.gives_up(who[i])) left[i].from = sampled[i];
    // The nearer lists of every query first: they set a threshold that rules out most of the others' rows.
    for (size_t to = 4, done = 1; done < most; done = to, to *= 4)
      scan_to([&](size_t i) { return std::min(to, left[i].from); });
  }
  scan_whole(who, looks, left);
}

// Of these lists no row is lost, so that their order does not matter; nor whether rows are together().
void IvfScan::Group::scan_whole(std::span<const uint32_t> who, std::span<const Looks> looks,
                                std::span<const Ranks> left) {
  if (std::all_of(left.begin(), left.end(), [](const Ranks& ranks) { return ranks.from == ranks.to; })) return;
  Whole whole(*this);
  std::vector<uint32_t> every;
  std::vector<Ranks> some(left.begin(), left.end());
  for (size_t i = 0; i < who.size(); ++i) {
    if (left[i].from > 0 || !scan_.together(looks[i].lists)) continue;
    every.push_back(who[i]);
    some[i].from = some[i].to;
  }
  whole.scan_together(every);
  const Visits rest = visits(who, looks, some);
  for (size_t l = 0; l < scan_.segment_.lists(); ++l) whole.scan_list(l, rest.of(l));
}

// By the lists of these ranks of each query.
Visits IvfScan::Group::visits(std::span<const uint32_t> who, std::span<const Looks> looks,
                              std::span<const Ranks> ranks) const {
  Visits found;
  std::vector<uint32_t>& begin = found.begin;
  begin.resize(scan_.segment_.lists() + 1);
  for (size_t i = 0; i < who.size(); ++i)
    for (size_t p = ranks[i].from; p < ranks[i].to; ++p) ++begin[looks[i].lists[p] + 1];
  for (size_t l = 0; l < scan_.segment_.lists(); ++l) begin[l + 1] += begin[l];
  found.visitors.resize(begin.back());
  std::vector<uint32_t> next(begin.begin(), begin.end() - 1);
  for (size_t i = 0; i < who.size(); ++i)
    for (size_t p = ranks[i].from; p < ranks[i].to; ++p) found.visitors[next[looks[i].lists[p]]++] = who[i];
  return found;
}

void IvfScan::Group::complete_allowed() {
  const std::vector<Place>& allowed = scan_.allowed_;
  note_work(scan_.options_.work, count_ * allowed.size(), count_ * allowed.size());
  uint32_t piece[kPiece];
  for (size_t i = 0; i < allowed.size();) {
    check_stop(scan_.options_);
    const size_t l = allowed[i].list;
    size_t n = 0;
    for (; i < allowed.size() && allowed[i].list == l && n < kPiece; ++i) piece[n++] = allowed[i].row;
    for (size_t q = 0; q < count_; ++q)
      complete_rows(scan_.format_, scan_.segment_.list(l), fine(q), base(q), {piece, n}, top(q));
  }
}

}  // namespace bebr
