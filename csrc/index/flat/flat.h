// FlatIndex: every code is scored (flat/scan.h). Rows live in memory and may change, or in an immutable segment, in
// memory or mapped (then add is refused and remove only marks).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "index/flat/segment.h"
#include "index/id_map.h"
#include "index/options.h"
#include "index/query_batch.h"
#include "index/rows.h"
#include "index/search.h"
#include "index/topk.h"

namespace bebr {

using AllowedIds = std::optional<std::span<const int64_t>>;  // none: any id

class FlatIndex {
 public:
  explicit FlatIndex(const RowFormat& format);
  // Opens a file written by save. map: keep rows in the mapped file.
  static std::unique_ptr<FlatIndex> open(std::shared_ptr<const File> file, bool map);
  // Of an immutable segment; source: what an error says it comes from.
  FlatIndex(std::shared_ptr<const FlatSegment> segment, std::string source);

  const RowFormat& format() const noexcept { return format_; }
  size_t size() const;
  bool mapped() const noexcept { return segment_ != nullptr; }

  // planes: n rows of row_bytes; factors: n rows of factor_bytes. Ids must be new. All or nothing.
  void add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids);
  // Ids not present are passed over; returns how many were removed.
  size_t remove(std::span<const int64_t> ids);
  bool contains(int64_t id) const;
  int64_t max_id() const;  // -1 when empty
  Rows rows() const;
  Rows rows(std::span<const int64_t> ids) const;  // throws Error(UnknownId) for an id that is not here

  // The best rows of `allow` for each query, pushed to tops.
  void search(QueryBatch& queries, const SearchOptions& options, const AllowedIds& allow, TopKBatch& tops) const;
  // Every row that scores above the floor of its query (min_scores), best first; k and survivors are passed over.
  std::vector<std::vector<Hit>> range(QueryBatch& queries, const SearchOptions& options, const AllowedIds& allow) const;

  // The rows as a segment, and which of them were removed. Nothing changes while this lives.
  struct Reading {
    std::shared_lock<std::shared_mutex> lock;
    std::shared_ptr<const FlatSegment> segment;
    BitmapView dead;
  };
  Reading reading() const;
  // While reading: the rows of these ids, those that are here, ascending, once each.
  std::vector<uint32_t> rows_of(std::span<const int64_t> ids) const;
  // out[i]: the position of ids[i]; -1: it is not here, or was removed.
  void positions(std::span<const int64_t> ids, int64_t* out) const;

  // extra: the caller's own sections, beside those of the index (owns_section).
  void save(const std::string& path, std::span<const Section> extra) const;
  static bool owns_section(std::string_view name);

 private:
  size_t row_count() const noexcept { return segment_ ? segment_->rows() : store_.size(); }
  void need_map() const;
  void find(std::span<const int64_t> ids, int64_t* out) const;

  RowFormat format_;
  RowStore store_;  // unused where there is a segment
  std::shared_ptr<const FlatSegment> segment_;
  std::string source_;
  std::vector<uint64_t> dead_;  // a bit a row of the segment, once something was removed
  size_t dead_count_ = 0;

  mutable std::shared_mutex mutex_;
  mutable std::mutex map_mutex_;
  mutable bool map_built_ = false;
  mutable IdMap<uint32_t> row_of_;  // of the store; built when first needed
};

}  // namespace bebr
