// Random queries of a scan, and the comparison of a bundle's scans with the specification.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <ostream>

#include "check.h"

namespace bebr::test {

struct Queries {
  Exact<uint8_t> tables;
  Exact<int8_t> y8;
  Exact<int32_t> bias;
  ScanQueries view;
};

// Fills one group so that sum |y8| <= 127. kind: 0 random, 1 one coordinate takes all of it, 2 spread to exactly 127, 3
// zero.
inline void fill_group(Random& random, int kind, int8_t* y8) {
  int room = 127;
  for (int i = 0; i < 8; ++i) {
    int size = 0;
    if (kind == 0) size = static_cast<int>(below(random, static_cast<uint32_t>(room / 2 + 1)));
    if (kind == 1) size = i == 5 ? 127 : 0;
    if (kind == 2) size = i == 0 ? 15 : 16;
    room -= size;
    y8[i] = static_cast<int8_t>(below(random, 2) == 0 ? size : -size);
  }
}

// leading: where it is not 0, the byte groups from it on have no entries.
inline Queries make_queries(Random& random, uint32_t groups, uint32_t count, int kind, uint32_t leading = 0) {
  Queries queries{
      Exact<uint8_t>(count * table_bytes(groups)), Exact<int8_t>(count * y8_stride(groups)), Exact<int32_t>(count), {}};
  for (uint32_t q = 0; q < count; ++q) {
    int8_t* y8 = queries.y8.data() + q * y8_stride(groups);
    uint8_t* table = queries.tables.data() + q * table_bytes(groups);
    for (uint32_t g = 0; g < (leading != 0 ? leading : groups); ++g) {
      fill_group(random, kind, y8 + g * 8);
      for (uint32_t half = 0; half < 2; ++half) {
        for (uint32_t nibble = 0; nibble < 16; ++nibble) {
          int entry = 0;
          for (uint32_t i = 0; i < 4; ++i) {
            const int y = y8[g * 8 + half * 4 + i];
            entry += std::abs(y) + ((nibble >> i & 1) != 0 ? y : -y);
          }
          table[g / 4 * 128 + half * 64 + g % 4 * 16 + nibble] = static_cast<uint8_t>(entry);
        }
      }
      for (uint32_t i = 0; i < 8; ++i) queries.bias[q] += std::abs(y8[g * 8 + i]);
    }
  }
  queries.view = {count, groups, queries.tables.data(), queries.y8.data(), queries.bias.data(), leading};
  return queries;
}

struct ScanCase {
  uint32_t groups, count;
  size_t blocks;
  int kind;
  uint32_t leading = 0;
};

inline std::ostream& operator<<(std::ostream& out, const ScanCase& where) {
  return out << "dims " << where.groups * 8 << ", queries " << where.count << ", blocks " << where.blocks << ", kind "
             << where.kind << ", leading " << where.leading;
}

// Runs one case through both of the bundle's scans and compares with scalar; gaps between queries' sums must stay
// untouched.
inline void compare_scans(const Kernels& tested, Random& random, const ScanCase& where) {
  const Queries queries = make_queries(random, where.groups, where.count, where.kind, where.leading);
  const Exact<uint8_t> data = make_bytes(random, where.blocks * where.groups * kBlockRows,
                                         where.kind == 0 ? 0 : static_cast<int>(below(random, 4)));
  const size_t rows = where.blocks * kBlockRows, stride = rows + below(random, 3);
  const size_t total = rows == 0 ? 0 : (where.count - 1) * stride + rows;
  Exact<int32_t> want(total), got(total);
  kernels(Isa::Scalar).scan_table(data.data(), where.blocks, queries.view, want.data(), stride);
  if (where.count <= 8) {
    tested.scan_table(data.data(), where.blocks, queries.view, got.data(), stride);
    CHECK_SAME(got.data(), want.data(), total, "scan_table " << where);
  }
  std::fill_n(got.data(), total, 0);
  tested.scan_batch(data.data(), where.blocks, queries.view, got.data(), stride);
  CHECK_SAME(got.data(), want.data(), total, "scan_batch " << where);
}

// Queries of dot_expanded.
inline Exact<int8_t> any_queries(Random& random, uint32_t groups, size_t count) {
  Exact<int8_t> y8(count * y8_stride(groups));
  for (size_t q = 0; q < count; ++q)
    for (uint32_t j = 0; j < 8 * groups; ++j)
      y8[q * y8_stride(groups) + j] = below(random, 8) == 0 ? int8_t{-128} : static_cast<int8_t>(random());
  return y8;
}

// dot_expanded of one case against scalar, over any bytes: what a code of 8 planes may expand to.
inline void compare_products(const Kernels& tested, Random& random, uint32_t groups, size_t count, size_t blocks) {
  const size_t rows = blocks * kBlockRows, stride = rows + below(random, 3), bytes = expanded_bytes(groups);
  Exact<uint8_t> expanded = make_bytes(random, blocks * bytes, below(random, 2) == 0 ? 0 : 2);
  for (size_t b = 0; b < blocks; ++b)
    std::fill_n(expanded.data() + b * bytes + 128 * groups, bytes - 128 * groups, uint8_t{0});
  const Exact<int8_t> y8 = any_queries(random, groups, count);
  const size_t total = rows == 0 || count == 0 ? 0 : (count - 1) * stride + rows;
  Exact<int32_t> want(total), got(total);
  kernels(Isa::Scalar).dot_expanded(expanded.data(), blocks, groups, y8.data(), count, want.data(), stride);
  tested.dot_expanded(expanded.data(), blocks, groups, y8.data(), count, got.data(), stride);
  CHECK_SAME(got.data(), want.data(), total, "groups " << groups << ", queries " << count << ", blocks " << blocks);
}

}  // namespace bebr::test
