#include "index/graph/rows.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <random>
#include <utility>

#include "base/error.h"

namespace bebr {
namespace {

constexpr size_t kAnewShare = 16;  // a margin is learned anew when one row in so many is new

void clear_bit(std::vector<uint64_t>& bits, size_t at) { bits[at / 64] &= ~(uint64_t{1} << at % 64); }

}  // namespace

GraphRows::GraphRows(const RowFormat& format, const GraphParams& params, CodeSpace space)
    : format_(format),
      segment_(std::make_shared<GraphSegment>(format, params, std::move(space))),
      params_(segment_->params()),
      space_(segment_->space()),
      layout_(segment_->layout()) {}

GraphRows::GraphRows(const GraphSegment& copied) : GraphRows(copied.format(), copied.params(), copied.space()) {
  rows_ = live_ = copied.rows();
  nodes_.resize(rows_ * layout_.stride);
  ids_.resize(rows_ * sizeof(int64_t));
  if (rows_ > 0) {
    std::memcpy(nodes_.data(), copied.view({}).nodes, nodes_.size());
    std::memcpy(ids_.data(), copied.ids().data(), ids_.size());
  }
  segment_->linked() = rows_;
  changed();
}

void GraphRows::changed() noexcept { segment_->show(nodes_.data(), ids_.as<int64_t>(), rows_, free_.size()); }

// Of hidden_ and gone_, for so many slots.
void GraphRows::make_bits(size_t slots) {
  for (std::vector<uint64_t>* bits : {&hidden_, &gone_})
    if (bits->size() <= slots / 64) bits->resize(slots / 64 + 1);
}

// Slots of removed rows first, then new ones at the end, into inserted_. Takes all memory that n rows need, and what is
// needed to give them up again.
void GraphRows::take_slots(size_t n) {
  const size_t reused = std::min(n, free_.size()), grown = rows_ + n - reused;
  inserted_.assign(free_.end() - static_cast<ptrdiff_t>(reused), free_.end());
  for (size_t slot = rows_; slot < grown; ++slot) inserted_.push_back(static_cast<uint32_t>(slot));
  nodes_.grow(grown * layout_.stride);
  ids_.grow(grown * sizeof(int64_t));
  removed_.reserve(removed_.size() + n);
  make_bits(grown);
  nodes_.resize(grown * layout_.stride);
  ids_.resize(grown * sizeof(int64_t));
  free_.resize(free_.size() - reused);
  rows_ = grown;
}

void GraphRows::put(uint32_t slot, const uint8_t* planes, const uint8_t* factors, int64_t id) {
  uint8_t* to = record(slot);
  const float factor = format_.factor == Factor::None ? 1.0f : format_.code.value(factors);
  std::memcpy(to, &factor, sizeof factor);
  layout_.put_code(planes, to);
  if (layout_.factor_bytes > 0) std::memcpy(to + layout_.factors, factors, layout_.factor_bytes);
  for (uint32_t i = 0; i < layout_.degree; ++i) store_link(to + layout_.links + 4 * i, kNoLink);
  ids_.as<int64_t>()[slot] = id;
  set_bit(hidden_, slot);
}

void GraphRows::check(const NewRows& rows) const {
  if (rows_ + rows.n > INT32_MAX) fail(ErrorCode::LimitExceeded, "a graph index holds at most 2^31 - 1 vectors");
}

void GraphRows::insert(const NewRows& rows, RowPlace* places) {
  // In a random order, whatever the order of the data: early nodes get the long links, and any slots are a sample.
  std::vector<uint32_t> order(rows.n);
  std::iota(order.begin(), order.end(), 0u);
  std::mt19937_64 random(params_.seed + live_);
  for (size_t i = rows.n; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  take_slots(rows.n);
  for (size_t i = 0; i < rows.n; ++i) {
    put(inserted_[i], rows.planes + size_t{order[i]} * format_.spec.row_bytes(),
        rows.factors + size_t{order[i]} * format_.factor_bytes(), rows.ids[order[i]]);
    places[order[i]] = inserted_[i];
  }
}

void GraphRows::finish_insert(std::shared_mutex& mutex) {
  link_all(inserted_, mutex);
  std::unique_lock lock(mutex);
  for (const uint32_t slot : inserted_) clear_bit(hidden_, slot);
  live_ += inserted_.size();
  new_ += inserted_.size();
  if (new_ < live_ / kAnewShare) return;
  segment_->forget_learned();
  new_ = 0;
}

// Rows that could not be linked leave like removed ones: a walk may pass through them until they are repaired away.
void GraphRows::give_up() noexcept {
  for (const uint32_t slot : inserted_) {
    set_bit(gone_, slot);
    removed_.push_back(slot);
  }
}

void GraphRows::prepare_remove(size_t count) {
  removed_.reserve(removed_.size() + count);
  make_bits(rows_);
}

std::optional<RowPlace> GraphRows::remove(RowPlace place) noexcept {
  set_bit(hidden_, place);
  set_bit(gone_, place);
  removed_.push_back(static_cast<uint32_t>(place));
  --live_;
  return std::nullopt;
}

// A repair looks at every node, so it waits for one removed in sixteen.
void GraphRows::tidy(std::shared_mutex& mutex) {
  if (removed_.size() <= live_ / 16) return;
  try {
    repair(mutex);
  } catch (const std::bad_alloc&) {
    // The rows are gone all the same; the next call tries again.
  }
}

void GraphRows::each(const std::function<void(int64_t, RowPlace)>& fn) const {
  for (size_t i = 0; i < rows_; ++i)
    if (live(i)) fn(ids_.as<int64_t>()[i], i);
}

}  // namespace bebr
