// The two layouts of codes and the only owner of their byte offsets.
//
// Scan layout. The sign plane is stored in blocks of 16 vectors and, within a block, in quads of 4 byte groups (32
// dims): the 4 bytes of a quad of one vector are adjacent, then come those of the next vector. Byte g of vector i of
// block b is at
//   b * 16 * groups + 64 * u + i * r + g - 4 * u,   u = g / 4 its quad, r = min(4, groups - 4 * u) the quad's bytes.
// So a quad is one 64-byte line: 64 lookups by one vpermb (4 tables of 16 entries), summed per vector by one vpdpbusd;
// a row of 16 dwords whose nibbles index an AMX operand without a transpose; and a survivor's sign plane is read 4
// bytes at a time. The remaining planes ("rest") stay vector-major, rest_bytes each, and are read for survivors only.
// Figures: docs/experiments/quads.md, docs/experiments/block-size.md.
//
// Graph layout = row format (code/spec.h): whole rows, vector-major, for random access.
#pragma once

#include <cstddef>
#include <cstdint>

#include "code/spec.h"

namespace bebr {

inline constexpr size_t kBlockRows = 16;
inline constexpr size_t kQuadBytes = 4 * kBlockRows;

inline constexpr size_t block_count(size_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }
inline size_t block_bytes(const CodeSpec& spec) { return spec.groups() * kBlockRows; }
inline size_t sign_offset(uint32_t groups, size_t row, uint32_t group) {
  const uint32_t first = group / 4 * 4, bytes = groups - first < 4 ? groups - first : 4;
  return (row / kBlockRows * groups + first) * kBlockRows + row % kBlockRows * bytes + (group - first);
}

// Codes of a scan layout, wherever they live (memory, mapped file).
struct ScanView {
  CodeSpec spec;
  const uint8_t* blocks = nullptr;  // block_count(rows) * block_bytes
  const uint8_t* rest = nullptr;    // rows * rest_bytes
  size_t rows = 0;
};

// Copies one row of the row format into / out of a scan layout.
void put_row(const CodeSpec& spec, const uint8_t* row, size_t at, uint8_t* blocks, uint8_t* rest);
void get_row(const ScanView& view, size_t at, uint8_t* row);
// Copies `count` rows of a scan layout into another one, to rows `at`, `at` + 1, ...
void copy_rows(const ScanView& from, const uint32_t* rows, size_t count, size_t at, uint8_t* blocks, uint8_t* rest);
// Copies the sign planes of `count` rows from row `first` on, to rows `at`, `at` + 1, ...
void copy_signs(const ScanView& from, size_t first, size_t count, size_t at, uint8_t* blocks);

}  // namespace bebr
