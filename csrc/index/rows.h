// Rows of an index in scan layout: codes, the factors beside them and ids, in memory or in a mapped file.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "code/factor.h"
#include "code/layout.h"

namespace bebr {

// What a stored vector is: its code and the factors beside it.
struct RowFormat {
  CodeSpec spec;
  Factor factor = Factor::Mul;
  bool stage_factor = false;    // a second factor, for the score of the sign plane alone
  FactorCode code, stage_code;  // of the same bytes

  uint32_t factors() const noexcept { return (factor == Factor::None ? 0u : 1u) + (stage_factor ? 1u : 0u); }
  uint32_t factor_bytes() const noexcept { return factors() * code.bytes; }  // of a row
  bool operator==(const RowFormat&) const = default;
};

// The memory of some rows. What a format does not have (no factor, no stage factor) is null.
struct RowView {
  const uint8_t* blocks = nullptr;         // block_count(rows) * block_bytes
  const uint8_t* rest = nullptr;           // rows * rest_bytes
  const uint8_t* factors = nullptr;        // rows * code.bytes
  const uint8_t* stage_factors = nullptr;  // rows * code.bytes
  const int64_t* ids = nullptr;
  size_t rows = 0;

  ScanView scan(const CodeSpec& spec) const noexcept { return {spec, blocks, rest, rows}; }
  // `count` rows from `first` on, but for their sign planes.
  RowView rows_from(const RowFormat& format, size_t first, size_t count) const noexcept;
  // The same of a `first` that begins a block, sign planes too.
  RowView part(const RowFormat& format, size_t first, size_t count) const noexcept;
};

// Rows copied out, one after the other.
struct Rows {
  std::vector<uint8_t> planes;   // n * row_bytes
  std::vector<uint8_t> factors;  // n * factor_bytes
  std::vector<int64_t> ids;
};
// Appends row `at` of a view.
void copy_row(const RowFormat& format, const RowView& view, size_t at, Rows& out);

// Rows in memory. The format is that of the index, handed to every call: an index may have a million of these. A call
// that throws changes nothing.
class RowStore {
 public:
  // Good until the next change, successful or not: a buffer that grows moves.
  RowView view() const noexcept {
    return {blocks_.data(), rest_.data(), factors_.data(), stage_factors_.data(), ids_.as<int64_t>(), rows_};
  }
  size_t size() const noexcept { return rows_; }

  // planes: n rows of the row format; factors: n * factor_bytes; ids: n.
  void append(const RowFormat& format, size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids);
  // Rows of a view.
  void append(const RowFormat& format, const RowView& from, std::span<const uint32_t> rows);
  // The last row takes the place of the removed one, so that the space comes back.
  void remove(const RowFormat& format, size_t at) noexcept;
  void reserve(const RowFormat& format, size_t rows);
  // The same, at least twice the room there was: a call of append that fits cannot fail.
  void grow(const RowFormat& format, size_t rows);
  // Replaces all rows by copies.
  void assign(const RowFormat& format, const RowView& from);

 private:
  void resize(const RowFormat& format, size_t rows);
  template <typename Fn>
  void each_buffer(const RowFormat& format, size_t rows, const Fn& fn);

  Buffer blocks_, rest_, factors_, stage_factors_, ids_;  // without bytes where the format has none
  size_t rows_ = 0;
};

// Throws Error(InvalidArgument) for a factor that is not finite, or negative where it multiplies: the bound of an exact
// search would then be wrong. factors: n * factor_bytes.
void check_factors(const RowFormat& format, size_t n, const uint8_t* factors);

}  // namespace bebr
