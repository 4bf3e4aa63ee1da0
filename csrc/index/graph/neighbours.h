// What a record holds of its neighbours (index/graph/record.h): written with every link, and scanned by a step of the
// walk to tell which neighbours are worth a look at their own records.
//
// Threads: a link and its bytes are written one after the other while others read. Who reads one of them from before
// and the other from after judges a row by the wrong bytes, once; its score is that of its own code all the same.
#pragma once

#include <cstdint>
#include <span>

#include "base/buffer.h"

namespace bebr {

struct RecordLayout;

// A query as tables of 8-bit entries, plane weights within, for Kernels::scan_table of the neighbours' codes.
struct NeighbourQuery {
  Buffer tables;
  float scale = 1;   // score = base - offset + scale * sum
  float offset = 0;  // of the sums, since entries are 0 or more
  float spread = 0;  // standard deviation of what the sums do not see: rounding, and further bits if they were random

  // seen: entries of the bits in the record, 8 a byte. unseen: the squares of all others.
  void set(std::span<const float> seen, float unseen);
};

// The first bytes and the factor of `neighbour`, a record, as those of a record's link number `at`.
void put_neighbour(const RecordLayout& layout, uint8_t* record, uint32_t at, const uint8_t* neighbour) noexcept;

// What number `from` has, as number `to`; while nobody reads.
void move_neighbour(const RecordLayout& layout, uint8_t* record, uint32_t from, uint32_t to) noexcept;

}  // namespace bebr
