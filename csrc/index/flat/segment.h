// A flat segment: immutable rows in scan layout, in a mapped file or in memory that somebody keeps.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/file.h"
#include "index/flat/scan.h"
#include "index/rows.h"
#include "index/segment.h"

namespace bebr {

class FlatSegment final : public SegmentReader {
 public:
  // The rows of a file written by save, mapped.
  static std::shared_ptr<const FlatSegment> open(std::shared_ptr<const File> file);

  // views: one after the other, all but the last of whole blocks; ids: of all of them. owner keeps them in memory.
  FlatSegment(const RowFormat& format, std::vector<RowView> views, std::span<const int64_t> ids,
              std::shared_ptr<const void> owner, std::optional<std::span<const uint32_t>> by_id = {});

  SegmentKind kind() const noexcept override { return SegmentKind::Flat; }
  size_t rows() const noexcept override { return ids_.size(); }
  std::span<const int64_t> ids() const override { return ids_; }
  Rows copy_rows(std::span<const uint32_t> positions) const override;
  void search(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
              TopKBatch& tops) const override;
  bool by_whole_codes(size_t queries, const SearchOptions& options, bool filtered) const override;
  void save(const std::string& path, std::span<const Section> extra, const BitmapView& dead) const override;

  const std::vector<RowView>& views() const noexcept { return views_; }
  // For scan_flat.
  void add_parts(const RowFilter& filter, std::vector<FlatPart>& parts) const;

 private:
  std::vector<RowView> views_;
  std::span<const int64_t> ids_;
  std::shared_ptr<const void> owner_;
};

}  // namespace bebr
