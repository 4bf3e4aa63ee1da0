// Index: rows under ids, of any kind. They lie in memory and may change, or in an immutable segment, in memory or
// mapped (then add is refused and remove only marks). Threads: any number may search while one adds or removes; a
// second writer waits.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "index/growing.h"
#include "index/id_map.h"
#include "index/segment.h"
#include "index/wanted.h"

namespace bebr {

using AllowedIds = std::optional<std::span<const int64_t>>;  // none: any id

class Index {
 public:
  explicit Index(std::unique_ptr<GrowingRows> rows);
  // Of an immutable segment. source: what it is, for errors: "mapped from x.bebr".
  Index(std::shared_ptr<const SegmentReader> segment, std::string source);
  // A file written by save, of any kind. map: rows stay in the mapped file.
  static std::unique_ptr<Index> open(std::shared_ptr<const File> file, bool map);
  // Whether a file of this kind has such a section of its own; others are the caller's.
  static bool owns_section(std::string_view kind, std::string_view name);

  SegmentKind kind() const noexcept { return kind_; }
  const RowFormat& format() const noexcept { return format_; }
  bool immutable() const noexcept { return segment_ != nullptr; }
  size_t size() const;
  size_t vector_dim() const noexcept { return vector_dim_; }  // of QueryBatch::vectors; 0: they are not read

  // Ids must be new. All or nothing.
  void add(const NewRows& rows);
  // Ids not present are passed over; returns how many were removed. All or nothing.
  size_t remove(std::span<const int64_t> ids);
  // out[i]: the position of ids[i]; -1: it is not here, or was removed.
  void positions(std::span<const int64_t> ids, int64_t* out) const;
  bool contains(int64_t id) const;
  int64_t max_id() const;                         // -1 when empty
  Rows rows() const;                              // by position
  Rows rows(std::span<const int64_t> ids) const;  // throws Error(UnknownId) for an id that is not here

  // The rows as a segment, and which of them searches do not find. Nothing changes while this lives.
  struct Reading {
    std::shared_lock<std::shared_mutex> lock;
    std::shared_ptr<const SegmentReader> segment;
    BitmapView dead;
    size_t dead_rows;
  };
  Reading reading() const;
  // While reading: the rows of those ids that are here, of those that `allow` lets through, where it is present;
  // removed ones too, which `dead` leaves out.
  RowSet rows_of(WantedIds& wanted, const BitmapView& allow = {}) const;

  // The best rows of `allow` for each query, pushed to tops.
  void search(QueryBatch& queries, const SearchOptions& options, const AllowedIds& allow, TopKBatch& tops) const;
  // Every row that scores above min_scores of its query, best first: of IVF, in the nprobe lists looked at. k is passed
  // over. Flat and IVF only.
  std::vector<std::vector<Hit>> range(QueryBatch& queries, const SearchOptions& options, const AllowedIds& allow) const;

  // extra: the caller's own sections, beside those of the index (owns_section).
  void save(const std::string& path, std::span<const Section> extra) const;

 private:
  void need_map() const;
  void find(std::span<const int64_t> ids, int64_t* out) const;

  SegmentKind kind_;
  RowFormat format_;
  size_t vector_dim_ = 0;
  std::unique_ptr<GrowingRows> rows_;  // one of the two
  std::shared_ptr<const SegmentReader> segment_;
  std::string source_;
  std::vector<uint64_t> dead_;  // a bit a row of the segment, once something was removed
  size_t dead_rows_ = 0;

  mutable std::mutex writer_;
  mutable std::shared_mutex mutex_;
  mutable std::mutex map_mutex_;
  mutable bool map_built_ = false;
  mutable IdMap<RowPlace> place_of_;  // of rows_; built when first needed
};

// One of several indexes that are searched as one, and bitmaps by position beside what the index itself knows.
struct IndexView {
  const Index* index = nullptr;
  BitmapView dead, allow;
  size_t dead_rows = RowFilter::kUncounted;  // how many rows are dead, where that is known
  size_t effort = 0;                         // as of SegmentView
};

// The best rows of all of them together (search.h); with `allow`, of these ids. Throws Error(InvalidArgument) for a
// bitmap with fewer bits than its index has rows, and for more dead rows than there are rows.
void search(std::span<const IndexView> indexes, const AllowedIds& allow, QueryBatch& queries,
            const SearchOptions& options, TopKBatch& tops);

}  // namespace bebr
