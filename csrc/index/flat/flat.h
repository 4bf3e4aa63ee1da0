// FlatIndex: every code is scored. Exact over codes, or progressive: the sign plane of everything, all planes of the
// best `survivors`. Rows live in memory, or in a mapped file (then add is refused and remove only marks).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "index/id_map.h"
#include "index/rows.h"
#include "index/topk.h"
#include "kernels/kernels.h"

namespace bebr {

// A batch of float queries in code space. stage_y/stage_base: for the sign plane alone, with the first stage's own
// decoder; null: the first stage shares y and base.
struct Queries {
  size_t count = 0;
  const float* y = nullptr;           // count * dims
  const float* base = nullptr;        // count
  const float* stage_y = nullptr;     // count * dims
  const float* stage_base = nullptr;  // count
};

struct SearchParams {
  size_t k = 10;          // results a query
  size_t survivors = 0;   // rows completed after the sign plane; 0: all that an upper bound cannot rule out (exact)
  bool expand = false;    // many queries may be scored by whole codes at once, which finds no less than survivors do
  bool filtered = false;  // only ids in `allow`
  std::span<const int64_t> allow;
  const float* floors = nullptr;  // of each query: only results that score above it. Null: any
};

class FlatIndex {
 public:
  explicit FlatIndex(const RowFormat& format);
  // Opens a file written by save. map: keep rows in the mapped file.
  static std::unique_ptr<FlatIndex> open(std::shared_ptr<const File> file, bool map);
  // An index of rows that are known to be good, for one search.
  FlatIndex(const RowFormat& format, RowStore store);

  const RowFormat& format() const noexcept { return format_; }
  // Whether a batch of so many queries is scored by whole codes where SearchParams allows it.
  static bool expands(size_t queries);
  size_t size() const;
  bool mapped() const noexcept { return file_ != nullptr; }

  // planes: n rows of row_bytes; factors: n rows of factor_bytes. Ids must be new. All or nothing.
  void add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids);
  // Ids not present are passed over; returns how many were removed.
  size_t remove(std::span<const int64_t> ids);
  bool contains(int64_t id) const;
  int64_t max_id() const;  // -1 when empty
  Rows rows() const;
  Rows rows(std::span<const int64_t> ids) const;  // throws Error(UnknownId) for an id that is not here

  // scores, ids: queries.count * k, best first; missing results are -inf and -1. Equal scores: smaller id first.
  void search(const Queries& queries, const SearchParams& params, float* scores, int64_t* ids) const;
  // Every row that scores above the floor of its query, best first; params: k and survivors are passed over.
  std::vector<std::vector<Hit>> range(const Queries& queries, const SearchParams& params) const;

  // extra: the caller's own sections, beside those of the index (owns_section).
  void save(const std::string& path, std::span<const Section> extra) const;
  static bool owns_section(std::string_view name);

 private:
  class Scan;  // flat/search.cpp
  RowView view() const noexcept { return file_ ? mapped_ : store_.view(); }
  void need_map() const;
  bool alive(size_t row) const noexcept;
  std::vector<uint32_t> rows_of(std::span<const int64_t> ids) const;  // those that are here, ascending, once each
  // An index of these rows alone, where so many queries pay for the copy; otherwise null.
  std::unique_ptr<FlatIndex> set_apart(std::span<const uint32_t> rows, size_t queries) const;

  RowFormat format_;
  RowStore store_;                    // unused when mapped
  std::shared_ptr<const File> file_;  // where the mapped rows are
  RowView mapped_;
  std::vector<uint16_t> alive_;  // a bit a row, when mapped and something was removed
  size_t dead_ = 0;

  mutable std::shared_mutex mutex_;
  mutable std::mutex map_mutex_;
  mutable bool map_built_ = false;
  mutable IdMap<uint32_t> row_of_;  // built when first needed
};

}  // namespace bebr
