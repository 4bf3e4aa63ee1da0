// Rows of an index on a device: in parts, each of which begins a block of 16 rows. A flat index is one part, an IVF one
// a part a list. Rows that do not fit into the device's memory stay in pinned memory of the host; two buffers on the
// device take a window of them each, one while the other is read. Or sign planes are there, and kernels read the other
// planes of few rows in the host's memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cuda/codes.h"
#include "cuda/pinned.h"
#include "index/rows.h"

namespace bebr::cuda {

// Part after part.
struct RowArrays {
  std::span<const size_t> sizes;  // of the parts
  const uint8_t* planes;          // rows of the row format
  const uint8_t* factors;         // factor_bytes a row
  const int64_t* ids;
};

// What of the rows lies in the device's memory.
struct Residency {
  size_t most = ~size_t{0};               // bytes of them
  enum { Any, Whole, Signs } kind = Any;  // Whole: all of them. Signs: sign planes, factors and ids
};

// Slots, which are rows and what fills blocks up; and the pieces that lie there.
struct Window {
  size_t first = 0, end = 0;
  uint32_t first_piece = 0, end_piece = 0;
};

// What kernels see of a window, whose first slot is their row 0.
struct RowsOnDevice {
  CodeView codes;
  FactorView factors;
  DevicePointer<const int64_t> ids;
  DevicePointer<const uint8_t> rest;  // null: codes are whole. Else of sign planes, and here are a row's other planes
};

class DeviceRows {
 public:
  // piece: rows of a part that are always in one window: a multiple of 16. window: bytes of one, at most, where there
  // are several. Throws Error(LimitExceeded) for more rows than a device takes, and for rows that neither fit there nor
  // can be brought window by window, or that do not fit as `residency` wants them.
  DeviceRows(const RowFormat& format, const RowArrays& rows, size_t piece, size_t window, const Residency& residency);

  const RowFormat& format() const noexcept { return format_; }
  const CodeSpec& scanned() const noexcept { return scanned_; }  // what the device has of a code
  size_t size() const noexcept { return rows_; }
  size_t slots() const noexcept { return first_.back(); }
  size_t end() const noexcept { return parts() > 0 ? first_[parts() - 1] + sizes_.back() : 0; }  // of the last row
  size_t parts() const noexcept { return sizes_.size(); }
  size_t bytes() const noexcept;  // on the device
  bool resident() const noexcept { return windows_.size() < 2; }
  bool signs() const noexcept { return rest_.size() > 0; }

  // Pieces are numbered part after part.
  uint32_t first_piece(size_t part) const noexcept { return first_piece_[part]; }
  uint32_t pieces() const noexcept { return first_piece_.back(); }
  // Slots of its rows.
  std::pair<size_t, size_t> slots_of(uint32_t piece) const;

  const std::vector<Window>& windows() const noexcept { return windows_; }
  size_t window_of(uint32_t piece) const;
  // search(window, its rows) for some windows, by number. One caller at a time.
  using SearchWindow = std::function<void(const Window&, const RowsOnDevice&)>;
  void each(const std::vector<size_t>& windows, const SearchWindow& search);

  // allowed: whether each row is, part after part; null: all are. Bit i % 16 of entry i / 16 is that of slot i.
  std::vector<uint16_t> mask(const bool* allowed) const;

 private:
  template <template <typename> typename Array>
  struct Arrays {
    Array<uint8_t> blocks, factors;
    Array<int64_t> ids;
  };
  size_t bytes_of_slot() const noexcept;
  size_t slots_of_buffer(size_t piece, size_t window, const Residency& residency) const;
  void cut(size_t slots);
  void pin();
  void fill(const RowArrays& rows);
  void bring(const Window& window, size_t buffer);
  RowsOnDevice view(const Window& window, size_t buffer) const;

  RowFormat format_;
  CodeSpec scanned_;
  size_t rows_ = 0, piece_;
  std::vector<size_t> sizes_, first_;  // rows of each part, slot of its first
  std::vector<uint32_t> first_piece_;
  std::vector<Window> windows_;
  DeviceArray<uint32_t> groups_;
  std::array<Arrays<DeviceArray>, 2> buffers_;  // of a single window: the first alone
  Arrays<PinnedArray> host_;                    // of several: all rows
  PinnedArray<uint8_t> rest_;                   // where the device has sign planes: the others, row after row
};

}  // namespace bebr::cuda
