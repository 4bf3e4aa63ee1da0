// Search of GraphSegment: a walk a query. Where few rows may be found, their scores are taken one by one instead; and
// where a walk ends with too few, so that fewer than k results always means that there are no more rows.
#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "index/flat/scan.h"
#include "index/graph/segment.h"
#include "index/graph/walk.h"

namespace bebr {
namespace {

// Costs, in rows scored one by one: of a candidate of a walk; of a row of a flat index, by a batch large enough to
// expand it and otherwise; of copying a row into one.
constexpr double kCandidateCost = 12, kExpandedCost = 0.015, kScannedCost = 0.15, kCopyCost = 2;

// Survivors where a batch is not expanded: a generous guess, for the sign plane has no decoder of its own here. Not
// measured.
SearchOptions flat_options(const SearchOptions& options, size_t rows) {
  SearchOptions flat = options;
  flat.first_stage_rows = std::max(32 * options.k, rows / 32);
  flat.exact = false;
  return flat;
}

}  // namespace

std::vector<RowStore> GraphSegment::materialize_subset(std::span<const uint32_t> slots) const {
  constexpr size_t kPiece = 256;  // rows that stay in cache between the two layouts
  const size_t parts = std::clamp(slots.size() / (2 * kPiece), size_t{1}, num_threads());
  const size_t each = (slots.size() + parts - 1) / parts;
  std::vector<RowStore> stores(parts);
  parallel_for(parts, 1, [&](size_t begin, size_t end) {
    for (size_t p = begin; p < end; ++p) {
      const std::span<const uint32_t> part = slots.subspan(p * each, std::min(each, slots.size() - p * each));
      stores[p].reserve(format(), part.size());
      for (size_t first = 0; first < part.size(); first += kPiece) {
        const Rows rows = copy_rows(part.subspan(first, std::min(kPiece, part.size() - first)));
        stores[p].append(format(), rows.ids.size(), rows.planes.data(), rows.factors.data(), rows.ids.data());
      }
    }
  });
  return stores;
}

class GraphSegment::Search {
 public:
  Search(const GraphSegment& segment, QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
         TopKBatch& tops)
      : segment_(segment),
        queries_(queries),
        options_(options),
        filter_(filter),
        tops_(tops),
        graph_(segment.view({filter.dead.words, words_for(filter.dead.bits)})) {}

  void run() {
    const size_t rows = segment_.rows();
    const bool filtered = filter_.filtered();
    eligible_ = filtered ? filter_.count(0, rows) : filter_.live(rows);
    if (eligible_ == 0) return;
    // Of ef / share candidates about ef may be found. That would find more than ef does among all rows, so the power is
    // smaller; but twice k must be among them. A candidate costs a walk as much as a dozen rows taken one by one.
    const auto k = static_cast<double>(options_.k), n = static_cast<double>(eligible_);
    const size_t ef = std::max({options_.ef_search, options_.k, size_t{1}});
    const double share = n / static_cast<double>(rows - segment_.free_);
    const double wanted = k * (2 / share - 1);
    ef_ = std::max(static_cast<double>(ef) * std::pow(share, -0.75), wanted);
    const bool direct = options_.exact || ef_ * kCandidateCost >= n;
    const double batch = options_.batch_invariant ? 1 : static_cast<double>(queries_.size());
    if (filtered && batch > 1 && !options_.exact) {
      const double row = flat_expands(queries_.size(), options_) ? kExpandedCost : kScannedCost;
      if (n * (row + kCopyCost / batch) < std::min(ef_ * kCandidateCost, n)) {
        const std::vector<RowStore> copied = segment_.materialize_subset(slots());
        std::vector<FlatPart> parts;
        for (const RowStore& store : copied) parts.push_back({store.view(), {}, 0});
        return scan_flat(segment_.format(), parts, queries_, flat_options(options_, eligible_), false, tops_);
      }
    }
    if (direct) {
      one_by_one_ = slots();
    } else if (filter_.rows != nullptr) {
      allowed_.resize(words_for(rows));
      filter_.each(0, rows, [&](size_t slot) { set_bit(allowed_, slot); });
      filter_ = {view_of(allowed_), nullptr, filter_.dead, filter_.dead_rows};
    }
    const size_t piece = std::clamp(queries_.size() / num_threads(), size_t{1}, kLanes);
    if (direct) return parallel_for(queries_.size(), piece, [&](size_t begin, size_t end) { score_each(begin, end); });
    const Learned learned = segment_.learned_.of(segment_.view({}), segment_.space_, segment_.best_);
    // What a filter leaves may all lie far from a query's nearest rows: such walks go to as many candidates as ever.
    const WalkReach reach(learned, ef_, filtered ? ef_ : wanted);
    parallel_for(queries_.size(), piece, [&](size_t begin, size_t end) {
      walk_each(
          graph_, begin, end, {reach.limit(), learned.margin, options_.stop},
          [&](size_t q, BitQuery& query) {
            set_query(q, query);
            if (!reach.bounded()) return WalkBound{};
            const float* y = queries_.y() + q * segment_.format().spec.dims();
            return reach.bound(segment_.best_.of(y, queries_.base()[q], learned.longest));
          },
          [&](size_t q, const Walk& done) { take(q, done); });
    });
  }

