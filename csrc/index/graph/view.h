// The nodes of a graph as a search sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "code/factor.h"
#include "index/graph/record.h"
#include "kernels/kernels.h"

namespace bebr {

// The nodes of a graph while nobody moves them.
struct GraphView {
  const RecordLayout& layout;
  const Kernels& kernels;
  Factor mode;      // Mul where there is no factor: records hold 1
  FactorCode code;  // of factors as stored
  const uint8_t* nodes;
  size_t rows;                       // slots; links beyond them are passed over
  size_t entries;                    // a walk begins at slots below this ..
  std::span<const uint64_t> closed;  // .. that have no bit here

  const uint8_t* record(uint32_t slot) const noexcept { return nodes + size_t{slot} * layout.stride; }
  bool open(size_t slot) const noexcept {
    return slot / 64 >= closed.size() || (closed[slot / 64] >> slot % 64 & 1) == 0;
  }
  float score(float raw, float factor) const noexcept { return mode == Factor::Sub ? raw - factor : raw * factor; }
  // Exact sums of `count` rows over all their bits, to be multiplied with query.scale16; and their scores.
  void dot_codes(const BitQuery& query, const uint32_t* rows, size_t count, int32_t* sums) const {
    if (query.by_digits)
      return kernels.dot_digits(nodes, layout.stride, layout.digits.order(), query.digits.as<int16_t>(), query.total16,
                                rows, count, sums);
    kernels.dot_bits16(nodes + kCodeAt, layout.stride, layout.spec.row_bytes(), layout.digits.bits.data(),
                       query.y16.as<int16_t>(), query.total16, rows, count, sums);
  }
  void score_rows(const BitQuery& query, const uint32_t* rows, size_t count, float* scores) const;
  // The links of a slot that lead somewhere; room for layout.degree.
  size_t links(uint32_t slot, uint32_t* to) const noexcept;
  // Some hundred slots at even steps, for walks to begin at the best of them. Insertion order makes them a random
  // sample, which replaces the upper levels of other graphs (docs/experiments/graph-entries.md).
  void sample(std::vector<uint32_t>& slots) const;
};

}  // namespace bebr
