#include "index/graph/neighbours.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "code/layout.h"
#include "index/graph/floats.h"
#include "index/graph/record.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

using Words = uint16_t __attribute__((vector_size(16)));
using EightBytes = uint8_t __attribute__((vector_size(8)));

// Tables are made in steps of 1 / 256 of an entry, then rounded. The two entries of a byte must not exceed 254
// (kernels.h): 253 before rounding, less what rounding eight values to steps can add.
constexpr float kMostSteps = 253 * 256 - 64;

// The 16 entries of a nibble: none, and twice each value whose bit is set.
void fill_nibble(Ints values, int32_t none, uint8_t* table) noexcept {
  constexpr uint16_t kAll = 0xffff;
  constexpr Words kSet[3] = {
      {0, kAll, 0, kAll, 0, kAll, 0, kAll}, {0, 0, kAll, kAll, 0, 0, kAll, kAll}, {0, 0, 0, 0, kAll, kAll, kAll, kAll}};
  Words low = Words{} + static_cast<uint16_t>(none);
  for (int i = 0; i < 3; ++i) low += kSet[i] & (Words{} + static_cast<uint16_t>(2 * values[i]));
  const Words high = low + static_cast<uint16_t>(2 * values[3]);
  const EightBytes first = __builtin_convertvector((low + uint16_t{128}) >> 8, EightBytes);
  const EightBytes second = __builtin_convertvector((high + uint16_t{128}) >> 8, EightBytes);
  std::memcpy(table, &first, sizeof first);
  std::memcpy(table + sizeof first, &second, sizeof second);
}

template <typename Word>
void store_word(uint8_t* to, const uint8_t* from) noexcept {
  Word word;
  std::memcpy(&word, from, sizeof word);
  std::atomic_ref<Word>(*reinterpret_cast<Word*>(to)).store(word, std::memory_order_relaxed);
}

}  // namespace

void NeighbourQuery::set(std::span<const float> seen, float unseen) {
  const auto bytes = static_cast<uint32_t>(seen.size() / 8);
  tables.resize(table_bytes(bytes));
  float largest = 0;  // over bytes, of the sum of sizes
  for (const float* w = seen.data(); w != seen.data() + seen.size(); w += 8)
    largest = std::max(largest, sum_of(size_of(load_floats(w)) + size_of(load_floats(w + 4))));
  const float step = largest > 1e-30f ? 2 * largest / kMostSteps : 1, per = 1 / step;
  int32_t sizes = 0;
  for (uint32_t nibble = 0; nibble < 2 * bytes; ++nibble) {
    const Ints values = nearest(load_floats(seen.data() + 4 * size_t{nibble}) * per);
    const int32_t size = sum_of(values < 0 ? -values : values);
    const uint32_t byte = nibble / 2;
    fill_nibble(values, size - sum_of(values), tables.data() + byte / 4 * 128 + nibble % 2 * 64 + byte % 4 * 16);
    sizes += size;
  }
  scale = 256 * step;
  offset = step * static_cast<float>(sizes);
  spread = std::sqrt(unseen + static_cast<float>(2 * bytes) * scale * scale / 12);
}

void put_neighbour(const RecordLayout& layout, uint8_t* record, uint32_t at, const uint8_t* neighbour) noexcept {
  uint8_t* factor = record + layout.near_factors + size_t{at} * layout.factor_bytes;
  const uint8_t* stored = neighbour + layout.factors;
  if (layout.factor_bytes == 1) store_word<uint8_t>(factor, stored);
  if (layout.factor_bytes == 2) store_word<uint16_t>(factor, stored);
  if (layout.factor_bytes == 4) store_word<uint32_t>(factor, stored);
  uint8_t* codes = record + layout.near_codes;
  const uint8_t* code = neighbour + kCodeAt;
  uint32_t g = 0;
  for (; g + 4 <= layout.near; g += 4) store_word<uint32_t>(codes + sign_offset(layout.near, at, g), code + g);
  for (; g < layout.near; ++g) store_word<uint8_t>(codes + sign_offset(layout.near, at, g), code + g);
}

void move_neighbour(const RecordLayout& layout, uint8_t* record, uint32_t from, uint32_t to) noexcept {
  const size_t bytes = layout.factor_bytes;
  uint8_t* factors = record + layout.near_factors;
  if (layout.near > 0) std::memcpy(factors + to * bytes, factors + from * bytes, bytes);
  uint8_t* codes = record + layout.near_codes;
  for (uint32_t g = 0; g < layout.near; ++g)
    codes[sign_offset(layout.near, to, g)] = codes[sign_offset(layout.near, from, g)];
}

}  // namespace bebr
