// Search of lists with many visitors: rows are expanded to bytes once and multiplied with all visitors' queries,
// rounded to bytes too. What rounding may hide keeps a row a candidate; the few candidates that are left at the end are
// completed with the fine query, so scores are those of the progressive way.
#include <algorithm>
#include <cmath>
#include <functional>

#include "index/ivf_scan.h"

namespace bebr {
namespace {

constexpr size_t kChunkRows = 128;  // rows expanded at a time: 48 KB at 384 dims, L1 and a little more
constexpr size_t kTogether = 64;    // visitors whose sums over a chunk stand in memory at a time: 32 KB
// Standard deviations of what rounding to bytes may take from a score, on either side: a row is lost only where its
// error and that of the k-th differ by 4, which is 2.8 of the difference's own.
constexpr float kDeviations = 2;
constexpr size_t kMostCandidates = 256;  // more than k that wait before those that cannot matter any more go
constexpr size_t kPiece = 64;            // rows that one call of a kernel completes

}  // namespace

IvfIndex::Scan::Expanded::Expanded(Group& group)
    : group_(group), scan_(group.scan()), index_(scan_.index_), spec_(index_.format_.spec) {
  std::vector<float> room;
  queries_ = make_byte_queries(spec_, group.values(room), group.queries().size());
  pools_.resize(group.queries().size());
  raises_.resize(pools_.size());
  for (size_t i = 0; i < pools_.size(); ++i) {
    const float base = group.queries()[i].base;
    // Exact: one part in 10^5 more, for the float arithmetic of select.
    raises_[i] = scan_.exact() ? queries_.bound[i] + 1e-5f * (std::fabs(base) + std::fabs(queries_.base[i]))
                               : kDeviations * queries_.deviation[i];
    pools_[i].threshold = group.queries()[i].top.threshold();
  }
  expanded_.resize(kChunkRows / kBlockRows * expanded_bytes(queries_.groups));
  sums_.resize(kTogether * kChunkRows);
  rows_.resize(kChunkRows + 16);
  scores_.resize(kChunkRows + 16);
}

void IvfIndex::Scan::Expanded::run(const Visits& visits) {
  for (size_t l = 0; l < index_.lists_.size(); ++l)
    if (!visits.of(l).empty() && !scan_.nothing_in(l)) scan_list(l, visits.of(l));
  for (uint32_t i = 0; i < pools_.size(); ++i) {
    if (i + 1 < pools_.size()) prefetch(i + 1);
    settle(i);
  }
}

void IvfIndex::Scan::Expanded::scan_list(size_t l, std::span<const uint32_t> who) {
  const List& list = index_.lists_[l];
  const FactorCode& code = index_.format_.code;
  const uint16_t* mask = scan_.mask(l);
  const size_t query_bytes = y8_stride(queries_.groups);
  if (y8_.size() < who.size() * query_bytes) y8_.resize(who.size() * query_bytes);
  shifts_.resize(who.size());
  for (size_t i = 0; i < who.size(); ++i) {
    std::copy_n(queries_.y8.as<int8_t>() + who[i] * query_bytes, query_bytes, y8_.as<int8_t>() + i * query_bytes);
    shifts_[i] = group_.shift(who[i], l);
  }
  for (size_t row = 0; row < list.view.rows; row += kChunkRows) {
    const size_t rows = std::min(kChunkRows, list.view.rows - row), blocks = block_count(rows);
    scan_.kernels_.expand(list.view.scan(spec_), row / kBlockRows, blocks, expanded_.data());
    for (size_t v = 0; v < who.size(); v += kTogether) {
      const size_t some = std::min(kTogether, who.size() - v);
      scan_.kernels_.dot_expanded(expanded_.data(), blocks, queries_.groups, y8_.as<int8_t>() + v * query_bytes, some,
                                  sums_.data(), kChunkRows);
      for (size_t i = 0; i < some; ++i) {
        const uint32_t query = who[v + i];
        const float base = group_.queries()[query].base + queries_.base[query] + shifts_[v + i] + raises_[query];
        const size_t kept = scan_.kernels_.select(
            sums_.data() + i * kChunkRows, rows,
            list.view.factors != nullptr ? list.view.factors + row * code.bytes : nullptr, code, index_.format_.factor,
            mask != nullptr ? mask + row / kBlockRows : nullptr, base, queries_.scale[query], pools_[query].threshold,
            static_cast<uint32_t>(row), rows_.data(), scores_.data());
        if (kept > 0) collect(query, l, kept);
      }
    }
  }
}

// Takes the rows in rows_, whose raised scores are in scores_, as candidates.
void IvfIndex::Scan::Expanded::collect(uint32_t query, size_t l, size_t rows) {
  Pool& pool = pools_[query];
  const RowView& view = index_.lists_[l].view;
  const FactorCode& code = index_.format_.code;
  const size_t k = scan_.params_.k, before = pool.candidates.size();
  const float raise = 2 * raises_[query];
  const bool multiplies = index_.format_.factor == Factor::Mul;
  for (size_t i = 0; i < rows; ++i) {
    const float spread = multiplies ? raise * code.value(view.factors + rows_[i] * code.bytes) : raise;
    pool.candidates.push_back({scores_[i] - spread, scores_[i], static_cast<uint32_t>(l), rows_[i]});
  }
  const std::span<const Candidate> fresh = std::span(pool.candidates).subspan(before);
  if (pool.best.size() < k) {  // all of the first rows get here: one selection instead of as many steps of a heap
    for (const Candidate& c : fresh) pool.best.push_back(c.lowered);
    if (pool.best.size() < k) return;
    const auto end = pool.best.begin() + static_cast<ptrdiff_t>(k);
    std::nth_element(pool.best.begin(), end - 1, pool.best.end(), std::greater<>());
    pool.best.erase(end, pool.best.end());
    std::make_heap(pool.best.begin(), pool.best.end(), std::greater<>());
  } else {
    const float worst = pool.best.front();
    for (const Candidate& c : fresh) {
      if (!(c.lowered > pool.best.front())) continue;
      std::pop_heap(pool.best.begin(), pool.best.end(), std::greater<>());
      pool.best.back() = c.lowered;
      std::push_heap(pool.best.begin(), pool.best.end(), std::greater<>());
    }
    if (pool.best.front() == worst) return;
  }
  // A raised score that equals the k-th lowered one may still belong to the answer.
  pool.threshold = std::max(pool.threshold, std::nextafter(pool.best.front(), -std::numeric_limits<float>::infinity()));
  if (before == 0 || pool.candidates.size() > k + kMostCandidates) drop(pool);
}

void IvfIndex::Scan::Expanded::drop(Pool& pool) {
  std::erase_if(pool.candidates, [&](const Candidate& c) { return !(c.raised > pool.threshold); });
}

// Asks for the candidates' codes from memory.
void IvfIndex::Scan::Expanded::prefetch(uint32_t query) {
  drop(pools_[query]);
  for (const Candidate& c : pools_[query].candidates) {
    const RowView& view = index_.lists_[c.list].view;
    for (uint32_t g = 0; g < spec_.groups(); g += 4)
      __builtin_prefetch(view.blocks + sign_offset(spec_.groups(), c.row, g));
    const uint8_t* rest = view.rest + size_t{c.row} * spec_.rest_bytes();
    for (uint32_t at = 0; at < spec_.rest_bytes(); at += 64) __builtin_prefetch(rest + at);
  }
}

void IvfIndex::Scan::Expanded::settle(uint32_t query) {
  drop(pools_[query]);
  const std::vector<Candidate>& candidates = pools_[query].candidates;
  Group::Query& q = group_.queries()[query];
  uint32_t rows[kPiece];
  for (size_t i = 0; i < candidates.size();) {  // they stand list after list
    const uint32_t l = candidates[i].list;
    size_t n = 0;
    for (; i < candidates.size() && candidates[i].list == l && n < kPiece; ++i) rows[n++] = candidates[i].row;
    group_.complete(q, index_.lists_[l], q.base + group_.shift(query, l), {rows, n});
  }
}

}  // namespace bebr
