#include "index/graph/neighbours.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "code/layout.h"
#include "index/graph/record.h"
#include "kernels/floats.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

// Tables are made in steps of 1 / 256 of an entry, then rounded. The two entries of a byte must not exceed 254
// (kernels.h): 253 before rounding, less what rounding eight values to steps can add.
constexpr float kMostSteps = 253 * 256 - 64;

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
  if (bytes % 4 != 0) std::memset(tables.data() + tables.size() - 128, 0, 128);  // no byte has these entries
  float largest = 0;                                                             // over bytes, of the sum of sizes
  for (const float* w = seen.data(); w != seen.data() + seen.size(); w += 8)
    largest = std::max(largest, sum_of(size_of(load_floats(w)) + size_of(load_floats(w + 4))));
  const float step = largest > 1e-30f ? 2 * largest / kMostSteps : 1;
  const int32_t sizes = kernels().fill_tables(seen.data(), bytes, step, tables.data());
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
