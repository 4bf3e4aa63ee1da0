// What every kind of segment offers to a search: rows that never change. Threads: any number may read at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "index/id_order.h"
#include "index/options.h"
#include "index/query_batch.h"
#include "index/row_filter.h"
#include "index/rows.h"
#include "index/topk.h"

namespace bebr {

enum class SegmentKind { Flat, Ivf, Graph };

class SegmentReader {
 public:
  virtual ~SegmentReader() = default;
  SegmentReader(const SegmentReader&) = delete;
  SegmentReader& operator=(const SegmentReader&) = delete;

  virtual SegmentKind kind() const noexcept = 0;
  const RowFormat& format() const noexcept { return format_; }
  // Rows have positions 0 to rows() - 1, whether they were removed since or not.
  virtual size_t rows() const noexcept = 0;
  // By position.
  virtual std::span<const int64_t> ids() const = 0;
  // out[i]: the position of ids[i], the last of several; -1: it is not here. The first call may put ids in order.
  void positions(std::span<const int64_t> ids, int64_t* out) const { order().find_all(ids, out); }
  virtual Rows copy_rows(std::span<const uint32_t> positions) const = 0;

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
