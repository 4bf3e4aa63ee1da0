// descend: every bundle equals the specification to the bit; the specification ends where no single step helps.
#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "code/spec.h"

namespace bebr::test {
namespace {

// A random positive definite metric over a grid of mixed depths, with v on the grid and g as it may come.
struct Case {
  explicit Case(uint32_t dims, Random& random)
      : dims(dims),
        stride(descent_stride(dims)),
        gram(dims * stride),
        inverse(stride),
        step(stride),
        per_step(stride),
        v(stride),
        g(stride) {
    std::normal_distribution<float> normal;
    std::vector<float> factor(size_t{dims} * dims);
    for (float& value : factor) value = normal(random);
    for (uint32_t j = 0; j < stride; ++j) {
      const int depth = j < dims ? 1 + static_cast<int>((dims - j) * 4 / (dims + 1)) : 1;
      step[j] = std::ldexp(4.0f, -depth);
      per_step[j] = 1 / step[j];
      v[j] = j < dims ? (std::floor(normal(random) * 0.4f * per_step[j]) + 0.5f) * step[j] : 1;
      v[j] = std::min(std::max(v[j], step[j] / 2 - 2), 2 - step[j] / 2);
      g[j] = j < dims ? normal(random) * static_cast<float>(dims) : 0;
    }
    for (uint32_t j = 0; j < dims; ++j) {
      for (uint32_t k = 0; k < dims; ++k) {
        float sum = j == k ? 1.0f : 0.0f;
        for (uint32_t i = 0; i < dims; ++i) sum += factor[j * dims + i] * factor[k * dims + i];
        gram[j * stride + k] = sum;
      }
      inverse[j] = 1 / gram[j * stride + j];
    }
  }
  DescentGrid grid() const { return {dims, stride, gram.data(), inverse.data(), step.data(), per_step.data()}; }

  uint32_t dims;
  size_t stride;
  Exact<float> gram, inverse, step, per_step, v, g;
};

BEBR_KERNEL_TEST(descend_equals_scalar) {
  Random random(1);
  for (const uint32_t dims : {8u, 16u, 24u, 40u, 104u, 200u}) {
    for (const uint32_t sweeps : {0u, 1u, 2u, 20u}) {
      Case a(dims, random);
      Exact<float> v(a.stride), g(a.stride);
      std::copy_n(a.v.data(), a.stride, v.data());
      std::copy_n(a.g.data(), a.stride, g.data());
      kernels(Isa::Scalar).descend(a.grid(), a.v.data(), a.g.data(), sweeps);
      tested.descend(a.grid(), v.data(), g.data(), sweeps);
      CHECK_SAME(v.data(), a.v.data(), a.stride, "v, dims " << dims << " sweeps " << sweeps);
      CHECK_SAME(g.data(), a.g.data(), a.stride, "g, dims " << dims << " sweeps " << sweeps);
    }
  }
}

BEBR_TEST(descend_ends_where_no_single_step_helps) {
  Random random(2);
  for (const uint32_t dims : {8u, 40u, 72u}) {
    Case a(dims, random);
    kernels(Isa::Scalar).descend(a.grid(), a.v.data(), a.g.data(), 200);
    for (uint32_t j = 0; j < dims; ++j) {
      const float own = a.gram[j * a.stride + j], step = a.step[j];
      CHECK(std::abs(a.v[j]) <= 2 - step / 2, "dim " << j << " left the grid: " << a.v[j]);
      for (const float move : {step, -step}) {
        if (std::abs(a.v[j] + move) > 2 - step / 2) continue;
        const float change = move * move * own - 2 * a.g[j] * move;  // of (z - v)^T G (z - v)
        CHECK(change >= -1e-3f * own, "dim " << j << " would gain " << change << " by moving " << move);
      }
    }
  }
}

}  // namespace
}  // namespace bebr::test
