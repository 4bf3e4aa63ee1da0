// Rows in memory that change: what a mutable index (index.h) keeps, one class a kind. All calls but the const ones come
// from one writer at a time; who holds `mutex`, the lock that readers share, is said at each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>

#include "index/row_filter.h"
#include "index/segment.h"

namespace bebr {

// planes: n rows of row_bytes; factors: n rows of factor_bytes; ids: n. lists: of IVF, the list of each row.
struct NewRows {
  size_t n = 0;
  const uint8_t* planes = nullptr;
  const uint8_t* factors = nullptr;
  const int64_t* ids = nullptr;
  const uint32_t* lists = nullptr;
};

// Where a row stands, in the kind's own terms, until it is removed or moved.
using RowPlace = uint64_t;

class GrowingRows {
 public:
  virtual ~GrowingRows() = default;

  // The rows as they are, removed ones included; good while nothing changes.
  virtual std::shared_ptr<const SegmentReader> reader() const = 0;
  // Of the reader's rows, those that searches do not find.
  virtual BitmapView dead() const noexcept { return {}; }
  virtual size_t size() const noexcept = 0;  // rows that searches find
  // Places become positions, -1 where searches do not find that row; -1 stays. Many in a call: a filter may name most
  // rows, and a call for each was a sixth of the instructions of a filtered search in a graph.
  virtual void positions(std::span<int64_t> places) const noexcept { static_cast<void>(places); }

  // Throws Error for rows that cannot be added, by reasons of the kind.
  virtual void check(const NewRows& rows) const = 0;
  // Under the exclusive lock: adds rows that were checked, all or nothing, and says where they stand.
  virtual void insert(const NewRows& rows, RowPlace* places) = 0;
  // Without the lock: what is left to do before searches find them. Throws: then give_up follows.
  virtual void finish_insert(std::shared_mutex&) {}
  // Under the exclusive lock: takes the rows of the last insert out again.
  virtual void give_up() noexcept {}

  // Under the exclusive lock: takes the memory that `count` calls of remove need.
  virtual void prepare_remove(size_t count) { static_cast<void>(count); }
  // Under the exclusive lock: the place of the row that moved into the hole, if one did.
  virtual std::optional<RowPlace> remove(RowPlace place) noexcept = 0;
  // Under the exclusive lock, after insert and remove, whether they failed or not.
  virtual void changed() noexcept {}
  // Without the lock, after rows were removed: tidies up where it is worth it.
  virtual void tidy(std::shared_mutex&) {}

  // fn(id, place) for every row that searches find.
  virtual void each(const std::function<void(int64_t, RowPlace)>& fn) const = 0;
  virtual int64_t id_at(RowPlace place) const noexcept = 0;
};

}  // namespace bebr
