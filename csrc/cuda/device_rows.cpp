#include "cuda/device_rows.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "code/layout.h"
#include "cuda/plan.h"

namespace bebr::cuda {
namespace {

constexpr size_t kMostSlots = std::numeric_limits<uint32_t>::max() - kScanTiles[0].rows;
constexpr size_t kSlab = size_t{1} << 16;  // rows that go to the device together
constexpr size_t kWork = size_t{1} << 20;  // bytes that a search of one query works in, at least

size_t whole_blocks(size_t rows) { return block_count(rows) * kBlockRows; }

// The engine's own factor, without the first stage's: a search by whole codes has no use for it.
std::vector<uint8_t> own_factors(const RowFormat& format, size_t n, const uint8_t* factors) {
  std::vector<uint8_t> own(n * format.code.bytes);
  for (size_t i = 0; i < n; ++i)
    std::copy_n(factors + i * format.factor_bytes(), format.code.bytes, own.data() + i * format.code.bytes);
  return own;
}

// Of each row of the row format: `count` bytes from `first` on.
std::vector<uint8_t> bytes_from(const CodeSpec& spec, size_t n, const uint8_t* planes, uint32_t first, uint32_t count) {
  std::vector<uint8_t> some(n * count);
  for (size_t i = 0; i < n; ++i) std::copy_n(planes + i * spec.row_bytes() + first, count, some.data() + i * count);
  return some;
}

// What begins to be copied lands before its buffers can go.
struct Landed {
  ~Landed() {
    try {
      wait_for_copies();
    } catch (const Error&) {  // the device is lost, and whoever asks it next is told
    }
  }
};

}  // namespace

DeviceRows::DeviceRows(const RowFormat& format, const RowArrays& rows, size_t piece, size_t window,
                       const Residency& residency)
    : format_(format),
      scanned_(residency.kind == Residency::Signs ? CodeSpec::make(std::span(format.spec.widths, 1)) : format.spec),
      piece_(piece),
      sizes_(rows.sizes.begin(), rows.sizes.end()),
      first_(1),
      first_piece_(1) {
  size_t pieces = 0;
  for (const size_t size : sizes_) {
    rows_ += size;
    first_.push_back(first_.back() + whole_blocks(size));
    pieces += (size + piece - 1) / piece;
    first_piece_.push_back(static_cast<uint32_t>(pieces));
  }
  if (slots() > kMostSlots)
    fail(ErrorCode::LimitExceeded, "the index has " + std::to_string(rows_) + " rows in " + std::to_string(parts()) +
                                       " parts: a device takes " + std::to_string(kMostSlots));
  const size_t room = slots_of_buffer(std::min(whole_blocks(piece), slots()), window, residency);
  cut(room);
  pin();
  groups_ = DeviceArray<uint32_t>(make_groups(scanned_));
  const size_t factor_bytes = format.factor != Factor::None ? format.code.bytes : 0;
  for (size_t i = 0; i < (resident() ? 1 : buffers_.size()); ++i) {
    buffers_[i].blocks = DeviceArray<uint8_t>(room * scanned_.row_bytes());
    buffers_[i].factors = DeviceArray<uint8_t>(room * factor_bytes);
    buffers_[i].ids = DeviceArray<int64_t>(room);
  }
  fill(rows);
}

size_t DeviceRows::bytes_of_slot() const noexcept {
  return scanned_.row_bytes() + (format_.factor != Factor::None ? format_.code.bytes : 0) + sizeof(int64_t);
}

// All slots where they fit. Else two buffers take at most half of what is left; the rest is the queries'.
size_t DeviceRows::slots_of_buffer(size_t piece, size_t window, const Residency& residency) const {
  const size_t bytes = slots() * bytes_of_slot(), least = 2 * piece * bytes_of_slot(), left = free_memory();
  if (bytes <= residency.most && bytes + kWork <= left) return slots();
  const bool any = residency.kind == Residency::Any;
  const char* what = any                                  ? "even a piece at a time, the index's rows need"
                     : residency.kind == Residency::Signs ? "the index's sign planes need"
                                                          : "the index's rows need";
  const size_t needed = any ? least : bytes;
  if (needed > residency.most) fail_for_budget(what, needed, residency.most);
  if (!any || needed + kWork > left) fail_for_memory(what, needed + kWork, left);
  const size_t room = std::min({window, residency.most / 2, left / 4, (left - kWork) / 2});
  return std::max(room / bytes_of_slot() / kBlockRows * kBlockRows, piece);
}

void DeviceRows::cut(size_t slots) {
  for (uint32_t piece = 0; piece < pieces(); ++piece) {
    const auto [first, last] = slots_of(piece);
    const size_t end = whole_blocks(last);
    if (windows_.empty() || end - windows_.back().first > slots) windows_.push_back({first, end, piece, piece});
    windows_.back().end = end;
    windows_.back().end_piece = piece + 1;
  }
}

// What the host keeps.
void DeviceRows::pin() {
  try {
    if (scanned_ != format_.spec) rest_ = PinnedArray<uint8_t>(slots() * format_.spec.rest_bytes());
    if (resident()) return;
    host_.blocks = PinnedArray<uint8_t>(slots() * format_.spec.row_bytes());
    if (format_.factor != Factor::None) host_.factors = PinnedArray<uint8_t>(slots() * format_.code.bytes);
    host_.ids = PinnedArray<int64_t>(slots());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::LimitExceeded) throw;
    const bool whole = scanned_ == format_.spec;
    fail(ErrorCode::LimitExceeded, memory_text(whole ? "the index's rows need" : "the index's sign planes need",
                                               slots() * bytes_of_slot() + kWork, free_memory()) +
                                       ", and " + error.what());
  }
}

