// Flat parts as one row of blocks: how their rows are numbered, and the walk over them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "index/flat/scan.h"

namespace bebr {

// Rows have numbers through all parts; those of a part begin at a multiple of 64, so that filters are read in whole
// words.
class FlatParts {
 public:
  static constexpr size_t kAlign = 4;  // blocks

  explicit FlatParts(std::span<const FlatPart> parts);

  std::span<FlatPart> parts() noexcept { return parts_; }
  std::span<const FlatPart> parts() const noexcept { return parts_; }
  const FlatPart& operator[](size_t p) const noexcept { return parts_[p]; }
  size_t rows() const noexcept { return rows_; }
  size_t blocks() const noexcept { return first_.back() / kBlockRows; }
  uint32_t first(size_t p) const noexcept { return first_[p]; }  // number of the part's first row
  size_t part_of(uint32_t row) const {
    return static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), row) - first_.begin() - 1);
  }
  int64_t id_of(uint32_t row) const {
    const size_t p = part_of(row);
    return parts_[p].rows.ids[row - first_[p]];
  }

  // fn(part, block of the part, blocks) for pieces of blocks [first, last), each `most` long at most, every step-th.
  template <typename Fn>
  void each_chunk(size_t first, size_t last, size_t most, size_t step, const SearchOptions& options,
                  const Fn& fn) const {
    size_t next = first;
    for (size_t p = 0; p < parts_.size(); ++p) {
      const size_t begin = first_[p] / kBlockRows, end = begin + block_count(parts_[p].rows.rows);
      for (size_t b = std::max(next, begin); b < std::min(last, end); b = next) {
        check_stop(options);
        const size_t blocks = std::min({most, last - b, end - b});
        next = step == 1 ? b + blocks : b + step * most;
        fn(p, b - begin, blocks);
      }
    }
  }

  // Completes rows by their numbers, which stand part after part. sums: of each row by its number, where they are known
  // (flat/whole_sums.h).
  void complete(const RowFormat& format, std::span<const uint32_t> rows, const FineQuery& fine, float base,
                const SearchOptions& options, TopK& top, const int32_t* sums = nullptr) const;

 private:
  std::vector<FlatPart> parts_;
  std::vector<uint32_t> first_;  // and one past the last part
  size_t rows_ = 0;
};

}  // namespace bebr
