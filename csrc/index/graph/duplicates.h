// Rows with one code, of those that are inserted together: none of them finds the others by a walk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "index/graph/view.h"

namespace bebr {

class Duplicates {
 public:
  // most: on each side, of those that a row is told.
  Duplicates(const GraphView& view, std::span<const uint32_t> slots, size_t most);

  // Appends the slots just before and just after slots[i] that have its code. They are told apart by a hash: another
  // row may be among them, which pruning weighs as any candidate.
  void append(size_t i, std::vector<uint32_t>& nodes) const;

 private:
  size_t most_;
  std::vector<std::pair<uint64_t, uint32_t>> by_hash_;  // and slot, ascending
  std::vector<uint64_t> hashes_;
  std::span<const uint32_t> slots_;
};

}  // namespace bebr
