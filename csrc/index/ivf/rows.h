// IvfRows: rows of an IVF index, in memory: a store for each list.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "index/growing.h"
#include "index/ivf/segment.h"
#include "index/rows.h"

namespace bebr {

// A place is a list, in the upper half, and a row of it.
class IvfRows final : public GrowingRows {
 public:
  IvfRows(const RowFormat& format, std::shared_ptr<const Centroids> centroids);
  explicit IvfRows(const IvfSegment& copied);

  std::shared_ptr<const SegmentReader> reader() const override { return segment_; }
  size_t size() const noexcept override { return rows_; }
  void positions(std::span<int64_t> places) const noexcept override {
    for (int64_t& at : places)
      if (at >= 0) {
        const auto place = static_cast<RowPlace>(at);
        at = static_cast<int64_t>(segment_->first(list_of(place)) + row_of(place));
      }
  }
  void check(const NewRows& rows) const override;
  void insert(const NewRows& rows, RowPlace* places) override;
  std::optional<RowPlace> remove(RowPlace place) noexcept override;
  void changed() noexcept override { segment_->lists_changed(); }
  void each(const std::function<void(int64_t, RowPlace)>& fn) const override;
  int64_t id_at(RowPlace place) const noexcept override { return segment_->list(list_of(place)).ids[row_of(place)]; }

 private:
  static RowPlace place_of(size_t list, size_t row) noexcept { return RowPlace{list} << 32 | row; }
  static size_t list_of(RowPlace place) noexcept { return static_cast<size_t>(place >> 32); }
  static size_t row_of(RowPlace place) noexcept { return static_cast<size_t>(place & UINT32_MAX); }

  RowFormat format_;
  std::vector<RowStore> stores_;
  std::shared_ptr<IvfSegment> segment_;  // its lists are views of the stores
  size_t rows_ = 0;
};

}  // namespace bebr
