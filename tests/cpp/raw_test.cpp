// The kernels over raw rows at awkward dimensions: int8 to the bit; fp16 against float64, where the summed error is at
// most twice that of the scalar specification (plus one rounding of each result). Rows end where their memory ends.
#include <cmath>
#include <vector>

#include "base/half.h"
#include "check.h"

namespace bebr::test {
namespace {

constexpr uint32_t kMostDim = 4096;

std::vector<uint32_t> dims() {
  std::vector<uint32_t> all;
  for (uint32_t dim = 1; dim <= 100; ++dim) all.push_back(dim);
  for (const uint32_t dim : {127u, 128u, 129u, 255u, 256u, 257u, 300u, 384u, 391u, 768u, 1023u, 1536u, kMostDim})
    all.push_back(dim);
  return all;
}

// Rows to score, in no order and some of them twice; the last row is among them.
std::vector<uint32_t> some_rows(Random& random, uint32_t count) {
  std::vector<uint32_t> rows = {count - 1};
  for (uint32_t i = 0; i < count; ++i) rows.push_back(below(random, count));
  return rows;
}

struct Halves {
  uint32_t dim, count = 9;
  size_t stride;
  std::vector<uint32_t> rows;
  Exact<float> q;
  Exact<uint8_t> data;

  Halves(Random& random, uint32_t dims)
      : dim(dims),
        stride(2 * size_t{dims} + 2 * (dims % 3)),
        rows(some_rows(random, count)),
        q(dims),
        data((count - 1) * stride + 2 * size_t{dims}) {
    std::normal_distribution<float> normal;
    for (uint32_t j = 0; j < dim; ++j) q[j] = normal(random);
    for (uint32_t i = 0; i < count; ++i)
      for (uint32_t j = 0; j < dim; ++j) {
        // Every eighth value is subnormal as fp16.
        const uint16_t half = float_to_half(normal(random) * (below(random, 8) == 0 ? 0x1p-18f : 1.0f));
        std::memcpy(data.data() + i * stride + 2 * size_t{j}, &half, 2);
      }
  }

  double exact(uint32_t row, bool l2) const {
    double sum = 0;
    for (uint32_t j = 0; j < dim; ++j) {
      uint16_t half = 0;
      std::memcpy(&half, data.data() + row * stride + 2 * size_t{j}, 2);
      const double x = half_to_float(half), y = q[j];
      sum += l2 ? (y - x) * (y - x) : y * x;
    }
    return sum;
  }

  double error(const Kernels& k, bool l2) const {
    Exact<float> out(rows.size());
    (l2 ? k.raw_l2_f16 : k.raw_dot_f16)(q.data(), dim, data.data(), stride, rows.data(), rows.size(), out.data());
    double sum = 0;
    for (size_t i = 0; i < rows.size(); ++i) sum += std::abs(double{out[i]} - exact(rows[i], l2));
    return sum;
  }
};

BEBR_KERNEL_TEST(raw_fp16_is_as_exact_as_scalar) {
  Random random(60);
  for (const uint32_t dim : dims()) {
    const Halves halves(random, dim);
    for (const bool l2 : {false, true}) {
      double one_rounding = 0;
      for (const uint32_t row : halves.rows) one_rounding += std::abs(halves.exact(row, l2)) * 0x1p-24;
      const double error = halves.error(tested, l2), limit = 2 * halves.error(kernels(Isa::Scalar), l2) + one_rounding;
      CHECK(error <= limit, dim << (l2 ? " dims, l2" : " dims") << ": error " << error << ", limit " << limit);
    }
  }
}

BEBR_KERNEL_TEST(raw_int8_equals_scalar) {
  Random random(61);
  for (const uint32_t dim : dims()) {
    for (const bool extreme : {false, true}) {
      const uint32_t count = 9;
      const size_t stride = dim + dim % 5;
      // As large as the sum of the query's entries may be.
      const auto most = static_cast<uint32_t>(std::min<int64_t>(32767, ((int64_t{1} << 31) - 1) / 127 / dim));
      Exact<int16_t> q(dim);
      Exact<uint8_t> data((count - 1) * stride + dim);
      for (uint32_t j = 0; j < dim; ++j)
        q[j] = static_cast<int16_t>(extreme ? static_cast<int32_t>(most)
                                            : static_cast<int32_t>(below(random, 2 * most + 1)) -
                                                  static_cast<int32_t>(most));
      for (size_t i = 0; i < data.size(); ++i)
        data[i] = static_cast<uint8_t>(extreme ? 127 : static_cast<int32_t>(below(random, 255)) - 127);
      const std::vector<uint32_t> rows = some_rows(random, count);
      std::vector<int32_t> dots(rows.size()), squares(rows.size()), want_dots(rows.size()), want_squares(rows.size());
      tested.raw_dot_i8(q.data(), dim, data.data(), stride, rows.data(), rows.size(), dots.data(), squares.data());
      for (size_t i = 0; i < rows.size(); ++i) {
        int64_t dot = 0, square = 0;
        for (uint32_t j = 0; j < dim; ++j) {
          const int64_t x = static_cast<int8_t>(data[rows[i] * stride + j]);
          dot += x * q[j];
          square += x * x;
        }
        want_dots[i] = static_cast<int32_t>(dot);
        want_squares[i] = static_cast<int32_t>(square);
      }
      CHECK_SAME(dots.data(), want_dots.data(), rows.size(), dim << " dims");
      CHECK_SAME(squares.data(), want_squares.data(), rows.size(), dim << " dims, squares");
    }
  }
}

}  // namespace
}  // namespace bebr::test