 private:
  bool may(uint32_t slot) const noexcept {
    return !filter_.dead[slot] && (!filter_.allow.present() || filter_.allow[slot]);
  }

  // All that may be found.
  std::vector<uint32_t> slots() const {
    std::vector<uint32_t> found;
    found.reserve(eligible_);
    filter_.each(0, segment_.rows(), [&](size_t slot) { found.push_back(static_cast<uint32_t>(slot)); });
    return found;
  }

  void score_all(const BitQuery& query, std::span<const uint32_t> slots, TopK& top) const {
    constexpr size_t kPiece = 256;
    float piece[kPiece];
    note_work(options_.work, slots.size(), slots.size());
    for (size_t i = 0; i < slots.size(); i += kPiece) {
      check_stop(options_);
      const size_t n = std::min(kPiece, slots.size() - i);
      graph_.score_rows(query, slots.data() + i, n, piece);
      for (size_t j = 0; j < n; ++j) top.push({piece[j], segment_.ids_[slots[i + j]]});
    }
  }

  // Bytes are read in the order of records, which no prefetcher of a processor follows: asked for a query ahead.
  void set_query(size_t q, BitQuery& query) const {
    const size_t dims = segment_.format().spec.dims();
    const float* y = queries_.y() + q * dims;
    if (q + 1 < queries_.size())
      for (size_t j = dims; j < 2 * dims; j += 16) __builtin_prefetch(y + j, 0, 2);
    query.set(segment_.layout_, y, queries_.base()[q], graph_.kernels);
  }

  void score_each(size_t begin, size_t end) const {
    BitQuery& query = WalkLanes::mine().walks[0].query;
    for (size_t q = begin; q < end; ++q) {
      set_query(q, query);
      score_all(query, one_by_one_, tops_[q]);
    }
  }

  // What a walk found, but for what the filter hides.
  void take(size_t q, const Walk& walk) const {
    note_work(options_.work, walk.scanned, walk.survivors);
    TopK& results = tops_[q];
    TopK top(options_.k, results.threshold());
    size_t found = 0;
    for (size_t i = 0; i < walk.found.size(); ++i) {
      const Candidate candidate = walk.found[i];
      if (!may(candidate.node)) continue;
      if (++found > options_.k && !(candidate.score > top.threshold())) break;
      top.push({candidate.score, segment_.ids_[candidate.node]});
    }
    if (found < std::min(options_.k, eligible_)) {
      top.clear();
      score_all(walk.query, slots(), top);
    }
    for (const Hit& hit : top.hits()) results.push(hit);
  }

  const GraphSegment& segment_;
  QueryBatch& queries_;
  const SearchOptions& options_;
  RowFilter filter_;
  TopKBatch& tops_;
  const GraphView graph_;
  size_t eligible_ = 0;
  double ef_ = 0;                     // candidates that a walk keeps
  std::vector<uint64_t> allowed_;     // a bit a slot, where the filter is a list
  std::vector<uint32_t> one_by_one_;  // these are scored, and no walk is made
};

void GraphSegment::search(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
                          TopKBatch& tops) const {
  Search(*this, queries, options, filter, tops).run();
}

}  // namespace bebr
