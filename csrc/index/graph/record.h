// A node of a graph: one record of whole cache lines. The walk reads only the first line of a neighbour, so that line
// holds the factor, as a float, and the bytes of the code that contribute most to its score.
//
//   0         4              the factor's value; 1 where there is none, NaN in a free slot
//   4         row_bytes      the code's bytes in `order`; the first `prefix` of them share the line
//   factors   factor_bytes   the factors as stored
//   links     4 * degree     slots of neighbours; kNoLink ends the list early
// and zeros up to a multiple of 64. Where a graph keeps its neighbours' bytes inline, also
//   near_factors   factor_bytes * degree     the neighbours' factors as stored
//   near_codes     near_blocks * 16 * near   the first `near` bytes of their codes in blocks of the scan layout
//                                            (code/layout.h), from a multiple of 64 on
// so that a step of the walk reads one record in sequence (docs/experiments/graph-inline.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "code/spec.h"
#include "index/graph/digits.h"
#include "index/graph/neighbours.h"
#include "kernels/kernels.h"

namespace bebr {

inline constexpr uint32_t kNoLink = UINT32_MAX;

// What documents need to be compared with each other, in code space: x = mu + A v.
struct CodeSpace {
  std::vector<float> gram;  // diagonal of A^T A; ones without a decoder
  std::vector<float> mean;  // A^T mu
  float mean_norm = 0;      // <mu, mu>
  // Factor::Sub: score = scale * (2 <q, x> - offset) - f.
  float scale = 1, offset = 0;
  // Inner products of vectors of any length: distances are taken with one more coordinate that makes all of them as
  // long as the longest, so that near means a large inner product to the same queries.
  bool augment_norm = false;
};

struct RecordLayout {
  struct Byte {
    uint16_t source, group;  // place in the row format; dims 8 * group ..
    uint8_t plane;
  };

  // inlined: bytes of a neighbour's code to keep; of a shorter code all are.
  RecordLayout(const CodeSpec& spec, uint32_t factor_bytes, uint32_t degree, uint32_t inlined,
               std::span<const float> gram);

  CodeSpec spec;
  uint32_t degree, factor_bytes;
  uint32_t factors, links, stride;  // offsets
  uint32_t prefix;                  // code bytes in the first line
  uint32_t lead;                    // of them, those by which walks choose where to begin
  uint32_t near;                    // and of each neighbour in the record; 0: none, and no blocks
  uint32_t near_factors, near_codes, near_blocks;
  std::vector<Byte> order;
  std::vector<uint16_t> groups;  // of `order`, and what a bit's entry of a query is multiplied with
  std::vector<float> weights;
  std::vector<uint16_t> place;  // of byte i of the row format in `order`
  CodeDigits digits;
  std::vector<float> unseen;  // a group: root of the squared weights of its bits beyond the line, or the near bytes

  void put_code(const uint8_t* row, uint8_t* record) const noexcept;
  void get_code(const uint8_t* record, uint8_t* row) const noexcept;
  void unpack(const uint8_t* record, float* v) const noexcept;  // dims floats
};

inline constexpr uint32_t kCodeAt = 4;

inline float load_float(const uint8_t* p) noexcept {
  float value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// Links change during walks: single entries are read and written atomically, lists are not.
inline uint32_t load_link(const uint8_t* p) noexcept {
  auto* link = reinterpret_cast<uint32_t*>(const_cast<uint8_t*>(p));
  return std::atomic_ref<uint32_t>(*link).load(std::memory_order_relaxed);
}
inline void store_link(uint8_t* p, uint32_t value) noexcept {
  std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(p)).store(value, std::memory_order_relaxed);
}

// A query with an entry for every digit of a record's code (index/graph/digits.h).
struct BitQuery {
  Buffer digits;  // with halves (kernels.h)
  Buffer y16;     // the same for all bits: where digits have no kernel, or where the line is scored by them
  Buffer y8;      // of the first line's, where neighbours have no bytes in records
  bool by_digits = false;
  Buffer first16;  // of the first line's, where bytes would round too much of it away
  bool wide = false;
  int32_t total_first16 = 0;
  int32_t total16 = 0, total8 = 0;
  float scale16 = 1, scale8 = 1;
  float base = 0;
  float spread = 0;     // standard deviation of what the bits beyond the first line add, if they were random
  NeighbourQuery near;  // of the leading bytes

  // y: dims floats. Nothing is allocated once the buffers have their size. kernels: those of the walk.
  void set(const RecordLayout& layout, const float* y, float base, const Kernels& kernels = bebr::kernels());

 private:
  void set_bits(const RecordLayout& layout);
  void set_line(const RecordLayout& layout, const Kernels& kernels, float unseen);

  std::vector<float> weighted_;
};

}  // namespace bebr
