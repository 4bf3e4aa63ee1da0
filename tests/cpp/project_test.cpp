// project of every bundle equals the scalar specification to the bit, at awkward sizes and with the largest entries;
// and vectors times a matrix by integers are what doubles give, within what rounding of integers allows.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "kernels/projection.h"

namespace bebr::test {
namespace {

struct Shape {
  size_t rows;
  uint32_t in, out;
};

std::ostream& operator<<(std::ostream& stream, const Shape& s) {
  return stream << s.rows << " x " << s.in << " -> " << s.out;
}

std::vector<Shape> awkward_shapes(Random& random) {
  std::vector<Shape> shapes;
  for (size_t rows = 1; rows <= 30; ++rows) shapes.push_back({rows, 1 + below(random, 100), 1 + below(random, 270)});
  for (const uint32_t in : {1u, 2u, 31u, 32u, 33u, 64u, 255u, 1024u, 1025u})
    shapes.push_back({1 + below(random, 15), in, 1 + below(random, 140)});
  for (const size_t rows : {95u, 96u, 97u, 108u, 193u}) shapes.push_back({rows, 40, 33});
  return shapes;
}

// Rows of integers of a length that project allows; each fourth has one entry alone, as large as may be.
void draw(Random& random, size_t rows, size_t in, size_t stride, int16_t* x) {
  std::normal_distribution<double> normal;
  for (size_t i = 0; i < rows; ++i) {
    int16_t* row = x + i * stride;
    if (i % 4 == 3) {
      row[below(random, static_cast<uint32_t>(in))] = i % 8 == 3 ? 32767 : -32768;
      continue;
    }
    std::vector<double> values(in);
    double sum = 0;
    for (double& value : values) value = normal(random), sum += value * value;
    for (size_t k = 0; k < in; ++k) row[k] = static_cast<int16_t>(values[k] * 32000 / std::sqrt(sum + 1e-9));
  }
}

BEBR_KERNEL_TEST(project_equals_scalar) {
  Random random(60);
  std::normal_distribution<float> normal;
  for (const Shape& s : awkward_shapes(random)) {
    const size_t pairs = (size_t{s.in} + 1) / 2, padded = (s.out + 31) / 32 * 32, x_stride = 2 * pairs + 6,
                 out_stride = padded + 5;
    Exact<int16_t> x((s.rows - 1) * x_stride + 2 * pairs), packed(padded * pairs * 2);
    Exact<float> by(s.rows), scale(padded);
    draw(random, s.rows, s.in, x_stride, x.data());
    std::vector<int16_t> weights(s.out * size_t{s.in});
    draw(random, s.out, s.in, s.in, weights.data());
    for (size_t o = 0; o < s.out; ++o) {
      for (size_t k = 0; k < s.in; ++k)
        packed[(o / 32 * pairs + k / 2) * 64 + o % 32 * 2 + k % 2] = weights[o * s.in + k];
      scale[o] = normal(random);
    }
    for (size_t i = 0; i < s.rows; ++i) by[i] = normal(random);
    const auto outputs = [&](const Kernels& table) {
      Exact<float> out(s.rows * out_stride);
      std::fill(out.data(), out.data() + out.size(), 777.0f);
      table.project(x.data(), s.rows, x_stride, by.data(), {s.in, s.out, packed.data(), scale.data()}, out.data(),
                    out_stride);
      for (size_t i = 0; i < s.rows; ++i) {
        for (size_t o = padded; o < out_stride; ++o)
          CHECK(out[i * out_stride + o] == 777.0f, s << ": wrote past the outputs");
      }
      return out;
    };
    const Exact<float> want = outputs(kernels(Isa::Scalar)), got = outputs(tested);
    CHECK_SAME(got.data(), want.data(), got.size(), s);
    for (size_t i = 0; i < s.rows; ++i) {  // and scalar is the product
      for (size_t o = 0; o < s.out; ++o) {
        int64_t sum = 0;
        for (size_t k = 0; k < s.in; ++k) sum += int64_t{x[i * x_stride + k]} * weights[o * s.in + k];
        CHECK(want[i * out_stride + o] == static_cast<float>(sum) * scale[o] * by[i], s << " at " << i << ", " << o);
      }
    }
  }
}

BEBR_KERNEL_TEST(a_projection_is_a_product_of_floats) {
  Random random(61);
  std::normal_distribution<float> normal;
  for (const Shape& s : awkward_shapes(random)) {
    // Vectors of any length that floats have, some of one entry or none.
    for (const float length : {1.0f, 1e-30f, 1e-36f, 1e25f}) {
      std::vector<float> x(s.rows * size_t{s.in}), weight(s.out * size_t{s.in}), y(s.rows * size_t{s.out});
      for (size_t i = 0; i < s.rows; ++i) {
        const uint32_t only = below(random, s.in);
        for (uint32_t k = 0; k < s.in; ++k)
          x[i * s.in + k] = i % 5 == 4 || (i % 5 == 3 && k != only) ? 0 : normal(random) * length;
      }
      for (float& value : weight) value = normal(random);
      Projection(weight.data(), s.in, s.out).forward(tested, x.data(), s.rows, y.data(), s.out);
      for (size_t i = 0; i < s.rows; ++i) {
        for (size_t o = 0; o < s.out; ++o) {
          double want = 0, a = 0, b = 0;
          for (size_t k = 0; k < s.in; ++k) {
            const double u = double{x[i * s.in + k]}, v = double{weight[o * s.in + k]};
            want += u * v, a += u * u, b += v * v;
          }
          // Each entry of either is off by half of 1/32000 of its vector's length, at most. Of the least vectors the
          // length divided by that is no normal float.
          const double lengths = std::sqrt(a * b), limit = lengths * (std::sqrt(static_cast<double>(s.in)) / 32000 +
                                                                      (length < 1e-35f ? 1e-2 : 1e-5)) +
                                                           1e-44;
          CHECK(std::abs(double{y[i * s.out + o]} - want) <= limit,
                s << " of length " << length << " at " << i << ", " << o);
        }
      }
    }
  }
}

}  // namespace
}  // namespace bebr::test
