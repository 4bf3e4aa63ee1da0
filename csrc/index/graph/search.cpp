// Search of GraphIndex: a walk a query. Where few rows may be found, their scores are taken one by one instead; and
// where a walk ends with too few, so that fewer than k results always means that there are no more rows.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/error.h"
#include "base/threads.h"
#include "index/flat/scan.h"
#include "index/graph/graph.h"
#include "index/topk.h"

namespace bebr {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr float kMargin = 2;  // standard deviations (docs/experiments/graph-record.md)

// Costs, in rows scored one by one: of a candidate of a walk; of a row of a flat index, by a batch large enough to
// expand it and otherwise; of copying a row into one.
constexpr double kCandidateCost = 12, kExpandedCost = 0.015, kScannedCost = 0.15, kCopyCost = 2;

// Survivors where a batch is not expanded: a generous guess, for the sign plane has no decoder of its own here. Not
// measured.
SearchOptions flat_options(size_t k, size_t rows) {
  SearchOptions options;
  options.k = k;
  options.survivors = std::max(32 * k, rows / 32);
  options.batch_invariant = false;
  return options;
}

}  // namespace

RowStore GraphIndex::materialize_subset(std::span<const uint32_t> slots) const {
  constexpr size_t kPiece = 256;  // rows that stay in cache between the two layouts
  RowStore store;
  store.reserve(format_, slots.size());
  for (size_t first = 0; first < slots.size(); first += kPiece) {
    const Rows rows = copies(slots.subspan(first, std::min(kPiece, slots.size() - first)));
    store.append(format_, rows.ids.size(), rows.planes.data(), rows.factors.data(), rows.ids.data());
  }
  return store;
}

void GraphIndex::search(const Queries& queries, const Search& params, float* scores, int64_t* out_ids) const {
  if (params.k < 1) fail(ErrorCode::InvalidArgument, "k is 0: want k >= 1");
  std::shared_lock lock(mutex_);
  const size_t dims = format_.spec.dims();

  // Which slots may be found: all live ones, or those of `allow`.
  std::vector<uint64_t> allowed;
  std::vector<uint32_t> few;  // the allowed slots, in order
  size_t eligible = live_;
  if (params.filtered) {
    need_map();
    allowed.assign(rows_ / 64 + 1, 0);
    slot_of_.find_all(params.allow, [&](size_t, const uint32_t* slot) {
      if (slot != nullptr && live(*slot)) allowed[*slot / 64] |= uint64_t{1} << *slot % 64;
    });
    few.reserve(params.allow.size());
    for (size_t word = 0; word < allowed.size(); ++word)
      for (uint64_t bits = allowed[word]; bits != 0; bits &= bits - 1)
        few.push_back(static_cast<uint32_t>(64 * word) + static_cast<uint32_t>(std::countr_zero(bits)));
    eligible = few.size();
  }
  const auto may = [&](uint32_t slot) {
    return params.filtered ? (allowed[slot / 64] >> slot % 64 & 1) != 0 : live(slot);
  };

  // Of ef / share candidates about ef may be found. That would find more than ef does among all rows, so the power is
  // smaller; but twice k must be among them. A candidate costs a walk as much as a dozen rows taken one by one.
  const size_t most = std::min(params.k, eligible), ef = std::max({params.ef, params.k, size_t{1}});
  const size_t there = rows_ - free_.size();
  const double share = eligible == 0 ? 1 : static_cast<double>(eligible) / static_cast<double>(there);
  const double widened =
      std::max(static_cast<double>(ef) * std::pow(share, -0.75), static_cast<double>(params.k) * (2 / share - 1));
  const bool direct = widened * kCandidateCost >= static_cast<double>(eligible);
  if (params.filtered && queries.count > 1) {
    const auto n = static_cast<double>(eligible), batch = static_cast<double>(queries.count);
    const double row = flat_expands(queries.count) ? kExpandedCost : kScannedCost;
    if (n * (row + kCopyCost / batch) < std::min(widened * kCandidateCost, n)) {
      const RowStore rows = materialize_subset(few);
      const FlatPart part{rows.view(), {}, 0};
      QueryBatch flat(format_.spec, queries);
      TopKBatch tops(queries.count, params.k, nullptr);
      scan_flat(format_, {&part, 1}, flat, flat_options(params.k, eligible), tops);
      return tops.write(scores, out_ids);
    }
  }
  const auto all = [&] {
    std::vector<uint32_t> slots;
    if (params.filtered) return few;
    slots.reserve(live_);
    for (size_t i = 0; i < rows_; ++i)
      if (live(i)) slots.push_back(static_cast<uint32_t>(i));
    return slots;
  };
  const std::vector<uint32_t> one_by_one = direct ? all() : std::vector<uint32_t>{};
  const GraphView graph = view(hidden_);

  parallel_for(queries.count, 1, [&](size_t begin, size_t end) {
    Walker& walker = Walker::mine();
    const auto score_all = [&](std::span<const uint32_t> slots, TopK& top) {
      constexpr size_t kPiece = 256;
      float piece[kPiece];
      for (size_t i = 0; i < slots.size(); i += kPiece) {
        const size_t n = std::min(kPiece, slots.size() - i);
        graph.score_rows(walker.query, slots.data() + i, n, piece);
        for (size_t j = 0; j < n; ++j) top.push({piece[j], ids()[slots[i + j]]});
      }
    };
    for (size_t q = begin; q < end; ++q) {
      walker.query.set(layout_, queries.y + q * dims, queries.base[q]);
      TopK top(params.k);
      if (direct) {
        score_all(one_by_one, top);
      } else {
        walker.walk(graph, static_cast<size_t>(std::ceil(widened)), kMargin);
        size_t found = 0;
        for (size_t i = 0; i < walker.pool.size(); ++i) {
          const Candidate candidate = walker.pool[i];
          if (!may(candidate.node)) continue;
          if (++found > params.k && !(candidate.score > top.threshold())) break;
          top.push({candidate.score, ids()[candidate.node]});
        }
        if (found < most) {
          top = TopK(params.k);
          score_all(all(), top);
        }
      }
      const std::vector<Hit>& hits = top.sorted();
      for (size_t i = 0; i < params.k; ++i) {
        scores[q * params.k + i] = i < hits.size() ? hits[i].score : kLowest;
        out_ids[q * params.k + i] = i < hits.size() ? hits[i].id : -1;
      }
    }
  });
}

}  // namespace bebr
