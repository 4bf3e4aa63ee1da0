// FlatRows: rows of a flat index, in memory. The last row fills the place of one that is removed.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "index/flat/segment.h"
#include "index/growing.h"
#include "index/rows.h"

namespace bebr {

class FlatRows final : public GrowingRows {
 public:
  explicit FlatRows(const RowFormat& format) : format_(format) {}
  explicit FlatRows(const FlatSegment& copied);

  std::shared_ptr<const SegmentReader> reader() const override;
  size_t size() const noexcept override { return store_.size(); }
  void check(const NewRows& rows) const override;
  void insert(const NewRows& rows, RowPlace* places) override;
  std::optional<RowPlace> remove(RowPlace place) noexcept override;
  void each(const std::function<void(int64_t, RowPlace)>& fn) const override;
  int64_t id_at(RowPlace place) const noexcept override { return store_.view().ids[place]; }

 private:
  RowFormat format_;
  RowStore store_;
};

}  // namespace bebr
