// Whether queries as bytes should take more tiles than the code: by what their rounding leaves undecided among few
// rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "index/rows.h"

namespace bebr {

// Pieces of an index's rows, spread over all of them.
class SampledRows {
 public:
  static constexpr size_t kPieces = 16, kPieceRows = 32;

  // all: rows that are going to be added.
  explicit SampledRows(size_t all) : all_(all) {}
  void add(const RowFormat& format, const RowView& rows);

  std::span<const RowView> pieces() const noexcept { return pieces_; }
  size_t all() const noexcept { return all_; }

 private:
  size_t all_, seen_ = 0;
  std::vector<RowView> pieces_;
};

// Queries of an approximate or exact search by whole codes.
struct ByteSearch {
  const float* y;     // count * dims
  const float* base;  // of each
  size_t count, k;
  size_t rows;  // that a query looks at
  bool exact;
};

// Whether a sample is worth what it takes.
bool may_take_more_tiles(const ByteSearch& search, size_t all);
// `more` of make_byte_queries. Rounding leaves some rows undecided, which have to be completed: where these cost more
// than a further tile of every row, one more.
uint32_t more_tiles(const RowFormat& format, const ByteSearch& search, const SampledRows& sample);

}  // namespace bebr
