#include "index/graph/graph.h"

#include <algorithm>
#include <new>
#include <numeric>
#include <random>

#include "base/error.h"
#include "index/new_ids.h"

namespace bebr {
namespace {

void set_bit(std::vector<uint64_t>& bits, size_t at, bool value) {
  const uint64_t bit = uint64_t{1} << at % 64;
  bits[at / 64] = value ? bits[at / 64] | bit : bits[at / 64] & ~bit;
}

}  // namespace

GraphIndex::GraphIndex(const RowFormat& format, const GraphParams& params, CodeSpace space)
    : format_(format),
      params_(params),
      space_(std::move(space)),
      layout_(format.spec, format.factor_bytes(), 2 * params.neighbors, space_.gram),
      kernels_(kernels()) {}

size_t GraphIndex::size() const {
  std::shared_lock lock(mutex_);
  return live_;
}

GraphView GraphIndex::view(std::span<const uint64_t> closed) const noexcept {
  return {layout_, kernels_, format_.factor == Factor::Sub ? Factor::Sub : Factor::Mul, nodes(), rows_,
          linked_, closed};
}

void GraphIndex::need_map() const {
  std::lock_guard lock(map_mutex_);
  if (map_built_) return;
  slot_of_.reserve(live_);
  for (size_t i = 0; i < rows_; ++i)
    if (live(i)) slot_of_.set(ids()[i], static_cast<uint32_t>(i));
  map_built_ = true;
}

// Of hidden_ and gone_, for so many slots.
void GraphIndex::make_bits(size_t slots) {
  for (std::vector<uint64_t>* bits : {&hidden_, &gone_})
    if (bits->size() <= slots / 64) bits->resize(slots / 64 + 1);
}

// Slots of removed rows first, then new ones at the end. Takes all memory that a batch of n rows needs, and what is
// needed to give it up again: put and give_up cannot fail.
std::vector<uint32_t> GraphIndex::take_slots(size_t n) {
  const size_t reused = std::min(n, free_.size()), grown = rows_ + n - reused;
  std::vector<uint32_t> slots(free_.end() - static_cast<ptrdiff_t>(reused), free_.end());
  for (size_t slot = rows_; slot < grown; ++slot) slots.push_back(static_cast<uint32_t>(slot));
  slot_of_.reserve(slot_of_.size() + n);
  nodes_.grow(grown * layout_.stride);
  ids_.grow(grown * sizeof(int64_t));
  removed_.reserve(removed_.size() + n);
  make_bits(grown);
  nodes_.resize(grown * layout_.stride);
  ids_.resize(grown * sizeof(int64_t));
  free_.resize(free_.size() - reused);
  rows_ = grown;
  return slots;
}

// Rows that could not be linked leave like removed ones: a walk may pass through them until they are repaired away.
void GraphIndex::give_up(std::span<const uint32_t> slots) noexcept {
  for (const uint32_t slot : slots) {
    slot_of_.erase(ids_.as<int64_t>()[slot]);
    set_bit(gone_, slot, true);
    removed_.push_back(slot);
  }
}

void GraphIndex::put(uint32_t slot, const uint8_t* planes, const uint8_t* factors, int64_t id) {
  uint8_t* to = record(slot);
  const float factor = format_.factor == Factor::None ? 1.0f : format_.code.value(factors);
  std::memcpy(to, &factor, sizeof factor);
  layout_.put_code(planes, to);
  if (layout_.factor_bytes > 0) std::memcpy(to + layout_.factors, factors, layout_.factor_bytes);
  for (uint32_t i = 0; i < layout_.degree; ++i) store_link(to + layout_.links + 4 * i, kNoLink);
  ids_.as<int64_t>()[slot] = id;
  set_bit(hidden_, slot, true);
  slot_of_.set(id, slot);
}

void GraphIndex::add(size_t n, const uint8_t* planes, const uint8_t* factors, const int64_t* new_ids) {
  if (file_)
    fail(ErrorCode::ReadOnly, "this index is mapped from " + file_->path() + ": open it with mmap=False to add");
  std::lock_guard writer(writer_);
  need_map();
  check_new_ids({new_ids, n}, slot_of_);
  check_factors(format_, n, factors);
  // In a random order, whatever the order of the data: early nodes get the long links, and any slots are a sample.
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  std::mt19937_64 random(params_.seed + live_);
  for (size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random() % i]);

