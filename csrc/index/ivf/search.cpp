// Search of an IvfSegment: which lists every query looks at, and by which of two ways (ivf/scan.h).
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/threads.h"
#include "index/complete.h"
#include "index/expanded.h"
#include "index/ivf/scan.h"

namespace bebr {
namespace {

constexpr size_t kGroup = 256;        // queries taken together: their integer forms stay in L2
constexpr size_t kSharedVisits = 2;   // queries a list, on average, from which going list by list pays
constexpr double kCopyCost = 100;     // copying a row out costs as much as this many scanned
constexpr double kCompleteCost = 20;  // a row completed costs as much as this many scanned, with what the scan keeps
constexpr size_t kPiece = 64;         // rows that one call of a kernel completes

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
      nprobe_(std::clamp<size_t>(options.nprobe, 1, segment.lists())) {}

void IvfScan::run() {
  const size_t live = filter_.live(segment_.rows());
  if (live == 0) return;
  const Way way = choose(live);
  if (way == Way::Nothing) return;
  if (way == Way::Copied) return search_copied(places());
  if (filter_.filtered()) prepare_filter();
  fine_ = queries_.fine().data();
  const size_t count = queries_.size(), group = group_of(segment_, count, direct_ ? 0 : nprobe_, options_);
  // Before threads ask for it one after the other.
  if (options_.exact) queries_.exact_y();
  if (!direct_ && !expands(segment_, std::min(group, count), nprobe_, options_))
    static_cast<void>(options_.exact ? queries_.exact_tables() : queries_.stage_tables());
  parallel_for((count + group - 1) / group, 1, [&](size_t begin, size_t end) {
    for (size_t g = begin; g < end; ++g) Group(*this, g * group, std::min(group, count - g * group)).run();
  });
}

// --- which rows may be found
IvfScan::Way IvfScan::choose(size_t live_rows) {
  if (!filter_.filtered()) return Way::Lists;
  const size_t allowed = few_ = filter_.count(0, segment_.rows());
  if (allowed == 0) return Way::Nothing;
  if (!options_.range) {
    // The k nearest of fewer rows lie in more lists. Of rows allowed by chance the cube root keeps recall level; of
    // rows that lie together the square root does (40,000 rows, 256 lists, nprobe 6, a tenth allowed: .985 unfiltered;
    // by chance .990 and .996, together .968 and .98).
    const auto live = static_cast<double>(live_rows), few = static_cast<double>(allowed);
    const auto all = static_cast<double>(segment_.lists());
    nprobe_ = static_cast<size_t>(std::min(std::ceil(static_cast<double>(nprobe_) * std::sqrt(live / few)), all));
    const double scanned = live * static_cast<double>(nprobe_) / all;
    const double asking = options_.batch_invariant ? 1 : static_cast<double>(queries_.size());
    if (allowed > options_.k && asking * (scanned - few) > kCopyCost * few) return Way::Copied;
    direct_ = few <= std::max(static_cast<double>(options_.k), scanned / kCompleteCost);
  }
  return direct_ ? Way::Direct : Way::Lists;
}

void IvfScan::prepare_filter() {
  if (direct_ || filter_.rows != nullptr) allowed_ = places();
  if (!direct_ && filter_.rows != nullptr) set_masks();
  if (!direct_ && !options_.range) count_allowed();
}

// A filter that goes with where rows lie leaves few of them near a query, or all: lists are looked at until these hold
// as many allowed rows as they would of rows allowed by chance.
void IvfScan::count_allowed() {
  allowed_in_.resize(segment_.lists());
  for (size_t l = 0; l < segment_.lists(); ++l)
    allowed_in_[l] = filter_.count(segment_.first(l), segment_.list(l).rows);
  wanted_ = static_cast<double>(few_) * static_cast<double>(nprobe_) / static_cast<double>(segment_.lists());
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
  room.resize(round_up(rows, 64) / 16);
  mask = room.data();
  return filter_.masks(segment_.first(l), rows, room.data());
}

// --- in which way
bool IvfScan::expands(const IvfSegment& segment, size_t queries, size_t nprobe, const SearchOptions& options) {
  const size_t from = kernels().expand_queries;
  return (options.exact || !options.batch_invariant) && from > 0 && queries * nprobe >= from * segment.lists();
}

size_t IvfScan::group_of(const IvfSegment& segment, size_t queries, size_t nprobe, const SearchOptions& options) {
  const size_t each = (queries + num_threads() - 1) / num_threads();
  const size_t most = expands(segment, each, nprobe, options) ? ExpandedScan::max_batch(options.k) : kGroup;
  return std::clamp<size_t>(each, 1, most);
}

bool IvfScan::by_whole_codes(const IvfSegment& segment, size_t queries, const SearchOptions& options) {
  const size_t nprobe = std::clamp<size_t>(options.nprobe, 1, segment.lists());
  const size_t group = group_of(segment, queries, nprobe, options), last = queries % group;
  return expands(segment, group, nprobe, options) && (last == 0 || expands(segment, last, nprobe, options));
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

void IvfScan::Group::probe_all() {
  const SearchOptions& options = scan_.options_;
  const size_t all = scan_.segment_.lists(), enough = options.enough > 0 ? options.enough : options.k;
  size_t nprobe = scan_.nprobe_;
  std::vector<uint32_t> who(count_);
  for (uint32_t i = 0; i < who.size(); ++i) who[i] = i;
  std::optional<Progressive> progressive;  // made once, where it is needed at all
  const bool widens = nprobe < all && options.min_scores == nullptr;
  double wanted = scan_.wanted_;
  std::vector<TopK> before;  // what other segments gave, to begin again with
  for (size_t i = 0; widens && i < count_; ++i) before.push_back(top(i));
  while (true) {
    std::vector<uint32_t> later;  // these look at more lists
    if (widens && nprobe < all && !scan_.allowed_in_.empty()) later = set_apart(who, nprobe, wanted);
    if (!who.empty()) probe(who, nprobe, progressive);
    if (!widens || nprobe == all) return;
    // Fewer than enough results only where fewer rows exist: look at more lists, from the start, for their order may
    // change.
    for (const uint32_t i : who) {
      if (top(i).hits().size() >= enough) continue;
      top(i) = before[i];
      later.push_back(i);
    }
    if (later.empty()) return;
    std::sort(later.begin(), later.end());
    who = std::move(later);
    nprobe = std::min(all, 2 * nprobe);
    wanted = kApart * scan_.wanted_;
  }
}

// Takes those out of `who` whose nearest lists hold fewer than `wanted` allowed rows, and returns them.
std::vector<uint32_t> IvfScan::Group::set_apart(std::vector<uint32_t>& who, size_t nprobe, double wanted) const {
  const IvfSegment& segment = scan_.segment_;
  const uint32_t dim = segment.centroids().dim();
  std::vector<uint32_t> lists(nprobe), apart;
  std::erase_if(who, [&](uint32_t i) {
    segment.centroids().nearest(scan_.queries_.vectors() + (first_ + i) * dim, 1, nprobe, lists.data());
    size_t held = 0;
    for (const uint32_t list : lists) held += scan_.allowed_in_[list];
    if (static_cast<double>(held) >= wanted) return false;
    apart.push_back(i);
    return true;
  });
  return apart;
}

void IvfScan::Group::probe(const std::vector<uint32_t>& who, size_t nprobe, std::optional<Progressive>& progressive) {
  const IvfSegment& segment = scan_.segment_;
  const uint32_t dim = segment.centroids().dim();
  std::vector<uint32_t> lists(who.size() * nprobe);
  std::vector<float> gathered;
  const float* vectors = scan_.queries_.vectors() + first_ * dim;
  if (who.size() < count_) {
    for (const uint32_t i : who)
      gathered.insert(gathered.end(), vectors + size_t{i} * dim, vectors + (size_t{i} + 1) * dim);
    vectors = gathered.data();
  }
  segment.centroids().nearest(vectors, who.size(), nprobe, lists.data());
  if (expands(segment, who.size(), nprobe, scan_.options_))
    return scan_expanded(who, visits(who, lists, nprobe, 0, nprobe));
  if (!progressive) progressive.emplace(*this);
  // In the order of its own lists alone, a query's answer does not depend on the others.
  if (scan_.options_.batch_invariant || who.size() * nprobe < kSharedVisits * segment.lists()) {
    for (size_t i = 0; i < who.size(); ++i)
      for (size_t p = 0; p < nprobe; ++p) progressive->scan_list(lists[i * nprobe + p], {&who[i], 1});
    return;
  }
  // The nearest lists of every query first: they set a threshold that rules out most of the others' rows.
  const size_t batch = scan_.kernels_.batch_queries;
  for (size_t from = 0, to = 1; from < nprobe; from = to, to = std::min(nprobe, 4 * to)) {
    const Visits slice = visits(who, lists, nprobe, from, std::min(to, nprobe));
    for (size_t l = 0; l < segment.lists(); ++l) {
      const std::span<const uint32_t> visitors = slice.of(l);
      for (size_t v = 0; v < visitors.size(); v += batch)
        progressive->scan_list(l, visitors.subspan(v, std::min(batch, visitors.size() - v)));
    }
  }
}

// By the lists of ranks [from, to) of each query.
Visits IvfScan::Group::visits(const std::vector<uint32_t>& who, const std::vector<uint32_t>& lists, size_t nprobe,
                              size_t from, size_t to) const {
  Visits found;
  std::vector<uint32_t>& begin = found.begin;
  begin.resize(scan_.segment_.lists() + 1);
  for (size_t i = 0; i < who.size(); ++i)
    for (size_t p = from; p < to; ++p) ++begin[lists[i * nprobe + p] + 1];
  for (size_t l = 0; l < scan_.segment_.lists(); ++l) begin[l + 1] += begin[l];
  found.visitors.resize(begin.back());
  std::vector<uint32_t> next(begin.begin(), begin.end() - 1);
  for (size_t i = 0; i < who.size(); ++i)
    for (size_t p = from; p < to; ++p) found.visitors[next[lists[i * nprobe + p]]++] = who[i];
  return found;
}

void IvfScan::Group::scan_expanded(const std::vector<uint32_t>& who, const Visits& visits) {
  const IvfSegment& segment = scan_.segment_;
  const ByteQueries bytes = make_byte_queries(scan_.format_.spec, y(), count_);
  std::vector<float> min_scores(count_);
  for (size_t i = 0; i < count_; ++i) min_scores[i] = top(i).threshold();
  ExpandedScan expanded(scan_.format_, bytes, scan_.queries_.base() + first_, scan_.options_.k, min_scores.data(),
                        scan_.options_.exact);
  std::vector<uint16_t> room;
  std::vector<size_t> seen;
  const uint16_t* mask = nullptr;
  for (size_t l = 0; l < segment.lists(); ++l)
    if (!visits.of(l).empty() && segment.list(l).rows > 0) seen.push_back(l);
  for (size_t at = 0; at < seen.size(); ++at) {
    check_stop(scan_.options_);
    if (at + 1 < seen.size()) expanded.prefetch_rows(segment.list(seen[at + 1]));
    mask = nullptr;
    if (scan_.masked(seen[at], room, mask)) expanded.scan(segment.list(seen[at]), mask, visits.of(seen[at]));
  }
  for (size_t i = 0; i < who.size(); ++i) {
    if (i + 1 < who.size()) expanded.prefetch(who[i + 1]);
    expanded.finalize(who[i], fine(who[i]), top(who[i]));
  }
}

void IvfScan::Group::complete_allowed() {
  const std::vector<Place>& allowed = scan_.allowed_;
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
