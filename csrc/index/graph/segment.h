// A graph segment: a flat graph over codes (no levels), its links chosen by robust pruning as in DiskANN's Vamana
// (Subramanya et al., NeurIPS 2019) from distances of codes alone. Positions are slots of nodes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "index/graph/learned.h"
#include "index/graph/record.h"
#include "index/graph/view.h"
#include "index/rows.h"
#include "index/segment.h"

namespace bebr {

inline constexpr uint32_t kMostDegree = 512, kMostInlined = 64;

struct GraphParams {
  uint32_t max_degree = 32;  // links of a node: an even number, up to kMostDegree
  uint32_t ef_construction = 128;
  uint64_t seed = 0;
  uint32_t inlined = 0;  // bytes of each neighbour's code in a node: a multiple of 4, up to kMostInlined
  bool operator==(const GraphParams&) const = default;
};

class GraphSegment final : public SegmentReader {
 public:
  // The nodes of a file written by save, mapped.
  static std::shared_ptr<const GraphSegment> open(std::shared_ptr<const File> file);
  // No nodes yet; show() says where they are.
  GraphSegment(const RowFormat& format, const GraphParams& params, CodeSpace space);

  SegmentKind kind() const noexcept override { return SegmentKind::Graph; }
  size_t rows() const noexcept override { return rows_; }
  std::span<const int64_t> ids() const override { return {ids_, rows_}; }
  Rows copy_rows(std::span<const uint32_t> positions) const override;
  // Fewer than k results only where fewer rows may be found. stage_y is not used.
  void search(QueryBatch& queries, const SearchOptions& options, const RowFilter& filter,
              TopKBatch& tops) const override;
  bool by_whole_codes(size_t, const SearchOptions&, bool) const override { return true; }
  void save(const std::string& path, std::span<const Section> extra, const BitmapView& dead) const override;

  const GraphParams& params() const noexcept { return params_; }
  const CodeSpace& space() const noexcept { return space_; }
  const RecordLayout& layout() const noexcept { return layout_; }
  // Walks begin at slots that have no bit in `closed`.
  GraphView view(std::span<const uint64_t> closed) const noexcept;

  // Nodes that the caller keeps in memory, and may move while nobody reads. free: slots of them that hold no row.
  void show(const uint8_t* nodes, const int64_t* ids, size_t rows, size_t free) noexcept;
  // Slots below this are linked, or hold no row; may grow while others read.
  std::atomic<size_t>& linked() noexcept { return linked_; }
  // Many links are new; while nobody searches.
  void forget_learned() { learned_.forget(); }

 private:
  class Search;  // graph/search.cpp
  // These slots alone, for a batch of queries that may find no others; in parts, which threads copy side by side.
  std::vector<RowStore> materialize_subset(std::span<const uint32_t> slots) const;

  GraphParams params_;
  CodeSpace space_;
  RecordLayout layout_;
  const Kernels& kernels_;
  const uint8_t* nodes_ = nullptr;
  const int64_t* ids_ = nullptr;
  size_t rows_ = 0, free_ = 0;
  std::atomic<size_t> linked_ = 0;
  BestScore best_;
  KeptLearned learned_;
  std::shared_ptr<const File> file_;
};

}  // namespace bebr
