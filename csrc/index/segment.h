// What every kind of segment offers to a search: rows that never change. Threads: any number may read at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "index/id_order.h"
#include "index/options.h"
#include "index/query_batch.h"
#include "index/row_filter.h"
#include "index/rows.h"
#include "index/topk.h"

namespace bebr {

enum class SegmentKind { Flat, Ivf, Graph };
const char* kind_name(SegmentKind kind);  // "flat", "ivf", "graph": as files are called

class SegmentReader {
 public:
  virtual ~SegmentReader() = default;
  SegmentReader(const SegmentReader&) = delete;
  SegmentReader& operator=(const SegmentReader&) = delete;

  virtual SegmentKind kind() const noexcept = 0;
  const RowFormat& format() const noexcept { return format_; }
  virtual size_t vector_dim() const noexcept { return 0; }  // of QueryBatch::vectors; 0: they are not read
  // Rows have positions 0 to rows() - 1, whether they were removed since or not.
  virtual size_t rows() const noexcept = 0;
  // By position.
  virtual std::span<const int64_t> ids() const = 0;
  // The same in pieces as they lie in memory, one after the other.
  virtual std::vector<std::span<const int64_t>> id_parts() const { return {ids()}; }
  // out[i]: the position of ids[i], the last of several; -1: it is not here. The first call may put ids in order.
  virtual void positions(std::span<const int64_t> ids, int64_t* out) const { order().find_all(ids, out); }
  // Positions in the order of their ids, equal ones by position: up to `count`, after those of all ids up to `after`
  // and `skip` more; -1 where a damaged file names a row that is not there.
  virtual std::vector<int64_t> following(int64_t after, size_t skip, size_t count) const {
    return order().following(after, skip, count);
  }
  virtual Rows copy_rows(std::span<const uint32_t> positions) const = 0;
  // Pushes the best rows that the filter lets through. Several flat segments are better searched together (search.h).
  virtual void search(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
                      TopKBatch& tops) const = 0;
  // Whether a search of so many queries scores whole codes, and so has no use for stage_y.
  virtual bool by_whole_codes(size_t queries, const SearchOptions& options, bool filtered) const = 0;
  // Writes a file of the rows that are not dead. extra: the caller's own sections, beside those of the kind.
  virtual void save(const std::string& path, std::span<const Section> extra, const BitmapView& dead) const = 0;

 protected:
  // by_id: the positions in the order of their ids, empty where the ids ascend; absent: found out when first needed.
  explicit SegmentReader(const RowFormat& format, std::optional<std::span<const uint32_t>> by_id = {})
      : format_(format), by_id_(by_id) {}

 private:
  const IdOrder& order() const;

  RowFormat format_;
  std::optional<std::span<const uint32_t>> by_id_;
  mutable std::once_flag ordered_;
  mutable std::vector<uint32_t> made_;  // 4 bytes a row, where there is no by_id
  mutable IdOrder order_;
};

}  // namespace bebr
