// Which rows of a segment a search may find: those that were not removed (`dead`), and that a filter lets through.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bebr {

inline constexpr size_t words_for(size_t bits) { return (bits + 63) / 64; }
inline void set_bit(std::vector<uint64_t>& words, size_t at) { words[at / 64] |= uint64_t{1} << at % 64; }

// Bit i of word i / 64 is row i's; rows past the end have none. Without words it is absent.
struct BitmapView {
  const uint64_t* words = nullptr;
  size_t bits = 0;

  bool present() const noexcept { return words != nullptr; }
  bool operator[](size_t at) const noexcept { return at < bits && (words[at / 64] >> at % 64 & 1) != 0; }
  // Bits `at` to `at` + 63, from any place.
  uint64_t bits64(size_t at) const noexcept {
    const size_t word = at / 64, shift = at % 64, count = words_for(bits);
    uint64_t found = word < count ? words[word] >> shift : 0;
    if (shift > 0 && word + 1 < count) found |= words[word + 1] << (64 - shift);
    return found;
  }
};
inline BitmapView view_of(const std::vector<uint64_t>& words) {
  return {words.empty() ? nullptr : words.data(), 64 * words.size()};
}

struct RowFilter {
  BitmapView allow;  // absent: every row is allowed
  // The allowed rows, each once and ascending, to a graph in any order; then `allow` is not read.
  const std::vector<uint32_t>* rows = nullptr;
  BitmapView dead;                // absent: none is
  size_t dead_rows = kUncounted;  // how many are, where that is known

  static constexpr size_t kUncounted = ~size_t{0};
  bool filtered() const noexcept { return rows != nullptr || allow.present(); }
  bool all() const noexcept { return !filtered() && !dead.present(); }

  // fn(row) for every row of [first, first + count) that may be found, in the order of `rows`, ascending without them.
  template <typename Fn>
  void each(size_t first, size_t count, const Fn& fn) const {
    if (rows == nullptr)
      return each_word(first, count, [&](size_t at, uint64_t bits) {
        for (; bits != 0; bits &= bits - 1) fn(at + static_cast<size_t>(std::countr_zero(bits)));
      });
    auto at = first == 0 ? rows->begin() : std::lower_bound(rows->begin(), rows->end(), first);
    for (; at != rows->end() && *at < first + count; ++at)
      if (!dead[*at]) fn(size_t{*at});
  }
  // Of all `rows` rows of the segment, those that are not dead.
  size_t live(size_t rows) const {
    if (!dead.present()) return rows;
    return dead_rows != kUncounted ? rows - dead_rows : RowFilter{{}, nullptr, dead, kUncounted}.count(0, rows);
  }
  size_t count(size_t first, size_t count) const;
  // The same as Kernels::select takes it, 16 rows a mask; out: room for `count` rounded up to 64. Whether any bit is
  // set. Not where `rows` is.
  bool masks(size_t first, size_t count, uint16_t* out) const noexcept {
    uint64_t any = 0;
    for (size_t at = 0; at < count; at += 64, out += 4) {
      uint64_t found = bits64(first + at);
      if (count - at < 64) found &= (uint64_t{1} << (count - at)) - 1;
      any |= found;
      for (size_t i = 0; i < 4; ++i) out[i] = static_cast<uint16_t>(found >> 16 * i);
    }
    return any != 0;
  }

 private:
  uint64_t bits64(size_t at) const noexcept {
    const uint64_t found = allow.present() ? allow.bits64(at) : ~uint64_t{0};
    return dead.present() ? found & ~dead.bits64(at) : found;
  }
  // fn(at, bits) for every 64 rows among which one may be found; at: of their first one.
  template <typename Fn>
  void each_word(size_t first, size_t count, const Fn& fn) const {
    size_t at = 0;
    if (first % 64 == 0 && allow.present()) {  // words as they stand: most have no bit where few rows are allowed
      const size_t word = first / 64, whole = std::min(count, allow.bits - std::min(allow.bits, first)) / 64;
      for (size_t i = 0; i < whole; ++i) {
        uint64_t found = allow.words[word + i];
        if (found == 0) continue;
        if (dead.present()) found &= ~dead.bits64(first + 64 * i);
        if (found != 0) fn(first + 64 * i, found);
      }
      at = 64 * whole;
    }
    for (; at < count; at += 64) {
      uint64_t found = bits64(first + at);
      if (count - at < 64) found &= (uint64_t{1} << (count - at)) - 1;
      if (found != 0) fn(first + at, found);
    }
  }
};

// The rows that a list of ids leaves.
struct RowSet {
  bool listed = false;
  std::vector<uint32_t> rows;  // as RowFilter::rows, where listed
  std::vector<uint64_t> bits;  // a bit a row, where not

  void restrict(RowFilter& filter) const {
    filter.rows = listed ? &rows : nullptr;
    filter.allow = listed ? BitmapView{} : view_of(bits);
  }
};

}  // namespace bebr
