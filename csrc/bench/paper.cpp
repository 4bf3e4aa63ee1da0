#include "bench/paper.h"

#include <cstring>
#include <string>

#include "base/error.h"

namespace bebr {
namespace {

uint32_t dims_per_nibble(const CodeSpec& spec) { return 4 / spec.planes; }

// Nibble `s` of a code in row format.
uint32_t nibble(const CodeSpec& spec, const uint8_t* row, size_t s) {
  uint32_t value = 0;
  for (uint32_t k = 0; k < dims_per_nibble(spec); ++k) {
    const size_t j = s * dims_per_nibble(spec) + k;
    for (uint32_t t = 0; t < spec.planes; ++t) {
      const uint8_t byte = row[t * spec.groups() + j / 8];
      value = 2 * value + (byte >> (j % 8) & 1u);
    }
  }
  return value;
}

// 4^(planes - 1) <q, d> over one sub-space. A dim's bits read as an integer c are v = (2c - top) / 2^(planes - 1).
int32_t product(const CodeSpec& spec, uint32_t q, uint32_t d) {
  const int32_t top = (1 << spec.planes) - 1;
  int32_t sum = 0;
  for (uint32_t k = 0; k < dims_per_nibble(spec); ++k) {
    const uint32_t shift = spec.planes * k, bits = static_cast<uint32_t>(top);
    sum += (2 * static_cast<int32_t>(q >> shift & bits) - top) * (2 * static_cast<int32_t>(d >> shift & bits) - top);
  }
  return sum;
}

// The most that one sub-space can give: 18 (2 dims of 3 * 3) or 225 (15 * 15).
int32_t most(const CodeSpec& spec) { return product(spec, 15, 15); }

}  // namespace

size_t paper_code_bytes(const CodeSpec& spec) {
  const bool depth = spec.planes == 2 || spec.planes == 4;
  if (!depth || spec.widths[spec.planes - 1] != spec.widths[0])
    fail(ErrorCode::InvalidArgument, "the paper's table kernel got " + std::to_string(spec.planes) +
                                         " planes of widths " + std::to_string(spec.widths[0]) + " to " +
                                         std::to_string(spec.widths[spec.planes - 1]) +
                                         ": want 2 or 4 planes of equal width");
  return spec.row_bytes();
}

void paper_pack(const CodeSpec& spec, const uint8_t* rows, size_t count, uint8_t* blocks) {
  const size_t code_bytes = paper_code_bytes(spec), subspaces = 2 * code_bytes;
  const size_t block_count = (count + kPaperBlockRows - 1) / kPaperBlockRows;
  std::memset(blocks, 0, block_count * kPaperBlockRows * code_bytes);
  for (size_t i = 0; i < count; ++i) {
    uint8_t* block = blocks + i / kPaperBlockRows * kPaperBlockRows * code_bytes;
    const size_t document = i % kPaperBlockRows;
    for (size_t s = 0; s < subspaces; ++s) {
      const uint32_t value = nibble(spec, rows + i * code_bytes, s) << (document % 2 * 4);
      block[s * 16 + document / 2] = static_cast<uint8_t>(block[s * 16 + document / 2] | value);
    }
  }
}

void paper_table(const CodeSpec& spec, const uint8_t* query, uint8_t* table) {
  const size_t subspaces = 2 * paper_code_bytes(spec);
  for (size_t s = 0; s < subspaces; ++s) {
    const uint32_t q = nibble(spec, query, s);
    for (uint32_t d = 0; d < 16; ++d) table[s * 16 + d] = static_cast<uint8_t>((product(spec, q, d) + most(spec)) / 2);
  }
}

int32_t paper_score(const CodeSpec& spec, int32_t sum) {
  const int32_t subspaces = static_cast<int32_t>(2 * paper_code_bytes(spec));
  return 2 * sum - most(spec) * subspaces;
}

}  // namespace bebr
