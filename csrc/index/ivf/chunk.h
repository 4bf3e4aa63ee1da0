// A chunk of a bulk build: rows of the source, already in the order of their lists, in a file of its own (kind
// "ivf-chunk"). ivf/merge.h makes an index file of many.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/file.h"
#include "index/rows.h"

namespace bebr {

struct ChunkRows {
  uint64_t first_row;  // in the source
  size_t rows;
  const uint8_t* planes;   // rows * row_bytes
  const uint8_t* factors;  // rows * factor_bytes
  const int64_t* ids;      // null: the rows' numbers
  const uint32_t* lists;   // below list_count
  uint32_t list_count;
  const uint8_t* raw = nullptr;  // rows * raw_bytes, to be kept beside the codes; null: none
  size_t raw_bytes = 0;
};
// Sections: `spec`, `bytecode`; `chunk` (ChunkHead), `counts` (uint32 a list: its rows), and, list after list,
// `planes`, `factors`, `order` (uint32: the row's position in the chunk as it came) and `ids` (none where they are row
// numbers); and `raw`, where there are such rows, in the order they came in.
void write_chunk(const std::string& path, const RowFormat& format, const ChunkRows& rows);

struct ChunkHead {
  uint64_t first_row, rows;
  uint32_t lists;
  uint32_t own_ids;    // 1: section `ids`
  uint32_t ascending;  // 1: every id larger than that of the row before it
  uint32_t zero;
  int64_t lowest, highest;  // of its ids
};

// A chunk in its file, checked against the format and the number of lists. Its rows are read once, in their order.
class Chunk {
 public:
  // raw_bytes: of a row of section `raw`; 0: there is none.
  static Chunk open(const std::string& path, const RowFormat& format, uint32_t lists, size_t raw_bytes);

  const ChunkHead& head() const noexcept { return head_; }
  std::span<const uint32_t> counts() const noexcept { return counts_; }
  std::span<const uint32_t> order() const noexcept { return order_; }
  const uint8_t* planes() const noexcept { return planes_; }
  const uint8_t* factors() const noexcept { return factors_; }
  std::span<const uint8_t> raw() const noexcept { return raw_; }
  // Of the row that stands at `at`.
  int64_t id(size_t at) const noexcept {
    return ids_ != nullptr ? ids_[at] : static_cast<int64_t>(head_.first_row + order_[at]);
  }

  // Memory held by pages that were read goes back.
  void release() const;
  // Throws Error(Corrupt) unless `crc` is the checksum that the section was written with.
  void expect(const char* section, uint32_t crc) const;
  // The same for what order(), counts() and id() read.
  void verify_places() const;

 private:
  std::shared_ptr<const File> file_;
  ChunkHead head_{};
  std::span<const uint32_t> counts_, order_;
  std::span<const uint8_t> raw_;
  const uint8_t *planes_ = nullptr, *factors_ = nullptr;
  const int64_t* ids_ = nullptr;
};

}  // namespace bebr
