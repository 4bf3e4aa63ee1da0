#include "index/expanded.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "index/complete.h"
#include "index/raise.h"

namespace bebr {
namespace {

constexpr size_t kChunkRows = 256;  // rows expanded at a time: 96 KB at 384 dims. 64, 128: 3 to 6 % slower
constexpr size_t kTogether = 64;    // visitors whose sums over a chunk stand in memory at a time: 64 KB
// Rounding a query to bytes gives every score an error. A row is dropped when its score, plus this many standard
// deviations of the error, stays below the k-th best score minus as many. So a row of the answer is lost only where the
// errors of the two rows differ by 4 deviations: 2.8 (4 / sqrt 2) of the difference of two independent errors.
constexpr float kDeviations = 2;
constexpr size_t kMostCandidates = 256;  // more than 2 k that wait before those that cannot matter any more go
constexpr size_t kListBytes = 64 << 20;  // of the candidates of all queries taken together
constexpr size_t kFirstRows = 32;        // of a query's first chunk
constexpr size_t kAhead = 4;             // visitors whose lists are asked for from memory ahead

}  // namespace

size_t ExpandedScan::max_batch(size_t k) {
  const double each = (2.0 * static_cast<double>(k) + kMostCandidates) * sizeof(Candidate);
  return std::clamp(static_cast<size_t>(kListBytes / each), size_t{32}, size_t{1024});
}

ExpandedScan::ExpandedScan(const RowFormat& format, const ByteQueries& queries, const float* base, size_t k,
                           Thresholds& thresholds, bool exact)
    : format_(format),
      spec_(format.spec),
      kernels_(kernels()),
      k_(k),
      queries_(queries),
      base_(base, base + queries.scale.size()),
      raises_(base_.size()),
      thresholds_(thresholds),
      lists_(base_.size()) {
  for (size_t i = 0; i < base_.size(); ++i)
    raises_[i] = exact ? exact_raise(queries_, i, base[i]) : kDeviations * queries_.deviation[i];
  expanded_.resize(kChunkRows / kBlockRows * expanded_bytes(queries_.groups));
  sums_.resize(kTogether * kChunkRows);
  rows_.resize(kChunkRows + 16);
  scores_.resize(kChunkRows + 16);
}

void ExpandedScan::scan(const RowView& view, const uint16_t* mask, std::span<const uint32_t> who) {
  views_.push_back(view);
  const size_t query_bytes = y8_stride(queries_.groups);
  if (y8_.size() < who.size() * query_bytes) y8_.resize(who.size() * query_bytes);
  for (size_t i = 0; i < who.size(); ++i)
    std::copy_n(queries_.y8.as<int8_t>() + who[i] * query_bytes, query_bytes, y8_.as<int8_t>() + i * query_bytes);
  for (size_t row = 0; row < view.rows; row += kChunkRows) {
    const size_t rows = std::min(kChunkRows, view.rows - row), blocks = block_count(rows);
    const uint16_t* allowed = mask != nullptr ? mask + row / kBlockRows : nullptr;
    if (allowed != nullptr && std::all_of(allowed, allowed + blocks, [](uint16_t m) { return m == 0; })) continue;
    kernels_.expand(view.scan(spec_), row / kBlockRows, blocks, expanded_.data());
    queries_.copy_quads(blocks, expanded_.data());
    prefetch_rows(view, row + kChunkRows);  // while these are multiplied
    for (size_t v = 0; v < who.size(); v += kTogether) {
      const size_t some = std::min(kTogether, who.size() - v);
      kernels_.dot_expanded(expanded_.data(), blocks, queries_.all_groups(), y8_.as<int8_t>() + v * query_bytes, some,
                            sums_.data(), kChunkRows);
      for (size_t i = 0; i < some; ++i) {
        const uint32_t query = who[v + i];
        const int32_t* mine = sums_.data() + i * kChunkRows;
        if (i + kAhead < some) __builtin_prefetch(&lists_[who[v + i + kAhead]]);
        size_t first = 0;
        if (thresholds_.of(query) == kLowest && rows > kFirstRows) {  // a few set a threshold for the others
          select(query, mine, row, kFirstRows, allowed);
          first = kFirstRows;
        }
        select(query, mine + first, row + first, rows - first,
               allowed != nullptr ? allowed + first / kBlockRows : nullptr);
      }
    }
  }
}

void ExpandedScan::prefetch_rows(const RowView& view, size_t first) const {
  if (first >= view.rows) return;
  const size_t rows = std::min(kChunkRows, view.rows - first);
  const uint8_t* sign = view.blocks + first / kBlockRows * block_bytes(spec_);
  for (size_t at = 0; at < block_count(rows) * block_bytes(spec_); at += 64) __builtin_prefetch(sign + at, 0, 2);
  const uint8_t* rest = view.rest + first * spec_.rest_bytes();
  for (size_t at = 0; at < rows * spec_.rest_bytes(); at += 64) __builtin_prefetch(rest + at, 0, 2);
}

void ExpandedScan::select(uint32_t query, const int32_t* sums, size_t first, size_t rows, const uint16_t* mask) {
  const uint8_t* factors = views_.back().factors;
  const FactorCode& code = format_.code;
  const size_t kept =
      kernels_.select(sums, rows, factors != nullptr ? factors + first * code.bytes : nullptr, code, format_.factor,
                      mask, base_[query] + queries_.base[query] + raises_[query], queries_.scale[query],
                      thresholds_.of(query), static_cast<uint32_t>(first), rows_.data(), scores_.data());
  if (kept > 0) collect(query, kept);
}

// Adds the rows in rows_, whose upper bounds are in scores_, to the candidates.
void ExpandedScan::collect(uint32_t query, size_t rows) {
  QueryCandidates& list = lists_[query];
  const uint8_t* factors = views_.back().factors;
  const FactorCode& code = format_.code;
  const auto at = static_cast<uint32_t>(views_.size() - 1);
  const size_t before = list.candidates.size();
  if (list.candidates.capacity() == 0) {  // at once: nearly all grow to this
    list.candidates.reserve(2 * kFirstRows);
    list.lower_bounds.reserve(std::min(k_, 2 * kFirstRows) + rows);
  }
  const float raise = 2 * raises_[query];
  const bool multiplies = format_.factor == Factor::Mul;
  for (size_t i = 0; i < rows; ++i) {
    const float spread = multiplies ? raise * code.value(factors + rows_[i] * code.bytes) : raise;
    list.candidates.push_back({scores_[i] - spread, scores_[i], at, rows_[i]});
  }
  const std::span<const Candidate> fresh = std::span(list.candidates).subspan(before);
  if (list.lower_bounds.size() <
      k_) {  // all of the first rows get here: one selection instead of as many steps of a heap
    for (const Candidate& c : fresh) list.lower_bounds.push_back(c.lower);
    if (list.lower_bounds.size() < k_) return;
    const auto end = list.lower_bounds.begin() + static_cast<ptrdiff_t>(k_);
    std::nth_element(list.lower_bounds.begin(), end - 1, list.lower_bounds.end(), std::greater<>());
    list.lower_bounds.erase(end, list.lower_bounds.end());
    std::make_heap(list.lower_bounds.begin(), list.lower_bounds.end(), std::greater<>());
  } else {
    const float worst = list.lower_bounds.front();
    for (const Candidate& c : fresh) {
      if (!(c.lower > list.lower_bounds.front())) continue;
      std::pop_heap(list.lower_bounds.begin(), list.lower_bounds.end(), std::greater<>());
      list.lower_bounds.back() = c.lower;
      std::push_heap(list.lower_bounds.begin(), list.lower_bounds.end(), std::greater<>());
    }
    if (list.lower_bounds.front() == worst) return;
  }
  // An upper bound that equals the k-th lower one may still belong to the answer.
  thresholds_.raise(query, std::nextafter(list.lower_bounds.front(), kLowest));
  if (before == 0 || list.candidates.size() > 2 * k_ + kMostCandidates) drop(query);
}

// Drops candidates that cannot belong to the answer any more.
void ExpandedScan::drop(uint32_t query) {
  const float threshold = thresholds_.of(query);
  std::erase_if(lists_[query].candidates, [threshold](const Candidate& c) { return !(c.upper > threshold); });
}

void ExpandedScan::prefetch(uint32_t query) {
  drop(query);
  for (const Candidate& c : lists_[query].candidates) {
    const RowView& view = views_[c.view];
    for (uint32_t g = 0; g < spec_.groups(); g += 4)
      __builtin_prefetch(view.blocks + sign_offset(spec_.groups(), c.row, g));
    const uint8_t* rest = view.rest + size_t{c.row} * spec_.rest_bytes();
    for (uint32_t at = 0; at < spec_.rest_bytes(); at += 64) __builtin_prefetch(rest + at);
  }
}

size_t ExpandedScan::finalize(uint32_t query, const FineQuery& fine, TopK& top) {
  QueryCandidates& list = lists_[query];
  drop(query);
  constexpr size_t kPiece = 64;
  uint32_t rows[kPiece];
  for (size_t i = 0; i < list.candidates.size();) {  // they stand view after view
    const Candidate& first = list.candidates[i];
    size_t n = 0;
    for (; i < list.candidates.size() && list.candidates[i].view == first.view && n < kPiece; ++i)
      rows[n++] = list.candidates[i].row;
    complete_rows(format_, views_[first.view], fine, base_[query], {rows, n}, top);
  }
  const size_t completed = list.candidates.size();
  list.candidates.clear();
  return completed;
}

void raise_threshold(const std::vector<std::optional<ExpandedScan>>& scans, size_t k, uint32_t query,
                     Thresholds& thresholds) {
  if (scans.size() == 1) return;
  std::vector<float> best;
  for (const std::optional<ExpandedScan>& scan : scans) {
    const std::span<const float> own = scan->best(query);
    best.insert(best.end(), own.begin(), own.end());
  }
  if (best.size() < k) return;
  const auto last = best.begin() + static_cast<ptrdiff_t>(k - 1);
  std::nth_element(best.begin(), last, best.end(), std::greater<>());
  thresholds.raise(query, std::nextafter(*last, kLowest));
}

}  // namespace bebr