void DeviceRows::fill(const RowArrays& rows) {
  const CodeSpec& spec = format_.spec;
  const bool has_factor = format_.factor != Factor::None;
  const auto put = [&](const auto& values, size_t at, auto& there, auto& here) {
    resident() ? there.put(values, at) : void(std::copy(values.begin(), values.end(), here.data() + at));
  };
  size_t row = 0;
  for (size_t part = 0; part < parts(); ++part) {
    for (size_t from = 0; from < sizes_[part]; from += kSlab) {
      const size_t n = std::min(kSlab, sizes_[part] - from), slot = first_[part] + from;
      const uint8_t* planes = rows.planes + row * spec.row_bytes();
      std::vector<uint8_t> first;
      if (scanned_ != spec) {
        const std::vector<uint8_t> rest = bytes_from(spec, n, planes, spec.groups(), spec.rest_bytes());
        std::copy(rest.begin(), rest.end(), rest_.data() + slot * spec.rest_bytes());
        first = bytes_from(spec, n, planes, 0, spec.groups());
      }
      const std::vector<uint8_t> blocks = make_blocks(scanned_, first.empty() ? planes : first.data(), n);
      put(blocks, slot * scanned_.row_bytes(), buffers_[0].blocks, host_.blocks);
      if (has_factor) {
        const std::vector<uint8_t> own = own_factors(format_, n, rows.factors + row * format_.factor_bytes());
        put(own, slot * format_.code.bytes, buffers_[0].factors, host_.factors);
      }
      put(std::span(rows.ids + row, n), slot, buffers_[0].ids, host_.ids);
      row += n;
    }
  }
}

size_t DeviceRows::bytes() const noexcept {
  size_t sum = groups_.bytes();
  for (const auto& buffer : buffers_) sum += buffer.blocks.bytes() + buffer.factors.bytes() + buffer.ids.bytes();
  return sum;
}

std::pair<size_t, size_t> DeviceRows::slots_of(uint32_t piece) const {
  const auto part =
      static_cast<size_t>(std::upper_bound(first_piece_.begin(), first_piece_.end(), piece) - first_piece_.begin() - 1);
  const size_t from = size_t{piece - first_piece_[part]} * piece_;
  return {first_[part] + from, first_[part] + std::min(from + piece_, sizes_[part])};
}

size_t DeviceRows::window_of(uint32_t piece) const {
  const auto behind = std::upper_bound(windows_.begin(), windows_.end(), piece,
                                       [](uint32_t p, const Window& window) { return p < window.end_piece; });
  return static_cast<size_t>(behind - windows_.begin());
}

void DeviceRows::bring(const Window& window, size_t buffer) {
  const auto part = [&](const auto& array, size_t bytes) {
    return std::span(array.data() + window.first * bytes, (window.end - window.first) * bytes);
  };
  buffers_[buffer].blocks.put_beside(part(host_.blocks, format_.spec.row_bytes()));
  if (format_.factor != Factor::None) buffers_[buffer].factors.put_beside(part(host_.factors, format_.code.bytes));
  buffers_[buffer].ids.put_beside(part(host_.ids, 1));
}

RowsOnDevice DeviceRows::view(const Window& window, size_t buffer) const {
  const Arrays<DeviceArray>& held = buffers_[buffer];
  return {{held.blocks.data(), groups_.data(), static_cast<uint32_t>(window.end - window.first), scanned_.row_bytes(),
           scanned_.dims(), scanned_.planes},
          {held.factors.data(), format_.factor, format_.code.bytes, format_.code.low, format_.code.step},
          held.ids.data(),
          rest_.on_device()};
}

void DeviceRows::each(const std::vector<size_t>& windows, const SearchWindow& search) {
  if (resident()) {
    for (const size_t w : windows) search(windows_[w], view(windows_[w], 0));
    return;
  }
  const Landed landed;
  const auto begin = [&](size_t i) {
    wait_for_kernels();  // those of a window before read what this one takes the place of
    bring(windows_[windows[i]], i % 2);
  };
  if (!windows.empty()) begin(0);
  for (size_t i = 0; i < windows.size(); ++i) {
    wait_for_copies();
    if (i + 1 < windows.size()) begin(i + 1);
    search(windows_[windows[i]], view(windows_[windows[i]], i % 2));
  }
}

std::vector<uint16_t> DeviceRows::mask(const bool* allowed) const {
  std::vector<uint16_t> bits(slots() / kBlockRows);
  for (size_t part = 0; part < parts(); ++part)
    for (size_t slot = first_[part], end = slot + sizes_[part]; slot < end; ++slot)
      if (allowed == nullptr || *allowed++) bits[slot / 16] = static_cast<uint16_t>(bits[slot / 16] | 1u << slot % 16);
  return bits;
}

}  // namespace bebr::cuda
