// Codes as a device keeps them. Blocks of 16 rows; in a block, group after group of 8 dims. A group of depth d (planes
// that cover it) holds its values c in [0, 2^d) in fields of 8, 4, 2 and 1 bits, those of d in binary, widest first,
// the highest bits of c in the first. A field stands for all 16 rows, in the order 0, 8, 1, 9, .., 7, 15: a lane of
// the tensor cores' product takes two rows that are 8 apart, and has both by one load. Of a row:
//   8 bits: 8 bytes a row;  4: dims 0 .. 3 in the low halves of 4 bytes, 4 .. 7 in the high ones;
//   2: dims 0 .. 3 in the first byte, 4 .. 7 in the second, lowest first;  1: dim i at bit i of a byte.
// So a block takes 16 * row_bytes, not a bit more than the row format, and a group begins at a multiple of 16 bytes.
// Expanding 4 dims to bytes takes 3 instructions at depth 4; from planes it would take 16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "code/factor.h"
#include "code/spec.h"
#include "cuda/memory.h"

namespace bebr::cuda {

// Of each group of 8 dims: its first byte in a row << 4 | its depth. It begins at 16 times that byte in a block.
std::vector<uint32_t> make_groups(const CodeSpec& spec);

// Rows of the row format (code/spec.h) as blocks; rows behind the last one are zero.
std::vector<uint8_t> make_blocks(const CodeSpec& spec, const uint8_t* planes, size_t rows);

// What a kernel sees of them.
struct CodeView {
  DevicePointer<const uint8_t> blocks;
  DevicePointer<const uint32_t> groups;  // make_groups
  uint32_t rows = 0, row_bytes = 0, dims = 0, planes = 0;
};

// Factors beside the codes (code/factor.h).
struct FactorView {
  DevicePointer<const uint8_t> stored;
  Factor factor = Factor::None;
  uint32_t bytes = 2, low = 0, step = 0;
};

}  // namespace bebr::cuda
