// gemm and gemm_bf16 of every bundle at awkward sizes. gemm equals the scalar specification to the bit; the summed
// error of gemm_bf16 against float64 is at most twice that of scalar gemm (plus one rounding of each result). gemm_bf16
// also runs on tiles in software, so that its blocking and padding are checked on machines with AVX-512 but without
// AMX; the real kernel's run still shows as "skipped: amx" there.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/cpu.h"
#include "check.h"

namespace bebr::test {
namespace {

float bf16_value(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

uint16_t nearest_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Shape {
  size_t rows;
  uint32_t in, out;
};

std::ostream& operator<<(std::ostream& stream, const Shape& s) {
  return stream << s.rows << " x " << s.in << " -> " << s.out;
}

// A product with everything its kernels read, in buffers that end where they must not be read on.
struct Product {
  Shape shape;
  size_t padded, x_stride, pairs;
  Exact<float> x, f32, bias;
  Exact<uint16_t> bf16;
  std::vector<double> want;

  Product(Random& random, Shape s, bool rounded)
      : shape(s),
        padded((s.out + 31) / 32 * 32),
        x_stride(s.in + 3),
        pairs((s.in + 1) / 2),
        x((s.rows - 1) * x_stride + s.in),
        f32(padded * s.in),
        bias(padded),
        bf16(padded * pairs * 2),
        want(s.rows * padded) {
    std::normal_distribution<float> normal;
    const auto draw = [&] { return rounded ? bf16_value(nearest_bf16(normal(random))) : normal(random); };
    for (size_t i = 0; i < s.rows; ++i) {
      for (uint32_t k = 0; k < s.in; ++k) x[i * x_stride + k] = draw();
    }
    for (uint32_t o = 0; o < s.out; ++o) {
      bias[o] = normal(random);
      for (uint32_t k = 0; k < s.in; ++k) {
        const float w = draw();
        f32[(o / 32 * s.in + k) * 32 + o % 32] = w;
        bf16[(o / 32 * pairs + k / 2) * 64 + o % 32 * 2 + k % 2] = nearest_bf16(w);
        for (size_t i = 0; i < s.rows; ++i) want[i * padded + o] += double{x[i * x_stride + k]} * double{w};
      }
      for (size_t i = 0; i < s.rows; ++i) want[i * padded + o] += double{bias[o]};
    }
  }

  // What a kernel gives, padding outputs included; nothing beyond them may be touched.
  std::vector<float> outputs(decltype(Kernels::gemm) run, bool relu) const {
    const size_t stride = padded + 5;
    Exact<float> out(shape.rows * stride);
    std::fill(out.data(), out.data() + out.size(), 777.0f);
    run(x.data(), shape.rows, x_stride, {shape.in, shape.out, f32.data(), bf16.data(), bias.data()}, relu, out.data(),
        stride);
    std::vector<float> result;
    for (size_t i = 0; i < shape.rows; ++i) {
      result.insert(result.end(), out.data() + i * stride, out.data() + i * stride + padded);
      for (size_t o = padded; o < stride; ++o)
        CHECK(out[i * stride + o] == 777.0f, shape << ": wrote past the outputs");
    }
    return result;
  }

  // The summed error; padding outputs must be 0.
  double error(decltype(Kernels::gemm) run, bool relu) const {
    const std::vector<float> out = outputs(run, relu);
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += std::abs(double{out[i]} - (relu ? std::max(want[i], 0.0) : want[i]));
    return sum;
  }
};

std::vector<Shape> awkward_shapes(Random& random) {
  std::vector<Shape> shapes;
  for (size_t rows = 1; rows <= 70; ++rows) shapes.push_back({rows, 1 + below(random, 100), 1 + below(random, 130)});
  for (const uint32_t in : {1u, 2u, 31u, 32u, 33u, 255u, 256u, 257u, 511u, 1023u, 1024u, 1025u, 1057u, 2048u})
    shapes.push_back({1 + below(random, 40), in, 1 + below(random, 70)});
  for (const size_t rows : {95u, 96u, 97u, 127u, 128u, 129u, 200u}) shapes.push_back({rows, 40, 33});
  return shapes;
}

void compare(decltype(Kernels::gemm) tested, bool rounded) {
  Random random(50);
  for (const Shape& shape : awkward_shapes(random)) {
    const Product product(random, shape, rounded);
    double one_rounding = 0;
    for (const double value : product.want) one_rounding += std::abs(value) * 0x1p-24;
    for (const bool relu : {false, true}) {
      const double error = product.error(tested, relu),
                   limit = 2 * product.error(kernels(Isa::Scalar).gemm, relu) + one_rounding;
      CHECK(error <= limit, shape << (relu ? " relu" : "") << ": error " << error << ", limit " << limit);
    }
  }
}

BEBR_KERNEL_TEST(gemm_equals_scalar) {
  Random random(50);
  for (const Shape& shape : awkward_shapes(random)) {
    const Product product(random, shape, false);
    for (const bool relu : {false, true})
      CHECK(product.outputs(tested.gemm, relu) == product.outputs(kernels(Isa::Scalar).gemm, relu),
            shape << (relu ? " relu" : ""));
  }
}

BEBR_TEST(scalar_gemm_is_a_product) {
  Random random(51);
  for (const Shape& shape : awkward_shapes(random)) {
    const Product product(random, shape, false);
    const double terms = 1.0 + shape.in, values = static_cast<double>(product.want.size());
    const double error = product.error(kernels(Isa::Scalar).gemm, false);
    CHECK(error <= values * terms * std::sqrt(terms) * 0x1p-24, shape << ": error " << error);
  }
}

BEBR_KERNEL_TEST(gemm_bf16_is_as_exact_as_scalar_on_rounded_inputs) {
  CHECK((tested.gemm_bf16 != nullptr) == (tested.isa == Isa::Amx), "only amx has bf16");
  if (tested.gemm_bf16 != nullptr) compare(tested.gemm_bf16, true);
}

#if defined(__x86_64__)

// Eight full tiles (16 rows of 64 bytes), the only shape amx_gemm.cpp configures.
struct Tiles {
  bool configured = false, misused = false;
  uint8_t bytes[8][16][64] = {};

  void configure(const void* config) {
    const uint8_t* c = static_cast<const uint8_t*>(config);
    misused = misused || c[0] != 1 || c[1] != 0;
    for (int i = 0; i < 8; ++i) misused = misused || c[16 + 2 * i] != 64 || c[17 + 2 * i] != 0 || c[48 + i] != 16;
    configured = true;
  }
  uint8_t* row(int tile, int r) {
    misused = misused || !configured;
    return bytes[tile][r];
  }
  void zero(int tile) {
    for (int r = 0; r < 16; ++r) std::memset(row(tile, r), 0, 64);
  }
  void load(int tile, const void* base, size_t stride) {
    for (size_t r = 0; r < 16; ++r)
      std::memcpy(row(tile, static_cast<int>(r)), static_cast<const uint8_t*>(base) + r * stride, 64);
  }
  void store(int tile, void* base, size_t stride) {
    for (size_t r = 0; r < 16; ++r)
      std::memcpy(static_cast<uint8_t*>(base) + r * stride, row(tile, static_cast<int>(r)), 64);
  }
  // tdpbf16ps: c[m][n] += sum over k and i < 2 of a[m][2k + i] * b[k][2n + i].
  void multiply(int c, int a, int b) {
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        float sum = 0;
        std::memcpy(&sum, row(c, m) + 4 * n, 4);
        for (int k = 0; k < 16; ++k) {
          for (int i = 0; i < 2; ++i) {
            uint16_t left = 0, right = 0;
            std::memcpy(&left, row(a, m) + 4 * k + 2 * i, 2);
            std::memcpy(&right, row(b, k) + 4 * n + 2 * i, 2);
            sum += bf16_value(left) * bf16_value(right);
          }
        }
        std::memcpy(row(c, m) + 4 * n, &sum, 4);
      }
    }
  }
};

Tiles& tiles() {
  static Tiles unit;
  return unit;
}

#endif

}  // namespace
}  // namespace bebr::test

