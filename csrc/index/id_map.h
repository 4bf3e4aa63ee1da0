// A map from ids to the places of their rows: open addressing, linear probing. A batch's filter may look up a hundred
// thousand ids; std::unordered_map takes a cache miss or two each (docs/experiments/filtered-batches.md).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace bebr {

// Keys are ids, so never negative; those that are not are not found.
template <typename Value>
class IdMap {
 public:
  size_t size() const noexcept { return size_; }

  // Null where there is none; good until the map changes.
  const Value* find(int64_t id) const noexcept {
    if (slots_.empty() || id < 0) return nullptr;
    for (size_t at = home(id);; at = next(at)) {
      if (slots_[at].id == id) return &slots_[at].value;
      if (slots_[at].id == kFree) return nullptr;
    }
  }
  bool contains(int64_t id) const noexcept { return find(id) != nullptr; }

  // fn(i, value of ids[i] or null) in their order: several lookups wait for memory together.
  template <typename Fn>
  void find_all(std::span<const int64_t> ids, const Fn& fn) const {
    constexpr size_t kAhead = 16;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (i + kAhead < ids.size() && !slots_.empty()) __builtin_prefetch(&slots_[home(ids[i + kAhead])]);
      fn(i, find(ids[i]));
    }
  }

  // fn(value) for all, in no order.
  template <typename Fn>
  void each(const Fn& fn) const {
    for (const Slot& slot : slots_)
      if (slot.id != kFree) fn(slot.value);
  }

  // Adds the id, or changes its value; whether it is new.
  bool set(int64_t id, Value value) {
    reserve(size_ + 1);
    size_t at = home(id);
    while (slots_[at].id != kFree && slots_[at].id != id) at = next(at);
    const bool added = slots_[at].id == kFree;
    size_ += added;
    slots_[at] = {id, value};
    return added;
  }

  bool erase(int64_t id) noexcept {
    if (slots_.empty() || id < 0) return false;
    size_t hole = home(id);
    for (; slots_[hole].id != id; hole = next(hole))
      if (slots_[hole].id == kFree) return false;
    // Entries that were pushed behind this place move up, so that no search ends too early.
    for (size_t at = next(hole); slots_[at].id != kFree; at = next(at)) {
      const size_t wanted = home(slots_[at].id), mask = slots_.size() - 1;
      if (((at - wanted) & mask) < ((at - hole) & mask)) continue;
      slots_[hole] = slots_[at];
      hole = at;
    }
    slots_[hole].id = kFree;
    --size_;
    return true;
  }

  // Room for so many ids in all.
  void reserve(size_t count) {
    if (count * 3 <= slots_.size() * 2) return;
    std::vector<Slot> before = std::exchange(slots_, std::vector<Slot>(std::bit_ceil(count * 3 / 2 + 1)));
    for (const Slot& slot : before) {
      if (slot.id == kFree) continue;
      size_t at = home(slot.id);
      while (slots_[at].id != kFree) at = next(at);
      slots_[at] = slot;
    }
  }

 private:
  static constexpr int64_t kFree = -1;
  struct Slot {
    int64_t id = kFree;
    Value value{};
  };

  size_t next(size_t at) const noexcept { return (at + 1) & (slots_.size() - 1); }
  // Ids are numbers of rows, multiples of something, or hashes: all bits are mixed (splitmix64's finisher).
  size_t home(int64_t id) const noexcept {
    uint64_t x = static_cast<uint64_t>(id);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return static_cast<size_t>(x ^ x >> 31) & (slots_.size() - 1);
  }

  std::vector<Slot> slots_;  // a power of two, at most two thirds taken
  size_t size_ = 0;
};

}  // namespace bebr
