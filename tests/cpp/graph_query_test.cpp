// What makes a graph's query (kernels.h: weigh to fill_tables): every bundle against the portable kernels, and these
// against plain sums.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "check.h"
#include "kernels/kernels.h"

namespace bebr::test {
namespace {

// kind: 0 random, 1 multiples of 1/8, so that many halves are rounded, 2 next to nothing.
Exact<float> make_floats(Random& random, size_t n, int kind) {
  Exact<float> x(n);
  for (size_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(below(random, 2000001)) / 1e6f - 1;
    if (kind == 1) x[i] = static_cast<float>(below(random, 41)) / 8 - 2.5f;
    if (kind == 2) x[i] *= 1e-30f;
  }
  return x;
}

BEBR_KERNEL_TEST(entries_of_queries_equal_portable_ones) {
  const Kernels& portable = kernels(Isa::Scalar);
  Random random(70);
  for (const size_t n : {16u, 32u, 48u, 64u, 480u, 1088u, 1600u}) {
    for (const int kind : {0, 1, 2}) {
      const Exact<float> x = make_floats(random, n, kind);
      const float most = portable.largest(x.data(), n), step16 = most > 1e-29f ? most / 32000 : 1,
                  step8 = most > 1e-29f ? most / 127 : 1;
      CHECK(tested.largest(x.data(), n) == most && tested.largest(x.data(), n - 8) == portable.largest(x.data(), n - 8),
            n << " values, kind " << kind);
      CHECK(tested.squares(x.data(), n) == portable.squares(x.data(), n), n << " values, kind " << kind);
      Exact<int16_t> want16(2 * n), got16(2 * n);
      Exact<int8_t> want8(n), got8(n);
      const int32_t total16 = portable.round16(x.data(), n, step16, want16.data());
      CHECK(tested.round16(x.data(), n, step16, got16.data()) == total16, n << " values, kind " << kind);
      CHECK_SAME(got16.data(), want16.data(), 2 * n, n << " values, kind " << kind);
      const Rounding want = portable.round8(x.data(), n, step8, want8.data()),
                     got = tested.round8(x.data(), n, step8, got8.data());
      CHECK(got.total == want.total && got.lost == want.lost, n << " values, kind " << kind);
      CHECK_SAME(got8.data(), want8.data(), n, n << " values, kind " << kind);
      int32_t sum16 = 0, sum8 = 0;
      float largest = 0;
      for (size_t i = 0; i < n; ++i) {
        sum16 += want16[i];
        sum8 += want8[i];
        largest = std::max(largest, std::fabs(x[i]));
        CHECK(want16[i] == std::lrint(x[i] * (1 / step16)) && want8[i] == std::lrint(x[i] * (1 / step8)), i);
      }
      CHECK(sum16 == total16 && sum8 == want.total && largest == most, n << " values, kind " << kind);
    }
  }
}

BEBR_KERNEL_TEST(weighed_bytes_equal_portable_ones) {
  Random random(71);
  for (const size_t bytes : {1u, 2u, 7u, 196u}) {
    const Exact<float> y = make_floats(random, 8 * bytes, 0);
    Exact<uint16_t> groups(bytes);
    Exact<float> weights(bytes), want(8 * bytes), got(8 * bytes);
    for (size_t i = 0; i < bytes; ++i) {
      groups[i] = static_cast<uint16_t>(below(random, static_cast<uint32_t>(bytes)));
      weights[i] = 1.0f / static_cast<float>(1u << below(random, 8));
    }
    kernels(Isa::Scalar).weigh(y.data(), groups.data(), weights.data(), bytes, want.data());
    tested.weigh(y.data(), groups.data(), weights.data(), bytes, got.data());
    CHECK_SAME(got.data(), want.data(), 8 * bytes, bytes << " bytes");
    for (size_t i = 0; i < bytes; ++i)
      for (size_t b = 0; b < 8; ++b) CHECK(want[8 * i + b] == weights[i] * y[8 * groups[i] + b], i << ", bit " << b);
  }
}

BEBR_KERNEL_TEST(tables_of_queries_equal_portable_ones) {
  Random random(72);
  for (const uint32_t bytes : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 31u, 32u, 64u}) {
    for (const int kind : {0, 1, 2}) {
      const Exact<float> x = make_floats(random, 8 * size_t{bytes}, kind);
      const float step = kind == 2 ? 1 : 2 * 8 * 2.5f / (253 * 256 - 64);
      Exact<uint8_t> want(table_bytes(bytes)), got(table_bytes(bytes));
      const int32_t sizes = kernels(Isa::Scalar).fill_tables(x.data(), bytes, step, want.data());
      CHECK(tested.fill_tables(x.data(), bytes, step, got.data()) == sizes, bytes << " bytes, kind " << kind);
      CHECK_SAME(got.data(), want.data(), table_bytes(bytes), bytes << " bytes, kind " << kind);
      int32_t sum = 0;
      for (uint32_t nibble = 0; nibble < 2 * bytes; ++nibble) {
        const uint32_t byte = nibble / 2;
        const uint8_t* table = want.data() + byte / 4 * 128 + nibble % 2 * 64 + byte % 4 * 16;
        for (int n = 0; n < 16; ++n) {
          int32_t entry = 128;
          for (int i = 0; i < 4; ++i) {
            const auto v =
                static_cast<int32_t>(std::lrint(x[4 * size_t{nibble} + static_cast<size_t>(i)] * (1 / step)));
            entry += (n >> i & 1 ? v : -v) + std::abs(v);
            if (n == 0) sum += std::abs(v);
          }
          CHECK(table[n] == entry >> 8, "nibble " << nibble << ", entry " << n);
        }
      }
      CHECK(sum == sizes, bytes << " bytes, kind " << kind);
    }
  }
}

}  // namespace
}  // namespace bebr::test
