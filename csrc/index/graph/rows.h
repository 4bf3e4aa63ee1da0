// GraphRows: nodes of a graph index, in memory.
//
// Threads: codes, ids and the number of slots change under the exclusive lock, for as long as copying takes; links
// change under the shared one, each entry whole. A batch is found by searches once all of it is linked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "index/graph/segment.h"
#include "index/growing.h"

namespace bebr {

class GraphRows final : public GrowingRows {
 public:
  GraphRows(const RowFormat& format, const GraphParams& params, CodeSpace space);
  explicit GraphRows(const GraphSegment& copied);
  // Without the dead rows.
  GraphRows(const GraphSegment& copied, const BitmapView& dead);

  std::shared_ptr<const SegmentReader> reader() const override { return segment_; }
  BitmapView dead() const noexcept override { return view_of(hidden_); }
  size_t size() const noexcept override { return live_; }
  void positions(std::span<int64_t> slots) const noexcept override {
    const BitmapView hidden = view_of(hidden_);
    if (!hidden.present()) return;
    for (int64_t& slot : slots)
      if (slot >= 0 && hidden[static_cast<size_t>(slot)]) slot = -1;
  }
  void check(const NewRows& rows) const override;
  void insert(const NewRows& rows, RowPlace* places) override;
  void finish_insert(std::shared_mutex& mutex) override;
  void give_up() noexcept override;
  void prepare_remove(size_t count) override;
  std::optional<RowPlace> remove(RowPlace slot) noexcept override;
  void changed() noexcept override;
  void tidy(std::shared_mutex& mutex) override;
  void each(const std::function<void(int64_t, RowPlace)>& fn) const override;
  int64_t id_at(RowPlace slot) const noexcept override { return ids_.as<int64_t>()[slot]; }

 private:
  uint8_t* record(uint32_t slot) noexcept { return nodes_.data() + size_t{slot} * layout_.stride; }
  GraphView view(std::span<const uint64_t> closed) const noexcept { return segment_->view(closed); }
  bool live(size_t slot) const noexcept { return !view_of(hidden_)[slot]; }
  bool gone(size_t slot) const noexcept { return view_of(gone_)[slot]; }
  void make_bits(size_t slots);
  void take_slots(size_t n);
  void put(uint32_t slot, const uint8_t* planes, const uint8_t* factors, int64_t id);
  void link_all(std::span<const uint32_t> slots, std::shared_mutex& mutex);
  void repair(std::shared_mutex& mutex);
  float longest(std::span<const uint32_t> slots) const;
  float reach();
  void compact();

  RowFormat format_;
  std::shared_ptr<GraphSegment> segment_;  // of the nodes here
  const GraphParams& params_;
  const CodeSpace& space_;
  const RecordLayout& layout_;

  size_t rows_ = 0;  // slots in use, whatever their state
  size_t live_ = 0;  // of them, found by searches
  size_t new_ = 0;   // added since a margin was learned
  Buffer nodes_, ids_;
  std::vector<uint64_t> hidden_;    // a bit a slot: not found by searches
  float reach_ = -1;                // the largest norm there was; below 0: not known yet
  std::vector<uint32_t> free_;      // slots for the next rows
  std::vector<uint32_t> removed_;   // still walked through, until repair() frees them
  std::vector<uint64_t> gone_;      // a bit a slot: in removed_; for writers
  std::vector<uint32_t> inserted_;  // slots of the last insert, in the order in which they are linked
};

}  // namespace bebr
