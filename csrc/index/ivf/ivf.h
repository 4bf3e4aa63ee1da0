// IvfIndex: rows in lists by their nearest centroid; a search looks at the lists nearest to its query. Codes of a list
// stand in scan layout. Rows live in memory, or in a mapped file (then add is refused and remove only marks).
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
#include "index/ivf/centroids.h"
#include "index/query_batch.h"
#include "index/rows.h"
#include "index/topk.h"

namespace bebr {

struct IvfParams {
  size_t k = 10;
  size_t enough = 10;  // 1 to k: with fewer results than this, more lists are looked at
  size_t probes = 1;   // lists looked at
  // A row is completed over all planes if its sign plane's score, raised by this many standard deviations of what the
  // sign plane cannot see, reaches the k-th result so far. Negative: raised by an upper bound, so that probed lists are
  // searched exactly.
  float margin = 3;
  const float* min_scores = nullptr;  // of each query: only results that score above it, however few. Null: any.
  bool filtered = false;
  std::span<const int64_t> allow;
};

class IvfIndex {
 public:
  IvfIndex(const RowFormat& format, Centroids centroids);
  static std::unique_ptr<IvfIndex> open(std::shared_ptr<const File> file, bool map);

  const RowFormat& format() const noexcept { return format_; }
  const Centroids& centroids() const noexcept { return centroids_; }
  size_t size() const;
  bool mapped() const noexcept { return file_ != nullptr; }
  std::vector<size_t> list_sizes() const;  // live rows

  // As FlatIndex::add; lists: the list of each row.
  void add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids, const uint32_t* lists);
  size_t remove(std::span<const int64_t> ids);
  bool contains(int64_t id) const;
  int64_t max_id() const;
  Rows rows() const;                              // list after list
  Rows rows(std::span<const int64_t> ids) const;  // throws Error(UnknownId) for an id that is not here

  // queries.y and base as in FlatIndex; vectors: queries.count * centroids().dim() floats, in the centroids' space.
  // Results of query q: hits[q], best first, at most k.
  void search(const Queries& queries, const float* vectors, const IvfParams& params,
              std::vector<std::vector<Hit>>& hits) const;

  // Every row that scores above the floor of its query, in as many lists as params.probes says; k and enough are passed
  // over. With `allow`: of these rows, the allowed ones.
  void range(const Queries& queries, const float* vectors, const IvfParams& params,
             std::vector<std::vector<Hit>>& hits) const;

  // Whether a search of so many queries, without a filter, scores whole codes, and so has no use for stage_y.
  bool by_whole_codes(size_t queries, size_t probes, size_t k) const;

  void save(const std::string& path, std::span<const Section> extra) const;
  static bool owns_section(std::string_view name);

 private:
  class Scan;  // ivf/search.cpp
  struct Place {
    uint32_t list, row;
  };
  struct List {
    RowView view;
    std::vector<uint16_t> alive;  // a bit a row, when mapped and something was removed
    size_t dead = 0;
    bool has(size_t row) const noexcept { return alive.empty() || (alive[row / 16] >> (row % 16) & 1) != 0; }
  };
  void need_map() const;
  void make_room(size_t list, size_t more);
  bool find(int64_t id, Place& place) const;                         // after need_map
  std::vector<Place> places_of(std::span<const int64_t> ids) const;  // those that are here, in order, once each
  bool expands(size_t queries, size_t probes) const;               // by whole codes, so many queries looked at together
  size_t group_of(size_t queries, size_t probes, size_t k) const;  // how many are
  // An index of these rows alone, in one list.
  std::unique_ptr<IvfIndex> materialize_subset(std::span<const Place> places) const;

  RowFormat format_;
  Centroids centroids_;
  size_t rows_ = 0, dead_ = 0;
  std::vector<List> lists_;
  std::vector<RowStore> stores_;  // what lists_ see, when in memory

  // Mapped: rows are found by their ids in order (`by_id`: positions in the file, whose lists begin at `first_`).
  std::shared_ptr<const File> file_;
  std::vector<uint64_t> first_;
  const int64_t* file_ids_ = nullptr;
  std::span<const uint32_t> by_id_;

  mutable std::shared_mutex mutex_;
  mutable std::mutex map_mutex_;
  mutable bool map_built_ = false;
  mutable IdMap<Place> place_of_;  // in memory only
};

}  // namespace bebr
