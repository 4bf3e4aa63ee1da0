// Progressive search of lists: sign planes by lookup tables; a row whose score, raised by the margin, reaches the k-th
// result so far is completed over all planes at once, and the k-th score rises.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "index/complete.h"
#include "index/ivf/scan.h"

namespace bebr {
namespace {

constexpr size_t kChunkRows = 512;  // rows of a list scanned before they are looked at: their sums stay in L1
constexpr size_t kPiece = 64;       // rows that one call of a kernel completes
// To complete a row over the planes behind the first two costs twice what these do.
constexpr double kRestCost = 2;
// What a row costs by whole codes, if it is one query that asks, where its completion over the first two planes is one:
// with AVX-512 .4 and 1 / 450 a dimension (docs/experiments/ivf-steps.md, "Sign planes that rule out little"). Where
// whole codes pay from more queries on, that many times as much.
constexpr double kWholeCost = .05, kWholeCostOfDim = 1. / 3600;
constexpr uint32_t kFewestQueries = 8;  // of AVX-512

}  // namespace

IvfScan::Progressive::Progressive(Group& group)
    : group_(group),
      scan_(group.scan()),
      format_(scan_.format_),
      spec_(format_.spec),
      tables_(scan_.options_.exact ? scan_.queries_.exact_tables() : scan_.queries_.stage_tables()) {
  const SearchOptions& options = scan_.options_;
  const size_t first = group.first(), dims = spec_.dims();
  stage_factors_ = !options.exact && format_.stage_factor;
  two_steps_ = !options.exact && spec_.planes > 2;
  const float* y = group.y();
  const float* base = (options.exact ? scan_.queries_.base() : scan_.queries_.stage_base()) + first;
  raises_.resize(group.size());
  sampled_.resize(group.size());
  for (size_t i = 0; i < group.size(); ++i) {
    const int8_t* y8 = tables_.y8.as<int8_t>() + (first + i) * y8_stride(tables_.groups);
    const float scale = tables_.scale[first + i];
    const double raise = options.exact ? scan_margin(spec_, group.fine(i), y8, scale) + 1e-5 * std::abs(double{base[i]})
                                       : options.margin * scan_deviation(spec_, y + i * dims, scale);
    raises_[i] = {static_cast<float>(raise), 0, base[i]};
    if (two_steps_)
      raises_[i].second = options.margin * static_cast<float>(std::sqrt(unread_variance(spec_, y + i * dims, 2)));
  }
  // Room for no more queries than there are: for 32 it took longer to make than one query's search does.
  const size_t batch = std::min<size_t>(scan_.kernels_.batch_queries, group.size());
  sums_.resize(batch * kChunkRows);
  rows_.resize(batch * kChunkRows + 16);
  scores_.resize(batch * kChunkRows + 16);
  kept_.resize(batch);
  left_.resize(batch * kChunkRows);
  after_two_ = spec_.planes > 1 ? spec_.widths[1] / 8 : 1;
  gathered_.resize(batch * table_bytes(tables_.groups));
  y8_.resize(batch * y8_stride(tables_.groups));
  bias_.resize(batch);
}

ScanQueries IvfScan::Progressive::gather(std::span<const uint32_t> who) {
  const auto first = static_cast<uint32_t>(group_.first());
  if (who.size() == 1) return tables_.view(first + who[0], 1);
  const size_t table = table_bytes(tables_.groups), row = y8_stride(tables_.groups);
  for (size_t i = 0; i < who.size(); ++i) {
    const size_t q = first + who[i];
    std::copy_n(tables_.tables.data() + q * table, table, gathered_.data() + i * table);
    if (who.size() > 8) std::copy_n(tables_.y8.as<int8_t>() + q * row, row, y8_.as<int8_t>() + i * row);
    bias_[i] = tables_.bias[q];
  }
  return {static_cast<uint32_t>(who.size()), tables_.groups, gathered_.data(), y8_.as<int8_t>(), bias_.data()};
}

void IvfScan::Progressive::scan_list(size_t l, std::span<const uint32_t> who) {
  const RowView& list = scan_.segment_.list(l);
  const uint16_t* mask = nullptr;
  if (!scan_.masked(l, mask_, mask)) return;
  const ScanQueries scanned = gather(who);
  const FactorCode& code = stage_factors_ ? format_.stage_code : format_.code;
  const uint8_t* factors = stage_factors_ ? list.stage_factors : list.factors;
  const size_t bytes = block_bytes(spec_);
  for (size_t row = 0; row < list.rows; row += kChunkRows) {
    check_stop(scan_.options_);
    const size_t rows = std::min(kChunkRows, list.rows - row), blocks = block_count(rows);
    const size_t stride = blocks * kBlockRows;
    (who.size() <= 8 ? scan_.kernels_.scan_table : scan_.kernels_.scan_batch)(list.blocks + row / kBlockRows * bytes,
                                                                              blocks, scanned, sums_.data(), stride);
    scanned_ += rows * who.size();
    // Prefetches what every query keeps; it is completed afterwards.
    size_t room = 0;
    for (size_t i = 0; i < who.size(); ++i) {
      const TopK& top = group_.top(who[i]);
      const Raise& raise = raises_[who[i]];
      const size_t n = scan_.kernels_.select(
          sums_.data() + i * stride, rows, factors != nullptr ? factors + row * code.bytes : nullptr, code,
          format_.factor, mask != nullptr ? mask + row / kBlockRows : nullptr, raise.base + raise.scan,
          tables_.scale[group_.first() + who[i]], top.threshold(), static_cast<uint32_t>(row), rows_.data() + room,
          scores_.data() + room);
      kept_[i] = {room, n, group_.base(who[i])};
      if (top.full()) {
        prefetch(list, {rows_.data() + room, n}, 0, after_two_);
        sampled_[who[i]].rows += rows;
        sampled_[who[i]].kept += n;
      }
      room += n;
    }
    survivors_ += room;
    size_t left = 0;
    for (size_t i = 0; i < who.size(); ++i) {
      left += narrow(who[i], list, kept_[i], left);
      sampled_[who[i]].left += kept_[i].count;
    }
    for (size_t i = 0; i < who.size(); ++i) finish(who[i], list, kept_[i]);
  }
}

bool IvfScan::Progressive::gives_up(uint32_t query) const {
  const Sampled& sampled = sampled_[query];
  const double whole =
      (kWholeCost + kWholeCostOfDim * spec_.dims()) * std::max(kFewestQueries, scan_.kernels_.expand_queries);
  return sampled.rows > 0 && static_cast<double>(sampled.kept) + kRestCost * static_cast<double>(sampled.left) >=
                                 whole * static_cast<double>(sampled.rows);
}

// Bytes [from, to) of the rest of all rows.
void IvfScan::Progressive::prefetch(const RowView& list, std::span<const uint32_t> rows, size_t from, size_t to) const {
  const size_t bytes = spec_.rest_bytes();
  for (const uint32_t row : rows) {
    const uint8_t* rest = list.rest + row * bytes;
    for (size_t at = from; at < to; at += 64) __builtin_prefetch(rest + at);
    __builtin_prefetch(rest + to - 1);
  }
}

// Rules out what it can of the rows that a query keeps by their first two planes. The others go to left_, from `at`
// on, with those sums; returns how many. Without a k-th result or a third plane, rows are completed here and now.
size_t IvfScan::Progressive::narrow(uint32_t query, const RowView& list, Kept& kept, size_t at) {
  const FineQuery& fine = group_.fine(query);
  TopK& top = group_.top(query);
  uint32_t* rows = rows_.data() + kept.first;
  size_t n = kept.count;
  kept.first = at;
  kept.count = 0;
  if (n == 0) return 0;
  if (!top.full()) {
    const size_t best = best_first(rows, scores_.data() + (rows - rows_.data()), n);
    complete_rows(format_, list, fine, kept.base, {rows, best}, top);
    // Of the others, those that can still reach it.
    const uint32_t* others = rows + best;
    const float* scores = scores_.data() + (others - rows_.data());
    size_t more = 0;
    for (size_t i = 0; i < n - best; ++i) {
      rows[more] = others[i];
      more += scores[i] > top.threshold() ? 1 : 0;
    }
    n = more;
  }
  if (!two_steps_ || !top.full()) {
    complete_rows(format_, list, fine, kept.base, {rows, n}, top);
    return 0;
  }
  const ScanView view = list.scan(spec_);
  const FactorCode& code = format_.code;
  const float threshold = top.threshold();
  for (size_t i = 0; i < n; i += kPiece) {
    const size_t some = std::min(kPiece, n - i);
    int32_t sums[kPiece];
    uint8_t factors[kPiece * sizeof(float)];
    scan_.kernels_.complete(view, fine.y16.as<int16_t>(), fine.planes(0, 2), rows + i, some, sums);
    if (list.factors != nullptr)
      for (size_t j = 0; j < some; ++j)
        std::memcpy(factors + j * code.bytes, list.factors + size_t{rows[i + j]} * code.bytes, code.bytes);
    uint32_t passed[kPiece];
    float scores[kPiece];
    const size_t passing =
        scan_.kernels_.select(sums, some, factors, code, format_.factor, nullptr, kept.base + raises_[query].second,
                              static_cast<float>(fine.scale), threshold, 0, passed, scores);
    for (size_t j = 0; j < passing; ++j) left_[at + kept.count++] = {rows[i + passed[j]], sums[passed[j]]};
  }
  for (size_t i = 0; i < kept.count; ++i) prefetch(list, {&left_[at + i].row, 1}, after_two_, spec_.rest_bytes());
  return kept.count;
}

// Moves about the best 2 k rows by the sign plane to the front; returns how many. The best of every eight rows stands
// in for a ranking, at a tenth of the cost of a selection.
size_t IvfScan::Progressive::best_first(uint32_t* rows, float* scores, size_t n) {
  const size_t few = 2 * scan_.options_.k, groups = (n + 7) / 8;
  if (groups <= few) return n;
  order_.resize(groups);
  for (size_t g = 0; g < groups; ++g) order_[g] = *std::max_element(scores + g * 8, scores + std::min(n, g * 8 + 8));
  std::nth_element(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(few - 1), order_.end(), std::greater<>());
  const float least = order_[few - 1];
  size_t best = 0;
  for (size_t i = 0; i < n; ++i) {
    if (scores[i] < least) continue;
    std::swap(rows[i], rows[best]);
    std::swap(scores[i], scores[best++]);
  }
  return best;
}

// The planes that narrow did not read.
void IvfScan::Progressive::finish(uint32_t query, const RowView& list, const Kept& kept) {
  const FineQuery& fine = group_.fine(query);
  TopK& top = group_.top(query);
  const ScanView view = list.scan(spec_);
  for (size_t i = 0; i < kept.count; i += kPiece) {
    const Left* left = left_.data() + kept.first + i;
    const size_t some = std::min(kPiece, kept.count - i);
    uint32_t rows[kPiece];
    int32_t sums[kPiece];
    for (size_t j = 0; j < some; ++j) rows[j] = left[j].row;
    scan_.kernels_.complete(view, fine.y16.as<int16_t>(), fine.planes(2, spec_.planes), rows, some, sums);
    for (size_t j = 0; j < some; ++j)
      top.push(
          {final_score(format_, list.factors, kept.base, fine, rows[j], left[j].sum + sums[j]), list.ids[rows[j]]});
  }
}

}  // namespace bebr