  std::vector<uint32_t> slots;
  {
    std::unique_lock lock(mutex_);
    if (rows_ + n > INT32_MAX) fail(ErrorCode::LimitExceeded, "a graph index holds at most 2^31 - 1 vectors");
    slots = take_slots(n);
    for (size_t i = 0; i < n; ++i)
      put(slots[i], planes + size_t{order[i]} * format_.spec.row_bytes(),
          factors + size_t{order[i]} * format_.factor_bytes(), new_ids[order[i]]);
  }
  try {
    link_all(slots);
  } catch (...) {
    std::unique_lock lock(mutex_);
    give_up(slots);
    throw;
  }
  std::unique_lock lock(mutex_);
  for (const uint32_t slot : slots) set_bit(hidden_, slot, false);
  live_ += n;
}

size_t GraphIndex::remove(std::span<const int64_t> gone) {
  std::lock_guard writer(writer_);
  need_map();
  size_t count = 0;
  {
    std::unique_lock lock(mutex_);
    removed_.reserve(removed_.size() + std::min(gone.size(), slot_of_.size()));
    make_bits(rows_);
    for (const int64_t id : gone) {
      const uint32_t* found = slot_of_.find(id);
      if (found == nullptr) continue;
      const uint32_t slot = *found;
      set_bit(hidden_, slot, true);
      set_bit(gone_, slot, true);
      removed_.push_back(slot);
      slot_of_.erase(id);
      ++count;
      --live_;
    }
  }
  // A repair looks at every node, so it waits for one removed in sixteen.
  if (file_ || removed_.size() <= live_ / 16) return count;
  try {
    repair();
  } catch (const std::bad_alloc&) {
    // The rows are gone all the same; the next call tries again.
  }
  return count;
}

bool GraphIndex::contains(int64_t id) const {
  std::shared_lock lock(mutex_);
  need_map();
  const uint32_t* found = slot_of_.find(id);
  return found != nullptr && live(*found);
}

int64_t GraphIndex::max_id() const {
  std::shared_lock lock(mutex_);
  int64_t largest = -1;
  for (size_t i = 0; i < rows_; ++i)
    if (live(i)) largest = std::max(largest, ids()[i]);
  return largest;
}

Rows GraphIndex::copies(std::span<const uint32_t> slots) const {
  constexpr size_t kAhead = 8;  // records that are asked for before they are read
  const size_t row_bytes = format_.spec.row_bytes(), n = slots.size();
  Rows out{std::vector<uint8_t>(n * row_bytes), std::vector<uint8_t>(n * layout_.factor_bytes), {}};
  out.ids.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* soon = nodes() + slots[std::min(i + kAhead, n - 1)] * size_t{layout_.stride};
    for (uint32_t line = 0; line < layout_.links; line += 64) __builtin_prefetch(soon + line);
    const uint8_t* from = nodes() + slots[i] * size_t{layout_.stride};
    layout_.get_code(from, out.planes.data() + i * row_bytes);
    if (layout_.factor_bytes > 0)
      std::memcpy(out.factors.data() + i * layout_.factor_bytes, from + layout_.factors, layout_.factor_bytes);
    out.ids.push_back(ids()[slots[i]]);
  }
  return out;
}

Rows GraphIndex::rows() const {
  std::shared_lock lock(mutex_);
  std::vector<uint32_t> slots;
  slots.reserve(live_);
  for (size_t i = 0; i < rows_; ++i)
    if (live(i)) slots.push_back(static_cast<uint32_t>(i));
  return copies(slots);
}

Rows GraphIndex::rows(std::span<const int64_t> wanted) const {
  std::shared_lock lock(mutex_);
  need_map();
  std::vector<uint32_t> slots;
  slots.reserve(wanted.size());
  for (const int64_t id : wanted) {
    const uint32_t* found = slot_of_.find(id);
    if (found == nullptr || !live(*found))
      fail(ErrorCode::UnknownId, "id " + std::to_string(id) + " is not in this index");
    slots.push_back(*found);
  }
  return copies(slots);
}

}  // namespace bebr
