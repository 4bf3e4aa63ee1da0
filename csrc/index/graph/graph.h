// GraphIndex: a flat graph over codes (no levels), its links chosen by robust pruning as in DiskANN's Vamana
// (Subramanya et al., NeurIPS 2019) from distances of codes alone. Nodes live in memory, or in a mapped file (then add
// is refused and remove only marks).
//
// Threads: any number may search while one adds or removes; a second writer waits. Codes, ids and the number of slots
// change under the exclusive lock, for as long as copying takes; links change under the shared one, each entry whole.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/file.h"
#include "index/graph/record.h"
#include "index/graph/walk.h"
#include "index/id_map.h"
#include "index/query_batch.h"
#include "index/rows.h"

namespace bebr {

inline constexpr uint32_t kMostNeighbors = 256;

struct GraphParams {
  uint32_t neighbors = 16;  // a node has at most twice as many links
  uint32_t ef_construction = 128;
  uint64_t seed = 0;
  bool operator==(const GraphParams&) const = default;
};

class GraphIndex {
 public:
  GraphIndex(const RowFormat& format, const GraphParams& params, CodeSpace space);
  // Opens a file written by save. map: keep nodes in the mapped file.
  static std::unique_ptr<GraphIndex> open(std::shared_ptr<const File> file, bool map);

  const RowFormat& format() const noexcept { return format_; }
  const GraphParams& params() const noexcept { return params_; }
  const RecordLayout& layout() const noexcept { return layout_; }
  size_t size() const;
  bool mapped() const noexcept { return file_ != nullptr; }

  // As FlatIndex's. A batch is found by searches once all of it is linked.
  void add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* ids);
  size_t remove(std::span<const int64_t> ids);
  bool contains(int64_t id) const;
  int64_t max_id() const;
  Rows rows() const;
  Rows rows(std::span<const int64_t> ids) const;  // throws Error(UnknownId) for an id that is not here

  struct Search {
    size_t k = 10;
    size_t ef = 0;          // candidates the walk keeps, at least k; more of them where few rows may be found
    bool filtered = false;  // only ids in `allow`
    std::span<const int64_t> allow;
  };
  // scores, ids: as FlatIndex::search. Fewer than k only where fewer rows may be found. stage_y is not used.
  void search(const Queries& queries, const Search& search, float* scores, int64_t* ids) const;

  void save(const std::string& path, std::span<const Section> extra) const;
  static bool owns_section(std::string_view name);

 private:
  const uint8_t* nodes() const noexcept { return file_ ? mapped_nodes_ : nodes_.data(); }
  const int64_t* ids() const noexcept { return file_ ? mapped_ids_ : ids_.as<int64_t>(); }
  uint8_t* record(uint32_t slot) noexcept { return nodes_.data() + size_t{slot} * layout_.stride; }
  GraphView view(std::span<const uint64_t> closed) const noexcept;
  bool live(size_t slot) const noexcept {
    return slot / 64 >= hidden_.size() || (hidden_[slot / 64] >> slot % 64 & 1) == 0;
  }
  bool gone(size_t slot) const noexcept { return slot / 64 < gone_.size() && (gone_[slot / 64] >> slot % 64 & 1) != 0; }
  void need_map() const;
  Rows copies(std::span<const uint32_t> slots) const;
  // These slots alone, for a batch of queries that may find no others.
  RowStore materialize_subset(std::span<const uint32_t> slots) const;
  void make_bits(size_t slots);
  std::vector<uint32_t> take_slots(size_t n);
  void give_up(std::span<const uint32_t> slots) noexcept;
  void put(uint32_t slot, const uint8_t* planes, const uint8_t* factors, int64_t id);
  void link_all(std::span<const uint32_t> slots);
  void repair();
  float longest(std::span<const uint32_t> slots) const;
  float reach();
  std::unique_ptr<GraphIndex> compacted() const;

  RowFormat format_;
  GraphParams params_;
  CodeSpace space_;
  RecordLayout layout_;
  const Kernels& kernels_;

  size_t rows_ = 0;                 // slots in use, whatever their state
  size_t live_ = 0;                 // of them, found by searches
  std::atomic<size_t> linked_ = 0;  // slots below this are linked, free or removed
  Buffer nodes_, ids_;
  std::vector<uint64_t> hidden_;   // a bit a slot: not found by searches
  float reach_ = -1;               // the largest norm there was; below 0: not known yet
  std::vector<uint32_t> free_;     // slots for the next rows
  std::vector<uint32_t> removed_;  // still walked through, until repair() frees them
  std::vector<uint64_t> gone_;     // a bit a slot: in removed_; for writers

  std::shared_ptr<const File> file_;
  const uint8_t* mapped_nodes_ = nullptr;
  const int64_t* mapped_ids_ = nullptr;

  mutable std::mutex writer_;
  mutable std::shared_mutex mutex_;
  mutable std::mutex map_mutex_;
  mutable bool map_built_ = false;
  mutable IdMap<uint32_t> slot_of_;  // of live rows, and of those about to be; built when needed
};

}  // namespace bebr
