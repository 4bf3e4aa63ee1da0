// The two layouts of codes and the only owner of their byte offsets.
//
// Scan layout. The sign plane stands in blocks of 16 vectors, transposed by bytes: byte g of vector i of block b is at
//   (b * groups + g) * 16 + i.
// The remaining planes ("rest") stay vector-major, rest_bytes each, and are read for survivors only. Measured against
// blocks of 64 (csrc/README.md): the same speed from DRAM, and a survivor's sign plane costs a quarter of the cache
// lines. 16 documents of one byte group are also one row of an AMX operand after a 16-entry lookup, without a
// transpose.
//
// Graph layout = row format (code/spec.h): whole rows, vector-major, for random access.
#pragma once

#include <cstddef>
#include <cstdint>

#include "code/spec.h"

namespace bebr {

inline constexpr size_t kBlockRows = 16;

inline constexpr size_t block_count(size_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }
inline size_t block_bytes(const CodeSpec& spec) { return spec.groups() * kBlockRows; }
inline size_t sign_offset(uint32_t groups, size_t row, uint32_t group) {
  return (row / kBlockRows * groups + group) * kBlockRows + row % kBlockRows;
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

}  // namespace bebr
