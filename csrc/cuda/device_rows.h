// Rows of an index on a device: in parts, each of which begins a block of 16 rows. A flat index is one part, an IVF one
// a part a list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cuda/codes.h"
#include "index/rows.h"

namespace bebr::cuda {

// Part after part.
struct RowArrays {
  std::span<const size_t> sizes;  // of the parts
  const uint8_t* planes;          // rows of the row format
  const uint8_t* factors;         // factor_bytes a row
  const int64_t* ids;
};

class DeviceRows {
 public:
  // Throws Error(LimitExceeded) for more rows than a device takes, and for more than fit into what memory it has left.
  DeviceRows(const RowFormat& format, const RowArrays& rows);

  const RowFormat& format() const noexcept { return format_; }
  size_t size() const noexcept { return rows_; }
  size_t slots() const noexcept { return first_.back(); }  // rows, and what fills blocks up
  size_t end() const noexcept { return parts() > 0 ? first_[parts() - 1] + sizes_.back() : 0; }  // of the last row
  size_t parts() const noexcept { return sizes_.size(); }
  size_t first(size_t part) const noexcept { return first_[part]; }  // slot of its first row
  size_t size(size_t part) const noexcept { return sizes_[part]; }
  size_t bytes() const noexcept;  // on the device

  CodeView codes() const;
  FactorView factors() const;
  DevicePointer<const int64_t> ids() const noexcept { return ids_.data(); }  // by slot
  // allowed: whether each row is, part after part; null: all are. Bit i % 16 of entry i / 16 is that of slot i.
  std::vector<uint16_t> mask(const bool* allowed) const;

 private:
  RowFormat format_;
  size_t rows_ = 0;
  std::vector<size_t> sizes_, first_;
  DeviceArray<uint8_t> blocks_, factors_;
  DeviceArray<uint32_t> groups_;
  DeviceArray<int64_t> ids_;
};

}  // namespace bebr::cuda