#if defined(__x86_64__)
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) bebr::test::tiles().configure(config)
#define _tile_release() bebr::test::tiles().configured = false
#define _tile_zero(tile) bebr::test::tiles().zero(tile)
#define _tile_loadd(tile, base, stride) bebr::test::tiles().load(tile, base, stride)
#define _tile_stored(tile, base, stride) bebr::test::tiles().store(tile, base, stride)
#define _tile_dpbf16ps(c, a, b) bebr::test::tiles().multiply(c, a, b)
#define bind_amx_gemm bind_emulated_amx_gemm
#pragma GCC push_options  // amx_gemm.cpp switches the target for the rest of a file
#include "kernels/amx_gemm.cpp"
#pragma GCC pop_options
#undef bind_amx_gemm

namespace bebr::test {
namespace {

BEBR_TEST(emulated_bf16_gemm_is_as_exact_as_scalar_on_rounded_inputs) {
  if (detected_isa() < Isa::Avx512) return;
  Kernels tested = kernels(Isa::Scalar);
  bind_emulated_amx_gemm(tested);
  compare(tested.gemm_bf16, true);
  CHECK(!tiles().misused && !tiles().configured, "configured before use, released after");
}

BEBR_KERNEL_TEST(first_greatest_equals_scalar) {
  Random random(8);
  for (const size_t n : {1u, 2u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 33u, 48u, 100u, 362u}) {
    for (int round = 0; round < 20; ++round) {
      Exact<float> values(n);  // few different ones, so that some are equal
      for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(random() % 7) - 20;
      if (round == 0) std::fill_n(values.data(), n, -std::numeric_limits<float>::infinity());
      const size_t want = kernels(Isa::Scalar).first_greatest(values.data(), n);
      CHECK(tested.first_greatest(values.data(), n) == want, n << " values, round " << round);
      for (size_t i = 0; i < n; ++i)
        if (below(random, 2) == 0 || round == 0) values[i] = std::numeric_limits<float>::quiet_NaN();
      CHECK(tested.first_greatest(values.data(), n) < n, n << " values with NaN, round " << round);
    }
  }
}

}  // namespace
}  // namespace bebr::test
#endif
