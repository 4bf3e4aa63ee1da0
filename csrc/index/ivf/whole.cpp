// Lists by whole codes, where sign planes rule out few of their rows: rows are expanded once for all visitors, and
// their sums are those that completing each of them would give.
#include <algorithm>
#include <cmath>

#include "index/complete.h"
#include "index/fine_bytes.h"
#include "index/ivf/scan.h"

namespace bebr {
namespace {

constexpr size_t kChunkBlocks = 16;  // expanded at a time, as by ExpandedScan
constexpr size_t kTogether = 16;     // visitors whose sums over a chunk stand in memory at a time: 48 KB
constexpr size_t kStride = kChunkBlocks * kBlockRows;

}  // namespace

IvfScan::Whole::Whole(Group& group)
    : group_(group),
      scan_(group.scan()),
      format_(scan_.format_),
      spec_(format_.spec),
      query_bytes_(2 * y8_stride(spec_.groups())),
      split_(group.size(), Split::No),
      error_(group.size()),
      y8_(group.size() * query_bytes_),
      expanded_(kChunkBlocks * expanded_bytes(spec_.groups())) {
  const size_t together = std::min(kTogether, group.size());
  visitors_.resize(together * query_bytes_);
  products_.resize(2 * together * kStride);
  sums_.resize(kStride);
  rows_.resize(kStride);
  scores_.resize(kStride);
}

// Whether the query could be split; else its rows are completed one by one.
bool IvfScan::Whole::split(uint32_t i) {
  if (split_[i] != Split::No) return split_[i] == Split::Done;
  const FineQuery& fine = group_.fine(i);
  int8_t* high = y8_.as<int8_t>() + i * query_bytes_;
  split_[i] = split_fine(spec_, fine, high, high + query_bytes_ / 2) ? Split::Done : Split::TooLarge;
  error_[i] = float_error(spec_, fine, group_.base(i));
  return split_[i] == Split::Done;
}

void IvfScan::Whole::scan_list(size_t l, std::span<const uint32_t> who) {
  const uint16_t* mask = nullptr;
  if (!who.empty() && scan_.masked(l, mask_, mask)) scan(scan_.segment_.list(l), mask, who);
}

void IvfScan::Whole::scan_together(std::span<const uint32_t> who) {
  const RowView& rows = scan_.segment_.together();
  const uint16_t* mask = nullptr;
  if (!who.empty() && scan_.masked(0, rows.rows, mask_, mask)) scan(rows, mask, who);
}

void IvfScan::Whole::scan(const RowView& list, const uint16_t* mask, std::span<const uint32_t> who) {
  for (size_t row = 0; row < list.rows; row += kStride) {
    check_stop(scan_.options_);
    const size_t rows = std::min(kStride, list.rows - row), blocks = block_count(rows);
    const uint16_t* allowed = mask != nullptr ? mask + row / kBlockRows : nullptr;
    if (allowed != nullptr && std::all_of(allowed, allowed + blocks, [](uint16_t m) { return m == 0; })) continue;
    scan_.kernels_.expand(list.scan(spec_), row / kBlockRows, blocks, spec_.groups(), expanded_.data());
    scanned_ += rows * who.size();
    for (size_t v = 0; v < who.size(); v += kTogether) {
      const std::span<const uint32_t> some = who.subspan(v, std::min(kTogether, who.size() - v));
      for (size_t i = 0; i < some.size(); ++i)
        if (split(some[i]))
          std::copy_n(y8_.data() + some[i] * query_bytes_, query_bytes_, visitors_.data() + i * query_bytes_);
      scan_.kernels_.dot_expanded(expanded_.data(), blocks, spec_.groups(), visitors_.as<int8_t>(), 2 * some.size(),
                                  products_.data(), kStride);
      for (size_t i = 0; i < some.size(); ++i) {
        const int32_t *high = products_.data() + 2 * i * kStride, *low = high + kStride;
        if (split_[some[i]] == Split::Done) join_products(spec_, group_.fine(some[i]), high, low, rows, sums_.data());
        push(some[i], list, row, rows, allowed);
      }
    }
  }
}

// Rows of a list from `row` on, whose sums are in sums_.
void IvfScan::Whole::push(uint32_t query, const RowView& list, size_t row, size_t rows, const uint16_t* mask) {
  const FineQuery& fine = group_.fine(query);
  const float base = group_.base(query);
  TopK& top = group_.top(query);
  if (split_[query] == Split::Done) {
    survivors_ += push_known(format_, list, fine, base, error_[query], sums_.data(), row, rows, mask, rows_.data(),
                             scores_.data(), top);
    return;
  }
  const size_t kept = scan_.kernels_.select(sums_.data(), rows, nullptr, format_.code, Factor::None, mask, 0, 0,
                                            kLowest, static_cast<uint32_t>(row), rows_.data(), scores_.data());
  survivors_ += kept;
  complete_rows(format_, list, fine, base, {rows_.data(), kept}, top);
}

}  // namespace bebr
