// An IVF segment: rows in lists by their nearest centroid; a search looks at the lists nearest to its query. Positions
// number the rows list after list.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "index/ivf/centroids.h"
#include "index/rows.h"
#include "index/segment.h"

namespace bebr {

// Which lists each query of an exact search looks at: query i lists[begin[i]] to lists[begin[i + 1]], the nearest
// first; or all rows that the filter lets through, in whatever list.
struct LookedAt {
  bool all = false;
  std::vector<uint32_t> begin, lists;
};

// The lists of a copy that have rows, by vectors that stand for just these; none: they are ranked as the lists that
// they were copied from alone.
struct OwnLists {
  std::shared_ptr<const Centroids> centroids;
  std::vector<uint32_t> lists;  // that the centroids are of
};

class IvfSegment final : public SegmentReader {
 public:
  // The rows of a file written by save, or by merge_chunks, mapped.
  static std::shared_ptr<const IvfSegment> open(std::shared_ptr<const File> file);
  // Lists that the caller keeps in memory, and may change while nobody reads: then it calls lists_changed().
  // copied_from: the segment that some rows are copies of, in the same lists (ivf/copy.h). together: all of these, one
  // list after the other.
  IvfSegment(const RowFormat& format, std::shared_ptr<const Centroids> centroids, std::vector<RowView> lists,
             std::shared_ptr<const IvfSegment> copied_from = nullptr, const RowView& together = {}, OwnLists own = {});

  SegmentKind kind() const noexcept override { return SegmentKind::Ivf; }
  size_t vector_dim() const noexcept override { return centroids_->dim(); }
  size_t rows() const noexcept override { return first_.back(); }
  std::span<const int64_t> ids() const override;  // put together when first asked for
  std::vector<std::span<const int64_t>> id_parts() const override;
  void positions(std::span<const int64_t> ids, int64_t* out) const override;
  std::vector<int64_t> following(int64_t after, size_t skip, size_t count) const override;
  Rows copy_rows(std::span<const uint32_t> positions) const override;
  void search(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
              TopKBatch& tops) const override;
  bool by_whole_codes(size_t queries, const SearchOptions& options, bool filtered) const override;
  LookedAt looked_at(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter) const;
  void save(const std::string& path, std::span<const Section> extra, const BitmapView& dead) const override;

  const Centroids& centroids() const noexcept { return *centroids_; }
  std::shared_ptr<const Centroids> shared_centroids() const noexcept { return centroids_; }
  bool shares_centroids() const noexcept { return centroids_.use_count() > 1; }
  const RowView& together() const noexcept { return together_; }  // no rows: they stand in their lists alone
  const OwnLists& own() const noexcept { return own_; }
  const IvfSegment& whole() const noexcept { return copied_from_ ? *copied_from_ : *this; }
  size_t lists() const noexcept { return lists_.size(); }
  const RowView& list(size_t l) const noexcept { return lists_[l]; }
  size_t first(size_t l) const noexcept { return first_[l]; }  // position of the list's first row
  size_t list_of(size_t position) const noexcept;
  std::vector<size_t> list_sizes(const BitmapView& dead) const;  // of rows that are not dead
  Rows live_rows(const BitmapView& dead) const;                  // these rows, list after list

  RowView& list_view(size_t l) noexcept { return lists_[l]; }
  void lists_changed() noexcept;

 private:
  int64_t position_of(int64_t slot) const noexcept;  // -1: no row's

  std::shared_ptr<const Centroids> centroids_;
  std::vector<RowView> lists_;
  std::vector<size_t> first_;  // and the number of all rows
  std::shared_ptr<const IvfSegment> copied_from_;
  RowView together_;
  OwnLists own_;
  mutable std::mutex ids_mutex_;
  mutable std::vector<int64_t> ids_;
  mutable bool ids_made_ = false;

  // Of a file: rows are found by their ids in order; entries are slots, counted from list to list through the gaps that
  // fill blocks up.
  std::shared_ptr<const File> file_;
  std::vector<size_t> first_slot_;
  IdOrder by_slot_;
};

}  // namespace bebr
