#include "cuda/codes.h"

#include <cstring>

#include "code/layout.h"

namespace bebr::cuda {
namespace {

// Byte j is bit j.
uint64_t spread(uint8_t bits) {
  uint64_t bytes = 0;
  for (uint32_t j = 0; j < 8; ++j) bytes |= uint64_t{bits >> j & 1u} << 8 * j;
  return bytes;
}

// One field of 8 values of a row of 16; value j is byte j of `values`.
void put_field(uint32_t bits, uint64_t values, size_t row, uint8_t* field) {
  const size_t i = row % 8 * 2 + row / 8;
  const auto low = static_cast<uint32_t>(values), high = static_cast<uint32_t>(values >> 32);
  if (bits == 8) return void(std::memcpy(field + i * 8, &values, 8));
  if (bits == 4) {
    const uint32_t both = low | high << 4;
    return void(std::memcpy(field + i * 4, &both, 4));
  }
  if (bits == 2) {  // the product moves four pairs of bits together at the top
    field[i * 2] = static_cast<uint8_t>(low * 0x01041040u >> 24);
    field[i * 2 + 1] = static_cast<uint8_t>(high * 0x01041040u >> 24);
    return;
  }
  field[i] = static_cast<uint8_t>(values * 0x0102040810204080u >> 56);
}

}  // namespace

std::vector<uint32_t> make_groups(const CodeSpec& spec) {
  std::vector<uint32_t> groups;
  uint32_t at = 0;
  for (uint32_t g = 0; g < spec.groups(); ++g) {
    const uint32_t depth = spec.depth(8 * g);
    groups.push_back(at << 4 | depth);
    at += depth;
  }
  return groups;
}

std::vector<uint8_t> make_blocks(const CodeSpec& spec, const uint8_t* planes, size_t rows) {
  static const auto kSpread = [] {
    std::vector<uint64_t> table(256);
    for (uint32_t byte = 0; byte < 256; ++byte) table[byte] = spread(static_cast<uint8_t>(byte));
    return table;
  }();
  const std::vector<uint32_t> groups = make_groups(spec);
  std::vector<uint8_t> blocks(block_count(rows) * kBlockRows * spec.row_bytes());
  for (size_t row = 0; row < rows; ++row) {
    uint8_t* const block = blocks.data() + row / kBlockRows * kBlockRows * spec.row_bytes();
    for (uint32_t g = 0; g < spec.groups(); ++g) {
      const uint32_t depth = groups[g] & 15;
      const uint8_t* plane = planes + row * spec.row_bytes() + g;
      uint8_t* field = block + (groups[g] >> 4) * kBlockRows;
      for (uint32_t t = 0; t < depth;) {
        uint32_t bits = 8;
        while ((depth & bits) == 0 || t != (depth & ~(2 * bits - 1))) bits /= 2;  // the field that begins at plane t
        uint64_t values = 0;
        for (const uint32_t end = t + bits; t < end; plane += spec.widths[t++] / 8)
          values = values << 1 | kSpread[*plane];
        put_field(bits, values, row % kBlockRows, field);
        field += bits * kBlockRows;
      }
    }
  }
  return blocks;
}

}  // namespace bebr::cuda
