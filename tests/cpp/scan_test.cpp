// scan_table and scan_batch: the specification against the sum it stands for, and every bundle against the
// specification.
#include <algorithm>

#include "check.h"
#include "queries.h"

namespace bebr::test {
namespace {

BEBR_TEST(scalar_scan_is_the_dot_product) {
  Random random(1);
  for (const uint32_t groups : {1u, 3u, 4u, 9u, 65u}) {
    for (const int kind : {0, 1, 2, 3}) {
      const Queries queries = make_queries(random, groups, 3, kind);
      const Exact<uint8_t> data = make_bytes(random, 2 * groups * kBlockRows, 0);
      Exact<int32_t> got(3 * 32);
      kernels(Isa::Scalar).scan_table(data.data(), 2, queries.view, got.data(), 32);
      for (uint32_t q = 0; q < 3; ++q) {
        for (size_t row = 0; row < 32; ++row) {
          int32_t want = 0;
          for (uint32_t j = 0; j < groups * 8; ++j) {
            const int y = queries.y8[q * y8_stride(groups) + j];
            want += (data[sign_offset(groups, row, j / 8)] >> (j % 8) & 1) != 0 ? y : -y;
          }
          CHECK(got[q * 32 + row] == want, "groups " << groups << ", query " << q << ", row " << row);
        }
      }
    }
  }
}

BEBR_KERNEL_TEST(scan_few_queries) {
  Random random(2);
  for (const uint32_t dims : {8u, 16u, 24u, 40u, 64u, 120u, 384u, 520u}) {
    for (uint32_t count = 1; count <= 8; ++count) {
      for (const size_t blocks : {1, 2, 3, 4, 5, 7})
        compare_scans(tested, random, {dims / 8, count, blocks, static_cast<int>(below(random, 4))});
    }
  }
}

// What is left out has no entries, whatever the rows hold there.
BEBR_KERNEL_TEST(scan_leading_groups) {
  Random random(6);
  for (const uint32_t groups : {5u, 8u, 9u, 15u, 48u, 47u}) {
    for (uint32_t leading = 4; leading < groups; leading += 4) {
      for (const uint32_t count : {1u, 2u, 3u, 5u, 8u, 13u, 33u})
        compare_scans(tested, random,
                      {groups, count, 1 + below(random, 9), static_cast<int>(below(random, 3)), leading});
    }
  }
}

// 2056 dims are the first at which 16-bit sums overflow; kind 2 with all bits set reaches every bound.
BEBR_KERNEL_TEST(scan_many_dims) {
  Random random(3);
  for (const uint32_t dims : {2040u, 2048u, 2056u, 2064u, 2080u, 2088u, 3000u, 4088u, 4096u}) {
    for (const int kind : {0, 1, 2}) {
      compare_scans(tested, random, {dims / 8, 1 + below(random, 8), 1 + below(random, 5), kind});
      compare_scans(tested, random, {dims / 8, 17, 3, kind});
    }
  }
}

BEBR_KERNEL_TEST(scan_extreme_sums) {
  for (const uint32_t groups : {257u, 258u, 259u, 260u, 512u}) {
    Random random(4);
    Queries queries = make_queries(random, groups, 8, 2);
    for (const uint8_t fill : {0x00, 0xff}) {
      // Every looked-up entry is 254 in a lane: data equal to the signs of query 0.
      Exact<uint8_t> data(groups * kBlockRows);
      for (uint32_t g = 0; g < groups; ++g) {
        uint8_t byte = fill;
        for (uint32_t i = 0; i < 8; ++i) byte = static_cast<uint8_t>(byte ^ ((queries.y8[g * 8 + i] < 0 ? 1 : 0) << i));
        for (size_t i = 0; i < kBlockRows; ++i) data[sign_offset(groups, i, g)] = byte;
      }
      Exact<int32_t> got(8 * 16);
      tested.scan_table(data.data(), 1, queries.view, got.data(), 16);
      const int32_t want = static_cast<int32_t>(groups * 127) * (fill == 0 ? -1 : 1);
      for (size_t i = 0; i < 16; ++i) CHECK(got[i] == want, "groups " << groups << ", row " << i << ", got " << got[i]);
    }
  }
}

BEBR_KERNEL_TEST(scan_batches) {
  Random random(5);
  for (uint32_t count = 1; count <= 70; ++count)
    compare_scans(tested, random,
                  {1 + below(random, 64), count, 1 + below(random, 6), static_cast<int>(below(random, 4))});
  compare_scans(tested, random, {48, 64, 71, 0});
  compare_scans(tested, random, {48, 33, 0, 0});
}

}  // namespace
}  // namespace bebr::test
