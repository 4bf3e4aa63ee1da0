// The specification of what makes a graph's query (kernels.h), by vectors of four floats, which every machine has:
// other than in a scan, one number at a time took a fifth of a walk.
#include <algorithm>
#include <cstring>

#include "kernels/floats.h"
#include "kernels/kernels.h"

namespace bebr {
namespace {

constexpr size_t kPiece = 16;  // entries a step

// 16 running sums, in the order of the values, added by halves.
class RunningSums {
 public:
  void add_squares(size_t v, Floats x) noexcept { sums_[v] += x * x; }
  float total() const noexcept { return sum_of((sums_[0] + sums_[2]) + (sums_[1] + sums_[3])); }

 private:
  Floats sums_[4] = {};
};

template <typename Entry>
Rounding round_entries(const float* x, size_t n, float step, Entry* to) noexcept {
  const float per = 1 / step;
  Ints total = {};
  RunningSums lost;
  for (size_t b = 0; b < n; b += kPiece) {
    int32_t entries[kPiece];
    for (size_t v = 0; v < 4; ++v) {
      const Floats value = load_floats(x + b + 4 * v);
      const Ints entry = nearest(value * per);
      total += entry;
      lost.add_squares(v, value - step * __builtin_convertvector(entry, Floats));
      std::memcpy(entries + 4 * v, &entry, sizeof entry);
    }
    for (size_t i = 0; i < kPiece; ++i) to[b + i] = static_cast<Entry>(entries[i]);
  }
  return {total[0] + total[1] + total[2] + total[3], lost.total()};
}

int32_t round16_four(const float* x, size_t n, float step, int16_t* to) noexcept {
  const int32_t total = round_entries(x, n, step, to).total;
  split_entries16(to, n);
  return total;
}

float squares_four(const float* x, size_t n) noexcept {
  RunningSums sums;
  for (size_t b = 0; b < n; b += kPiece)
    for (size_t v = 0; v < 4; ++v) sums.add_squares(v, load_floats(x + b + 4 * v));
  return sums.total();
}

float largest_four(const float* x, size_t n) noexcept {
  Floats largest[2] = {};
  for (size_t i = 0; i < n; i += 8) {
    for (size_t v = 0; v < 2; ++v) {
      const Floats size = size_of(load_floats(x + i + 4 * v));
      largest[v] = size > largest[v] ? size : largest[v];
    }
  }
  const Floats most = largest[0] > largest[1] ? largest[0] : largest[1];
  return std::max(std::max(most[0], most[1]), std::max(most[2], most[3]));
}

void weigh_four(const float* y, const uint16_t* groups, const float* weights, size_t bytes, float* out) noexcept {
  for (size_t i = 0; i < bytes; ++i) {
    for (size_t v = 0; v < 8; v += 4) {
      const Floats part = weights[i] * load_floats(y + 8 * size_t{groups[i]} + v);
      std::memcpy(out + 8 * i + v, &part, sizeof part);
    }
  }
}

using Words = uint16_t __attribute__((vector_size(16)));
using EightBytes = uint8_t __attribute__((vector_size(8)));

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

int32_t fill_tables_four(const float* x, uint32_t bytes, float step, uint8_t* tables) noexcept {
  const float per = 1 / step;
  int32_t sizes = 0;
  for (uint32_t nibble = 0; nibble < 2 * bytes; ++nibble) {
    const Ints values = nearest(load_floats(x + 4 * size_t{nibble}) * per);
    const int32_t size = sum_of(values < 0 ? -values : values);
    const uint32_t byte = nibble / 2;
    fill_nibble(values, size - sum_of(values), tables + byte / 4 * 128 + nibble % 2 * 64 + byte % 4 * 16);
    sizes += size;
  }
  return sizes;
}

}  // namespace

void bind_query(Kernels& table) noexcept {
  table.weigh = weigh_four;
  table.round16 = round16_four;
  table.round8 = round_entries<int8_t>;
  table.squares = squares_four;
  table.largest = largest_four;
  table.fill_tables = fill_tables_four;
}

}  // namespace bebr
