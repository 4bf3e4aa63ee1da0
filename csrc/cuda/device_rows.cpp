#include "cuda/device_rows.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "code/layout.h"
#include "cuda/plan.h"

namespace bebr::cuda {
namespace {

constexpr size_t kMostSlots = std::numeric_limits<uint32_t>::max() - kScanTiles[0].rows;
constexpr size_t kSlab = size_t{1} << 16;  // rows that go to the device together
constexpr size_t kWork = size_t{1} << 20;  // bytes that a search of one query works in, at least

// The engine's own factor, without the first stage's: a search by whole codes has no use for it.
std::vector<uint8_t> own_factors(const RowFormat& format, size_t n, const uint8_t* factors) {
  std::vector<uint8_t> own(n * format.code.bytes);
  for (size_t i = 0; i < n; ++i)
    std::copy_n(factors + i * format.factor_bytes(), format.code.bytes, own.data() + i * format.code.bytes);
  return own;
}

}  // namespace

DeviceRows::DeviceRows(const RowFormat& format, const RowArrays& rows)
    : format_(format), sizes_(rows.sizes.begin(), rows.sizes.end()), first_(1) {
  for (const size_t size : sizes_) {
    rows_ += size;
    first_.push_back(first_.back() + block_count(size) * kBlockRows);
  }
  if (slots() > kMostSlots)
    fail(ErrorCode::LimitExceeded, "the index has " + std::to_string(rows_) + " rows in " + std::to_string(parts()) +
                                       " parts: a device takes " + std::to_string(kMostSlots));
  const uint32_t row_bytes = format.spec.row_bytes();
  const bool has_factor = format.factor != Factor::None;
  const size_t needed = slots() * (row_bytes + (has_factor ? format.code.bytes : 0) + sizeof(int64_t)) + kWork;
  if (const size_t left = free_memory(); needed > left) fail_for_memory("the index's rows need", needed, left);
  blocks_ = DeviceArray<uint8_t>(slots() * row_bytes);
  if (has_factor) factors_ = DeviceArray<uint8_t>(slots() * format.code.bytes);
  groups_ = DeviceArray<uint32_t>(make_groups(format.spec));
  ids_ = DeviceArray<int64_t>(slots());
  size_t row = 0;
  for (size_t part = 0; part < parts(); ++part) {
    for (size_t from = 0; from < sizes_[part]; from += kSlab) {
      const size_t n = std::min(kSlab, sizes_[part] - from), slot = first_[part] + from;
      const std::vector<uint8_t> blocks = make_blocks(format.spec, rows.planes + row * row_bytes, n);
      blocks_.put(blocks, slot * row_bytes);
      if (has_factor) {
        const std::vector<uint8_t> own = own_factors(format, n, rows.factors + row * format.factor_bytes());
        factors_.put(own, slot * format.code.bytes);
      }
      ids_.put({rows.ids + row, n}, slot);
      row += n;
    }
  }
}

size_t DeviceRows::bytes() const noexcept {
  return blocks_.bytes() + factors_.bytes() + groups_.bytes() + ids_.bytes();
}

CodeView DeviceRows::codes() const {
  const CodeSpec& spec = format_.spec;
  return {blocks_.data(), groups_.data(), static_cast<uint32_t>(slots()), spec.row_bytes(), spec.dims(), spec.planes};
}

FactorView DeviceRows::factors() const {
  return {factors_.data(), format_.factor, format_.code.bytes, format_.code.low, format_.code.step};
}

std::vector<uint16_t> DeviceRows::mask(const bool* allowed) const {
  std::vector<uint16_t> bits(slots() / kBlockRows);
  for (size_t part = 0; part < parts(); ++part)
    for (size_t slot = first(part), end = slot + size(part); slot < end; ++slot)
      if (allowed == nullptr || *allowed++) bits[slot / 16] = static_cast<uint16_t>(bits[slot / 16] | 1u << slot % 16);
  return bits;
}

}  // namespace bebr::cuda
